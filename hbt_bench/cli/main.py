"""The command group: commands load when they are called, and errors become one sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click

from hbt_bench.cli.terminal import guarded
from hbt_bench.errors import HbtBenchError, OutputError, UsageError, did_you_mean
from hbt_bench.log import tell
from hbt_bench.text import one_line

#: Exit code of an interrupted run, as shells count it.
INTERRUPTED = 130

#: What the system says of a path that was asked for; any other `OSError` that comes this far is a defect.
_PATHS = {errno.ENAMETOOLONG: UsageError.exit_code} | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO), OutputError.exit_code
)

#: Each command with its line in the overview, which must not load the module.
_COMMANDS = {
    "run": "Evaluate a model on tasks.",
    "train": "Train a dual encoder with hybrid or other batches.",
    "bias": "Show the language bias of a model.",
    "compare": "Compare models: differences, intervals, tests.",
    "tasks": "List the tasks, or show one.",
    "data": "Fetch or verify the data of a task.",
    "leaderboard": "Compare the models in a folder of results.",
    "report": "Write one HTML page on the results.",
    "show": "Explain a signature, and how to make its number again.",
    "card": "Write the evaluation block of a checkpoint's model card.",
    "export": "Lay results out for MTEB's repository or the hub.",
    "study": "Answer a research question: train, evaluate, compare.",
    "doctor": "Check this installation, and say what to do.",
    "quickstart": "Run the main job on built-in data, without network.",
}

#: Commands that processes started together share the work of.
_SHARED = ("run", "train")


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which they are met."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of a command."""
        if name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"hbt_bench.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest a command for a mistyped one."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no command '{args[0]}'{did_you_mean(args[0], _COMMANDS)}")
        if args and args[0] in _COMMANDS and args[0] not in _SHARED and _launched() > 1:
            raise click.UsageError(
                f"{args[0]} is no work for several processes: start it without torchrun or accelerate"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Tell the version; click's own way has another error where the metadata are not there."""
    if wanted:
        click.echo(f"hbt-bench, version {version('hbt-bench')}")
        context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def cli() -> None:
    """Multilingual retrieval benchmarks for MTEB: three modes, exact ranks, language bias.

    Exit codes: 0 done, 1 a defect of the program or of the installation, 2 wrong usage,
    3 data missing or damaged, 4 no usable model, 5 output not writable, 6 another process was lost,
    130 interrupted.
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    with guarded():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    stdout = sys.stdout
    try:
        code = cli.main(args=list(arguments), prog_name="hbt-bench", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.ClickException as error:
        return _refused(error)
    except (KeyboardInterrupt, click.exceptions.Abort):
        _tell("interrupted; run the same command again to continue")
        return INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:
        # click and rich make a SystemExit of a broken pipe, click after it has put another stdout in place
        broken = isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError)
        if not broken and sys.stdout is stdout:
            raise
        _discard()
        return 0
    except HbtBenchError as error:
        _tell(str(error))
        return error.exit_code
    except OSError as error:
        return _system(error)
    return code if isinstance(code, int) else 0


def _launched() -> int:
    """How many processes were started together, without loading what only those need."""
    if "WORLD_SIZE" not in os.environ:
        return 1
    from hbt_bench.ranking.distributed import launched

    return launched()


def _refused(error: click.ClickException) -> int:
    """Tell what is wrong with the command line, and return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # click from 8.2 on; the message is the help
        error.show()
    elif isinstance(error, click.MissingParameter) or (type(error) is click.UsageError and error.ctx):
        command = error.ctx.command_path if error.ctx else "hbt-bench"
        _tell(f"{error.format_message().rstrip('.')}: `{command} --help` has examples")
    else:
        _tell(error.format_message())
    return error.exit_code


def _discard() -> None:
    """Let what is still to be written to stdout go nowhere, or the interpreter complains of it at exit."""
    with suppress(OSError):  # where stdout is no file, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _nowhere() -> bool:
    """Whether the current folder was removed."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _system(error: OSError) -> int:
    """Tell what the system says of a path that was asked for, and return the exit code; raises any other error."""
    if error.errno == errno.ENOENT and error.filename is None and _nowhere():
        _tell("the current folder is not there any more: change to another")
        return UsageError.exit_code
    if error.errno not in _PATHS:
        raise error
    if error.filename is None:  # of a stream, as in `> /dev/full`
        _discard()
        _tell(f"cannot write the output: {error.strerror}: send it to another place")
    else:
        _tell(f"{error.strerror}: {one_line(error.filename)[:80]}: name another path")
    return _PATHS[error.errno]


def _tell(message: str) -> None:
    """Say it on stderr; of processes that were started together, only the first that fails does."""
    if "WORLD_SIZE" in os.environ:
        from hbt_bench.ranking.distributed import speaks

        if not speaks():
            return
    tell(message)
