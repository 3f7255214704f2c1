"""Draw the growth of cost from results/benchmarks/growth.json as docs/images/growth.svg."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from hbt_bench.files import write_bytes


def main(source: Path, target: Path) -> None:
    """Two panels, seconds over documents and over queries, each with a line of slope 1."""
    curves = json.loads(source.read_bytes())["curves"]
    mpl.rcParams.update({"svg.hashsalt": "hbt-bench", "font.size": 9, "axes.spines.top": False})
    mpl.rcParams["axes.spines.right"] = False
    figure, panels = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True, layout="constrained")
    names = {"documents": "documents (1,000 queries)", "queries": "queries (10,000 documents)"}
    for panel, (name, label) in zip(panels, names.items(), strict=True):
        sizes, seconds = curves[name]["sizes"], curves[name]["seconds"]
        panel.loglog(sizes, [seconds[-1] * size / sizes[-1] for size in sizes], "--", color="0.65", label="linear")
        panel.loglog(sizes, seconds, "o-", color="#0b6e99", markersize=4, label="exact ranks")
        panel.set_xlabel(label)
        panel.grid(visible=True, color="0.92")
    panels[0].set_ylabel("seconds")
    panels[0].legend(frameon=False)
    temporary = target.with_suffix(".tmp.svg")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(temporary, metadata={"Date": None})
    write_bytes(target, temporary.read_bytes())
    temporary.unlink()


if __name__ == "__main__":
    main(
        *(Path(argument) for argument in sys.argv[1:3] or ["results/benchmarks/growth.json", "docs/images/growth.svg"])
    )
