"""Exact counts of fragments in features, overlapping features included."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellpredx.core.blacklist import Intervals, overlapping
from cellpredx.core.compiled import njit
from cellpredx.core.errors import UserError
from cellpredx.core.progress import Progress
from cellpredx.fragments.store import Store

STRATEGIES = ("paired-insertion", "insertion", "fragment")
Rows = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]
MANY = 16


@dataclass(frozen=True)
class Counts:
    """Cells x features, kept a part a chromosome.

    A part is (indptr, columns of the whole matrix, values); `in_features`: each cell's fragments that overlap any
    feature.
    """

    shape: tuple[int, int]
    parts: list[Rows]
    in_features: NDArray[np.int64]

    @property
    def nnz(self) -> int:
        """Entries that are not zero."""
        return sum(len(columns) for _, columns, _ in self.parts)

    def blocks(self, entries: int = 1 << 22) -> Iterator[Rows]:
        """Yield (entries a row, columns, counts) of successive rows, about `entries` at a time."""
        lengths = sum((np.diff(indptr) for indptr, _, _ in self.parts), np.zeros(self.shape[0], np.int64))
        ends = np.cumsum(lengths)
        begin = 0
        while begin < self.shape[0]:
            start = ends[begin - 1] if begin else 0
            stop = max(begin + 1, int(np.searchsorted(ends, start + entries, side="right")))
            columns = np.empty(ends[stop - 1] - start, np.int32)
            counts = np.empty(len(columns), self.parts[0][2].dtype)
            to = np.r_[0, ends[begin : stop - 1] - start]
            for indptr, own_columns, own_counts in self.parts:
                _copy_rows(indptr[begin : stop + 1], own_columns, own_counts, to, columns, counts)
            _sort_each(lengths[begin:stop], columns, counts)
            yield lengths[begin:stop], columns, counts
            begin = stop


@njit(cache=True)
def _copy_rows(indptr, columns, counts, to, all_columns, all_counts):  # type: ignore[no-untyped-def]
    """Copy a part's rows to the places `to`, and move the places on."""
    for row in range(len(to)):
        for i in range(indptr[row], indptr[row + 1]):
            all_columns[to[row]] = columns[i]
            all_counts[to[row]] = counts[i]
            to[row] += 1


@njit(cache=True)
def _sort_each(lengths, columns, counts):  # type: ignore[no-untyped-def]
    """Put every row's columns in order where the features of a chromosome do not stand together."""
    begin = 0
    for length in lengths:
        for i in range(begin + 1, begin + length):
            if columns[i] < columns[i - 1]:
                order = np.argsort(columns[begin : begin + length])
                columns[begin : begin + length] = columns[begin : begin + length][order]
                counts[begin : begin + length] = counts[begin : begin + length][order]
                break
        begin += length


@njit(cache=True)
def _sort(values):  # type: ignore[no-untyped-def]
    """Sort in place: by insertion, which is quick for what is nearly in order, unless that takes many moves."""
    moves = 0
    for k in range(1, len(values)):
        value = values[k]
        j = k - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
        moves += k - 1 - j
        if moves > 8 * len(values) + 64:
            values.sort()
            return


@njit(cache=True)
def _by_row(rows, columns, cells):  # type: ignore[no-untyped-def]
    """Return (indptr, columns, counts) of the (row, column) pairs, equal ones counted."""
    begin = np.zeros(cells + 1, np.int64)
    for row in rows:
        begin[row + 1] += 1
    for row in range(cells):
        begin[row + 1] += begin[row]
    fill = begin[:-1].copy()
    placed = np.empty(len(rows), np.int32)
    for i in range(len(rows)):
        placed[fill[rows[i]]] = columns[i]
        fill[rows[i]] += 1
    counts = np.empty(len(rows), np.int32)
    indptr = np.zeros(cells + 1, np.int64)
    out = 0
    for row in range(cells):
        _sort(placed[begin[row] : begin[row + 1]])
        for i in range(begin[row], begin[row + 1]):
            if out > indptr[row] and placed[out - 1] == placed[i]:
                counts[out - 1] += 1
            else:
                placed[out] = placed[i]
                counts[out] = 1
                out += 1
        indptr[row + 1] = out
    return indptr, placed[:out].copy(), counts[:out].copy()


class Segments:
    """The features of one contig, cut into elementary segments: between two cuts the covering features are the same.

    `cuts`: positions (bp) in rising order; segment i is [cuts[i - 1], cuts[i]); `cover[cover_at[i]:cover_at[i + 1]]`
    are the features over segment i. `by_start`: features in order of their starts; `started[i]`: how many of them start
    before cuts[i]. `bins[b]`: how many cuts lie before b << shift.
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
        self.started = np.searchsorted(start[self.by_start], np.r_[self.cuts, np.iinfo(np.int64).max])
        span = int(self.cuts[-1]) + 1
        self.shift = max(0, int(np.log2(span / (4 * len(self.cuts)))))
        self.bins = np.searchsorted(self.cuts, np.arange((span >> self.shift) + 2) << self.shift)

    def arrays(self) -> tuple[Any, ...]:
        """Return what `_count` reads, in its order."""
        return self.cuts, self.cover, self.cover_at, self.by_start, self.started, self.bins, self.shift


@njit(cache=True)
def _advance(cuts, at, stop, position):  # type: ignore[no-untyped-def]
    """Return np.searchsorted(cuts, position, side="right"), which lies in [at, stop]."""
    if stop - at > MANY:
        for _ in range(MANY):
            if cuts[at] > position:
                return at
            at += 1
        return at + np.searchsorted(cuts[at:stop], position, side="right")
    while at < stop and cuts[at] <= position:
        at += 1
    return at


@njit(cache=True)
def _covering(feature, cover, begin, stop):  # type: ignore[no-untyped-def]
    for i in range(begin, stop):  # noqa: SIM110 - numba takes no generators
        if cover[i] == feature:
            return True
    return False


@njit(cache=True)
def _room(found, rows, columns, more):  # type: ignore[no-untyped-def]
    """Return `rows` and `columns` with room for `more` after the first `found`."""
    size = max(2 * len(rows), found + more)
    larger_rows, larger_columns = np.empty(size, np.int32), np.empty(size, np.int32)
    larger_rows[:found] = rows[:found]
    larger_columns[:found] = columns[:found]
    return larger_rows, larger_columns


@njit(cache=True)
def _count(  # type: ignore[no-untyped-def]
    fragments, row_of_barcode, strategy, in_features, cuts, cover, cover_at, by_start, started, bins, shift
):
    """Return (cell, feature) of every count of one contig's fragments (start, end, barcode number)."""
    rows, columns = np.empty(len(fragments) + 1024, np.int32), np.empty(len(fragments) + 1024, np.int32)
    found = 0
    for i in range(len(fragments)):
        cell = row_of_barcode[fragments[i, 2]]
        if cell < 0:
            continue
        start, last = np.int64(fragments[i, 0]), np.int64(fragments[i, 1]) - 1
        place = start >> shift
        left = len(cuts) if place + 1 >= len(bins) else _advance(cuts, bins[place], bins[place + 1], start)
        right = _advance(cuts, left, len(cuts), last)
        a, b = cover_at[left], cover_at[left + 1]
        c, d = cover_at[right], cover_at[right + 1]
        first_start, last_start = started[left], started[right]
        if b > a or last_start > first_start:
            in_features[cell] += 1
        more = (b - a) + (d - c) + (last_start - first_start)
        if more == 0:
            continue
        if found + more > len(rows):
            rows, columns = _room(found, rows, columns, more)
        for k in range(a, b):
            rows[found] = cell
            columns[found] = cover[k]
            found += 1
        if strategy == 2:
            for k in range(first_start, last_start):
                rows[found] = cell
                columns[found] = by_start[k]
                found += 1
            continue
        if strategy == 0 and right == left:
            continue
        for k in range(c, d):
            if strategy == 1 or not _covering(cover[k], cover, a, b):
                rows[found] = cell
                columns[found] = cover[k]
                found += 1
    return rows[:found], columns[:found]


def count_features(store: Store, features: pd.DataFrame, strategy: str) -> Counts:
    """Count a sample's fragments in `features` (chrom, start, end in bp, half-open; any order, overlaps allowed).

    Returns cells x features. `paired-insertion`: one for a fragment with at least one end inserted in the feature;
    `insertion`: one for each such end (`start` and `end - 1`: 10x fragments are already shifted); `fragment`: one for
    each fragment that overlaps it. Read pairs (column 5) are never added up. Memory: the counts, and one chromosome's
    fragments.
    """
    code = STRATEGIES.index(strategy)
    cells = len(store.cells)
    groups = [
        (str(chrom), np.asarray(place, np.int32))
        for chrom, place in features.groupby("chrom", sort=False).indices.items()
    ]
    if not any(chrom in store.contigs for chrom, _ in groups):
        raise UserError(
            f"no chromosome of the features is in the fragments of sample {store.sample}",
            None,
            f"the features have {', '.join([chrom for chrom, _ in groups][:5])}; the fragments have "
            f"{', '.join(list(store.contigs)[:5])}: give files of one genome that name chromosomes alike",
        )
    starts, ends = features["start"].to_numpy(np.int64), features["end"].to_numpy(np.int64)
    in_features = np.zeros(cells, np.int64)
    parts: list[Rows] = []
    progress = Progress(f"{store.sample}: chromosomes counted", len(groups))
    for done, (chrom, place) in enumerate(groups, start=1):
        if chrom in store.contigs:
            segments = Segments(starts[place], ends[place]).arrays()
            pairs = _count(store.rows(chrom), store.row_of_barcode, code, in_features, *segments)
            indptr, columns, counts = _by_row(*pairs, cells)
            parts.append((indptr, place[columns], counts))
        progress.update(done)
    progress.close(len(groups))
    return Counts((cells, len(features)), parts, in_features)


@njit(cache=True)
def _windows(fragments, row_of_barcode, size, paired):  # type: ignore[no-untyped-def]
    rows, columns = np.empty(2 * len(fragments), np.int32), np.empty(2 * len(fragments), np.int32)
    found = 0
    for i in range(len(fragments)):
        cell = row_of_barcode[fragments[i, 2]]
        if cell < 0:
            continue
        left, right = fragments[i, 0] // size, (fragments[i, 1] - 1) // size
        rows[found], columns[found] = cell, left
        found += 1
        if right != left or not paired:
            rows[found], columns[found] = cell, right
            found += 1
    return rows[:found], columns[:found]


def count_windows(
    store: Store, size: int, strategy: str, skip: tuple[str, ...], blacklist: dict[str, Intervals] | None = None
) -> tuple[Counts, pd.DataFrame]:
    """Count a sample's fragments in windows of `size` bp from each chromosome's start, `skip` left out.

    Returns cells x windows and the windows (chrom, start, end); windows without a count, and those that overlap the
    blacklist, are left out. `strategy` is paired-insertion or insertion.
    """
    cells = len(store.cells)
    parts: list[Rows] = []
    tables: list[pd.DataFrame] = []
    width = 0
    progress = Progress(f"{store.sample}: chromosomes counted", len(store.contigs))
    for done, contig in enumerate(store.contigs, start=1):
        if contig in skip:
            continue
        pairs = _windows(store.rows(contig), store.row_of_barcode, size, strategy == "paired-insertion")
        windows = np.unique(pairs[1]).astype(np.int64)
        kept = ~overlapping(windows * size, (windows + 1) * size, (blacklist or {}).get(contig))
        place = np.full(int(windows[-1]) + 1 if len(windows) else 0, -1, np.int32)
        place[windows[kept]] = np.arange(int(kept.sum()), dtype=np.int32) + width
        columns = place[pairs[1]]
        used = columns >= 0
        parts.append(_by_row(pairs[0][used], columns[used], cells))
        width += int(kept.sum())
        tables.append(pd.DataFrame({"chrom": contig, "start": windows[kept] * size, "end": (windows[kept] + 1) * size}))
        progress.update(done)
    progress.close(len(store.contigs))
    if not width:
        raise UserError(
            f"no fragment of sample {store.sample} lies in a window",
            None,
            f"the fragments are on {', '.join(list(store.contigs)[:5])}; those of {', '.join(skip)} do not count",
        )
    return Counts((cells, width), parts, np.zeros(cells, np.int64)), pd.concat(tables, ignore_index=True)
