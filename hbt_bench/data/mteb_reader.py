"""Multi-subset tasks of MTEB's as one collection, read with MTEB's own loaders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hbt_bench.data import columns, hub
from hbt_bench.data.builder import Pool
from hbt_bench.data.collection import Collection
from hbt_bench.data.columns import Columns
from hbt_bench.data.rows import Row
from hbt_bench.errors import DataError, UsageError
from hbt_bench.languages import from_mteb

if TYPE_CHECKING:
    from hbt_bench.tasks.sources import MtebSource

#: Tasks whose loader numbers questions anew in every subset, with the columns of their data set that tell which are
#: the same: Belebele's passage and question number. The configurations are MTEB's codes with an underscore.
_ROWS = {
    "BelebeleRetrieval": Columns(
        id=("link", "question_number"), query="question", document="flores_passage", document_id=("link",)
    )
}


def languages(name: str) -> tuple[str, ...]:
    """The languages of a task that have a code of ours, sorted."""
    return tuple(sorted(_labels(_task(name))))


def metadata(name: str) -> dict[str, Any]:
    """What MTEB says about the data, in the words of a definition."""
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


def read(name: str, source: MtebSource, wanted: Sequence[str]) -> Collection:
    """Load the subsets of the `wanted` languages and pool them.

    Raises `DataError` when the data cannot be had, or say themselves that they cannot be pooled as the source asks.
    """
    task = _task(source.task)
    labels = _labels(task, source.codes)
    chosen = {code: labels[code] for code in wanted}
    if source.revision:
        task.metadata = task.metadata.model_copy(
            update={"dataset": {**task.metadata.dataset, "revision": source.revision}}
        )
    split = source.split or task.metadata.eval_splits[0]
    if split not in task.metadata.eval_splits:
        raise DataError(f"{source.task} has no split '{split}' (it has {', '.join(task.metadata.eval_splits)})")
    if source.task in _ROWS:
        return _from_rows(name, task, _ROWS[source.task], chosen, split)
    if task.metadata.type == "BitextMining":
        return _bitext(name, task, chosen, split)
    if task.metadata.type != "Retrieval":
        raise DataError(
            f"{source.task} is a {task.metadata.type} task: retrieval and bitext mining can be pooled; run it by its "
            "own name"
        )
    return _retrieval(name, task, source, chosen, split)


def _task(name: str) -> Any:
    hub.spare_retries()
    import mteb

    try:
        return mteb.get_task(name)
    except KeyError as error:
        raise UsageError(str(error.args[0]).removeprefix("KeyError: ")) from error


def _labels(task: Any, codes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our codes with the subset, or with the MTEB code where subsets are of two languages; `codes` decides if given.

    A code that is given as itself is looked up too.
    """
    found: dict[str, str] = {}
    subsets = task.metadata.hf_subsets_to_langscripts  # FLORES has 41,000
    pairs = _is_pairs(task)
    for subset, pair in subsets.items():
        for label in pair if pairs else pair[:1]:
            code = from_mteb(label)
            if code is not None:
                # the first of several variants of a language stays, an exact subset name wins
                name = label if pairs else subset
                found[code] = code if name == code else found.get(code, name)
    if codes is None:
        return found
    chosen = {code: found.get(code, label) if label == code else label for code, label in codes.items()}
    known = {*found.values(), *subsets, *(label for pair in subsets.values() for label in pair)}
    for code, label in chosen.items():
        if label not in known:
            raise DataError(f"{task.metadata.name} has no subset or language '{label}' for '{code}'")
    return chosen


def _is_pairs(task: Any) -> bool:
    """Whether subsets are of two languages, one for queries and one for documents."""
    sizes = Counter(len(pair) for pair in task.metadata.hf_subsets_to_langscripts.values())
    return sizes[2] > sizes[1]


def _load(task: Any, subsets: list[str], split: str) -> None:
    """Load some subsets with MTEB's loader, which also knows those tasks that build their data by code."""
    hub.check_remote(task.metadata.dataset["path"])
    task.hf_subsets = subsets
    task.filter_eval_splits([split])
    try:
        task.load_data()
        if hasattr(task, "convert_v1_dataset_format_to_v2"):
            task.convert_v1_dataset_format_to_v2(num_proc=None)
    except Exception as error:  # the hub's client and MTEB's loaders raise many kinds
        raise DataError(hub.unreachable(task.metadata.dataset["path"], error)) from error


def _retrieval(name: str, task: Any, source: MtebSource, chosen: Mapping[str, str], split: str) -> Collection:
    own = {label: code for code, label in chosen.items()}
    subsets: dict[str, tuple[str, str]] = {}  # subset -> languages of queries and documents
    pairs = _is_pairs(task)
    for subset, pair in task.metadata.hf_subsets_to_langscripts.items():
        if not pairs:
            if subset in own:
                subsets[subset] = (own[subset], own[subset])
        elif all(label in own for label in pair):
            if source.pairs is None:
                raise DataError(
                    f"the subsets of {source.task} have two languages, as in {subset}: say `pairs: query-document` or "
                    "`pairs: document-query` in the source"
                )
            first, second = own[pair[0]], own[pair[1]]
            subsets[subset] = (first, second) if source.pairs == "query-document" else (second, first)
    _load(task, list(subsets), split)
    pool = Pool(name, source.parallel or "none", by_text=pairs)
    for subset, (query_language, document_language) in subsets.items():
        data = task.dataset[subset][split]
        queries = dict(zip(map(str, data["queries"]["id"]), data["queries"]["text"], strict=True))
        _check_ids(source, queries)
        # MTEB gives the judgements in an order that changes from run to run
        order = {query: place for place, query in enumerate(queries)}
        relevant = dict(sorted(data["relevant_docs"].items(), key=lambda item: (order.get(item[0], -1), item[0])))
        pool.add((query_language, queries), (document_language, _documents(data["corpus"])), relevant)
    return pool.collection()


def _check_ids(source: MtebSource, ids: Iterable[str]) -> None:
    """Raise `DataError` for ids that are not those by which the languages are parallel."""
    odd = [one for one in ids if source.id_digits and not re.fullmatch(f"[0-9a-f]{{{source.id_digits}}}", one)]
    if odd:
        raise DataError(
            f"{source.task} has the query id '{odd[0]}', not one of {source.id_digits} hexadecimal digits: its "
            "languages cannot be matched by id; say `parallel: none` in a definition of your own"
        )


def _documents(corpus: Any) -> Iterator[tuple[str, str]]:
    """Id and text, the title before it as MTEB's encoders see it."""
    titles = "title" in corpus.column_names
    for row in corpus:
        title = row["title"] if titles else ""
        yield str(row["id"]), f"{title} {row['text']}".strip() if title else row["text"]


def _from_rows(name: str, task: Any, mapping: Columns, chosen: Mapping[str, str], split: str) -> Collection:
    """From the rows of the data set at MTEB's commit, one configuration a language."""
    dataset = task.metadata.dataset
    labels = {code: label.replace("-", "_") for code, label in chosen.items()}

    def rows() -> Iterator[Row]:
        for label in labels.values():
            yield from hub.read_rows(dataset["path"], dataset["revision"], label, split, mapping.fields(), label)

    return columns.collect(name, rows(), mapping, labels)


def _bitext(name: str, task: Any, chosen: Mapping[str, str], split: str) -> Collection:
    """From a table with a column a language, or from subsets of sentence pairs."""
    own = {label: code for code, label in chosen.items()}
    subsets = {
        subset: tuple(pair)
        for subset, pair in task.metadata.hf_subsets_to_langscripts.items()
        if len(pair) == 2 and all(label in own for label in pair)
    }
    if not subsets:
        raise DataError(f"{task.metadata.name} has no pair of the languages {' '.join(chosen)}")
    _load(task, list(subsets), split)

    def rows() -> Iterator[Row]:
        where = f"{task.metadata.dataset['path']}[{split}]"
        if task.parallel_subsets:
            named = {column: label for subset, pair in subsets.items() for column, label in _split(subset, pair)}
            data = task.dataset[split]
            for number, row in enumerate(data.select_columns(sorted(named))):
                yield Row({"id": str(number)} | {named[key]: text for key, text in row.items()}, f"{where}:{number}")
            return
        for subset, pair in subsets.items():
            for number, row in enumerate(task.dataset[subset][split]):
                texts = {pair[0]: row["sentence1"], pair[1]: row["sentence2"]}
                yield Row({"id": f"{subset}/{number}"} | texts, f"{where}:{subset}:{number}")

    # a table has each sentence once; pairs repeat the sentence that several languages translate
    mapping = Columns(id=("id",), text=columns.PLACEHOLDER, merge=not task.parallel_subsets)
    return columns.collect(name, rows(), mapping, dict(chosen))


def _split(subset: str, pair: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The columns of a subset named ``eng_Latn-deu_Latn`` with their languages."""
    yield from zip(subset.split("-"), pair, strict=True)
