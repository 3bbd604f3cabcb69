"""BED files of regions."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cellpredx.core.errors import UserError
from cellpredx.core.text import open_text, table_lines


def beyond_end(chrom: str, end: int, size: int, where: str) -> UserError:
    """Return the error of a region that ends beyond its chromosome (bp): another genome's."""
    return UserError(
        f"a region ends at {end:,}, beyond the end of {chrom} ({size:,} bp)",
        where,
        "give regions and fragments of one genome, and that genome by --genome or --chrom_sizes",
    )


def read_bed(path: str | Path, sizes: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Read the regions of a BED or narrowPeak file (.gz or plain): chrom, start, end; sorted, each once.

    Raises UserError with the line for what is no region and, where `sizes` (bp) has its chromosome, for what ends
    beyond it.
    """
    path = Path(path)
    sizes = sizes or {}
    rows = []
    with open_text(path, "the file of regions") as lines:
        for number, fields in table_lines(lines):
            good = len(fields) >= 3 and fields[1].isdigit() and fields[2].isdigit()
            if not good or int(fields[1]) >= int(fields[2]):
                raise UserError(
                    f"not a region: {chr(9).join(fields)[:80]!r}",
                    f"{path.name}, line {number}",
                    "write: chrom, start, end, separated by tabs, with start < end",
                )
            size = sizes.get(fields[0])
            if size is not None and int(fields[2]) > size:
                raise beyond_end(fields[0], int(fields[2]), size, f"{path.name}, line {number}")
            rows.append((fields[0], int(fields[1]), int(fields[2])))
    if not rows:
        raise UserError("the file has no region", path.name, "give a BED of peaks")
    table = pd.DataFrame(rows, columns=["chrom", "start", "end"]).drop_duplicates()
    return table.sort_values(["chrom", "start", "end"], kind="stable", ignore_index=True)
