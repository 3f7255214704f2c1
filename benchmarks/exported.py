"""Score an exported run with pytrec_eval, ir_measures and ranx, and compare the values of each query with ours.

    pip install --target TOOLS ir_measures ranx
    PYTHONPATH=TOOLS python benchmarks/exported.py --output results/benchmarks/exported.md

The runs are those of BM25 on CLDR facts in three languages, with all documents, in each mode.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
from importlib import import_module
from pathlib import Path

from hbt_bench.measures.registry import Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.reports.export_trec import export_trec
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.tasks.registry import select_tasks

LANGUAGES = ("de", "en", "sw")
#: Our measures, with their names in trec_eval, ir_measures and ranx.
MEASURES = {
    "AP": ("map", "AP", "map"),
    "RR": ("recip_rank", "RR", "mrr"),
    "nDCG@10": ("ndcg_cut_10", "nDCG@10", "ndcg@10"),
    "R@10": ("recall_10", "R@10", "recall@10"),
    "P@10": ("P_10", "P@10", "precision@10"),
}


Scores = dict[str, dict[str, float]]


def read(path: Path, column: int) -> Scores:
    """Return the number in a column of a TREC file by query and document: the score of a run, or a grade."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    table: Scores = {}
    for line in text.splitlines():
        cells = line.split()
        table.setdefault(cells[0], {})[cells[2]] = float(cells[column])
    return table


def by_pytrec_eval(run: Scores, qrels: Scores) -> Scores:
    """Return the values of pytrec_eval by measure and query."""
    evaluator = import_module("pytrec_eval").RelevanceEvaluator(
        {query: {name: int(grade) for name, grade in grades.items()} for query, grades in qrels.items()},
        {names[0] for names in MEASURES.values()},
    )
    values = evaluator.evaluate(run)
    return {ours: {query: values[query][names[0]] for query in qrels} for ours, names in MEASURES.items()}


def by_ir_measures(run: Scores, qrels: Scores) -> Scores:
    """Return the values of ir_measures."""
    library = import_module("ir_measures")
    wanted = {library.parse_measure(names[1]): ours for ours, names in MEASURES.items()}
    values = {ours: {} for ours in MEASURES}
    grades = {query: {name: int(grade) for name, grade in row.items()} for query, row in qrels.items()}
    for value in library.iter_calc(list(wanted), grades, run):
        values[wanted[value.measure]][value.query_id] = value.value
    return values


def by_ranx(run: Scores, qrels: Scores) -> Scores:
    """Return the values of ranx."""
    library = import_module("ranx")
    grades = {query: {name: int(grade) for name, grade in row.items()} for query, row in qrels.items()}
    judged, ranked = library.Qrels(grades), library.Run(run)
    library.evaluate(judged, ranked, [names[2] for names in MEASURES.values()])
    return {ours: dict(ranked.scores[names[2]]) for ours, names in MEASURES.items()}


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    worst, queries = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        results = Evaluation(
            ModelRequest("bm25"), select_tasks("cldr-facts"), Path(folder, "results"), LANGUAGES, keep_run=10**6
        ).run()
        export_trec(Path(folder, "results"), Path(folder, "runs"))
        for result in results:
            stored = result.stored_ranks()
            ranks = ModeRanks(stored.judgements, stored.ranks, result.mode)
            target = Path(folder, "runs", result.path.relative_to(Path(folder, "results"))).with_suffix("")
            ours = {name: ranks.values(Measure.parse(name)) for name in MEASURES}
            for number, judged in enumerate(ranks.subsets):
                run, qrels = (
                    read(target / f"{judged.subset.name}.trec.gz", 4),
                    read(target / f"{judged.subset.name}.qrels", 3),
                )
                ids = [stored.ids.queries[row] for row in judged.rows]
                for tool, function in (
                    ("pytrec_eval", by_pytrec_eval),
                    ("ir_measures", by_ir_measures),
                    ("ranx", by_ranx),
                ):
                    try:
                        theirs = function(run, qrels)
                    except ImportError:
                        continue
                    for name in MEASURES:
                        differences = [
                            abs(theirs[name][query] - value)
                            for query, value in zip(ids, ours[name][number], strict=True)
                        ]
                        key = tool, name
                        worst[key] = max([worst.get(key, 0.0), *differences])
                        unequal = sum(difference > 1e-6 for difference in differences)
                        total, count = queries.get(key, (0, 0))
                        queries[key] = total + len(ids), count + unequal
    lines = [
        "| tool | measure | queries | unequal (> 1e-6) | greatest difference |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {tool} | {name} | {queries[tool, name][0]:,} | {queries[tool, name][1]:,} | {worst[tool, name]:.1e} |"
        for tool, name in worst
    ]
    output.write_text(
        "# Exported runs in other tools\n\n`benchmarks/exported.py`: BM25 on CLDR facts (de, en, sw), all modes, all "
        "documents, exported by `hbt-bench export --for trec`.\n\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    main()
