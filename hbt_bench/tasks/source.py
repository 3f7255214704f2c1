"""What every kind of source has."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

from pydantic import StringConstraints

from hbt_bench.data import download
from hbt_bench.data.collection import Collection
from hbt_bench.data.data_files import DataFiles
from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.tasks.schema import Strict

#: A commit of a data set on the hub.
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class Source(Strict):
    """What every kind has; the answers here are those of a parallel collection in local files."""

    @property
    @abstractmethod
    def languages(self) -> tuple[str, ...]:
        """The languages of the collection, sorted."""

    @property
    def declared(self) -> tuple[str, ...] | None:
        """`languages` where they are known without loading MTEB, else None."""
        return self.languages

    @property
    def text(self) -> str:
        """What a document's text is, for the signature."""
        return "document"

    @property
    def version(self) -> str | None:
        """What the counts of a definition hold for, where the data come in versions."""
        return None

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that have something to judge, when there are several languages."""
        return MODES

    @property
    def languages_independent(self) -> bool:
        """Whether the queries of a language are the same with and without the other languages."""
        return False

    def paths(self) -> list[str]:
        """What it reads inside of a data folder; nothing for data that lie elsewhere."""
        return [file.path for file in self.remote_files().values()]

    def remote_files(self) -> dict[str, download.RemoteFile]:
        """Pinned files to download, by language."""
        return {}

    @abstractmethod
    def read(self, name: str, languages: Sequence[str], places: DataFiles) -> Collection:
        """Read the data of `languages` and nothing else, where the source lets them be read apart."""
