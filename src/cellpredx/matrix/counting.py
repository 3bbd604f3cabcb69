"""Exact counts of fragments in features, overlapping features included."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray

from cellpredx.core.errors import UserError
from cellpredx.core.progress import Progress
from cellpredx.fragments.store import Store

STRATEGIES = ("paired-insertion", "insertion", "fragment")


class Segments:
    """The features of one contig, cut into elementary segments: between two cuts the covering features are the same.

    `cuts`: positions (bp) in rising order; segment i is [cuts[i - 1], cuts[i]); `cover[cover_at[i]:cover_at[i + 1]]`
    are the features over segment i. `by_start`: features in order of their `starts`.
    """

    def __init__(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> None:
        self.cuts = np.unique(np.r_[start, end])
        first = np.searchsorted(self.cuts, start) + 1
        last = np.searchsorted(self.cuts, end) + 1
        lengths = last - first
        feature = np.repeat(np.arange(len(start)), lengths)
        segment = np.arange(len(feature)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(first, lengths)
        order = np.argsort(segment, kind="stable")
        self.cover = feature[order].astype(np.int32)
        self.cover_at = np.searchsorted(segment[order], np.arange(len(self.cuts) + 2)).astype(np.int64)
        self.by_start = np.argsort(start, kind="stable").astype(np.int32)
        self.starts = start[self.by_start]


@njit(cache=True)
def _covering(feature, cover, begin, stop):  # type: ignore[no-untyped-def]
    for i in range(begin, stop):  # noqa: SIM110 - numba takes no generators
        if cover[i] == feature:
            return True
    return False


@njit(cache=True)
def _count(  # type: ignore[no-untyped-def]
    starts, ends, cells, cuts, cover, cover_at, by_start, feature_starts, strategy, rows, columns
):
    """Write (cell, feature) of every count to `rows` and `columns` where they have room; return how many there are."""
    found = 0
    room = len(rows)
    for i in range(len(starts)):
        left = np.searchsorted(cuts, starts[i], side="right")
        a, b = cover_at[left], cover_at[left + 1]
        for k in range(a, b):
            if found < room:
                rows[found] = cells[i]
                columns[found] = cover[k]
            found += 1
        if strategy == 2:
            k = np.searchsorted(feature_starts, starts[i], side="right")
            while k < len(feature_starts) and feature_starts[k] < ends[i]:
                if found < room:
                    rows[found] = cells[i]
                    columns[found] = by_start[k]
                found += 1
                k += 1
            continue
        right = np.searchsorted(cuts, ends[i] - 1, side="right")
        for k in range(cover_at[right], cover_at[right + 1]):
            if strategy == 0 and (right == left or _covering(cover[k], cover, a, b)):
                continue
            if found < room:
                rows[found] = cells[i]
                columns[found] = cover[k]
            found += 1
    return found


def count_features(store: Store, features: pd.DataFrame, strategy: str) -> sp.csr_matrix:
    """Count a sample's fragments in `features` (chrom, start, end in bp, half-open; any order, overlaps allowed).

    Returns cells x features, int32. `paired-insertion`: one for a fragment with at least one end inserted in the
    feature; `insertion`: one for each such end (`start` and `end - 1`: 10x fragments are already shifted);
    `fragment`: one for each fragment that overlaps it. Read pairs (column 5) are never added up.
    """
    code = STRATEGIES.index(strategy)
    cells = len(store.cells)
    parts: list[sp.csr_matrix] = []
    order: list[NDArray[np.int64]] = []
    progress = Progress(f"{store.sample}: chromosomes counted", features["chrom"].nunique())
    groups = features.reset_index(drop=True).groupby("chrom", sort=False)
    if not any(str(chrom) in store.contigs for chrom in groups.groups):
        raise UserError(
            f"no chromosome of the features is in the fragments of sample {store.sample}",
            None,
            f"the features have {', '.join(map(str, list(groups.groups)[:5]))}; the fragments have "
            f"{', '.join(list(store.contigs)[:5])}: give files of one genome that name chromosomes alike",
        )
    for done, (chrom, table) in enumerate(groups):
        order.append(table.index.to_numpy(np.int64))
        total = sp.csr_matrix((cells, len(table)), dtype=np.int32)
        if str(chrom) in store.contigs:
            seg = Segments(table["start"].to_numpy(np.int64), table["end"].to_numpy(np.int64))
            for start, end, cell in store.chunks(str(chrom)):
                room = 2 * len(start) + 1024
                while True:
                    rows, columns = np.empty(room, np.int32), np.empty(room, np.int32)
                    found = _count(
                        start,
                        end,
                        cell,
                        seg.cuts,
                        seg.cover,
                        seg.cover_at,
                        seg.by_start,
                        seg.starts,
                        code,
                        rows,
                        columns,
                    )
                    if found <= room:
                        break
                    room = found
                ones = np.ones(found, np.int32)
                total += sp.csr_matrix((ones, (rows[:found], columns[:found])), shape=(cells, len(table)))
        parts.append(total)
        progress.update(done + 1)
    progress.close(len(parts))
    joined = sp.hstack(parts, format="csr")
    back = np.empty(joined.shape[1], np.int64)
    back[np.concatenate(order)] = np.arange(joined.shape[1])
    result = sp.csr_matrix(joined[:, back])
    result.sort_indices()
    return result


@njit(cache=True)
def _windows(starts, ends, cells, size, paired, rows, columns):  # type: ignore[no-untyped-def]
    found = 0
    for i in range(len(starts)):
        left, right = starts[i] // size, (ends[i] - 1) // size
        rows[found], columns[found] = cells[i], left
        found += 1
        if right != left or not paired:
            rows[found], columns[found] = cells[i], right
            found += 1
    return found


def count_windows(store: Store, size: int, strategy: str, skip: tuple[str, ...]) -> tuple[sp.csr_matrix, pd.DataFrame]:
    """Count a sample's fragments in windows of `size` bp from each chromosome's start, `skip` left out.

    Returns cells x windows (int32) and the windows (chrom, start, end); windows without a count are left out.
    `strategy` is paired-insertion or insertion.
    """
    parts: list[sp.csr_matrix] = []
    tables: list[pd.DataFrame] = []
    for contig in store.contigs:
        if contig in skip:
            continue
        total: sp.csr_matrix | None = None
        for start, end, cell in store.chunks(contig):
            if len(start) == 0:
                continue
            rows, columns = np.empty(2 * len(start), np.int32), np.empty(2 * len(start), np.int32)
            found = _windows(start, end, cell, size, strategy == "paired-insertion", rows, columns)
            width = int(columns[:found].max()) + 1
            part = sp.csr_matrix(
                (np.ones(found, np.int32), (rows[:found], columns[:found])), shape=(len(store.cells), width)
            )
            if total is not None:
                widest = max(width, total.shape[1])
                total.resize((len(store.cells), widest))
                part.resize((len(store.cells), widest))
                part = total + part
            total = part
        if total is None:
            continue
        used = np.flatnonzero(total.getnnz(axis=0))
        parts.append(total.tocsc()[:, used].tocsr())
        tables.append(pd.DataFrame({"chrom": contig, "start": used * size, "end": (used + 1) * size}))
    if not parts:
        raise UserError(
            f"no fragment of sample {store.sample} lies in a window",
            None,
            f"the fragments are on {', '.join(list(store.contigs)[:5])}; those of {', '.join(skip)} do not count",
        )
    return sp.csr_matrix(sp.hstack(parts, format="csr")), pd.concat(tables, ignore_index=True)
