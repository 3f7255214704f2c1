"""MTEB's metadata of our tasks, from their definitions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mteb.abstasks.task_metadata import TaskMetadata

from hbt_bench.data.data_files import cache_dir
from hbt_bench.identity.task_name import Mode, TaskName
from hbt_bench.languages import get_language
from hbt_bench.mteb.shared_pass import SPLIT
from hbt_bench.ranking.subsets import Subset, subsets
from hbt_bench.tasks.task import TaskSpec

#: The sentence that each mode adds to the description of a collection.
_MODE_SENTENCES: dict[Mode, str] = {
    "mono": "Queries of each language search the candidates of the same language.",
    "cross": "Queries of each language search the candidates of one other language.",
    "multi": "Queries of each language search the candidates of all languages in one pool.",
}


class MtebMetadata(TaskMetadata):  # type: ignore[misc]  # mteb is not followed by mypy
    """MTEB's metadata, with the descriptive statistics in our cache. MTEB writes them into its installation."""

    @property
    def descriptive_stat_path(self) -> Path:
        """The file of `calculate_descriptive_statistics`, which holds for a revision of the data."""
        revision: str = self.dataset["revision"]
        return cache_dir() / "descriptive_stats" / revision / f"{self.name}.json"


def task_metadata(
    spec: TaskSpec, mode: Mode, languages: Sequence[str], chosen: Iterable[Subset], revision: str
) -> MtebMetadata:
    """Return MTEB's metadata of a mode of a collection in `languages`, with the subsets `chosen`."""
    about = spec.about
    return MtebMetadata(
        name=spec.mteb_task_name(mode, languages),
        description=f"{spec.description} {_MODE_SENTENCES[mode]}",
        dataset={"path": f"hbt-bench/{spec.base}", "revision": revision},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=[SPLIT],
        eval_langs={subset.name: _codes(subset, languages) for subset in chosen},
        main_score=spec.main_score,
        reference=about.reference,
        license=about.license,
        date=about.date,
        domains=list(about.domains) or None,
        task_subtypes=list(about.task_subtypes),
        annotations_creators=about.annotations_creators,
        dialect=[],
        sample_creation=about.sample_creation,
        adapted_from=list(about.adapted_from) or None,
        bibtex_citation=about.citation,
    )


def defined_metadata(spec: TaskSpec, mode: Mode) -> MtebMetadata:
    """Return the metadata of a task before its data are read.

    The revision is a hash of the definition, with the pins of its data. The subsets are all of the mode in languages
    with queries and documents, as far as the golden counts of the definition name them.
    """
    languages = spec.languages
    restriction, expect = TaskName.parse(spec.name), spec.expect
    queries = restriction.queries or (expect and tuple(expect.queries)) or languages
    documents = restriction.documents or (expect and tuple(expect.documents)) or languages
    chosen = (
        subset
        for subset in subsets(languages, mode)
        if subset.queries in queries and (subset.documents is None or subset.documents in documents)
    )
    definition = f"{spec.name} {spec.source.model_dump_json()}"
    return task_metadata(spec, mode, languages, chosen, hashlib.sha256(definition.encode()).hexdigest()[:16])


def _codes(subset: Subset, languages: Sequence[str]) -> list[str]:
    """Return MTEB's codes of a subset: the query language first, then those of the documents."""
    documents = languages if subset.documents is None else [subset.documents]
    # regions of a language share a code in MTEB
    return list(dict.fromkeys(get_language(code).mteb for code in (subset.queries, *documents)))


@cache
def text_count(task: str) -> int | None:
    """Return the number of texts in a task of MTEB, by its statistics, which are shipped with MTEB."""
    import mteb

    found: Any = mteb.get_task(task)
    described = [part.metadata for part in getattr(found, "tasks", [found])]  # an aggregate has several
    splits = [(about.descriptive_stats or {}).get(split, {}) for about in described for split in about.eval_splits]
    counts = [split["num_samples"] for split in splits if "num_samples" in split]
    return sum(counts) if counts else None
