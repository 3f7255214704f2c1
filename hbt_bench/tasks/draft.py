"""Draft a task file for existing data: infer the source, pin the files and count queries and documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hbt_bench.data.data_files import DataFiles
from hbt_bench.data.dialect import INFERRED, TableFormat
from hbt_bench.errors import UsageError
from hbt_bench.files import write_text
from hbt_bench.ranking.subsets import judged_subsets
from hbt_bench.tasks.expect import Expect
from hbt_bench.tasks.infer_beir import infer_beir, is_beir
from hbt_bench.tasks.infer_rows import infer_rows
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.tasks.task import TaskSpec

_HEAD = """\
# A task of hbt-bench. `hbt-bench tasks validate` checks this file; docs/tasks.md explains every key.
"""
_METADATA = """\
metadata:
  reference:  # address of the paper or of the data set's page
  license:    # as in cc-by-4.0
  citation:   # BibTeX
"""


@dataclass(frozen=True)
class TaskDraft:
    """A task file that fits its data: its path and content, and notes for its author.

    For example, ``TaskDraft.from_data("my-task", Path("data.jsonl")).write()``.
    """

    path: Path
    content: Mapping[str, Any]
    expect: Expect
    notes: tuple[str, ...] = ()

    @classmethod
    def from_data(
        cls,
        name: str,
        data: Path,
        output: Path | None = None,
        columns: str = "",
        language: str | None = None,
        data_dir: Path | None = None,
        registry: TaskRegistry | None = None,
        table: TableFormat = INFERRED,
        split: str | None = None,
    ) -> TaskDraft:
        """Draft a task for a data file or a folder in BEIR's layout; all of it is read and counted.

        `output` is the folder of the task file, `table` has the conventions of a table, and `split` names the
        judgements of a folder to read. Raises `UsageError` with the option to set if the source cannot be inferred,
        and `DataError` if the data are damaged.
        """
        if not data.is_file() and not data.is_dir():
            raise UsageError(f"{data} is not a file or folder")
        if name in (registry or TaskRegistry()).specs:
            raise UsageError(f"the task '{name}' exists already: choose another name")
        folder, relative = _locate(data, output, data_dir, name)
        if is_beir(data):
            if columns:
                raise UsageError(f"{data} is a folder in BEIR's layout, which has fixed columns: leave out --columns")
            if table != INFERRED:
                raise UsageError(f"{data} is a folder in BEIR's layout, not a table: leave out --quoting and the like")
            inferred = infer_beir(data, relative, language, split)
        elif split is not None:
            raise UsageError(f"{data} is not a folder in BEIR's layout, which has splits: leave out --split {split}")
        else:
            inferred = infer_rows(data, relative, columns, language, table)
        content: dict[str, Any] = {"name": name, "source": inferred.source}
        try:
            spec = TaskSpec.model_validate(content).in_folder(folder)
        except ValidationError as error:
            first = error.errors()[0]
            problem = first["msg"].removeprefix("Value error, ")
            raise UsageError(f"{data}: {problem} (set the columns with --columns)") from error
        collection = spec.load(data_dir=data_dir)
        modes = [mode for mode in spec.modes if any(judged_subsets(collection, mode))]
        if len(modes) < len(spec.modes):  # the judgements do not cross languages, or always do
            content["modes"] = modes
        return cls(folder / f"{name}.yaml", content, Expect.from_collection(collection), inferred.notes)

    def write(self, overwrite: bool = False) -> Path:
        """Write the task file and return its path; raises `UsageError` if it exists, unless `overwrite`."""
        if self.path.exists() and not overwrite:
            raise UsageError(f"{self.path} exists already: choose another name, or replace it with --overwrite")
        write_text(self.path, self.text)
        return self.path

    @property
    def text(self) -> str:
        """The text of the file, with metadata keys to fill in by hand."""
        counts = yaml.safe_dump(
            {"expect": self.expect.model_dump(exclude_none=True)}, width=10**6, sort_keys=False, default_flow_style=None
        )
        name = self.content["name"]
        title = {"name": name, "title": name, "description": "Describe the queries and the documents."}
        head = yaml.safe_dump(title, sort_keys=False, allow_unicode=True, width=10**6)
        source = _dump({key: self.content[key] for key in ("source", "modes") if key in self.content})
        return "".join([_HEAD, head, source, _METADATA, counts])


def _dump(content: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6, default_flow_style=None))


def _locate(data: Path, output: Path | None, data_dir: Path | None, name: str) -> tuple[Path, str]:
    """Return the folder of the task file, and the path of the data in this folder or in the data folder."""
    real = data.resolve()
    folder = output or (Path() if real.is_relative_to(Path.cwd().resolve()) else None)
    for root in DataFiles(name, data_dir=data_dir).roots:
        if real.is_relative_to(root.resolve()):
            return folder or Path(), real.relative_to(root.resolve()).as_posix()
    folder = folder or data.parent
    if not real.is_relative_to(folder.resolve()):
        raise UsageError(
            f"{data} is not inside {folder}: move the data into the folder of the task file, or name their folder with "
            "--data-dir or HBT_BENCH_DATA"
        )
    return folder, real.relative_to(folder.resolve()).as_posix()
