"""Files of other people, opened so that reading them ends: regular ones, and no more than a stated size."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from llenergymeasure._files import open_regular
from llenergymeasure.core.prompts.messages import MOST_CHARACTERS
from llenergymeasure.exceptions import ConfigError, first_line

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# The most that is read of a file, unpacked where it is packed: 2 GiB.
MOST_BYTES = 2**31
PACKED = ".gz"
_BLOCK_BYTES = 2**16
# A line may have other keys beside its prompt.
MOST_LINE_CHARACTERS = 2 * MOST_CHARACTERS


@contextmanager
def opened_text(path: Path, where: str, newline: str | None = None) -> Iterator[IO[str]]:
    """A file of UTF-8, with or without a byte order mark, unpacked where it is called ``.gz``.

    Args:
        path: the file.
        where: what it is called in an error.
        newline: as for ``open``.

    Raises:
        ConfigError: it is too large, no text in UTF-8, or badly packed.
        OSError: it cannot be read, or is no regular file.
    """
    try:
        with (
            open_regular(path) as packed,
            gzip.open(packed, "rb") if path.suffix.lower() == PACKED else packed as unpacked,
            io.BufferedReader(_Limited(unpacked, where), _BLOCK_BYTES) as limited,
            io.TextIOWrapper(limited, encoding="utf-8-sig", newline=newline) as file,
        ):
            yield file
    except UnicodeDecodeError:
        raise ConfigError(
            f"{where}: this is not text in UTF-8; convert it, such as with iconv -f LATIN1 -t UTF-8"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{where}: cannot be unpacked: {first_line(error)}") from None


def lines_of(file: IO[str], where: str, before_number: str = ":") -> Iterator[str]:
    """The lines of a file with their ends.

    Raises:
        ConfigError: one is too long.
    """
    number = 0
    while line := file.readline(MOST_LINE_CHARACTERS + 1):
        number += 1
        if len(line) > MOST_LINE_CHARACTERS:
            raise ConfigError(
                f"{where}{before_number}{number}: this line has more than {MOST_LINE_CHARACTERS:,} characters"
            )
        yield line


class _Limited(io.RawIOBase):
    """A stream of which no more than ``MOST_BYTES`` are read."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, where: str) -> None:
        super().__init__()
        self._stream, self._where, self._n_bytes = stream, where, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        found = self._stream.read(memoryview(buffer).nbytes)
        self._n_bytes += len(found)
        if self._n_bytes > MOST_BYTES:
            raise ConfigError(
                f"{self._where}: it has more than the {MOST_BYTES:,} bytes that are read of a file; give a part of it, "
                "a Parquet file, or dataset.order: as_is with a lower n"
            )
        memoryview(buffer).cast("B")[: len(found)] = found
        return len(found)
