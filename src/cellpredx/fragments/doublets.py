"""Doublets by what no single diploid cell shows: many loci that more than two fragments cover."""

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellpredx.core.blacklist import Intervals
from cellpredx.core.compiled import njit
from cellpredx.core.genome import MITOCHONDRIAL
from cellpredx.fragments.qc import NONE
from cellpredx.fragments.store import StoreWriter

LONGEST = 900
LEVEL = 0.01


@njit(cache=True)
def _in_cells(rows, row_of_barcode, cells, longest):  # type: ignore[no-untyped-def]
    """Return start and end of the fragments in cells, cell by cell and by start, and where each cell begins."""
    begin = np.zeros(cells + 1, np.int64)
    for i in range(len(rows)):
        cell = row_of_barcode[rows[i, 2]]
        if cell >= 0 and rows[i, 1] - rows[i, 0] <= longest:
            begin[cell + 1] += 1
    for cell in range(cells):
        begin[cell + 1] += begin[cell]
    fill = begin[:-1].copy()
    # Start above end in one number, so that one sort orders both.
    found = np.empty(begin[cells], np.int64)
    for i in range(len(rows)):
        cell = row_of_barcode[rows[i, 2]]
        if cell >= 0 and rows[i, 1] - rows[i, 0] <= longest:
            found[fill[cell]] = (np.int64(rows[i, 0]) << 32) | np.int64(rows[i, 1])
            fill[cell] += 1
    for cell in range(cells):
        own = found[begin[cell] : begin[cell + 1]]
        for k in range(1, len(own)):
            if own[k] < own[k - 1]:
                own.sort()
                break
    return found, begin


@njit(cache=True)
def _count_loci(found, begin, black_start, black_end, loci):  # type: ignore[no-untyped-def]
    """Add to `loci` each cell's stretches that three or more of its fragments cover, the blacklist left out."""
    for cell in range(len(begin) - 1):
        # Ends of the fragments that reach the present position, the three furthest in falling order.
        first = second = third = np.int64(-1)
        stretch_start = stretch_end = np.int64(-1)
        for k in range(begin[cell], begin[cell + 1] + 1):
            last = k == begin[cell + 1]
            start = np.int64(1) << 40 if last else found[k] >> 32
            end = np.int64(0) if last else found[k] & 0xFFFFFFFF
            if end > first:
                first, second, third = end, first, second
            elif end > second:
                second, third = end, second
            elif end > third:
                third = end
            if (last or start > stretch_end) and stretch_end >= 0:
                near = np.searchsorted(black_end, stretch_start + 1)
                if near == len(black_end) or black_start[near] >= stretch_end:
                    loci[cell] += 1
                stretch_end = np.int64(-1)
            if not last and third > start:
                if stretch_end < 0:
                    stretch_start = start
                stretch_end = max(stretch_end, third)


def autosomes(contigs: list[str]) -> list[str]:
    """Return the contigs named by a number; of a genome without such names, all but X, Y, Z, W and M."""
    numbered = [name for name in contigs if re.fullmatch(r"(chr)?\d+[A-Za-z]?", name)]
    other = [name for name in contigs if name not in MITOCHONDRIAL and not re.fullmatch(r"(chr)?[XYZW]", name)]
    return numbered or other


def multiply_covered_loci(
    store: StoreWriter, row_of_barcode: NDArray[np.int32], cells: int, blacklist: dict[str, Intervals]
) -> NDArray[np.int64]:
    """Count, for each cell, the loci of the autosomes that more than two of its fragments cover.

    A locus is a stretch that at least three fragments of up to 900 bp cover; loci on the blacklist (bp, half-open) do
    not count. `row_of_barcode`: a cell's row, or -1.
    """
    loci = np.zeros(cells, np.int64)
    for contig in autosomes(sorted(store.files)):
        found, begin = _in_cells(store.rows(contig), row_of_barcode, cells, LONGEST)
        _count_loci(found, begin, *blacklist.get(contig, NONE), loci)
    return loci


def q_values(loci: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the q value (Benjamini-Hochberg) of each cell's loci under a Poisson law with their mean."""
    from scipy.special import pdtrc

    mean = float(loci.mean())
    p = np.where(loci > 0, pdtrc(np.maximum(loci - 1, 0), mean), 1.0)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def find_doublets(store: StoreWriter, is_cell: NDArray[np.bool_], blacklist: dict[str, Intervals]) -> pd.DataFrame:
    """Return overlap_loci, doublet_q and is_doublet (q < 0.01), a row a barcode number; empty for what is no cell.

    AMULET's method (Thibodeau et al., Genome Biology 2021): a diploid cell has two copies of a locus, so loci that more
    than two fragments cover are chance or repeats, and too many of them are a second cell. It sees doublets of one type
    too, and little in cells of few fragments (its authors advise a median of 25,000).
    """
    numbers = np.full(len(is_cell), -1, np.int32)
    numbers[is_cell] = np.arange(int(is_cell.sum()), dtype=np.int32)
    loci = multiply_covered_loci(store, numbers, int(is_cell.sum()), blacklist)
    table = pd.DataFrame({"overlap_loci": np.full(len(is_cell), np.nan), "doublet_q": np.nan})
    table.loc[is_cell, "overlap_loci"] = loci
    table.loc[is_cell, "doublet_q"] = q_values(loci)
    return table.assign(is_doublet=table["doublet_q"] < LEVEL)
