"""Regions of the genome whose signal is not to be trusted."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellpredx.core.bed import read_bed

Intervals = tuple[NDArray[np.int64], NDArray[np.int64]]


def read_blacklist(path: str | Path) -> dict[str, Intervals]:
    """Read a BED file as {chrom: (starts, ends)}, bp, half-open, in order, overlapping regions joined."""
    found: dict[str, Intervals] = {}
    for chrom, regions in read_bed(path).groupby("chrom"):
        start, end = regions["start"].to_numpy(np.int64), np.maximum.accumulate(regions["end"].to_numpy(np.int64))
        first = np.r_[True, start[1:] > end[:-1]]
        found[str(chrom)] = (start[first], end[np.r_[first[1:], True]])
    return found


def overlapping(start: NDArray[np.int64], end: NDArray[np.int64], blacklist: Intervals | None) -> NDArray[np.bool_]:
    """Mark the regions [start, end) of one chromosome that overlap its blacklist."""
    if blacklist is None:
        return np.zeros(len(start), bool)
    black_start, black_end = blacklist
    near = np.searchsorted(black_end, start, side="right")
    return (near < len(black_end)) & (np.r_[black_start, np.iinfo(np.int64).max][near] < end)
