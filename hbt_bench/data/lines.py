"""Lines of text files, plain or gzipped, with limits for files from elsewhere."""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hbt_bench.errors import DataError

#: Characters of a line, and of a cell of a table.
MAX_LINE = 16 << 20
#: The size limit of a compressed file, as a multiple of its compressed size. Texts shrink to about a tenth.
MAX_RATIO = 100
#: Bytes that any compressed file may expand to, whatever its ratio.
FREE_BYTES = 64 << 20
#: The first bytes of UTF-16, which spreadsheets write as "Unicode text".
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def suffix(path: Path) -> str:
    """Return the ending that names the format; for example, ".tsv" for ``queries.tsv.gz``."""
    return Path(path.name.removesuffix(".gz")).suffix


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a UTF-8 file, without line ends and byte order mark.

    A line ends with LF or CRLF. In a file without LF, as old spreadsheets write it, a line ends with CR. Raises
    `DataError` with the line for bytes that are not text in UTF-8 and for a line of more than 16 MiB, and for a file
    that cannot be read, is a damaged archive, or expands beyond the limits. For example,
    ``dict(read_lines(Path("queries.tsv")))[1]`` is the first line.
    """
    number = 1
    try:
        limit = max(FREE_BYTES, MAX_RATIO * path.stat().st_size)
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as stream:
            for number, raw in enumerate(_raw_lines(path, stream, limit), 1):
                if b"\0" in raw or (number == 1 and raw.startswith(_UTF_16)):
                    raise DataError(
                        f"{path}:{number}: bytes of zero or a mark of UTF-16: save the file as UTF-8 text, for example "
                        "with `iconv -f UTF-16 -t UTF-8`"
                    )
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: byte {error.start + 1} of the line is not UTF-8: save the file as UTF-8, for example "
            "with `iconv -f WINDOWS-1252 -t UTF-8`"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        raise DataError(f"{path} is a damaged archive ({error}): fetch or make it again") from error


def _raw_lines(path: Path, stream: BinaryIO | gzip.GzipFile, limit: int) -> Iterator[bytes]:
    size = 0
    for number in itertools.count(1):
        raw = stream.readline(MAX_LINE + 1)
        size += len(raw)
        if len(raw) > MAX_LINE:
            raise DataError(f"{path}:{number}: the line is longer than {MAX_LINE >> 20} MiB")
        if size > limit:
            raise DataError(
                f"{path} expands to more than {limit >> 20} MiB, {MAX_RATIO} times its size: it is not an archive of "
                "texts"
            )
        if number == 1 and not raw.endswith(b"\n"):
            yield from raw.splitlines()  # the whole file: at CR, if it has CR
            return
        if not raw:
            return
        yield raw
