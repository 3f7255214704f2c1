"""The settings by which a user changes a model's vectors: part of its revision in results and signatures."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hbt_bench.identity.correction_name import KINDS

#: A revision with the marks of a variant, in this order.
_MARKED = re.compile(
    r"(?P<revision>.+?)(?:-(?P<backend>onnx|openvino))?(?:-(?P<dtype>fp16|bf16|fp32))?"
    r"(?:-dim(?P<dimensions>[1-9]\d*))?(?:-len(?P<length>[1-9]\d*))?(?:-(?P<precision>int8|binary))?"
    rf"(?:-(?P<correction>(?:{'|'.join(KINDS)})[\w.]*-on-[\w.+,>\[\]-]+))?"
)
_HEX_DIGITS = frozenset("0123456789abcdef")


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
        correction: The correction of the vectors and the texts that it was fitted on, as in ``center-on-own``.
    """

    backend: str | None = None
    dtype: str | None = None
    truncate_dim: int | None = None
    max_seq_length: int | None = None
    precision: str | None = None
    correction: str | None = None

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
        settings = match["backend"], match["dtype"], dimensions, length, match["precision"], match["correction"]
        return match["revision"], cls(*settings)

    @property
    def suffix(self) -> str:
        """The marks in a revision, empty without any setting."""
        dimensions = f"dim{self.truncate_dim}" if self.truncate_dim else None
        length = f"len{self.max_seq_length}" if self.max_seq_length else None
        marks = (self.backend, self.dtype, dimensions, length, self.precision, self.correction)
        return "".join(f"-{mark}" for mark in marks if mark)

    @property
    def options(self) -> list[str]:
        """The options of ``hbt-bench run`` that choose the variant."""
        values = {
            "--backend": self.backend,
            "--dtype": self.dtype,
            "--truncate-dim": self.truncate_dim,
            "--max-seq-length": self.max_seq_length,
            "--precision": self.precision,
            **self._correction,
        }
        return [word for option, value in values.items() if value for word in (option, str(value))]

    @property
    def _correction(self) -> dict[str, str]:
        """The options of the correction. Held-out texts have a name, perhaps a number, and a hash."""
        if not self.correction:
            return {}
        kind, _, source = self.correction.partition("-on-")
        if source != "own":
            name, _, count = source.rpartition("_")[0].rpartition("_")
            source = f"{name}:{count}" if name and count.isdecimal() else source.rpartition("_")[0]
        return {"--correct": kind.replace("_", ":"), "--correct-on": source}


def short_revision(revision: str) -> str:
    """Return a revision with 8 digits of its hash, and without the hash of the texts that a correction was fitted on.

    >>> short_revision("71d6d7d260ca5fd8-center-on-ntrex-ood_400_99a489e4")
    '71d6d7d2-center-on-ntrex-ood_400'
    """
    first, dash, rest = revision.partition("-")
    first = first[:8] if len(first) > 8 and _HEX_DIGITS.issuperset(first) else first
    return first + dash + (re.sub(r"_[0-9a-f]{8}$", "", rest) if "-on-" in revision else rest)
