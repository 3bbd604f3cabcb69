"""Text files that may be compressed."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from cellpredx.core.errors import UserError
from cellpredx.core.whole import check_whole


@contextmanager
def open_text(path: Path, what: str) -> Iterator[TextIO]:
    """Open a text file, plain or .gz, with or without a byte-order mark; `what` names it in a message.

    Raises UserError where the compressed data are damaged or cut short, or the bytes are no text.
    """
    check_whole(path)
    with open(path, "rb") as head:
        opener = gzip.open if head.read(2) == b"\x1f\x8b" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as handle:
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
