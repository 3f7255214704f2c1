"""A first task file for data that are there: the form is found out, counted, pinned and written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hbt_bench.data.data_files import DataFiles
from hbt_bench.errors import UsageError
from hbt_bench.files import write_text
from hbt_bench.tasks.infer_source import Form
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.tasks.task import Expect, TaskSpec

_HEAD = """\
# A task of hbt-bench. `hbt-bench tasks validate` checks this file; docs/tasks.md explains every key.
"""
_ABOUT = """\
metadata:
  reference:  # address of the paper or of the data set's page
  license:    # as in cc-by-4.0
  citation:   # BibTeX
"""


@dataclass(frozen=True)
class TaskDraft:
    """A definition that fits its data, where it is to be written, and what its author should know."""

    path: Path
    content: Mapping[str, Any]
    expect: Expect
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        data: Path,
        output: Path | None,
        columns: str,
        language: str | None,
        data_dir: Path | None,
        registry: TaskRegistry | None = None,
    ) -> TaskDraft:
        """Find out the form of `data`, read all of it and count.

        Raises `UsageError` with the way to say it where the form cannot be told, and `DataError` for bad data.
        """
        if not data.is_file() and not data.is_dir():  # nor a pipe, whose end may never come
            raise UsageError(f"there is no file or folder {data}")
        if name in (registry or TaskRegistry()).specs:
            raise UsageError(f"there is a task '{name}' already: choose another name")
        folder, relative = _place(data, output, data_dir, name)
        form = Form.of(data, relative, columns, language)
        content = {"name": name, "source": form.source}
        try:
            spec = TaskSpec.model_validate(content).in_folder(folder)
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(f"{data}: {first['msg'].removeprefix('Value error, ')} (say it with --columns)") from error
        collection = spec.load(data_dir=data_dir)
        return cls(folder / f"{name}.yaml", content, Expect.from_collection(collection), form.notes)

    def write(self, overwrite: bool = False) -> Path:
        """Write the task file and return its path; raises `UsageError` rather than replace one."""
        if self.path.exists() and not overwrite:
            raise UsageError(f"{self.path} is there already: choose another name, or replace it with --overwrite")
        write_text(self.path, self.text)
        return self.path

    @property
    def text(self) -> str:
        """The file, with the keys to fill in by hand."""
        counts = yaml.safe_dump(
            {"expect": self.expect.model_dump(exclude_none=True)}, width=10**6, sort_keys=False, default_flow_style=None
        )
        name = self.content["name"]
        about = {"name": name, "title": name, "description": "What is asked, and what is to be found."}
        head = yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=10**6)
        parts = [head, _dump({"source": self.content["source"]}), _ABOUT, counts]
        return _HEAD + "".join(parts)


def _dump(content: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6, default_flow_style=None))


def _place(data: Path, output: Path | None, data_dir: Path | None, name: str) -> tuple[Path, str]:
    """The folder of the task file, and the path of the data in it or in the data folder."""
    real = data.resolve()
    folder = output or (Path() if real.is_relative_to(Path.cwd().resolve()) else None)
    for root in DataFiles(name, data_dir=data_dir).roots:
        if real.is_relative_to(root.resolve()):
            return folder or Path(), real.relative_to(root.resolve()).as_posix()
    folder = folder or data.parent
    if not real.is_relative_to(folder.resolve()):
        raise UsageError(
            f"{data} is not inside {folder}: a task file lies beside or above its data, or the data are in the folder "
            "that --data-dir or HBT_BENCH_DATA names"
        )
    return folder, real.relative_to(folder.resolve()).as_posix()
