"""The command line: ``hbt-bench`` and ``python -m hbt_bench``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from hbt_bench.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
