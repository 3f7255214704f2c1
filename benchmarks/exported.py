"""Score exported runs with pytrec_eval, ir_measures, ranx and peer_measure, and compare each query's values with ours.

    pip install --target TOOLS ir_measures ranx peer_measure
    PYTHONPATH=TOOLS python benchmarks/exported.py --output results/benchmarks/exported.md

The runs are those of BM25 in each mode, with all documents. The first collection is CLDR facts. In the second, XQuAD-R
with judgements of paragraphs, the sentences of the answer's paragraph are relevant, too, with a lower grade: PEER needs
several relevant documents in a language.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from hbt_bench.data.collection import Collection
from hbt_bench.measures.registry import Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.reports.export_trec import export_trec
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.store import Result
from hbt_bench.tasks.registry import TaskRegistry

#: Our measures, with their names in trec_eval, ir_measures and ranx.
MEASURES = {
    "AP": ("map", "AP", "map"),
    "RR": ("recip_rank", "RR", "mrr"),
    "nDCG@10": ("ndcg_cut_10", "nDCG@10", "ndcg@10"),
    "R@10": ("recall_10", "R@10", "recall@10"),
    "P@10": ("P_10", "P@10", "precision@10"),
}
#: Cut-offs and weights of PEER: those of the second collection's two grades are equal by default.
PEER = {"PEER@10": 10, "PEER@100": 100}
WEIGHTS = {1: 0.5, 2: 0.5}

Scores = dict[str, dict[str, float]]


def read(path: Path, column: int) -> Scores:
    """Return the number in a column of a TREC file by query and document: the score of a run, or a grade."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    table: Scores = defaultdict(dict)
    for line in text.splitlines():
        cells = line.split()
        table[cells[0]][cells[2]] = float(cells[column])
    return dict(table)


def grades_of(folder: Path, subset: str) -> dict[str, dict[str, int]]:
    """Return the exported judgements of a subset."""
    table = read(folder / f"{subset}.qrels", 3)
    return {query: {name: int(grade) for name, grade in row.items()} for query, row in table.items()}


def by_rank(folder: Path, subset: str) -> Scores:
    """Return the run with falling numbers in place of scores: ranx and peer_measure break ties in other ways."""
    ranks = read(folder / f"{subset}.trec.gz", 3)
    return {query: {name: -rank for name, rank in row.items()} for query, row in ranks.items()}


def by_pytrec_eval(folder: Path, subset: str) -> Scores:
    """Return the values of pytrec_eval by measure and query."""
    names = {names[0] for names in MEASURES.values()}
    evaluator = import_module("pytrec_eval").RelevanceEvaluator(grades_of(folder, subset), names)
    values = evaluator.evaluate(read(folder / f"{subset}.trec.gz", 4))
    return {ours: {query: row[names[0]] for query, row in values.items()} for ours, names in MEASURES.items()}


def by_ir_measures(folder: Path, subset: str) -> Scores:
    """Return the values of ir_measures."""
    library = import_module("ir_measures")
    wanted = {library.parse_measure(names[1]): ours for ours, names in MEASURES.items()}
    values: Scores = defaultdict(dict)
    for value in library.iter_calc(list(wanted), grades_of(folder, subset), read(folder / f"{subset}.trec.gz", 4)):
        values[wanted[value.measure]][value.query_id] = value.value
    return values


def by_ranx(folder: Path, subset: str) -> Scores:
    """Return the values of ranx."""
    library = import_module("ranx")
    judged, ranked = library.Qrels(grades_of(folder, subset)), library.Run(by_rank(folder, subset))
    library.evaluate(judged, ranked, [names[2] for names in MEASURES.values()])
    return {ours: dict(ranked.scores[names[2]]) for ours, names in MEASURES.items()}


def by_peer_measure(folder: Path, subset: str) -> Scores:
    """Return the values of peer_measure, from the exported languages of documents; none for other modes."""
    package = import_module("peer_measure")
    grades = grades_of(folder, subset)
    if not subset.endswith("-multi") or {grade for row in grades.values() for grade in row.values()} != set(WEIGHTS):
        return {}
    lines = (folder / "documents.tsv").read_text().splitlines()
    languages = dict(line.split("\t") for line in lines)
    # the package needs a judgement of 0 in every query that has another document in the top
    grades = {query: dict.fromkeys(languages, 0) | row for query, row in grades.items()}
    run = by_rank(folder, subset)
    values: Scores = {}
    for ours, depth in PEER.items():
        measure = package.PEER(weights=WEIGHTS, lang_mapping=languages) @ depth
        # version 0.0.1 finds its measures with a function that newer ir_measures lack; its evaluator does not need it
        evaluator = package.PEEREvaluator([measure], grades, {0: [(depth, measure)]}, {0: languages})
        values[ours] = {item.query_id: item.value for item in evaluator.iter_calc(run)}
    return values


TOOLS: dict[str, Callable[[Path, str], Scores]] = {
    "pytrec_eval": by_pytrec_eval,
    "ir_measures": by_ir_measures,
    "ranx": by_ranx,
    "peer_measure": by_peer_measure,
}


def write_paragraphs(collection: Collection, folder: Path) -> Path:
    """Write XQuAD-R with grade 2 for the answer's sentence and 1 for the others of its paragraph; return the task."""
    for language in collection.languages:
        texts = collection.documents[collection.document_blocks[language]]
        asks = collection.queries[collection.query_blocks[language]]
        target = folder / language
        (target / "qrels").mkdir(parents=True)
        for name, rows in (("corpus", texts), ("queries", asks)):
            lines = [json.dumps({"_id": row.id.partition("-")[2], "text": row.text}) for row in rows]
            (target / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        first = collection.query_blocks[language].start
        qrels = ["query-id\tcorpus-id\tscore"]
        for row, query in enumerate(asks, first):
            answers = {name for name in collection.relevant(row) if name.startswith(f"{language}-")}
            paragraphs = {name.rpartition("-")[0] for name in answers}  # an id ends with the number of the sentence
            for document in texts:
                if document.id.rpartition("-")[0] in paragraphs:
                    cells = query.id, document.id, "2" if document.id in answers else "1"
                    qrels.append("\t".join(cell.removeprefix(f"{language}-") for cell in cells))
        (target / "qrels" / "test.tsv").write_text("\n".join(qrels) + "\n")
    task = folder / "xquad-r-paragraphs.yaml"
    codes = ", ".join(collection.languages)
    task.write_text(
        "name: xquad-r-paragraphs\n"
        f"source: {{kind: beir, path: '{{language}}', languages: [{codes}], parallel: documents}}\n"
    )
    return task


def compared(result: Result, folder: Path) -> Iterator[tuple[str, str, float]]:
    """Yield tool, measure and difference for each query of a result."""
    stored = result.stored_ranks()
    ranks = ModeRanks(stored.judgements, stored.ranks, result.mode)
    measures = [*MEASURES, *(PEER if result.mode == "multi" and "Paragraphs" in result.mteb_name else ())]
    ours = {name: ranks.values(Measure.parse(name)) for name in measures}
    for number, judged in enumerate(ranks.subsets):
        ids = [stored.ids.queries[row] for row in judged.rows]
        for tool, values_of in TOOLS.items():
            try:
                theirs = values_of(folder, judged.subset.name)
            except ImportError:
                continue
            for name, values in theirs.items():
                for query, value in zip(ids, ours[name][number], strict=True):
                    if math.isnan(value) and not math.isnan(values[query]):
                        raise SystemExit(f"{name} of {query} has a value in {tool} only")
                    yield tool, name, abs(values[query] - value)


def evaluated(
    task: str, languages: tuple[str, ...], folder: Path, data_dir: Path | None
) -> dict[tuple[str, str], list]:
    """Return the differences by tool and measure, of BM25's exported runs on a collection."""
    selections = TaskRegistry().select(task)
    Evaluation(ModelRequest("bm25"), selections, folder / "results", languages, data_dir, keep_run=10**6).run()
    results = Evaluation(ModelRequest("bm25"), selections, folder / "results", languages, data_dir).run()
    export_trec(folder / "results", folder / "runs")
    differences = defaultdict(list)
    for result in results:
        target = folder / "runs" / result.path.relative_to(folder / "results").with_suffix("")
        for tool, name, difference in compared(result, target):
            differences[tool, name].append(difference)
    return differences


def table(differences: dict[tuple[str, str], list]) -> list[str]:
    """Return the lines of a table."""
    lines = [
        "| tool | measure | queries | without a value there | unequal (> 1e-6) | greatest difference |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for (tool, name), values in sorted(differences.items(), key=lambda item: list(TOOLS).index(item[0][0])):
        defined = [value for value in values if not math.isnan(value)]
        unequal = sum(value > 1e-6 for value in defined)
        missing = len(values) - len(defined)
        lines.append(f"| {tool} | {name} | {len(values):,} | {missing:,} | {unequal:,} | {max(defined):.1e} |")
    return lines


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    lines = [
        "# Exported runs in other tools",
        "",
        "`benchmarks/exported.py`: BM25, all modes, all documents, exported by `hbt-bench export --for trec`. "
        "pytrec_eval and ir_measures read the scores. ranx and peer_measure read the ranks, because they break ties in "
        "other ways. "
        "peer_measure has no value if the documents of a grade without a weight share a position.",
    ]
    with tempfile.TemporaryDirectory() as folder:
        facts = evaluated("cldr-facts", ("de", "en", "sw"), Path(folder, "facts"), None)
        lines += ["", "CLDR facts (de, en, sw):", "", *table(facts)]
        [xquad] = TaskRegistry().select("xquad-r-multi")
        collection = xquad.spec.load(("de", "zh"), arguments.data_dir)
        task = write_paragraphs(collection, Path(folder, "paragraphs"))
        paragraphs = evaluated(str(task), ("de", "zh"), Path(folder, "graded"), task.parent)
        text = "XQuAD-R (de, zh) with judgements of paragraphs: grade 2 for the answer's sentence, 1 for the others"
        lines += ["", f"{text}:", "", *table(paragraphs)]
    arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
