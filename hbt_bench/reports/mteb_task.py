"""Export a task for a pull request to MTEB: data for the hub, task file, statistics and checklist."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from hbt_bench.errors import DataError, OutputError, UsageError
from hbt_bench.files import check_writable, write_bytes, write_text
from hbt_bench.ranking.subsets import Subset
from hbt_bench.tasks.registry import TaskRegistry

if TYPE_CHECKING:
    from hbt_bench.data.collection import Collection
    from hbt_bench.mteb.tasks import ParallelRetrieval

log = logging.getLogger(__name__)

#: MTEB's main score of retrieval tasks.
MAIN_SCORE = "ndcg_at_10"
#: Subsets that are loaded with MTEB. For each, its loader looks up the files of all subsets.
_CHECKED = 20
_TEMPLATE = '''from __future__ import annotations

from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

_EVAL_LANGS = {{
{eval_langs}
}}


class {name}(AbsTaskRetrieval):
{ignore}    metadata = TaskMetadata(
{fields}
        bibtex_citation=r"""
{citation}
""",
    )
'''
_PULL_REQUEST = """# {name}

{description}

1. Upload the data: `hf upload {hub} dataset . --repo-type dataset`.
2. Write the commit of the upload into `{task_file}`, as `revision`: export again with `--revision COMMIT`.
3. Copy `mteb/` into a clone of [mteb](https://github.com/embeddings-benchmark/mteb), and add the import to
   `mteb/tasks/retrieval/{folder}/__init__.py`: `from .{module} import {name}`.
4. Open the pull request with the checklist of
   [adding a task](https://embeddings-benchmark.github.io/mteb/contributing/adding_a_dataset/):

- [ ] I have outlined why this dataset is filling an existing gap in `mteb`
- [x] I have tested that the dataset runs with the `mteb` package. (mteb {mteb} loaded {loaded} of {subsets:,} subsets.)
- [ ] I have run the following models on the task (adding the results to the pr). These can be run using the
  `mteb run -m {{model_name}} -t {{task_name}}` command.
  - [ ] `mteb/baseline-random-encoder`
  - [ ] `intfloat/multilingual-e5-small` or another small model
- [ ] I have checked that the performance is neither trivial (close to perfect scores) nor random.
- [ ] I have considered the size of the dataset and reduced it if it is too big: {queries:,} queries and {documents:,}
  documents in {subsets:,} subsets.
- [ ] I reproduced scores from the original paper (if applicable) and added them to the PR description for reference.
"""


def export_task(
    name: str,
    hub: str,
    output: Path,
    data_dir: Path | None = None,
    registry: TaskRegistry | None = None,
    revision: str = "main",
) -> Path:
    """Write a task as MTEB wants it in a pull request, and load it with MTEB. Return the path of the task file.

    ``<output>/dataset`` has the data in MTEB's layout for the repository `hub` of the hub, ``<output>/mteb`` the task
    file and the descriptive statistics at their places in MTEB, and ``<output>/PULL_REQUEST.md`` the steps and the
    checklist. `revision` is the commit of the uploaded data. For example,
    ``export_task("xquad-r-multi", "org/xquad-r-multi", Path("pr"))``.

    Raises `UsageError` for another name than that of a mode, missing metadata, and data that MTEB cannot rank alike;
    `DataError` if data are missing, or differ if MTEB loads them; `OutputError` if a file cannot be written.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", hub):
        raise UsageError(f"{hub} is not the name of a repository on the hub: give it as ORG/NAME")
    if pattern := re.search(r"[*?\[\]]", str(output.resolve())):
        raise UsageError(f"{output} has {pattern[0]} in its path, which MTEB cannot load: choose another --output")
    task = _load(registry or TaskRegistry(), name, data_dir)
    fields = {**task.metadata.model_dump(), "main_score": MAIN_SCORE, "dataset": {"path": hub, "revision": revision}}
    folder = "multilingual" if len(task.metadata.languages) > 1 else task.metadata.languages[0]
    module = f"{task.shared.spec.base.replace('-', '_')}_{task.mode}_retrieval"
    task_file = output / "mteb" / "tasks" / "retrieval" / folder / f"{module}.py"
    check_writable(output)
    data = output / "dataset"
    configs = _write_data(task, data)
    write_text(task_file, _source(fields, ignore=task.ignore_identical_ids))
    statistics = output / "mteb" / "descriptive_stats" / "Retrieval" / f"{fields['name']}.json"
    metadata = _metadata(fields, statistics)
    _write_card(metadata, configs, data)
    loaded = _check(task_file, fields, data, statistics, task)
    _write_card(metadata, configs, data)  # with the statistics
    collection = task.shared.collection
    text = _PULL_REQUEST.format(
        **{key: fields[key] for key in ("name", "description")},
        hub=hub,
        task_file=task_file.relative_to(output),
        folder=folder,
        module=module,
        mteb=version("mteb"),
        queries=len(collection.queries),
        documents=len(collection.documents),
        loaded=len(loaded),
        subsets=len(task.dataset),
    )
    write_text(output / "PULL_REQUEST.md", text)
    return task_file


def _load(registry: TaskRegistry, name: str, data_dir: Path | None) -> ParallelRetrieval:
    """Return the task of a name. Raises `UsageError` if MTEB cannot have it."""
    selections = registry.select(name)
    modes = [(selection.spec, mode) for selection in selections if selection.spec for mode in selection.modes]
    if len(modes) != 1 or len(selections) != 1:
        example = modes[-1][0].task_name(modes[-1][1]) if modes else "xquad-r-multi"
        raise UsageError(f"{name} is not a single task of hbt-bench: name a mode, such as {example}")
    from hbt_bench.mteb.metadata import defined_metadata
    from hbt_bench.mteb.tasks import ParallelRetrieval, SharedPass, quiet_libraries

    spec, mode = modes[0]
    quiet_libraries()
    if not defined_metadata(spec, mode).is_filled():
        about = spec.about
        missing = [key for key in type(about).model_fields if not getattr(about, key) and key != "adapted_from"]
        raise UsageError(f"MTEB needs all metadata, but the definition of {spec.base} has no {', '.join(missing)}")
    collection = spec.load(None, data_dir)
    for row, query in enumerate(collection.queries):
        if others := [key for key in collection.own_documents(row) if key != query.id]:
            raise UsageError(
                f"{name} cannot be a task of MTEB: the text of the query {query.id} is also the document {others[0]}, "
                "but MTEB leaves out documents with the id of the query only"
            )
    task = ParallelRetrieval(SharedPass(spec, collection), mode)
    task.load_data()
    return task


def _write_data(task: ParallelRetrieval, folder: Path) -> list[dict[str, Any]]:
    """Write a file for each language and for the judgements of each subset. Return the configurations of the hub."""
    collection: Collection = task.shared.collection
    files: dict[str, pa.Table] = {}
    for code, block in collection.query_blocks.items():
        files[f"queries/{code}.parquet"] = _texts(collection.queries[block])
    for code, block in collection.document_blocks.items():
        files[f"corpus/{code}.parquet"] = _texts(collection.documents[block])
    configs = []
    for name, split in task.dataset.items():
        subset = Subset.parse(name)
        if subset is None:
            raise AssertionError(f"{name} is not a subset of ours")
        judged = [
            (query, key, grade)
            for query, grades in split["test"]["relevant_docs"].items()
            for key, grade in grades.items()
        ]
        columns = zip(("query-id", "corpus-id", "score"), zip(*judged, strict=True), strict=True)
        files[f"qrels/{name}.parquet"] = pa.table({column: list(values) for column, values in columns})
        documents = collection.document_blocks if subset.documents is None else [subset.documents]
        parts = {
            "corpus": [f"corpus/{code}.parquet" for code in documents],
            "queries": [f"queries/{subset.queries}.parquet"],
            "qrels": [f"qrels/{name}.parquet"],
        }
        for part, paths in parts.items():
            configs.append({"config_name": f"{name}-{part}", "data_files": [{"split": "test", "path": paths}]})
    for present in folder.glob("*/*.parquet"):
        if str(present.relative_to(folder)) not in files:
            raise OutputError(f"{present} belongs to another export: choose another --output, or remove the folder")
    for path, table in files.items():
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        write_bytes(folder / path, buffer.getvalue())
    return configs


def _texts(rows: Any) -> pa.Table:
    return pa.table({"id": [row.id for row in rows], "text": [row.text for row in rows]})


def _source(fields: Mapping[str, Any], *, ignore: bool) -> str:
    """Return the code of the task file."""
    names = (
        "name", "description", "reference", "dataset", "type", "category", "modalities", "eval_splits", "main_score",
        "date", "domains", "task_subtypes", "license", "annotations_creators", "dialect", "sample_creation",
        "adapted_from",
    )  # fmt: skip
    lines = [f"        {name}={_literal(fields[name])}," for name in names if fields[name] is not None]
    lines.insert(names.index("main_score"), "        eval_langs=_EVAL_LANGS,")
    return _TEMPLATE.format(
        name=fields["name"],
        eval_langs="\n".join(f"    {_literal(key)}: {_literal(codes)}," for key, codes in fields["eval_langs"].items()),
        ignore="    ignore_identical_ids = True\n\n" if ignore else "",
        fields="\n".join(lines),
        citation=fields["bibtex_citation"].strip(),
    )


def _literal(value: Any) -> str:
    """Return a value as Python, with the quotation marks of MTEB's formatter."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))})"
    return json.dumps(value, ensure_ascii=False)


def _metadata(fields: Mapping[str, Any], statistics: Path) -> Any:
    """Return MTEB's metadata, with statistics in a file of the export."""
    from mteb.abstasks.task_metadata import TaskMetadata

    class Exported(TaskMetadata):  # type: ignore[misc]  # mteb is not followed by mypy
        @property
        def descriptive_stat_path(self) -> Path:
            return statistics

    return Exported(**fields)


def _write_card(metadata: Any, configs: list[dict[str, Any]], folder: Path) -> None:
    """Write MTEB's card of the data set, with the configurations that MTEB's loader looks up."""
    card = metadata.generate_dataset_card()
    card.data.configs = configs
    write_text(folder / "README.md", str(card))


def _check(
    task_file: Path, fields: Mapping[str, Any], data: Path, statistics: Path, task: ParallelRetrieval
) -> list[str]:
    """Load the export with MTEB's own task, compare the data, and write the statistics. Return the loaded subsets."""
    stock = _stock_task(task_file, fields["name"])
    stock.metadata = _metadata({**fields, "dataset": {"path": str(data.resolve()), "revision": "main"}}, statistics)
    stock.hf_subsets = list(task.dataset)[:_CHECKED]
    with _loading():
        stock.load_data()
        for name in stock.hf_subsets:
            if _plain(stock.dataset[name]["test"]) != _plain(task.dataset[name]["test"]):
                raise DataError(f"MTEB loads other data of the subset {name} than were exported")
        stock.dataset = task.dataset
        stock.calculate_descriptive_statistics(overwrite_results=True)
    loaded: list[str] = stock.hf_subsets
    return loaded


def _stock_task(task_file: Path, name: str) -> Any:
    """Return the task of a task file."""
    module_spec = spec_from_file_location(task_file.stem, task_file)
    if module_spec is None or module_spec.loader is None:
        raise AssertionError(f"{task_file} is not a module")
    module = module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return getattr(module, name)()


def _plain(data: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return queries, documents and judgements as plain values."""
    texts = [dict(zip(data[role]["id"], data[role]["text"], strict=True)) for role in ("queries", "corpus")]
    return (*texts, data["relevant_docs"])


@contextmanager
def _loading() -> Iterator[None]:
    """Load data sets without progress bars, and into a cache that is deleted."""
    import datasets

    with (
        TemporaryDirectory() as cache,
        patch.object(datasets.config, "HF_DATASETS_CACHE", Path(cache)),
        redirect_stderr(io.StringIO()),
    ):
        yield
