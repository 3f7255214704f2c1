"""Fitted corrections in files, and corrected models as folders of sentence-transformers."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError, ModelError, OutputError, UsageError
from hbt_bench.files import write_bytes
from hbt_bench.identity.correction_name import CorrectionName
from hbt_bench.ranking.correction import AffineMap, FittedCorrection, Role, Vectors
from hbt_bench.ranking.encode import Encoder, Encoding

log = logging.getLogger(__name__)

#: Least cosine between the vectors that a model gives now and gave at the fit; other precisions of numbers are above.
_SAME_MODEL = 0.99


class HeldOutTexts(Protocol):
    """Held-out texts: their name, their mark in a revision, their hashes, and the texts as a collection."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def mark(self) -> str: ...  # noqa: D102

    @property
    def hashes(self) -> frozenset[int]: ...  # noqa: D102

    @property
    def collection(self) -> Collection: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class SavedFit:
    """A correction that was fitted before, with the same attributes as the texts that it was fitted on.

    Attributes:
        path: The file.
        correction: The kind of correction.
        name: The name of the collection or file with the texts.
        mark: The texts in a revision.
        model: The name and revision of the model that gave the vectors.
        hashes: Hashes of the texts.
        fitted: The maps.
        probes: Role, language and text of some texts.
        vectors: Their vectors, (texts, dimensions).
    """

    path: Path
    correction: CorrectionName
    name: str
    mark: str
    model: str
    hashes: frozenset[int]
    fitted: FittedCorrection
    probes: tuple[tuple[Role, str, str], ...]
    vectors: Vectors

    def write(self) -> None:
        """Write the file. Equal fits give equal bytes."""
        maps = {id(entry): entry for by_language in self.fitted.maps.values() for entry in by_language.values()}
        maps |= {id(entry): entry for entry in self.fitted.unseen.values()}
        numbers = {key: number for number, key in enumerate(maps)}
        about = {
            "correction": str(self.correction),
            "texts": self.name,
            "mark": self.mark,
            "model": self.model,
            "maps": {
                role: {language: numbers[id(entry)] for language, entry in by_language.items()}
                for role, by_language in self.fitted.maps.items()
            },
            "unseen": {role: numbers[id(entry)] for role, entry in self.fitted.unseen.items()},
            "probes": self.probes,
        }
        entries = enumerate(maps.values())
        matrices: dict[str, Any] = {f"matrix_{n}": entry.matrix for n, entry in entries if entry.matrix is not None}
        buffer = io.BytesIO()
        np.savez(
            buffer,
            about=np.frombuffer(json.dumps(about, ensure_ascii=False).encode(), np.uint8),
            hashes=np.array(sorted(self.hashes), np.uint64),
            vectors=self.vectors,
            offsets=np.stack([entry.offset for entry in maps.values()]),
            **matrices,
        )
        write_bytes(self.path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> SavedFit:
        """Read a file. Raises `UsageError` if there is none, and `DataError` if it is not a saved correction."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                about = json.loads(arrays["about"].tobytes())
                maps = [
                    AffineMap(offset, arrays[key] if (key := f"matrix_{number}") in arrays else None)
                    for number, offset in enumerate(arrays["offsets"])
                ]
                vectors, hashes = arrays["vectors"], frozenset(arrays["hashes"].tolist())
            size = vectors.shape[1]
            if any(len(entry.offset) != size or not _is_square(entry.matrix, size) for entry in maps):
                raise ValueError("its maps have other dimensions than its vectors")
            fitted = FittedCorrection(
                {role: {code: maps[n] for code, n in numbers.items()} for role, numbers in about["maps"].items()},
                {role: maps[number] for role, number in about["unseen"].items()},
            )
            probes = tuple((role, language, text) for role, language, text in about["probes"])
            texts = about["texts"], about["mark"], about["model"]
            return cls(path, CorrectionName.parse(about["correction"]), *texts, hashes, fitted, probes, vectors)
        except FileNotFoundError as error:
            raise UsageError(f"there is no file {path}, which --correct names") from error
        except Exception as error:  # numpy and zipfile raise many types for a damaged file
            raise DataError(f"{path} is not a saved correction ({error}): write it with --save-correction") from error

    def fit(self, name: CorrectionName, encoding: Encoding) -> FittedCorrection:
        """Return the saved maps. Raises `ModelError` if they were fitted on vectors of another model."""
        least = 1.0
        for (role, language, text), expected in zip(self.probes, self.vectors, strict=True):
            vector = np.asarray(encoding.encoder.encode([text], role, language), np.float64)[0]
            if vector.shape != expected.shape:
                raise ModelError(
                    f"{self.path} was fitted on vectors of {self.model} with {len(expected)} dimensions, and those of "
                    f"this model have {len(vector)}: use that model, or fit the correction again"
                )
            lengths = float(np.linalg.norm(vector) * np.linalg.norm(expected))
            least = min(least, float(vector @ expected) / lengths if lengths else 0.0)
        if least < _SAME_MODEL:
            raise ModelError(
                f"{self.path} was fitted on vectors of {self.model}, and those of this model differ (cosine "
                f"{least:.2f} for a text of the fit): use that model with the same prompts, or fit the correction again"
            )
        log.info(f"{name} from {self.path}, fitted on {self.mark} with {self.model}")
        return self.fitted


def text_hashes(collection: Collection) -> frozenset[int]:
    """Return a hash of 64 bits of each distinct text."""
    texts = {row.text for rows in (collection.queries, collection.documents) for row in rows}
    return frozenset(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") for text in texts)


def check_target(name: CorrectionName, texts: HeldOutTexts | SavedFit | None, path: Path) -> None:
    """Raise `UsageError` if a correction cannot be saved as `path`."""
    if texts is None:
        raise UsageError(
            "a correction by the texts of the evaluated collection is fitted anew for each collection, so it cannot be "
            "saved: name the texts with --correct-on"
        )
    if isinstance(texts, SavedFit):
        raise UsageError(f"{texts.path} is a saved correction: leave --save-correction out")
    if path.suffix != ".npz" and not name.language_blind:
        raise UsageError(
            f"a model in a folder does not know the language of a text, which {name} needs: save the correction as "
            "FILE.npz, or take center:shared, whiten:shared, subspace:K or all-but-the-top"
        )
    if path.suffix != ".npz" and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists and is not an empty folder: choose another name for the corrected model")
    if path.suffix == ".npz" and path.exists():
        try:
            SavedFit.read(path)
        except DataError as error:
            raise UsageError(
                f"{path} exists and is not a saved correction: choose another --save-correction"
            ) from error


def save(
    name: CorrectionName, texts: HeldOutTexts, fitted: FittedCorrection, model: Any, encoder: Encoder, path: Path
) -> None:
    """Write a fitted correction as a file, or the corrected model as a folder of sentence-transformers."""
    if path.suffix != ".npz":
        _save_folder(fitted.unseen["document"], model, path)
        return
    meta, collection = model.mteb_model_meta, texts.collection
    probes: tuple[tuple[Role, str, str], ...] = (
        ("query", collection.queries[0].language, collection.queries[0].text),
        ("document", collection.documents[-1].language, collection.documents[-1].text),
    )
    vectors = np.concatenate([encoder.encode([text], role, language) for role, language, text in probes])
    about = f"{meta.name} ({meta.revision})"
    SavedFit(path, name, texts.name, texts.mark, about, texts.hashes, fitted, probes, vectors).write()
    log.info(f"the correction is in {path}")


def _save_folder(shared: AffineMap, model: Any, path: Path) -> None:
    """Write the model with one more module: ``(x - offset) @ matrix`` is ``x @ matrix - offset @ matrix``."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense

    inner: Any = getattr(model, "model", None)
    weights = next(inner.parameters(), None) if type(inner) is SentenceTransformer else None
    if weights is None or inner.truncate_dim:
        raise UsageError(
            "only a model of sentence-transformers, in torch and with all its dimensions, can be saved as a folder: "
            "save the correction as FILE.npz"
        )
    size = len(shared.offset)
    matrix = np.eye(size) if shared.matrix is None else shared.matrix.astype(np.float64)
    dense = Dense(size, size, bias=True, activation_function=torch.nn.Identity())
    with torch.no_grad():
        dense.linear.weight.copy_(torch.from_numpy(matrix.T))
        dense.linear.bias.copy_(torch.from_numpy(-(shared.offset.astype(np.float64) @ matrix)))
    modules = [*inner, dense.to(weights.device, weights.dtype)]
    corrected = SentenceTransformer(
        modules=modules,
        prompts=inner.prompts,
        default_prompt_name=inner.default_prompt_name,
        similarity_fn_name=inner.similarity_fn_name,
    )
    try:
        corrected.save_pretrained(str(path))
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error}): choose another --save-correction") from error
    log.info(f"the corrected model is in {path}")


def _is_square(matrix: Vectors | None, size: int) -> bool:
    return matrix is None or matrix.shape == (size, size)
