"""The entry point of the command line: ``hbt-bench`` and ``python -m hbt_bench``."""

from __future__ import annotations

import signal
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit: with 130 after an interrupt, with 1 if a package cannot be imported."""
    try:
        code = _run()
    except KeyboardInterrupt:  # while the command line is imported
        code = _INTERRUPTED
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt while Python exits would print a traceback
    sys.exit(code)


def _run() -> int | str:
    """Return the exit code, or a message about a broken installation, with which Python exits with code 1."""
    try:
        from hbt_bench.cli.main import run
    except Exception as error:  # a broken package may raise anything
        return _broken(error, "install hbt-bench again with `pip install --force-reinstall hbt-bench`")
    try:
        return run(sys.argv[1:])
    except ImportError as error:
        if (error.name or "hbt_bench").startswith("hbt_bench"):
            raise  # a defect of hbt-bench
        return _broken(error, "run `hbt-bench doctor` for the fix")


def _broken(error: Exception, fix: str) -> str:
    package = (getattr(error, "name", None) or "a package").partition(".")[0]
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    return f"hbt-bench: {package} is missing or broken ({cause[:200]}): {fix}"


if __name__ == "__main__":
    main()
