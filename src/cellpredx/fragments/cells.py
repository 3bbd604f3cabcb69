"""Which barcodes are cells."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellpredx.core.barcodes import read_barcodes
from cellpredx.core.errors import UserError


def whitelisted(table: pd.DataFrame, lists: dict[str, list[Path]], sample: str) -> NDArray[np.bool_]:
    """Mark the barcodes that their library's list of called cells names.

    `table` has barcode and library; `lists` a file of barcodes a library. Raises UserError where a list matches
    nothing.
    """
    cells = np.zeros(len(table), bool)
    for library, paths in lists.items():
        wanted = set().union(*map(read_barcodes, paths))
        own = (table["library"] == library).to_numpy()
        found = own & table["barcode"].isin(wanted).to_numpy()
        if not found.any():
            seen = table.loc[own].nlargest(3, "fragments")["barcode"].tolist()
            raise UserError(
                f"none of {len(wanted):,} listed barcodes is in the fragments of sample {sample}, library {library}",
                ", ".join(path.name for path in paths),
                f"the list has {', '.join(sorted(wanted)[:3])}; the fragments have {', '.join(seen)}: "
                "write them alike (a suffix such as -1 counts)",
            )
        cells |= found
    return cells


def above_thresholds(table: pd.DataFrame, min_fragments: int, min_tss: float | None, sample: str) -> NDArray[np.bool_]:
    """Mark the barcodes with enough fragments and, where it is known, TSS enrichment.

    Raises UserError with the distribution and thresholds that would keep cells where none is left.
    """
    enough = (table["fragments"] >= min_fragments).to_numpy()
    cells = enough.copy()
    if min_tss is not None:
        cells &= (table["tss_enrichment"] >= min_tss).to_numpy()
    if not cells.any():
        top = table.nlargest(1000, "fragments")
        quantiles = ", ".join(
            f"{share:.0%} {top['fragments'].quantile(1 - share):,.0f}" for share in (0.01, 0.1, 0.5, 1.0)
        )
        text = f"fragments of the best {len(top):,} barcodes: {quantiles} have as many or more"
        if min_tss is not None:
            best = table.loc[enough, "tss_enrichment"] if enough.any() else top["tss_enrichment"]
            text += f"; TSS enrichment at best {best.max():.1f}, median {best.median():.1f}"
        half = int(top["fragments"].quantile(0.5))
        remedy = (
            f"--min_fragments {max(1, half)} would keep {int((table['fragments'] >= max(1, half)).sum()):,} barcodes"
        )
        if min_tss is not None:
            remedy += f" before --min_tss (now {min_tss:g})"
        raise UserError(
            f"no barcode of sample {sample} is a cell: none of {len(table):,} has {min_fragments:,} fragments"
            + (f" and TSS enrichment {min_tss:g}" if min_tss is not None else ""),
            text,
            remedy + "; or give the called cells in the column `barcodes`",
        )
    return cells


def knee(fragments: NDArray[np.int64], points: int = 500) -> list[list[int]]:
    """Return [rank, fragments] of barcodes in falling order, at most `points` of them, ranks spaced by logarithm."""
    ordered = np.sort(fragments)[::-1]
    ranks = np.unique(np.rint(np.geomspace(1, len(ordered), points)).astype(int))
    return [[int(rank), int(ordered[rank - 1])] for rank in ranks]
