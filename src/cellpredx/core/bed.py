"""BED files of regions."""

import gzip
import zlib
from pathlib import Path

import pandas as pd

from cellpredx.core.errors import UserError


def read_bed(path: str | Path) -> pd.DataFrame:
    """Read the regions of a BED or narrowPeak file (.gz or plain): chrom, start, end; sorted, each once.

    Raises UserError with the line for what is no region.
    """
    path = Path(path)
    with open(path, "rb") as handle:
        opener = gzip.open if handle.read(2) == b"\x1f\x8b" else open
    rows = []
    try:
        with opener(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.startswith(("#", "track", "browser")) or not line.strip():
                    continue
                fields = line.rstrip("\r\n").split("\t")
                good = len(fields) >= 3 and fields[1].isdigit() and fields[2].isdigit()
                if not good or int(fields[1]) >= int(fields[2]):
                    raise UserError(
                        f"not a region: {line.rstrip()[:80]!r}",
                        f"{path.name}, line {number}",
                        "write: chrom, start, end, separated by tabs, with start < end",
                    )
                rows.append((fields[0], int(fields[1]), int(fields[2])))
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise UserError(f"the regions cannot be read: {error}", path.name, "copy the file again") from error
    if not rows:
        raise UserError("the file has no region", path.name, "give a BED of peaks")
    table = pd.DataFrame(rows, columns=["chrom", "start", "end"]).drop_duplicates()
    return table.sort_values(["chrom", "start", "end"], kind="stable", ignore_index=True)
