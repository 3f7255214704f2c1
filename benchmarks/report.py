"""Write the report of a benchmark: a Markdown table, and JSON with hardware, versions and command."""

from __future__ import annotations

import gzip
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: Characters of indented JSON; longer data are written on a single line.
_MAX_INDENTED = 300_000
_PACKAGES = ("hbt-bench", "mteb", "sentence-transformers", "transformers", "torch", "numpy", "scipy")


def environment() -> dict[str, Any]:
    """Return hardware, versions, load and command; absolute paths in the command are shortened to their name."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return {
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words]),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    """Return the versions of the packages that are installed: on a GPU machine, some may be missing."""
    installed = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def publish(title: str, parts: Sequence[str], data: Mapping[str, Any], about: Mapping[str, Any], output: str) -> None:
    """Print the report. Unless `output` is empty, write it to ``output`` with ``.md``, and the data with ``.json``."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    machine = f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}"
    foot = (
        f"Machine: {machine}; load average at the start {about['load_average_at_start']}.\n\n"
        f"Versions: {versions}.\n\nCommand: `{about['command']}`"
    )
    text = "\n\n".join([f"# {title}", *parts, foot]) + "\n"
    print(text)
    if output:
        path = Path(output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".md").write_text(text, encoding="utf-8")
        content = json.dumps({"environment": about, **data}, indent=2, ensure_ascii=False)
        if len(content) > _MAX_INDENTED:
            content = json.dumps({"environment": about, **data}, ensure_ascii=False)
        path.with_suffix(".json").write_text(content + "\n", encoding="utf-8")


def write_csv_gz(frame: Any, path: Path) -> None:
    """Write a data frame as compressed CSV; equal frames give equal bytes."""
    text = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def verdict(value: float, target: float, at_least: bool) -> str:
    """Return "met" if a value meets its target, else "MISSED"."""
    return "met" if (value >= target if at_least else value <= target) else "MISSED"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cpu() -> str:
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        match = None
    return match.group(1).strip() if match else platform.processor()
