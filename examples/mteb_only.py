"""Use MTEB alone: `import hbt_bench.mteb` adds the tasks, and all that follows is MTEB's own.

python examples/mteb_only.py [FOLDER]     # the folder of MTEB's cache of results
"""

from __future__ import annotations

import sys
from tempfile import mkdtemp

import mteb

import hbt_bench.mteb

#: Small tasks on built-in data. For XQuAD-R, leave this line out and ask for the benchmark "hbt(xquad-r)".
TASKS = hbt_bench.register("cldr-facts[de,en,sw]")


def main(folder: str = "") -> None:
    """Run a benchmark with MTEB, and print MTEB's summary and its table of languages."""
    benchmark = mteb.get_benchmark("hbt(cldr-facts[de,en,sw])")
    cache = mteb.ResultCache(folder or mkdtemp())
    model = mteb.get_model("mteb/baseline-random-encoder")
    mteb.evaluate(model, benchmark.tasks, cache=cache, show_progress_bar=False, co2_tracker=False)

    results = cache.load_results(tasks=benchmark, include_remote=False)
    summary = results.get_benchmark_result()  # the row of each model on the leaderboard
    for row in summary.to_dict("records"):
        modes = {key.rpartition("::")[2]: f"{value:.4f}" for key, value in row.items() if "::" in key}
        print(f"rank {row['Rank (Borda)']}  {row['Model']}  mean {row['Mean (Task)']:.4f}  {modes}")
    print(results.to_dataframe())

    task = mteb.get_task(TASKS[-1], hf_subsets=["de-multi"])
    print(task, task.metadata.main_score, task.hf_subsets)


if __name__ == "__main__":
    main(*sys.argv[1:])
