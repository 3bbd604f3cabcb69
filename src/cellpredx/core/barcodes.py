"""Lists of called cells."""

from pathlib import Path

from cellpredx.core.errors import UserError
from cellpredx.core.text import open_text


def read_barcodes(path: Path) -> set[str]:
    """Read a list of barcodes, plain or .gz: one a line, or a table's first column; a header `barcode` is none."""
    with open_text(path, "the list of barcodes") as lines:
        first = (line.strip().replace("\t", ",").split(",")[0].strip('"') for line in lines)
        barcodes = {barcode for barcode in first if barcode and barcode.lower() not in ("barcode", "barcodes")}
    if not barcodes:
        raise UserError("the list of barcodes is empty", path.name, "give one barcode a line")
    return barcodes
