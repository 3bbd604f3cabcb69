"""BED files of regions."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellpredx.core.errors import UserError
from cellpredx.core.text import open_text, table_lines

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 2**31 - 1
WHAT = "the file of regions"


def position(text: str) -> int | None:
    """Return a place on a chromosome (bp), None for what is no whole number from 0 to LIMIT - 1."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 and int(text) < LIMIT else None


def _problem(fields: list[str]) -> str | None:
    if len(fields) < 3:
        return "columns are separated by spaces" if len(" ".join(fields).split()) >= 3 else "fewer than 3 columns"
    start, end = position(fields[1]), position(fields[2])
    if start is None or end is None:
        return f"start and end must be whole numbers from 0 to {LIMIT - 1}"
    return None if start < end else "start is not before end"


def beyond_end(chrom: str, end: int, size: int, where: str) -> UserError:
    """Return the error of a region beyond its chromosome (bp): another genome's.

    Tiles of a fixed width, and peaks made wide around a summit, may reach over an end and are none: what counts is
    that a region begins there.
    """
    return UserError(
        f"a region ends at {end:,}, beyond the end of {chrom} ({size:,} bp)",
        where,
        "give regions and fragments of one genome, and that genome by --genome or --chrom_sizes",
    )


def read_regions(path: str | Path, sizes: Mapping[str, int] | None = None) -> list[tuple[str, int, int]]:
    """Read chrom, start, end (bp, half-open) of a BED or narrowPeak file (.gz or plain): sorted, each once.

    Comments, track lines, blank lines and a first line that names the columns are passed over; regions may
    overlap. Raises UserError with the line for what is no region and, where `sizes` (bp) has its chromosome, for what
    begins beyond it.
    """
    path = Path(path)
    regions = set()
    head = True
    with open_text(path, WHAT) as lines:
        for number, fields in table_lines(lines):
            names, head = head and [field.strip().lower() for field in fields[1:3]] == ["start", "end"], False
            if names:
                continue
            problem = _problem(fields)
            if problem:
                raise UserError(
                    f"not a region: {' '.join(fields)[:80]!r}: {problem}",
                    f"{path.name}, line {number}",
                    "write: chrom, start, end, separated by tabs, with start < end",
                )
            size = (sizes or {}).get(fields[0])
            if size is not None and int(fields[1]) >= size:
                raise beyond_end(fields[0], int(fields[2]), size, f"{path.name}, line {number}")
            regions.add((fields[0], int(fields[1]), int(fields[2])))
    if not regions:
        raise UserError("the file has no region", path.name, "give a BED of peaks")
    return sorted(regions)


def _plain_table(path: Path) -> "pd.DataFrame | None":
    """Read a file of nothing but regions by a fast reader; None for any other, which `read_regions` then judges."""
    import pandas as pd

    options: dict[str, Any] = {
        **{"sep": "\t", "header": None, "usecols": [0, 1, 2], "names": ["chrom", "start", "end"], "na_filter": False},
        **{"dtype": {"chrom": str, "start": "int64", "end": "int64"}, "quoting": csv.QUOTE_NONE},
    }
    try:
        with open_text(path, WHAT) as lines:
            table = pd.read_csv(lines, skip_blank_lines=False, **options)
    except (ValueError, OverflowError, UserError):
        return None
    sound = (table["start"] >= 0) & (table["start"] < table["end"]) & (table["end"] < LIMIT)
    odd = table["chrom"].str.startswith(("#", "track", "browser", "\ufeff")) | (table["chrom"].str.strip() == "")
    return table if len(table) and sound.all() and not odd.any() else None


def read_bed(path: str | Path, sizes: Mapping[str, int] | None = None) -> "pd.DataFrame":
    """Return the regions of `read_regions` as a table: chrom, start, end."""
    import pandas as pd

    path = Path(path)
    table = _plain_table(path)
    if table is not None and not (table["start"] >= table["chrom"].map(dict(sizes or {}))).any():
        return table.drop_duplicates().sort_values(["chrom", "start", "end"], ignore_index=True)
    return pd.DataFrame(read_regions(path, sizes), columns=["chrom", "start", "end"])
