"""The command group: import a command when it is called, and turn an error into a sentence and an exit code."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import click

from hbt_bench.cli.terminal import safe_streams
from hbt_bench.distributed import is_first, world_size
from hbt_bench.errors import HbtBenchError, OutputError, UsageError, did_you_mean
from hbt_bench.text import one_line

log = logging.getLogger(__name__)

#: Exit code of an interrupted run, as shells count it.
INTERRUPTED = 130

#: Exit codes for errors of the operating system about a path of the user. Any other `OSError` is a defect.
_PATH_ERRORS = {errno.ENAMETOOLONG: UsageError.exit_code} | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO), OutputError.exit_code
)

#: Each command with its line in the overview, which must not import the command's module.
_COMMANDS = {
    "run": "Evaluate a model on tasks.",
    "score": "Score the rankings of any system, as in TREC runs.",
    "texts": "Write the texts of tasks, to encode or index them elsewhere.",
    "train": "Train a dual encoder with hybrid or other batches.",
    "bias": "Show the language bias of a model.",
    "compare": "Compare models: differences, intervals, tests.",
    "tasks": "List, show, write and check tasks.",
    "data": "Fetch or verify the data of a task.",
    "leaderboard": "Compare the models in a folder of results.",
    "report": "Write an HTML page on the results.",
    "site": "Write the report as a static site.",
    "verify": "Check results that somebody else made.",
    "show": "Explain a signature and how to reproduce its number.",
    "card": "Write the evaluation block of a checkpoint's model card.",
    "export": "Write results for other tools: MTEB, TREC runs, tables.",
    "study": "Answer a research question: train, evaluate, compare.",
    "mteb": "Run the command line of MTEB with the tasks of hbt-bench.",
    "doctor": "Check this installation and suggest fixes.",
    "quickstart": "Run the main job on built-in data, without network.",
}
#: Commands that several processes may share.
_DISTRIBUTED = ("run", "train")


class LazyGroup(click.Group):
    """A group that imports its commands when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the overview."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of a command and return the command."""
        if name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"hbt_bench.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest a command if the name is mistyped; refuse several processes of a command that needs one process."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no command '{args[0]}'{did_you_mean(args[0], _COMMANDS)}")
        if args and args[0] in _COMMANDS and args[0] not in _DISTRIBUTED and world_size() > 1:
            raise click.UsageError(
                f"{args[0]} does not support multiple processes. Run it without torchrun or accelerate."
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview of the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hbt-bench", prog_name="hbt-bench")
def cli() -> None:
    """Evaluate multilingual retrieval with MTEB: three modes, exact ranks, language bias.

    \b
    hbt-bench quickstart
    hbt-bench run --model ckpt/ --tasks xquad-r

    Exit codes: 0 done, 1 a defect of the program or of the installation, 2 wrong usage,
    3 data missing or damaged, 4 no usable model, 5 results not writable, not readable or refused,
    6 a process of a distributed run was lost, 130 interrupted.
    """  # noqa: D301 -- click needs the character
    logging.getLogger("hbt_bench").setLevel(logging.INFO if is_first() else logging.ERROR)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; for example, ``run(["tasks", "--format", "json"])``."""
    with safe_streams():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    stdout = sys.stdout
    try:
        code = cli.main(args=list(arguments), prog_name="hbt-bench", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.ClickException as error:
        return _usage_error(error)
    except (KeyboardInterrupt, click.exceptions.Abort):
        log.error("interrupted; run the same command again to continue")  # noqa: TRY400 -- without a traceback
        return INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:
        # click and rich turn a broken pipe into a SystemExit, and click replaces stdout before it does
        broken = isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError)
        if not broken and sys.stdout is stdout:
            raise
        _discard_stdout()
        return 0
    except HbtBenchError as error:
        log.error(error)  # noqa: TRY400
        return error.exit_code
    except OSError as error:
        return _path_error(error)
    return code if isinstance(code, int) else 0


def _usage_error(error: click.ClickException) -> int:
    """Report a mistake in the command line and return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # since click 8.2; the message is the help
        error.show()
    elif isinstance(error, click.MissingParameter) or (type(error) is click.UsageError and error.ctx):
        command = error.ctx.command_path if error.ctx else "hbt-bench"
        log.error(f"{error.format_message().rstrip('.')}: `{command} --help` has examples")
    else:
        log.error(error.format_message())
    return error.exit_code


def _path_error(error: OSError) -> int:
    """Report an error about a path of the user and return the exit code. If it is another error, raise it again."""
    if error.errno not in _PATH_ERRORS:
        raise error
    if error.filename is None:  # of a stream, as in `> /dev/full`
        _discard_stdout()
        log.error(f"cannot write the output: {error.strerror}: send it to another place")
    else:
        log.error(f"{error.strerror}: {one_line(error.filename)[:80]}: name another path")
    return _PATH_ERRORS[error.errno]


def _discard_stdout() -> None:
    """Send the rest of stdout to the null device, or the interpreter reports an error when it exits."""
    with suppress(OSError):  # stdout has no file descriptor, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
