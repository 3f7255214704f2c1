"""``hbt-bench mteb``: the command line of MTEB, with our tasks and benchmarks."""

from __future__ import annotations

import sys
from unittest.mock import patch

import click

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.text import one_line


@click.command("mteb", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", metavar="[ARGUMENTS]...", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run MTEB's own command line, which finds our tasks and benchmarks by their MTEB names.

    All arguments are those of `mteb`. For exact ranks, intervals and settings that are recorded, use `hbt-bench run`.

    \b
    hbt-bench mteb run -m intfloat/multilingual-e5-small -t XQuADRMultilingualRetrieval
    hbt-bench mteb run -m intfloat/multilingual-e5-small -b "hbt(xquad-r)"
    hbt-bench mteb available-benchmarks -b "hbt(xquad-r)"
    hbt-bench mteb   # lists MTEB's commands, such as available-tasks
    """  # noqa: D301 -- click needs the character
    if arguments[:1] == ("run",) and not {"-h", "--help"} & set(arguments):
        names = {argument.partition("=")[0] for argument in arguments}
        if not any(name == "--model" or (name.startswith("-m") and name[:2] != "--") for name in names):
            raise UsageError("mteb run needs a model: add -m, as in `-m intfloat/multilingual-e5-small`")
    from hbt_bench.mteb import plugin  # noqa: F401 -- registers the tasks

    from mteb.cli import main  # isort: skip

    with patch.object(sys, "argv", ["mteb", *(arguments or ("--help",))]):
        try:
            main()
        except SystemExit as exit_request:  # of argparse, for its help and for wrong usage
            raise click.exceptions.Exit(exit_request.code if isinstance(exit_request.code, int) else 1) from None
        except (KeyError, ValueError) as error:
            raise UsageError(f"mteb: {one_line(str(error.args[0] if error.args else error))}") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise ModelError(f"mteb: {one_line(str(error))}") from error  # the hub has no such model, or no network
