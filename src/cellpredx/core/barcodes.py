"""Lists of called cells."""

import gzip
import zlib
from pathlib import Path

from cellpredx.core.errors import UserError


def read_barcodes(path: Path) -> set[str]:
    """Read a list of barcodes, plain or .gz: one a line, or a table's first column; a header `barcode` is none."""
    with open(path, "rb") as handle:
        opener = gzip.open if handle.read(2) == b"\x1f\x8b" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as lines:
            first = (line.strip().replace("\t", ",").split(",")[0].strip('"') for line in lines)
            barcodes = {barcode for barcode in first if barcode and barcode.lower() not in ("barcode", "barcodes")}
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise UserError(
            f"the list of barcodes cannot be read: {error}", path.name, "give one barcode a line"
        ) from error
    if not barcodes:
        raise UserError("the list of barcodes is empty", path.name, "give one barcode a line")
    return barcodes
