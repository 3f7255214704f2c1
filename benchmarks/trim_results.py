"""Trim the published results to the data that README and docs cite; a command writes the rest again.

    python benchmarks/trim_results.py results

A result over 30 kB loses MTEB's own keys, 140 of 150 per subset, and with more than 200 subsets their intervals. It
keeps this program's measures and signature, and the intervals of the means. Ranks over 1.5 MB are deleted, and those of
cldr-facts, NTREX, the whole of Belebele, query shifts and contexts. The commands in results/README.md write them again.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from hbt_bench.data.query_shift import STRENGTHS
from hbt_bench.files import write_text
from hbt_bench.results.schema import seal

#: Keys of MTEB, and keys that the summary has, too.
_MTEB_KEY = re.compile(
    r"signature|subsets|mteb_version|nauc_.*|(ndcg|map|recall|precision|mrr|hit_rate)_at_\d+|accuracy"
)
_LARGEST_RESULT = 30_000
_MOST_SUBSETS = 200
_LARGEST_RANKS = 1_500_000
_SHIFTS = "|".join(kind.replace("-", "_") for kind in STRENGTHS)
_NOT_CITED = re.compile(f".*(Cldr|BelebeleOodRetrieval[.]|NTREX|Context|{_SHIFTS}).*")


def trimmed(content: dict[str, Any]) -> str:
    """Return a result file without MTEB's keys: the summary on line 2, each subset on a line.

    >>> "ndcg_at_1" in trimmed({"hbt_bench": {}, "scores": {"test": [{"AP": 0.5, "ndcg_at_1": 0.4}]}})
    False
    """
    summary, rest = content["hbt_bench"], {key: value for key, value in content.items() if key != "hbt_bench"}
    rest["scores"] = {
        split: [{key: value for key, value in entry.items() if not _MTEB_KEY.fullmatch(key)} for entry in entries]
        for split, entries in rest["scores"].items()
    }
    if summary.get("subsets", 0) > _MOST_SUBSETS:
        rest["hbt_bench_intervals"] = {}
    if "check" in summary:
        summary = seal({key: value for key, value in summary.items() if key != "check"}, rest)
    lines = [f'  "hbt_bench": {json.dumps(summary, ensure_ascii=False)}']
    for key, value in rest.items():
        text = json.dumps(value, ensure_ascii=False)
        lines.append(f"  {json.dumps(key)}: " + (text.replace("}, {", "},\n    {") if key == "scores" else text))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Trim all results in a folder and print the size before and after."""
    parser = argparse.ArgumentParser(description="Trim the published results to what README and docs cite.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    before = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    for path in sorted(folder.rglob("*.ranks.npz")):
        if path.stat().st_size > _LARGEST_RANKS or _NOT_CITED.fullmatch(path.name):
            path.unlink()
    for path in sorted(folder.glob("*/*/*.json")):
        if path.stat().st_size > _LARGEST_RESULT:
            content = json.loads(path.read_bytes())
            if "hbt_bench" in content:
                write_text(path, trimmed(content))
    after = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{before / 1e6:.1f} MB before, {after / 1e6:.1f} MB after")


if __name__ == "__main__":
    main()
