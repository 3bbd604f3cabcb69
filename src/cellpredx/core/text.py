"""Text files that may be compressed, read so that no file, however made, fills the memory."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from cellpredx.core.errors import UserError
from cellpredx.core.whole import check_whole

LONGEST_LINE = 1 << 20
# Text of cells, genes or regions is never packed as tightly as a file that was made to fill a disk.
MOST_UNPACKED = 200
ALWAYS_UNPACKED = 16 << 20
_BUFFER = 1 << 17
_ENDS = (b"\n", b"\r")


class _Guard(io.RawIOBase):
    """The bytes of a file. Raises UserError at a line without an end, and where a small file unpacks to a huge one."""

    def __init__(self, source: Any, what: str, path: Path, packed: BinaryIO | None) -> None:
        self.source, self.what, self.path, self.packed = source, what, path, packed
        self.read_so_far = self.since_end = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.source.read(len(buffer))
        buffer[: len(data)] = data
        self.read_so_far += len(data)
        last = max(data.rfind(end) for end in _ENDS)
        self.since_end = self.since_end + len(data) if last < 0 else len(data) - last - 1
        if self.since_end > LONGEST_LINE:
            raise UserError(
                f"{self.what} has a line of more than {LONGEST_LINE >> 20} MB",
                self.path.name,
                "give a text file with a line end after every row",
            )
        if self.packed is not None and self.read_so_far > ALWAYS_UNPACKED + MOST_UNPACKED * self.packed.tell():
            raise UserError(
                f"{self.what} unpacks to more than {MOST_UNPACKED} times its size",
                self.path.name,
                "no data of this kind does: give the file itself, or give it unpacked",
            )
        return len(data)


@contextmanager
def open_text(path: Path, what: str) -> Iterator[TextIO]:
    """Open a text file, plain or .gz, with or without a byte-order mark; `what` names it in a message.

    Raises UserError where the compressed data are damaged or cut short, where the bytes are no text, for a line of more
    than LONGEST_LINE bytes, and for compressed data that are MOST_UNPACKED times as long when they are unpacked.
    """
    check_whole(path)
    with open(path, "rb") as head:
        packed = head.read(2) == b"\x1f\x8b"
    try:
        with open(path, "rb") as raw:
            source = gzip.GzipFile(fileobj=raw) if packed else raw
            guarded = io.BufferedReader(_Guard(source, what, path, raw if packed else None), _BUFFER)
            with io.TextIOWrapper(guarded, encoding="utf-8-sig") as handle:
                yield handle
    except UnicodeDecodeError as error:
        raise UserError(f"{what} is no UTF-8 text: {error}", path.name, "save it as plain text in UTF-8") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{what} cannot be read: {error}", path.name, "copy the file again") from error


def table_lines(lines: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the tab-separated fields of every line that is no comment, track line or blank."""
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith(("#", "track", "browser")):
            yield number, line.rstrip("\r\n").split("\t")
