"""``hbt-bench texts``: write the texts of tasks, to encode or index them elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hbt_bench.cli import options
from hbt_bench.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from hbt_bench.data.collection import Collection
    from hbt_bench.tasks.registry import TaskRegistry

log = logging.getLogger(__name__)

_FORMATS = (".parquet", ".jsonl", ".csv")


@click.command("texts")
@click.option("--tasks", multiple=True, required=True, metavar="NAMES", help="Tasks, suite:NAME or task files.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file: .parquet, .jsonl or .csv.",
)
@options.languages
@options.task_dir
@options.data_dir
def command(
    tasks: tuple[str, ...], output: Path, languages: tuple[str, ...], registry: TaskRegistry, data_dir: Path | None
) -> None:
    """Write every query and document of tasks: the texts that `run` encodes, before any prompt.

    The columns are collection, role (query or document), id, language and text. `run --model vectors:DIR` takes the
    vectors of these ids, and `score` takes rankings of them.

    \b
    hbt-bench texts --tasks xquad-r --output texts.parquet
    """  # noqa: D301 -- click needs the character
    import pandas as pd

    from hbt_bench.files import replacing

    if output.suffix not in _FORMATS:
        raise UsageError(f"{output} ends in neither {', '.join(_FORMATS[:-1])} nor {_FORMATS[-1]}: name such a file")
    tables = []
    for selection in registry.select(tasks):
        if selection.spec is None:
            raise UsageError(f"{selection.stock} is MTEB's task: name tasks of hbt-bench, as in `hbt-bench tasks`")
        spec = selection.spec.narrowed(languages) if languages else selection.spec
        tables.append(_table(spec.name, spec.load(None, data_dir)))
    table = pd.concat(tables, ignore_index=True)
    with replacing(output) as file:
        if output.suffix == ".parquet":
            table.to_parquet(file, index=False)
        elif output.suffix == ".csv":
            file.write(table.to_csv(index=False).encode())
        else:
            file.write(table.to_json(orient="records", lines=True, force_ascii=False).encode())
    click.echo(f"{output}")
    counts = table["role"].value_counts()
    log.info(f"{counts['query']:,} queries and {counts['document']:,} documents, before any prompt")


def _table(name: str, collection: Collection) -> pd.DataFrame:
    import pandas as pd

    rows = [
        (name, role, text.id, text.language, text.text)
        for role, texts in (("query", collection.queries), ("document", collection.documents))
        for text in texts
    ]
    return pd.DataFrame(rows, columns=["collection", "role", "id", "language", "text"])
