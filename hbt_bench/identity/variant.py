"""The settings by which a user changes a model's vectors: part of its revision in results and signatures."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: A revision with the marks of a variant, in this order.
_MARKED = re.compile(
    r"(?P<revision>.+?)(?:-(?P<backend>onnx|openvino))?(?:-(?P<dtype>fp16|bf16|fp32))?"
    r"(?:-dim(?P<dimensions>[1-9]\d*))?(?:-len(?P<length>[1-9]\d*))?(?:-(?P<precision>int8|binary))?"
)


@dataclass(frozen=True)
class Variant:
    """Settings that change the vectors of a model. The default of each setting leaves the revision as it is.

    >>> Variant(backend="openvino", dtype="bf16", truncate_dim=128).suffix
    '-openvino-bf16-dim128'

    Attributes:
        backend: The engine in place of torch, ``onnx`` or ``openvino``.
        dtype: The precision: ``fp16``, ``bf16`` or ``fp32``.
        truncate_dim: The number of dimensions that are kept.
        max_seq_length: The number of tokens that are read of a text.
        precision: The numbers of a vector when texts are compared: ``int8``, or ``binary`` for their signs.
    """

    backend: str | None = None
    dtype: str | None = None
    truncate_dim: int | None = None
    max_seq_length: int | None = None
    precision: str | None = None

    @classmethod
    def split(cls, revision: str) -> tuple[str, Variant]:
        """Return a revision without the marks of its variant, and the variant.

        >>> Variant.split("1e76180541b3e331-bf16")[0]
        '1e76180541b3e331'
        """
        match = _MARKED.fullmatch(revision)
        if match is None:
            return revision, cls()
        dimensions, length = (int(match[key]) if match[key] else None for key in ("dimensions", "length"))
        return match["revision"], cls(match["backend"], match["dtype"], dimensions, length, match["precision"])

    @property
    def suffix(self) -> str:
        """The marks in a revision, empty without any setting."""
        dimensions = f"dim{self.truncate_dim}" if self.truncate_dim else None
        length = f"len{self.max_seq_length}" if self.max_seq_length else None
        return "".join(f"-{mark}" for mark in (self.backend, self.dtype, dimensions, length, self.precision) if mark)

    @property
    def options(self) -> list[str]:
        """The options of ``hbt-bench run`` that choose the variant."""
        values = {
            "--backend": self.backend,
            "--dtype": self.dtype,
            "--truncate-dim": self.truncate_dim,
            "--max-seq-length": self.max_seq_length,
            "--precision": self.precision,
        }
        return [word for option, value in values.items() if value for word in (option, str(value))]
