"""Models with corrected vectors, and the texts that a correction is fitted on."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hbt_bench.data.collection import Collection
from hbt_bench.data.judgements import Qrels
from hbt_bench.distributed import ALONE
from hbt_bench.errors import ModelError, UsageError
from hbt_bench.identity.correction_name import CorrectionName
from hbt_bench.log import counter
from hbt_bench.mteb.fit_file import read_fit_file
from hbt_bench.mteb.saved_correction import SavedFit, check_target, save, text_hashes
from hbt_bench.ranking.correction import FittedCorrection, fit
from hbt_bench.ranking.encode import Encoded, Encoder, Encoding, distinct_texts
from hbt_bench.ranking.ranks import ScoringModel
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.tasks.task import TaskSpec

log = logging.getLogger(__name__)

#: The source that stands for the texts of the evaluated collection.
OWN = "own"
_FILES = re.compile(r".+\.(parquet|(jsonl|tsv|csv)(\.gz)?)")
#: The message for a model without vectors; `name` is the model.
NO_VECTORS = "{name} does not give one vector per text, which --correct could change. Leave it out."
_NUMBER = re.compile(r"(?P<source>.+):(?P<count>[1-9]\d{0,8})")


@dataclass(frozen=True)
class FitTexts:
    """The held-out texts that a correction is fitted on, with no judgements.

    Attributes:
        source: The name of a task, a task file, or a file with fields ``text``, ``language`` and perhaps ``id``.
        count: The number of texts of each language and role, None for all.
        registry: Finds the task.
        data_dir: The folder of the data files.
    """

    source: str
    count: int | None
    registry: TaskRegistry
    data_dir: Path | None = None

    @cached_property
    def name(self) -> str:
        """The name of the collection or the file, without its ending."""
        if _FILES.fullmatch(self.source):
            return re.sub(r"[^\w.-]|_", "-", Path(self.source).name.partition(".")[0])
        spec = self._spec
        return spec.task_name(spec.modes[0]).replace(f"-{spec.modes[0]}", "")

    @cached_property
    def _spec(self) -> TaskSpec:
        selections = self.registry.select(self.source)
        if len(selections) != 1 or selections[0].spec is None:
            raise UsageError(
                f"--correct-on {self.source} is not a task with the languages of its texts: name a task such as "
                "ntrex-ood, or a file (.jsonl, .csv, .tsv or .parquet) with the fields text and language"
            )
        return selections[0].spec

    @cached_property
    def collection(self) -> Collection:
        """The texts as a collection without judgements; translations have the same question."""
        if _FILES.fullmatch(self.source):
            collection = read_fit_file(Path(self.source).expanduser())
        else:
            collection = self._spec.load(None, self.data_dir)
        self._log_fewer(collection)
        return _without_judgements(collection, self.count)

    def _log_fewer(self, collection: Collection) -> None:
        """Log a warning if languages have fewer texts than the number of texts."""
        blocks = [*collection.query_blocks.items(), *collection.document_blocks.items()]
        count = self.count or 0
        if fewer := dict.fromkeys(code for code, block in blocks if block.stop - block.start < count):
            log.warning(f"{self.name} has fewer than {count:,} texts of {' '.join(fewer)}: all of these are used")

    @cached_property
    def hashes(self) -> frozenset[int]:
        """Hashes of the texts."""
        return text_hashes(self.collection)

    def fit(self, name: CorrectionName, encoding: Encoding) -> FittedCorrection:
        """Encode the texts and fit a correction on them.

        The first process fits for all, so that all have the same bytes.
        """
        total = distinct_texts(self.collection, getattr(encoding.encoder, "symmetric", False))
        progress = counter("encoding texts to fit on", total)
        encoded = Encoded.from_collection(self.collection, replace(encoding, progress=progress))
        return _fit(name, encoded, encoding)

    @cached_property
    def mark(self) -> str:
        """The source in a revision: name, number and a hash of the texts."""
        digest = hashlib.sha256()
        texts = [(row.language, row.text) for row in self.collection.queries]
        for language, text in texts + [(row.language, row.text) for row in self.collection.documents]:
            encoded = f"{language}\0{text}".encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        digest.update(self.collection.questions.astype("<i4").tobytes())
        count = f"_{self.count}" if self.count else ""
        return f"{self.name}{count}_{digest.hexdigest()[:8]}"


@dataclass(frozen=True)
class Correction:
    """A correction, and the texts that it is fitted on.

    For example, ``Correction.parse("center")`` and ``Correction.parse("subspace:4", "cldr-facts")``.

    Attributes:
        name: The kind of correction.
        texts: Held-out texts, or a fit on such texts that was saved; None for the collection that is evaluated.
        target: The file or folder that the first evaluation writes, None for none.
    """

    name: CorrectionName
    texts: FitTexts | SavedFit | None = None
    target: Path | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` if the correction cannot be saved as `target`."""
        if self.target is not None:
            check_target(self.name, self.texts, self.target)

    @classmethod
    def parse(
        cls,
        name: str,
        on: str = OWN,
        registry: TaskRegistry | None = None,
        data_dir: Path | None = None,
        target: Path | None = None,
    ) -> Correction:
        """Read the values of ``--correct``, ``--correct-on`` and ``--save-correction``.

        Raises `UsageError` if they cannot be, and `DataError` for a file that is no saved correction.
        """
        if name.endswith(".npz"):
            if on != OWN:
                raise UsageError(f"{name} has been fitted: leave --correct-on out")
            saved = SavedFit.read(Path(name).expanduser())
            return cls(saved.correction, saved, target)
        correction = CorrectionName.parse(name)
        if on == OWN:
            return cls(correction, None, target)
        match = _NUMBER.fullmatch(on)
        source, count = (match["source"], int(match["count"])) if match else (on, None)
        if source == OWN:
            raise UsageError("--correct-on own has all texts of the collection: leave the number out")
        if _FILES.fullmatch(source) and not Path(source).expanduser().is_file():
            raise UsageError(f"there is no file {source}, which --correct-on names")
        texts = FitTexts(source, count, registry or TaskRegistry(), data_dir)
        _ = texts.name  # raises an error for an unknown task
        return cls(correction, texts, target)

    @cached_property
    def mark(self) -> str:
        """The correction in a revision, such as ``center-on-own``; texts of the collection itself are transductive."""
        return f"{self.name.mark}-on-{self.texts.mark if self.texts else OWN}"

    def check(self, task: str) -> None:
        """Raise `UsageError` if the texts of a task, given by its base name, are held out in name only."""
        if self.texts and self.texts.name.partition("[")[0].partition("+")[0] == task:
            raise UsageError(
                f"{task} is evaluated, so its texts are not held out: name others, or leave --correct-on out"
            )

    def fit(self, evaluated: Encoded, encoding: Encoding) -> FittedCorrection:
        """Return the correction, fitted on the evaluated collection or on the held-out texts, which are encoded."""
        return _fit(self.name, evaluated, encoding) if self.texts is None else self.texts.fit(self.name, encoding)


def _fit(name: CorrectionName, encoded: Encoded, encoding: Encoding) -> FittedCorrection:
    fitted: FittedCorrection = encoding.processes.share(
        fit(name, encoded.sample) if encoding.processes.rank == 0 else None, 0
    )
    return fitted


class CorrectedModel:
    """An encoder with corrected vectors, by MTEB's protocol.

    Attributes:
        model: The encoder, by MTEB's protocol.
        given: The object that the caller gave, perhaps a model of sentence-transformers.
        correction: The correction and the texts to fit on.
        mteb_model_meta: MTEB's description. The revision ends with the mark of the correction.
    """

    #: Returns the encoder of a model, for `save`; `hbt_bench.corrected` sets it.
    encoder_of: Callable[[Any, int], Encoder] | None = None

    def __init__(self, model: Any, correction: Correction, given: Any = None) -> None:
        self.model, self.correction, self.given = model, correction, model if given is None else given
        meta = model.mteb_model_meta
        self.mteb_model_meta = meta.model_copy(update={"revision": f"{meta.revision}-{correction.mark}"})
        self._held_out: FittedCorrection | None = None

    def fit(self, evaluated: Encoded, encoding: Encoding) -> FittedCorrection:
        """Return the fitted correction. With held-out texts, it is fitted once for all collections."""
        if self.correction.texts is None:
            return self.correction.fit(evaluated, encoding)
        if self._held_out is None:
            self._held_out = self.correction.fit(evaluated, encoding)
            if self.correction.target is not None and encoding.processes.rank == 0:
                self._save(self._held_out, encoding.encoder, self.correction.target)
        _log_shared(self.correction.texts, evaluated.collection)
        self._log_unseen(self._held_out, evaluated.collection)
        return self._held_out

    def _log_unseen(self, fitted: FittedCorrection, collection: Collection) -> None:
        unseen = [code for code in collection.languages if code not in fitted.languages]
        if unseen and fitted.languages:
            log.warning(
                f"{collection.name}: {self.correction.texts and self.correction.texts.name} has no {' '.join(unseen)}: "
                "these languages get the correction of all its texts together"
            )

    def save(self, path: str | Path, batch_size: int = 32) -> None:
        """Encode the held-out texts, fit the correction on them, and save it.

        For example, ``hbt_bench.corrected(model, "center", on="ntrex-ood:400").save("means.npz")``: then
        ``hbt_bench.corrected(model, "means.npz")`` has the same correction. A path that does not end with .npz is a
        folder for a model of sentence-transformers with one more module, which needs a correction that is the same for
        all languages. Raises `UsageError` for any other, and for a correction of the evaluated texts.
        """
        check_target(self.correction.name, self.correction.texts, Path(path))
        assert self.correction.texts is not None
        assert self.encoder_of is not None
        encoding = Encoding(self.encoder_of(self.model, batch_size), None, ALONE, lambda count: None)
        self._held_out = self._held_out or self.correction.texts.fit(self.correction.name, encoding)
        self._save(self._held_out, encoding.encoder, Path(path))

    def _save(self, fitted: FittedCorrection, encoder: Encoder, path: Path) -> None:
        assert isinstance(self.correction.texts, FitTexts)
        save(self.correction.name, self.correction.texts, fitted, self.model, encoder, path)

    def encode(self, inputs: Any, **options: Any) -> Any:
        """Raise `ModelError`: only our tasks know the language of each text."""
        raise ModelError(
            f"{self.mteb_model_meta.name} is corrected by language, and only the tasks of hbt-bench have the language "
            "of each text. Evaluate the model without a correction here."
        )

    def similarity(self, queries: Any, documents: Any) -> Any:
        """Return the similarity that the encoder defines."""
        return self.model.similarity(queries, documents)

    def similarity_pairwise(self, queries: Any, documents: Any) -> Any:
        """Return the similarity of pairs that the encoder defines."""
        return self.model.similarity_pairwise(queries, documents)


def uncorrected(model: Any) -> Any:
    """Return the encoder of a corrected model, or the model itself."""
    return model.model if isinstance(model, CorrectedModel) else model


def check_vectors_known(model: Any, name: str) -> None:
    """Raise `UsageError` for a model object that does not give vectors, which could be corrected."""
    from mteb.models import CrossEncoderProtocol, EncoderProtocol, SearchProtocol, SparseEncoderWrapper

    others = (ScoringModel, SearchProtocol, CrossEncoderProtocol, SparseEncoderWrapper, CorrectedModel)
    if not isinstance(model, EncoderProtocol) or isinstance(model, others):
        raise UsageError(NO_VECTORS.format(name=name))


def _log_shared(held_out: FitTexts | SavedFit, evaluated: Collection) -> None:
    """Log a warning if texts of the evaluated collection are among those of the fit."""
    texts = text_hashes(evaluated)
    if shared := len(texts & held_out.hashes):
        log.warning(
            f"{evaluated.name}: {shared:,} of {len(texts):,} texts are also in {held_out.name}, which the correction "
            "is fitted on, so they are not held out"
        )


def _without_judgements(collection: Collection, count: int | None) -> Collection:
    """Return the first texts of each language and role, without any judgement."""
    queries, documents = (
        np.concatenate([_first(block, numbers, count) for block in blocks.values()])
        for blocks, numbers in (
            (collection.query_blocks, collection.questions),
            (collection.document_blocks, np.arange(len(collection.documents))),
        )
    )
    empty = Qrels(np.zeros(len(queries) + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int16))
    return replace(
        collection,
        queries=tuple(collection.queries[row] for row in queries.tolist()),
        documents=tuple(collection.documents[row] for row in documents.tolist()),
        query_languages=collection.query_languages[queries],
        document_languages=collection.document_languages[documents],
        questions=collection.questions[queries],
        qrels=empty,
        copies=None,
        levels={},
    )


def _first(block: slice, numbers: Any, count: int | None) -> Any:
    rows = np.arange(block.start, block.stop)
    return np.sort(rows[np.argsort(numbers[rows], kind="stable")][:count])
