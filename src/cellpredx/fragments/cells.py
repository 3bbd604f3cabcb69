"""Which barcodes are cells."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellpredx.core.barcodes import explain_mismatch, missing_text, read_barcodes
from cellpredx.core.errors import UserError
from cellpredx.core.spec import SampleSpec

LEAST = 10
CLIFF = 0.1  # decades of rank


def whitelisted(table: pd.DataFrame, lists: dict[str, list[Path]], sample: str) -> tuple[NDArray[np.bool_], list[str]]:
    """Mark the barcodes that their library's list of called cells names; warn of those that are not in the fragments.

    `table` has barcode and library; `lists` files of barcodes a library. Raises UserError where a list matches
    nothing.
    """
    cells = np.zeros(len(table), bool)
    warnings = []
    for library, paths in lists.items():
        wanted = set().union(*map(read_barcodes, paths))
        own = (table["library"] == library).to_numpy()
        found = own & table["barcode"].isin(wanted).to_numpy()
        names = ", ".join(path.name for path in paths)
        holder = f"the fragments of sample {sample}, library {library}"
        if not found.any():
            seen = table.loc[own].sort_values("fragments", ascending=False, kind="stable")["barcode"].tolist()
            raise UserError(
                f"none of {len(wanted):,} listed barcodes is in {holder}",
                names,
                explain_mismatch(wanted, seen, "the fragments have"),
            )
        if text := missing_text(wanted, set(table.loc[found, "barcode"]), names, holder):
            warnings.append(text)
        cells |= found
    return cells, warnings


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


def knee_threshold(fragments: NDArray[np.int64]) -> int:
    """Return the fragments at the cliff between cells and empty droplets: where the curve of `knee` falls most steeply.

    The curve is log fragments against log rank; the threshold is the middle of the tenth of a decade of ranks over
    which it falls most. Ranks below 10 and barcodes of under 10 fragments are left out (DropletUtils: the inflection).
    """
    ordered = np.sort(fragments[fragments >= LEAST])[::-1]
    if len(ordered) < 2 * LEAST:
        return int(ordered[-1]) if len(ordered) else LEAST
    x = np.arange(1.0, np.log10(len(ordered)), CLIFF / 5)
    y = np.interp(x, np.log10(np.arange(1, len(ordered) + 1)), np.log10(ordered))
    width = min(5, len(y) - 1)
    steepest = int(np.argmin(y[width:] - y[:-width]))
    return int(np.ceil(10 ** ((y[steepest] + y[steepest + width]) / 2)))


@dataclass(frozen=True)
class Calls:
    """Which barcodes are cells (a row a barcode), by which thresholds (None: not used), and what was noteworthy."""

    cells: NDArray[np.bool_]
    min_fragments: int | None
    min_tss: float | None
    warnings: list[str]


def call_cells(spec: SampleSpec, table: pd.DataFrame, calling: str, min_fragments: int, min_tss: float | None) -> Calls:
    """Choose the cells: in libraries with a list those that it names, in the others those above the thresholds.

    `table`: barcode, library, fragments, tss_enrichment; `calling`: thresholds, or knee, which finds the number of
    fragments in the data. Raises UserError where nothing is left.
    """
    lists: dict[str, list[Path]] = {}
    for row in spec.rows:
        if row.barcodes is not None:
            lists.setdefault(row.library, []).append(row.barcodes)
    cells, warnings = whitelisted(table, lists, spec.sample)
    unlisted = ~table["library"].isin(set(lists)).to_numpy()
    if not unlisted.any():
        return Calls(cells, None, None, warnings)
    own = table[unlisted]
    if calling == "knee":
        min_fragments = knee_threshold(own["fragments"].to_numpy())
    cells[unlisted] = above_thresholds(own, min_fragments, min_tss, spec.sample)
    return Calls(cells, min_fragments, min_tss, warnings)


def order_of(names: list[str]) -> NDArray[np.int64]:
    """Return the places of `names` in the order of their characters."""
    try:
        # Bytes of one width are compared faster than texts, in the same order.
        return np.argsort(np.array(names, dtype=bytes), kind="stable")
    except UnicodeEncodeError:
        return np.argsort(np.array(names, dtype=object), kind="stable")


def cell_names(spec: SampleSpec, table: pd.DataFrame) -> list[str]:
    """Return the name of every barcode within the sample."""
    if len({row.library for row in spec.rows}) == 1:
        return table["barcode"].tolist()
    return [spec.cell_name(lib, b) for lib, b in zip(table["library"], table["barcode"], strict=True)]
