"""Correct vectors without training: remove the part of a vector that depends on its language.

Each correction is an affine map of a vector, ``(vector - offset) @ matrix``, for each role and language. It is fitted
on the vectors of texts. Judgements are not in reach here, so no correction can be fitted on them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.identity.correction_name import CorrectionName

log = logging.getLogger(__name__)

Role = Literal["query", "document"]
Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]
#: Vectors in several arrays, each (texts, dimensions).
Chunks = Sequence[Vectors]

ROLES: tuple[Role, ...] = ("query", "document")
#: The language from which SHIFT measures offsets, and towards which the others are rotated.
SOURCE = "en"
#: Weight of the identity in a rotation: it decides in directions that the sentences do not have.
_RIDGE = 1e-6
#: Fewer texts give no reliable mean of a language.
_FEW = 20
#: With hardly more sentences than dimensions, a rotation fits these sentences alone: 400 for 384 made rankings worse.
_SENTENCES_PER_DIMENSION = 2
#: Means that differ by less than this part of their greatest number are the same.
_SAME = 1e-5


@dataclass(frozen=True, eq=False)
class Sample:
    """Vectors of the texts that a correction is fitted on.

    Attributes:
        vectors: By role and language, the vectors of distinct texts.
        translations: Returns by language the numbers of sentences, (sentences,), and their vectors, (sentences,
            dimensions); translations have the same number.
    """

    vectors: Mapping[Role, Mapping[str, Chunks]]
    translations: Callable[[], Mapping[str, tuple[NDArray[np.int32], Vectors]]]


@dataclass(frozen=True, eq=False)
class AffineMap:
    """The map ``(vector - offset) @ matrix``; without a matrix, ``vector - offset``."""

    offset: Vectors
    matrix: Vectors | None = None

    @classmethod
    def from_floats(cls, offset: Floats, matrix: Floats | None = None) -> AffineMap:
        """Return a map in the precision of vectors."""
        return cls(offset.astype(np.float32), None if matrix is None else matrix.astype(np.float32))

    def __call__(self, vectors: Vectors) -> Vectors:
        """Return the mapped vectors, (texts, dimensions)."""
        if vectors.shape[1] != len(self.offset):
            raise ModelError(
                f"the correction was fitted on vectors of {len(self.offset)} dimensions, and the texts have vectors of "
                f"{vectors.shape[1]}"
            )
        moved: Vectors = vectors - self.offset
        if self.matrix is None:
            return moved
        # single products differ in their last digits between processors, double products before they are rounded
        product: Floats = moved.astype(np.float64) @ self.matrix.astype(np.float64)
        return product.astype(np.float32)


@dataclass(frozen=True, eq=False)
class FittedCorrection:
    """The maps by role and language, and for each role the map of languages that the fit has not seen."""

    maps: Mapping[Role, Mapping[str, AffineMap]]
    unseen: Mapping[Role, AffineMap]

    def __call__(self, vectors: Vectors, role: Role, language: str) -> Vectors:
        """Return the corrected vectors of texts in a language, (texts, dimensions)."""
        return self.maps[role].get(language, self.unseen[role])(vectors)

    @property
    def languages(self) -> frozenset[str]:
        """The languages that the fit has seen."""
        return frozenset(language for maps in self.maps.values() for language in maps)


def fit(name: CorrectionName, sample: Sample) -> FittedCorrection:
    """Fit a correction on a sample.

    For example, with vectors (0, 1) and (0, 3) of de and (4, 0) of en, ``center`` subtracts (0, 2) from de and (4, 0)
    from en. Raises `UsageError` if the sample does not have the languages, dimensions or translations that the
    correction needs.
    """
    if name.kind == "shift":
        return _shift(name, sample.vectors["document"])
    if name.scope == "role":
        fitted = {role: _fit(name, sample.vectors[role], sample) for role in ROLES}
    else:
        languages = dict.fromkeys(language for role in ROLES for language in sample.vectors[role])
        joined = {
            language: [chunk for role in ROLES for chunk in sample.vectors[role].get(language, ())]
            for language in languages
        }
        fitted = dict.fromkeys(ROLES, _fit(name, joined, sample))
    return FittedCorrection({role: fitted[role][0] for role in ROLES}, {role: fitted[role][1] for role in ROLES})


_Maps = tuple[Mapping[str, AffineMap], AffineMap]


def _fit(name: CorrectionName, texts: Mapping[str, Chunks], sample: Sample) -> _Maps:
    """Return the map of each language, and the map of an unseen language: that of all texts together."""
    few = [f"{language} ({count})" for language, chunks in texts.items() if (count := _count(chunks)) < _FEW]
    if few and name.scope != "shared" and name.kind != "all-but-the-top":
        log.warning(f"{name} is fitted on few texts of {', '.join(few)}: take at least {_FEW} of each language")
    everything = [chunk for chunks in texts.values() for chunk in chunks]
    if name.kind == "subspace":
        shared = _without_subspace(texts, int(name.number or 0))
        return dict.fromkeys(texts, shared), shared
    if name.kind == "procrustes":
        return _procrustes(texts, sample)
    fit_map = {"center": _center, "whiten": _whiten, "lir": _lir, "all-but-the-top": _all_but_the_top}[name.kind]
    shared = fit_map(everything, name.number or 0)
    if name.scope == "shared" or name.kind == "all-but-the-top":
        return {}, shared
    return {language: fit_map(chunks, name.number or 0) for language, chunks in texts.items()}, shared


def _center(chunks: Chunks, _: float) -> AffineMap:
    return AffineMap.from_floats(_mean(chunks))


def _whiten(chunks: Chunks, strength: float) -> AffineMap:
    """Return the map to zero mean and, with strength 1, unit covariance in all directions, by the symmetric root.

    The covariance is shrunk towards a multiple of the identity (Ledoit and Wolf 2004, equation 14), since a language
    may have fewer texts than dimensions. The symmetric root turns no direction into another, so languages stay aligned.
    """
    mean = _mean(chunks)
    count, covariance = _count(chunks), _second_moment(chunks, mean)
    scale = np.trace(covariance) / len(mean)
    if scale <= 0:
        raise UsageError("whiten needs different texts: all vectors of a language are the same")
    noise = sum(float((np.square(rows).sum(axis=1) ** 2).sum()) for rows in _moved(chunks, mean))
    noise = (noise / count - np.square(covariance).sum()) / count
    spread = np.square(covariance - scale * np.eye(len(mean))).sum()
    shrinkage = min(1.0, max(0.0, noise / spread)) if spread > 0 else 1.0
    values, directions = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * scale * np.eye(len(mean)))
    roots = np.maximum(values, values[-1] * 1e-12) ** (-strength / 2)
    return AffineMap.from_floats(mean, (directions * roots) @ directions.T)


def _lir(chunks: Chunks, directions: float) -> AffineMap:
    """Remove the first right singular vectors of a language's vectors (Yang et al. 2021, section 2)."""
    dimensions, count = chunks[0].shape[1], _count(chunks)
    _check_directions("lir", directions, min(dimensions - 1, count))
    origin = np.zeros(dimensions)
    return AffineMap.from_floats(origin, _without(_leading(_second_moment(chunks, origin), int(directions))))


def _all_but_the_top(chunks: Chunks, directions: float) -> AffineMap:
    """Subtract the mean and remove the first principal components (Mu and Viswanath 2018, algorithm 1)."""
    mean = _mean(chunks)
    number = int(directions) or max(1, round(len(mean) / 100))
    _check_directions("all-but-the-top", number, min(len(mean), _count(chunks)) - 1)
    return AffineMap.from_floats(mean, _without(_leading(_second_moment(chunks, mean), number)))


def _without_subspace(texts: Mapping[str, Chunks], directions: int) -> AffineMap:
    """Remove the directions in which the languages' means differ most (LSAR, Xie et al. 2022, algorithm 1).

    The second step of the algorithm changes the common mean within the span of the first step's directions, so the
    directions that are removed are those of the first step: the left singular vectors of the means, less their mean.
    """
    means = np.stack([_mean(chunks) for chunks in texts.values()])
    _check_directions("subspace", directions, min(len(means) - 1, means.shape[1] - 1))
    _, lengths, right = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    differ = lengths[:directions] > _SAME * np.abs(means).max()  # else the direction is that of rounding
    return AffineMap.from_floats(np.zeros(means.shape[1]), _without(right[:directions][differ].T))


def _procrustes(texts: Mapping[str, Chunks], sample: Sample) -> _Maps:
    """Subtract the mean, and rotate each language towards English.

    The rotation is the orthogonal matrix with the least squared distance between the sentences of a language and their
    English translations, each less the mean of its language (Schönemann 1966; Smith et al. 2017, section 2).
    """
    sentences = sample.translations()
    if SOURCE not in sentences:
        raise UsageError(
            f"procrustes needs parallel sentences, but no query is in '{SOURCE}' and in another language: fit it on a "
            "parallel task or file, as in --correct-on ntrex-ood:400"
        )
    maps = {language: _center(chunks, 0) for language, chunks in texts.items()}
    numbers, english = sentences[SOURCE]
    if len(numbers) < _SENTENCES_PER_DIMENSION * english.shape[1]:
        log.warning(
            f"procrustes is fitted on {len(numbers)} sentences for {english.shape[1]} dimensions, so the rotations fit "
            f"these sentences better than others: take at least {_SENTENCES_PER_DIMENSION * english.shape[1]}"
        )
    for language in sentences.keys() & maps.keys() - {SOURCE}:
        _, rows, targets = np.intersect1d(sentences[language][0], numbers, assume_unique=True, return_indices=True)
        if len(rows):
            rotation = _rotation(_centered(sentences[language][1][rows]), _centered(english[targets]))
            maps[language] = AffineMap.from_floats(_mean(texts[language]), rotation)
    return maps, _center([chunk for chunks in texts.values() for chunk in chunks], 0)


def _centered(vectors: Vectors) -> Floats:
    floats = vectors.astype(np.float64)
    centered: Floats = floats - floats.mean(axis=0)
    return centered


def _rotation(source: Floats, target: Floats) -> Floats:
    product = source.T @ target
    left, _, right = np.linalg.svd(product + _RIDGE * np.square(source).mean() * len(source) * np.eye(len(product)))
    rotation: Floats = left @ right
    return rotation


def _shift(name: CorrectionName, documents: Mapping[str, Chunks]) -> FittedCorrection:
    """Subtract from documents a part of their language's offset from English (SHIFT, Jang et al. 2026, equation 1).

    Queries, English documents, and documents of unseen languages stay as they are.
    """
    if SOURCE not in documents:
        raise UsageError(f"shift measures offsets from '{SOURCE}', but there is no such text to fit on")
    source = _mean(documents[SOURCE])
    nothing = AffineMap.from_floats(np.zeros_like(source))
    maps = {
        language: AffineMap.from_floats(float(name.number or 0) * (_mean(chunks) - source))
        for language, chunks in documents.items()
    }
    queries = dict.fromkeys(documents, nothing)
    return FittedCorrection({"query": queries, "document": maps}, dict.fromkeys(ROLES, nothing))


def _check_directions(kind: str, number: float, greatest: int) -> None:
    if number > greatest:
        reason = "languages" if kind == "subspace" else "dimensions and texts"
        raise UsageError(f"{kind}:{number:g} removes too many directions for its {reason}: at most {greatest}")


def _count(chunks: Chunks) -> int:
    return sum(len(chunk) for chunk in chunks)


def _mean(chunks: Chunks) -> Floats:
    """Return the mean, (dimensions,). Rows are added in their order, so that every machine gets the same bytes."""
    total: Floats = sum((chunk.sum(axis=0, dtype=np.float64) for chunk in chunks), np.zeros(chunks[0].shape[1]))
    return total / _count(chunks)


def _moved(chunks: Chunks, origin: Floats) -> Iterator[Vectors]:
    start = origin.astype(np.float32)
    return (chunk - start for chunk in chunks)


def _second_moment(chunks: Chunks, origin: Floats) -> Floats:
    """Return the mean outer product about `origin`, (dimensions, dimensions)."""
    total = sum(((rows.T @ rows).astype(np.float64) for rows in _moved(chunks, origin)), np.zeros((len(origin),) * 2))
    moment: Floats = total / _count(chunks)
    return moment


def _leading(moment: Floats, number: int) -> Floats:
    """Return the eigenvectors of the greatest eigenvalues, (dimensions, number)."""
    from scipy.linalg import eigh

    directions: Floats = eigh(moment, subset_by_index=(len(moment) - number, len(moment) - 1))[1]
    return directions


def _without(directions: Floats) -> Floats:
    """Return the projection onto the complement of orthonormal directions, (dimensions, dimensions)."""
    projection: Floats = np.eye(len(directions)) - directions @ directions.T
    return projection
