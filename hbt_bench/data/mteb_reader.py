"""Tasks of MTEB with several subsets, pooled into a collection and read with MTEB's own loaders."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hbt_bench.data import columns, records
from hbt_bench.data.collection import Collection
from hbt_bench.data.readers import CollectionBuilder, Defect, Parallel, SharedIds
from hbt_bench.data.records import PLACEHOLDER, Row, read_hub
from hbt_bench.data.row_fields import Columns
from hbt_bench.errors import DataError, UsageError
from hbt_bench.languages import from_mteb, parse_code

#: Tasks with a loader that numbers questions anew in every subset, with the columns that identify equal questions.
#: Belebele has a passage link and a question number, and configurations named like MTEB's codes with an underscore.
_ROWS = {
    "BelebeleRetrieval": Columns(
        id=("link", "question_number"), query="question", document="flores_passage", document_id=("link",)
    )
}


@dataclass(frozen=True)
class PooledTask:
    """An MTEB task and how to pool its subsets; `None` leaves the choice to MTEB's metadata.

    `codes` maps our language codes to subsets, or to MTEB's codes if subsets have two languages. `pairs` is the order
    of the two languages. `parallel` is the meaning of equal ids, which then must have `id_digits` hexadecimal digits.
    `ignore_identical_ids` is the rule for documents with the id of a query, None for the rule of MTEB's task. `skip`
    has the defects of the data that are skipped.
    """

    task: str
    codes: Mapping[str, str] | None = None
    split: str | None = None
    pairs: str | None = None  # "query-document" or "document-query"
    parallel: Parallel | None = None
    id_digits: int | None = None
    revision: str | None = None
    ignore_identical_ids: bool | None = None
    skip: frozenset[Defect] = frozenset()


def languages(name: str) -> tuple[str, ...]:
    """Return our codes of the languages of an MTEB task, sorted."""
    return tuple(sorted(_labels(_task(name))))


def metadata(name: str) -> dict[str, Any]:
    """Return MTEB's metadata of a task, with the keys of a task definition."""
    about = _task(name).metadata
    return {
        "reference": about.reference,
        "license": about.license,
        "date": about.date,
        "domains": tuple(about.domains or ()),
        "task_subtypes": tuple(about.task_subtypes or ()),
        "annotations_creators": about.annotations_creators,
        "sample_creation": about.sample_creation,
        "adapted_from": (about.name,),
        "citation": (about.bibtex_citation or "").strip() or None,
    }


def read(name: str, pooled: PooledTask, selected: Sequence[str]) -> Collection:
    """Load the subsets of the `selected` languages and pool them.

    Raises `DataError` if the data cannot be loaded or cannot be pooled in the way that `pooled` asks for.
    """
    task = _task(pooled.task)
    labels = _labels(task, pooled.codes)
    chosen = {code: labels[code] for code in selected}
    if pooled.revision:
        task.metadata = task.metadata.model_copy(
            update={"dataset": {**task.metadata.dataset, "revision": pooled.revision}}
        )
    split = pooled.split or task.metadata.eval_splits[0]
    if split not in task.metadata.eval_splits:
        raise DataError(f"{pooled.task} has no split '{split}' (it has {', '.join(task.metadata.eval_splits)})")
    if pooled.task in _ROWS:
        return _from_rows(name, task, _ROWS[pooled.task], chosen, split)
    if task.metadata.type == "BitextMining":
        return _bitext(name, task, chosen, split)
    if task.metadata.type != "Retrieval":
        raise DataError(
            f"{pooled.task} is a {task.metadata.type} task: only retrieval and bitext mining can be pooled; run it by "
            "its own name"
        )
    return _retrieval(name, task, pooled, chosen, split)


def _task(name: str) -> Any:
    records.spare_retries()
    import mteb

    try:
        return mteb.get_task(name)
    except KeyError as error:
        raise UsageError(str(error.args[0]).removeprefix("KeyError: ")) from error


def _labels(task: Any, codes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Map our codes to subsets, or to MTEB's codes if subsets have two languages; `codes` takes precedence.

    A code in `codes` that is mapped to itself, or to another spelling, is looked up too.
    """
    labels: dict[str, str] = {}
    names: dict[str, str] = {}  # MTEB's code -> name in the result
    subsets = task.metadata.hf_subsets_to_langscripts  # FLORES has 41,000
    pairs = _has_pairs(task)
    for subset, pair in subsets.items():
        for label in pair if pairs else pair[:1]:
            code = from_mteb(label)
            if code is not None:
                # the first of several variants of a language stays, but an exact subset name wins
                name = label if pairs else subset
                labels[code] = code if name == code else labels.get(code, name)
                names.setdefault(label, name)
    if codes is None:
        return labels
    allowed = {*labels.values(), *names.values(), *subsets}
    chosen = {}
    for code, label in codes.items():
        known = label if label in allowed and label != code else names.get(label) or labels.get(code)
        # a code that is not general, such as "arb", is that of a tag of MTEB, such as "arb-Arab"
        chosen[code] = known or next((name for tag, name in names.items() if parse_code(tag) == code), label)
    if unknown := next((code for code, label in chosen.items() if label not in allowed), None):
        raise DataError(f"{task.metadata.name} has no subset or language '{chosen[unknown]}' for '{unknown}'")
    return chosen


def _has_pairs(task: Any) -> bool:
    """Return whether subsets have two languages, for queries and for documents."""
    sizes = Counter(len(pair) for pair in task.metadata.hf_subsets_to_langscripts.values())
    return sizes[2] > sizes[1]


def _load(task: Any, subsets: list[str], split: str) -> None:
    """Load some subsets with MTEB's loader, which also covers tasks that build their data by code."""
    dataset = task.metadata.dataset["path"]
    records.check_remote(dataset)
    task.hf_subsets = subsets
    task.filter_eval_splits([split])
    with records.data_errors(dataset):
        task.load_data()
        if hasattr(task, "convert_v1_dataset_format_to_v2"):
            task.convert_v1_dataset_format_to_v2(num_proc=None)


def _retrieval(name: str, task: Any, pooled: PooledTask, chosen: Mapping[str, str], split: str) -> Collection:
    codes = {label: code for code, label in chosen.items()}
    subsets: dict[str, tuple[str, str]] = {}  # subset -> languages of queries and documents
    pairs = _has_pairs(task)
    for subset, pair in task.metadata.hf_subsets_to_langscripts.items():
        if not pairs:
            if subset in codes:
                subsets[subset] = (codes[subset], codes[subset])
        elif all(label in codes for label in pair):
            if pooled.pairs is None:
                raise DataError(
                    f"the subsets of {pooled.task} have two languages, for example {subset}: add `pairs: "
                    "query-document` or `pairs: document-query` to the source"
                )
            first, second = codes[pair[0]], codes[pair[1]]
            subsets[subset] = (first, second) if pooled.pairs == "query-document" else (second, first)
    _load(task, list(subsets), split)
    ignore_identical_ids = pooled.ignore_identical_ids
    if ignore_identical_ids is None:
        ignore_identical_ids = bool(getattr(task, "ignore_identical_ids", False))
    builder = CollectionBuilder(name, pooled.parallel or "none", pairs, ignore_identical_ids, pooled.skip)
    versions: list[tuple[str, Mapping[str, int]]] = []
    for subset, (query_language, document_language) in subsets.items():
        data = task.dataset[subset][split]
        queries = dict(zip(map(str, data["queries"]["id"]), data["queries"]["text"], strict=True))
        _check_ids(pooled, queries)
        # MTEB returns the judgements in an order that changes from run to run
        order = {query: index for index, query in enumerate(queries)}
        relevant = dict(sorted(data["relevant_docs"].items(), key=lambda item: (order.get(item[0], -1), item[0])))
        if pairs and (pooled.parallel or "none") == "none":
            queries, relevant = _by_text(queries, relevant)
        versions += relevant.items()
        builder.add((query_language, queries), (document_language, _documents(data["corpus"])), relevant)
    if pooled.parallel == "documents" and not pairs and len(subsets) > 1:
        _check_translations(pooled.task, versions)
    return builder.build()


def _by_text(
    queries: Mapping[str, str], relevant: Mapping[str, Mapping[str, int]]
) -> tuple[dict[str, str], dict[str, Mapping[str, int]]]:
    """Return queries and judgements under ids made of the texts, because each subset may number its queries anew."""
    ids = {key: hashlib.sha256(text.encode()).hexdigest()[:16] for key, text in queries.items()}
    merged: dict[str, Mapping[str, int]] = {}
    for key, grades in relevant.items():
        if key in ids:
            merged[ids[key]] = {**merged.get(ids[key], {}), **grades}
    return {ids[key]: text for key, text in queries.items()}, merged


def _check_translations(task: str, versions: Iterable[tuple[str, Mapping[str, int]]]) -> None:
    """Raise `DataError` unless most queries occur in several subsets with the same relevant documents."""
    ids = SharedIds.of(versions)
    if not ids.are_likely_translations:
        raise DataError(
            f"{task}: only {ids.equal:,} of {ids.total:,} query ids have the same relevant documents in several "
            "languages, so equal ids are not translations; set `parallel: none` in your own definition"
        )


def _check_ids(pooled: PooledTask, ids: Iterable[str]) -> None:
    """Raise `DataError` for a data set that numbers its queries anew in each language."""
    if not pooled.id_digits:
        return
    odd = next((key for key in ids if not re.fullmatch(f"[0-9a-f]{{{pooled.id_digits}}}", key)), None)
    if odd is not None:
        raise DataError(
            f"{pooled.task} has the query id '{odd}', which does not have {pooled.id_digits} hexadecimal digits: its "
            "languages cannot be matched by id; set `parallel: none` in your own definition"
        )


def _documents(corpus: Any) -> Iterator[tuple[str, str, str]]:
    """Yield id, text and title."""
    for row in corpus:
        yield str(row["id"]), row["text"], row.get("title") or ""


def _from_rows(name: str, task: Any, mapping: Columns, chosen: Mapping[str, str], split: str) -> Collection:
    """Read the rows of the data set at MTEB's commit, with a configuration per language."""
    dataset = task.metadata.dataset
    labels = {code: label.replace("-", "_") for code, label in chosen.items()}

    def rows() -> Iterator[Row]:
        for label in labels.values():
            yield from read_hub(
                dataset["path"], dataset["revision"], label, split, fields=mapping.fields(), language=label
            )

    return columns.collect(name, rows(), mapping, labels)


def _bitext(name: str, task: Any, chosen: Mapping[str, str], split: str) -> Collection:
    """Read a table with a column per language, or subsets of sentence pairs."""
    codes = {label: code for code, label in chosen.items()}
    subsets = {
        subset: tuple(pair)
        for subset, pair in task.metadata.hf_subsets_to_langscripts.items()
        if len(pair) == 2 and all(label in codes for label in pair)
    }
    if not subsets:
        raise DataError(f"{task.metadata.name} has no pair of the languages {' '.join(chosen)}")
    _load(task, list(subsets), split)

    def rows() -> Iterator[Row]:
        where = f"{task.metadata.dataset['path']}[{split}]"
        if task.parallel_subsets:
            # a subset such as "eng_Latn-deu_Latn" is named after its two columns
            labels = {
                column: label
                for subset, pair in subsets.items()
                for column, label in zip(subset.split("-"), pair, strict=True)
            }
            data = task.dataset[split]
            for number, row in enumerate(data.select_columns(sorted(labels))):
                yield Row({"id": str(number)} | {labels[key]: text for key, text in row.items()}, f"{where}:{number}")
            return
        for subset, pair in subsets.items():
            for number, row in enumerate(task.dataset[subset][split]):
                texts = {pair[0]: row["sentence1"], pair[1]: row["sentence2"]}
                yield Row({"id": f"{subset}/{number}"} | texts, f"{where}:{subset}:{number}")

    # a table has each sentence once; pairs repeat a sentence that is translated into several languages
    mapping = Columns(id=("id",), text=PLACEHOLDER, merge=not task.parallel_subsets)
    return columns.collect(name, rows(), mapping, chosen)
