"""The command line: ``hbt-bench`` and ``python -m hbt_bench``."""

from __future__ import annotations

import signal
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its code: 130 for an interrupt, 1 for a package that cannot be loaded."""
    try:
        code = _run()
    except BaseException as error:
        if not _interrupted(error):
            raise
        code = _INTERRUPTED
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt of the interpreter's end would be a traceback
    sys.exit(code)


def _run() -> int | str:
    """The exit code, or what is to be said of a broken installation, which is code 1."""
    try:
        from hbt_bench.cli.main import run
    except Exception as error:  # a broken package raises what it likes
        if _interrupted(error):
            raise
        return _broken(error, "install hbt-bench again with `pip install --force-reinstall hbt-bench`")
    try:
        return run(sys.argv[1:])
    except ImportError as error:
        if (error.name or "hbt_bench").startswith("hbt_bench"):
            raise  # a defect of ours
        return _broken(error, "run `hbt-bench doctor`, which says what to do")


def _interrupted(error: BaseException | None) -> bool:
    """Whether an error comes of an interrupt, of which Python makes a RuntimeError where it makes a class."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _broken(error: Exception, way: str) -> str:
    package = (getattr(error, "name", None) or "a package").partition(".")[0]
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    return f"hbt-bench: {package} is missing or broken ({cause[:200]}): {way}"


if __name__ == "__main__":
    main()
