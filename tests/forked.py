"""Run scripts in child processes that start with the slow libraries imported, which saves seconds for each process."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

#: Imported once, before the first fork. Modules of hbt-bench that scripts patch are among them.
_PRELOAD = [
    "mteb",
    "sentence_transformers",
    "datasets",
    "pandas",
    "hbt_bench.cli.run",
    "hbt_bench.cli.train",
    "hbt_bench.results.evaluate",
    "hbt_bench.training.run",
    "hbt_bench.training.trainer",
    "hbt_bench.training.losses",
]
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(_PRELOAD)


@dataclass(frozen=True)
class Outcome:
    """The end of a script: its exit code (negative for a signal) and its output."""

    returncode: int
    stdout: str
    stderr: str


class Script:
    """A script that runs with `arguments` and a changed environment; its output goes to files in `folder`."""

    def __init__(self, script, arguments, folder, name="script", **variables):
        self._files = [Path(folder) / f"{name}.{stream}" for stream in ("out", "err")]
        environment = dict(os.environ) | variables
        self.process = _processes.Process(
            target=_run, args=(script, [str(word) for word in arguments], environment, *map(str, self._files))
        )
        self.process.start()

    def wait(self, timeout=300):
        """Return the outcome; raise `TimeoutError` after `timeout` seconds."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"the script did not end: {self._files[1].read_text()[-2000:]}")
        return Outcome(self.process.exitcode, *(path.read_text() for path in self._files))


def run_script(script, arguments, folder, **variables):
    """Run a script to its end and return the outcome."""
    return Script(script, arguments, folder, **variables).wait()


def run_together(script, arguments, folder, count=2, **variables):
    """Run `count` processes as torchrun starts them, and return their outcomes by rank."""
    port = str(_free_port())
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    scripts = [
        Script(script, arguments, folder, f"rank-{rank}", RANK=str(rank), LOCAL_RANK=str(rank), **shared, **variables)
        for rank in range(count)
    ]
    return [script.wait() for script in scripts]


def _free_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def _run(script, arguments, environment, out, err):
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["script", *arguments]
    import torch

    torch.set_num_threads(1)  # threads do not survive a fork
    code = 0
    try:
        exec(compile(script, "script", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # as Python does at the end of a process
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
