"""Export results as TREC runs and qrels, for trec_eval, ir_measures, ranx and other programs."""

from __future__ import annotations

import gzip
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from hbt_bench.errors import OutputError
from hbt_bench.files import check_writable, write_bytes, write_text
from hbt_bench.ranking.subsets import SubsetQrels, judged_subsets
from hbt_bench.results.kept_runs import kept_run_path, read_kept_run
from hbt_bench.results.ranks_file import Ids, StoredRanks
from hbt_bench.results.store import Result, read_all
from hbt_bench.settings import check_whole

log = logging.getLogger(__name__)


def export_trec(folder: Path, output: Path, depth: int | None = None) -> list[Path]:
    """Write the run and the qrels of each subset of each result, and the language of each document.

    The layout is ``<output>/<model>/<revision>/<Task>/``, with ``<subset>.trec.gz`` and ``<subset>.qrels`` for each
    subset, and ``documents.tsv`` with the documents that these files name and their languages. A run is taken from the
    file that ``run --keep-run`` wrote. Without this file, stored ranks have the best 20 documents of the pool, without
    scores: then the score falls by 1 from document to document.

    `depth` is the number of documents of each query, None for all that are stored. Results that have fewer documents
    are left out with a warning. Returns the folders. Raises `UsageError` for a depth that cannot be, and `OutputError`
    if no run can be exported.
    """
    check_whole("depth", depth, none="all documents that are stored")
    check_writable(output)
    folders = []
    for result in read_all(folder):
        if isinstance(result, OutputError):
            log.warning(f"left out: {result}")
            continue
        try:
            target = output / result.path.relative_to(folder).with_suffix("")
            if result.mode is not None and result.complete:
                _export(result, target, depth)
                folders.append(target)
        except OutputError as error:
            log.warning(f"left out: {error}")
    if not folders:
        raise OutputError(f"no result in {folder} has a run of this depth. Run `hbt-bench run --keep-run DEPTH` first.")
    return folders


def _export(result: Result, target: Path, depth: int | None) -> None:
    """Write the files of a result. Raises `OutputError` if it does not have the documents."""
    stored = result.stored_ranks()
    if stored.ids is None:
        raise OutputError(f"{result.ranks} is of an older version, without ids. Run again with --overwrite.")
    run = read_kept_run(kept_run_path(result.path.parent, result.mteb_name))
    if run is None:
        run = _stored_run(result, stored, stored.ids)
    available = int(run["rank"].max())
    smallest = int(np.bincount(stored.judgements.document_languages).min())
    if depth is not None and available < min(depth, smallest):
        raise OutputError(
            f"{result.path} has {available} documents of each query, not {depth}. Run again with --keep-run {depth}."
        )
    run = run if depth is None else run[run["rank"] <= depth]
    tag = result.label.replace(" ", "_")
    by_subset = dict(iter(run.groupby("subset", sort=False)))
    for judged in judged_subsets(stored.judgements, result.mode or "multi"):
        name = judged.subset.name
        write_bytes(target / f"{name}.trec.gz", _trec(by_subset.get(name, run.iloc[:0]), tag))
        write_text(target / f"{name}.qrels", "".join(_qrels(stored, stored.ids, judged)))
    languages = stored.judgements.document_languages
    named = [(name, stored.judgements.languages[languages[column]]) for column, name in stored.ids.documents.items()]
    write_text(target / "documents.tsv", "".join(f"{name}\t{language}\n" for name, language in sorted(named)))


def _stored_run(result: Result, stored: StoredRanks, ids: Ids) -> pd.DataFrame:
    """Return the run of the best documents beside the ranks, which are of the pool only."""
    top = stored.ranks.top
    if result.mode != "multi" or not top.shape[1]:
        raise OutputError(f"{result.path} has ranks, but no best documents. Run again with --keep-run DEPTH.")
    queries, width = top.shape
    languages = np.array(stored.judgements.languages, object)[stored.judgements.query_languages]
    rank = np.tile(np.arange(1, width + 1), queries)
    return pd.DataFrame(
        {
            "subset": np.repeat(languages + "-multi", width),
            "query": np.repeat(np.array(ids.queries, object), width),
            "document": [ids.documents[column] for column in top.ravel().tolist()],
            "rank": rank,
            "score": (width + 1 - rank).astype(np.float32),
        }
    )


def _trec(run: pd.DataFrame, tag: str) -> bytes:
    """Return the lines of a run, compressed; equal runs give equal bytes."""
    lines = zip(run["query"], run["document"], run["rank"], run["score"].astype(np.float32), strict=True)
    # the shortest digits of a float32, so that the same number is read again
    text = "".join(f"{query} Q0 {document} {rank} {score!s} {tag}\n" for query, document, rank, score in lines)
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as file:
        file.write(text.encode())
    return buffer.getvalue()


def _qrels(stored: StoredRanks, ids: Ids, judged: SubsetQrels) -> Iterator[str]:
    for row, column, grade in judged.judgements(stored.judgements.qrels):
        yield f"{ids.queries[row]} 0 {ids.documents[column]} {grade}\n"
