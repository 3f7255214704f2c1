"""Run situations that users of other tools reported, and compare each outcome with the right outcome.

``PYTHONPATH=. python benchmarks/cases.py FOLDER --model MINILM --output results/benchmarks/cases``

`FOLDER` has a folder for each case with a script ``run.sh``, which makes its inputs in the current folder and runs
``hbt-bench`` on them. `MINILM` is the folder of all-MiniLM-L6-v2. A case is right if its output has all required
patterns and no forbidden pattern, and if its check passes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.report import environment, publish, table

_TRACEBACK = r"Traceback \(most recent call last\)"
_LIMIT_S = 900


@dataclass(frozen=True)
class Case:
    """The right outcome of a case.

    `required` and `forbidden` are regular expressions for the output of ``run.sh``. `check` receives the output and the
    folder in which the case ran, and returns the fault, or "" if there is none.
    """

    outcome: str
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    check: Callable[[str, Path], str] = lambda output, folder: ""

    def fault(self, output: str, folder: Path) -> str:
        """Return the first fault of an outcome, or ""."""
        for pattern in self.required:
            if not re.search(pattern, output, re.MULTILINE):
                return f"lacks /{pattern}/"
        for pattern in (_TRACEBACK, *self.forbidden):
            if re.search(pattern, output, re.MULTILINE):
                return f"has /{pattern}/"
        return self.check(output, folder)


def _same_revisions(output: str, folder: Path) -> str:
    revisions = re.findall(r"^.{31}([0-9a-f]{16}\S*)$", output, re.MULTILINE)
    return "" if len(revisions) == 6 and len(set(revisions)) == 1 else f"revisions {revisions}"


def _prompt_files(output: str, folder: Path) -> str:
    names = [part for path in folder.glob("out/**/*") for part in path.relative_to(folder).parts]
    if output.count("exit 0") != 3:
        return f"{output.count('exit 0')} of 3 prompts run"
    wrong = [name for name in names if len(name) > 100 or re.search(r"[\x00-\x1f]|[ .]$", name)]
    return f"names {wrong}" if wrong else ""


def _same_hashes(output: str, folder: Path) -> str:
    hashes = re.findall(r"^([0-9a-f]{64})  (\S+)", output, re.MULTILINE)
    counts = {pair: hashes.count(pair) for pair in hashes}
    if output.count("exit 5") + output.count("exit 2") != 2:
        return "not refused twice"
    return "" if len(counts) == 3 and set(counts.values()) == {2} else "files changed"


def _linear(output: str, folder: Path) -> str:
    runs = [(float(s), int(mib)) for s, mib in re.findall(r"exit 0, ([\d.]+) s, (\d+) MiB", output)]
    if len(runs) != 3:
        return f"{len(runs)} of 3 runs ended well"
    (first, small), _, (last, large) = runs
    return "" if last < 1.5 * first + 1 and large < small + 60 else f"{first} to {last} s, {small} to {large} MiB"


def _trained_alike(output: str, folder: Path) -> str:
    moved = [
        (kind, int(count), float(loss))
        for kind, count, loss in re.findall(r"stored as (\S+): (\d+) of .*; loss \S+ to (\S+)", output)
    ]
    if len(moved) != 3:
        return f"{len(moved)} of 3 trainings"
    kinds = {kind for kind, *_ in moved}
    count, loss = moved[0][1:]
    alike = all(abs(other - count) < 0.01 * count and abs(value - loss) < 0.02 for _, other, value in moved[1:])
    return "" if alike and kinds == {"torch.float32"} else f"{moved}"


CASES = {
    "eval-01-weights-do-not-match": Case(
        "exit 4, twice; the model itself has AP .9723", (r"(?s)exit 4.*exit 4", r"weight", r"0?\.9723"), (r"exit 0",)
    ),
    "eval-03-query-is-a-document": Case(
        "AP 1.0000", (r"dup-task\S*\s+1\.0000.*1\.0000",), (r"dup-task\S*\s+0?\.5000",)
    ),
    "eval-04-quotes-in-tsv": Case(
        "3, 5 and 5 queries",
        (r"(?s)a\.tsv.*queries: \{en: 3\}.*b\.tsv.*queries: \{en: 5\}.*c\.tsv.*queries: \{en: 5\}",),
        (r"exit [1-9]",),
    ),
    "eval-06-late-interaction-checkpoint": Case(
        "AP .0862 both times", (r"(?s)0\.0862.*exit 0.*AP of the pool 0\.0862.*0\.0862.*exit 0",), (r"exit [1-9]",)
    ),
    "eval-07-language-codes": Case(
        "all are read; labels that are left out are named",
        (r"'cmn-Hans' \(5", r"MTEB: en zh zh-Hant$", r"MTEB: bho sa$", r"(?s)(exit 0.*){5}"),
        (r"unknown language code", r"exit [1-9]"),
    ),
    "eval-09-results-of-plain-mteb": Case("AP of the pool .0707", (r"0?\.0707",), (r"there are no results",)),
    "eval-13-odd-tables": Case("all tables are read", (r"(?s)(exit 0.*){6}",), (r"exit [1-9]",)),
    "eval-15-translated-beir": Case("equal ids are translations", (r"parallel: documents", r"nano-x\S* +.*0?\.6044")),
    "eval-16-several-positives": Case(
        "AP .9838 and RR 1.0000 as the message says", (r"pairs-[xy]\S* \{'AP': 0\.9838, 'RR': 1\.0\}",)
    ),
    "eval-18-prompts": Case("all three run; no odd file name", check=_prompt_files),
    "eval-19-files-beside-the-model": Case("six equal revisions", check=_same_revisions),
    "eval-21-folders-of-pairs-and-locales": Case(
        "read, in the order that the data show",
        (r"pairs/\{query_language\}-\{language\}", r"(?s)(exit 0.*){3}"),
        (r"exit [1-9]",),
    ),
    "train-01-no-id": Case("refused, exit 3; align: row is the way out", (r"exit 3", r"align: row")),
    "train-02-negative-columns": Case(
        "two negatives",
        (r"│ Bridge (\d+) is red\. +│ Bridge \1 is long\. +│", r"exit 0"),
        (r"Bridge \d+ is red\. Bridge \d+ is long\.",),
    ),
    "train-03-ragged-negatives": Case(
        "60 of 60 drawn, with a single negative each", (r"^60 of 60 ", r"each row has 1 "), (r"hard negative \d+ of",)
    ),
    "train-05-quotes-in-tsv": Case(
        "15 of 15 lines, both files", (r"^15 of the 15", r"(?s)exit 0.*exit 0"), (r"exit [1-9]",)
    ),
    "train-07-half-precision-init": Case("float32 weights, the same losses", check=_trained_alike),
    "train-08-default-prompt": Case("trained, loaded, evaluated", (r"(?s)exit 0.*exit 0",), (r"exit [1-9]",)),
    "train-10-router": Case("trained or refused, exit 2 to 4", (r"exit [0234]$",)),
    "train-11-foreign-output": Case("refused, nothing changed", check=_same_hashes),
    "train-15-fields": Case(
        "the field is named; codes are mapped", (r"(?s)== typo.*no field 'sentence_1'.*exit 3", r"(?s)(exit 0.*){4}")
    ),
    "train-16-repeated-query": Case("2,000 cost about what 500 cost", check=_linear),
    "train-18-adapter": Case(
        "trained, or refused with adapter and peft", (r"exit [0234]$", r"(?i)peft|exit 0"), (r"check name and network",)
    ),
    "train-21-held-out-sources": Case(
        "the preview and the run agree, and name the held-out data",
        (r"held-out items of c have 3 different items.*fewer than 10", r"(?s)exit (\d) of the preview.*^exit \1$"),
    ),
    "train-22-few-translations": Case(
        "the preview and the run agree",
        (r"part has 20 different items.*fewer than 32", r"(?s)exit (\d) of the preview.*^exit \1$"),
    ),
    "train-24-card-base-model": Case("no path in the card", (r"exit 0",), (r"base_model: .*/.*/",)),
    "train-28-weight": Case(
        "the share of a source that is hardly drawn is stated",
        (r"a 99\.98%, b 0\.02%", r"b is hardly drawn.*`weight`", r"exit 0"),
    ),
}


def run(case: Path, environ: dict[str, str]) -> tuple[str, str, float]:
    """Run a case in a temporary folder; return its output, its fault and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.run(
            ["bash", str(case / "run.sh")],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_LIMIT_S,
        )
        seconds = time.perf_counter() - start
        output = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", process.stdout)
        return output, CASES[case.name].fault(output, Path(folder)), seconds


def main() -> int:
    """Run the chosen cases; return the number of wrong outcomes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, help="data folder, HBT_BENCH_DATA")
    parser.add_argument("--only", default="*", help="a pattern of names, such as train-*")
    parser.add_argument("--show", action="store_true", help="print the output of wrong cases")
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    about = environment()
    environ = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MINILM": str(options.model.resolve()),
        "HF_HUB_OFFLINE": "1",
        "HBT_BENCH_DATA": str((options.data or options.folder / "../data").resolve()),
    }
    rows, wrong = [], 0
    for case in sorted(path for path in options.folder.resolve().iterdir() if (path / "run.sh").is_file()):
        if not fnmatch(case.name, options.only):
            continue
        if case.name not in CASES:
            raise SystemExit(f"{case.name} has no right outcome in benchmarks/cases.py: add it to CASES")
        output, fault, seconds = run(case, environ)
        wrong += bool(fault)
        print(f"{case.name}: {fault or 'right'} ({seconds:.0f} s)", file=sys.stderr, flush=True)
        if fault and options.show:
            print(output, file=sys.stderr)
        rows.append((case.name, CASES[case.name].outcome, fault or "right", f"{seconds:.0f}"))
    parts = [f"{len(rows) - wrong} of {len(rows)} cases are right.", table(("case", "right", "outcome", "s"), rows)]
    publish("Situations from public reports", parts, {"cases": [list(row) for row in rows]}, about, options.output)
    return wrong


if __name__ == "__main__":
    raise SystemExit(min(main(), 1))
