"""The first lines of a fragment file."""

from dataclasses import dataclass
from pathlib import Path

from cellpredx.core.bed import beyond_end, position
from cellpredx.core.errors import UserError
from cellpredx.core.text import open_text

_LINES = 20_000
_REMEDY = "write: chrom, start, end, barcode, read pairs (10x fragment file), separated by tabs"


@dataclass(frozen=True)
class FragmentHead:
    """Barcodes and chromosomes among the first lines of a fragment file."""

    barcodes: set[str]
    chromosomes: set[str]


def read_head(path: Path, sizes: dict[str, int]) -> FragmentHead:
    """Return what the first lines hold.

    Raises UserError, with the line, for what is no fragment, for one beyond the end of its chromosome (`sizes`, bp),
    and for a file without one or that is cut.
    """
    barcodes: set[str] = set()
    chromosomes: set[str] = set()
    number = fragments = 0
    with open_text(path, "the fragment file") as lines:
        # The header, which may have a line for each of many contigs, does not count.
        for number, line in enumerate(lines, start=1):
            text = line.rstrip("\r\n")
            if text.startswith("#") or not text:
                continue
            fields = text.split("\t")
            place = f"{path.name}, line {number}"
            start, end = map(position, fields[1:3]) if len(fields) > 3 else (None, None)
            if start is None or end is None or not fields[3]:
                raise UserError(f"not a fragment: {text[:80]!r}", place, _REMEDY)
            if start >= end:
                raise UserError(
                    f"start is not before end: {text[:80]!r}", place, "write half-open intervals: start < end"
                )
            size = sizes.get(fields[0])
            if size is not None and end > size:
                raise beyond_end(fields[0], end, size, place)
            barcodes.add(fields[3])
            chromosomes.add(fields[0])
            fragments += 1
            if fragments == _LINES:
                break
    if not barcodes:
        raise UserError("the file has no fragment", path.name, f"it has {number} lines, none of them a fragment")
    return FragmentHead(barcodes, chromosomes)
