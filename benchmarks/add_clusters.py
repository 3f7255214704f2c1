"""Add clusters, their intervals and the values of a random ranking to the results of older versions in a folder.

These have intervals by question. No score changes. The data are read, but no model::

    python benchmarks/add_clusters.py results --task-dir tasks/ood
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

from hbt_bench.data.collection import Collection
from hbt_bench.results.result import Result
from hbt_bench.results.store import read_all
from hbt_bench.results.upgrade import upgrade
from hbt_bench.tasks.registry import TaskRegistry


def main() -> None:
    """Upgrade all results below a folder; print each path with its clusters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task-dir", type=Path, action="append", default=[])
    arguments = parser.parse_args()
    registry = TaskRegistry(arguments.task_dir)

    @cache
    def collection_of(name: str) -> Collection:
        (selection,) = registry.select(name)
        assert selection.spec is not None
        return selection.spec.load()

    for result in read_all(arguments.folder):
        if not isinstance(result, Result):
            raise SystemExit(str(result))
        if result.mode is None:
            continue
        upgraded = upgrade(result, collection_of(result.collection))
        print(upgraded.path, upgraded.interval_signature)


if __name__ == "__main__":
    main()
