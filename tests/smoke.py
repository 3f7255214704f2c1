"""Install the built wheel into a fresh environment and run commands outside the repository.

python -m tests.smoke dist            # after `python -m build`; the wheel was built from the sdist

The environment shares the dependencies of the running environment, so nothing is downloaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

#: Command lines with the text that each must print.
QUICK = {
    "hbt-bench --version": f"hbt-bench, version {VERSION}",
    "hbt-bench tasks": "xquad-r",
    "hbt-bench tasks show xquad-r": "XQuADRMultilingualRetrieval",
    "hbt-bench study list": "ood-low-resource",
    "hbt-bench train --show-recipe": "strategy: hybrid",
}
SLOW = {
    "hbt-bench run --model bm25 --tasks cldr-facts --languages de,en,sw": "cldr-facts-multi",
    "hbt-bench leaderboard": "hbt-bench/bm25",
    "hbt-bench train --init static:16 --steps 5 --batch-size 8 --guard cldr-facts --output ckpt": "ckpt",
    "hbt-bench run --model ckpt --tasks cldr-facts-multi --languages de,en,sw": "cldr-facts-multi",
    "hbt-bench compare bm25 ckpt --tasks cldr-facts-multi --languages de,en,sw": "ckpt is",
}


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel into a fresh environment that shares our packages; return the folder of programs."""
    venv.create(folder, with_pip=False)
    programs = folder / "bin"
    packages = [path for path in sys.path if path.endswith("site-packages")]
    site = next((folder / "lib").glob("python*")) / "site-packages"
    (site / "dependencies.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in packages))
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    return programs


def smoke(wheel: Path, commands: dict[str, str]) -> None:
    """Install the wheel and run the commands; raises `SystemExit` if a command fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs = install(wheel, folder / "venv")
        work = folder / "elsewhere"
        work.mkdir()
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("HBT_BENCH_", "PYTHONPATH"))
        }
        environment = inherited | {"HBT_BENCH_CACHE": str(folder / "cache"), "COLUMNS": "100"}
        (work / "where.py").write_text("import hbt_bench; print(hbt_bench.__file__)")
        (work / "typed.py").write_text("from importlib.resources import files; print(files('hbt_bench') / 'py.typed')")
        lines = {"python where.py": str(folder / "venv"), "python typed.py": "py.typed", **commands}
        for line, expected in lines.items():
            done = subprocess.run(
                f"{programs}/{line}", cwd=work, env=environment, shell=True, capture_output=True, text=True, check=False
            )
            if done.returncode or expected not in " ".join(done.stdout.split()):
                raise SystemExit(
                    f"{line}\nexit code {done.returncode}, expected {expected!r}\n{done.stdout}{done.stderr}"
                )
            print("ok ", line)


if __name__ == "__main__":
    (built,) = Path(sys.argv[1]).glob(f"hbt_bench-{VERSION}-*.whl")
    smoke(built, QUICK | SLOW)
