"""Quality of barcodes: what is counted in the one pass over the fragments."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellpredx.core.annotation import Annotation
from cellpredx.core.blacklist import Intervals
from cellpredx.core.compiled import njit
from cellpredx.core.genome import MITOCHONDRIAL

MAX_SIZE = 1000
TSS_RANGE = 2000
COLUMNS = ("fragments", "read_pairs", "mitochondrial", "short", "mono", "tss_centre", "tss_flank", "blacklisted")

NONE: Intervals = (np.empty(0, np.int64), np.empty(0, np.int64))


@njit(cache=True, nogil=True)
def _first_from(values, low, hint):  # type: ignore[no-untyped-def]
    """Return np.searchsorted(values, low), looked for beside `hint` first: the fragments are mostly in order."""
    size = len(values)
    at = hint
    for _ in range(8):
        if at > 0 and values[at - 1] >= low:
            at -= 1
        elif at < size and values[at] < low:
            at += 1
        else:
            return at
    return np.searchsorted(values, low)


@njit(cache=True, nogil=True)
def _accumulate(  # type: ignore[no-untyped-def]
    rows, pairs, mitochondrial, tss, forward, black_start, black_end, counts, sizes, profile
):
    """Add the fragments of one contig to the counters; `tss` and the blacklist are sorted, the latter without overlaps.

    Returns how many fragments came without read pairs.
    """
    without = 0
    near = np.zeros(2, np.int64)
    black = 0
    for i in range(len(rows)):
        start, end, barcode = np.int64(rows[i, 0]), np.int64(rows[i, 1]), rows[i, 2]
        length = end - start
        counts[barcode, 0] += 1
        if pairs[i] < 0:
            without += 1
        else:
            counts[barcode, 1] += pairs[i]
        if mitochondrial:
            counts[barcode, 2] += 1
        if length < 147:
            counts[barcode, 3] += 1
        elif length < 294:
            counts[barcode, 4] += 1
        sizes[min(length, MAX_SIZE)] += 1
        if len(black_end):
            black = _first_from(black_end, start + 1, black)
            if black < len(black_end) and black_start[black] < end:
                counts[barcode, 7] += 1
        if len(tss) == 0:
            continue
        for side in range(2):
            position = start if side == 0 else end - 1
            j = _first_from(tss, position - TSS_RANGE, near[side])
            near[side] = j
            while j < len(tss) and tss[j] <= position + TSS_RANGE:
                distance = position - tss[j] if forward[j] else tss[j] - position
                profile[distance + TSS_RANGE] += 1
                if -5 <= distance <= 5:
                    counts[barcode, 5] += 1
                elif distance < -1900 or distance > 1900:
                    counts[barcode, 6] += 1
                j += 1
    return without


class BarcodeQC:
    """Counters a barcode (row) in the order of `COLUMNS`, and profiles over all fragments.

    `blacklist`: {chrom: (starts, ends)}, sorted and without overlaps.
    """

    def __init__(self, annotation: Annotation | None, blacklist: dict[str, Intervals] | None = None) -> None:
        self.counts = np.zeros((1 << 12, len(COLUMNS)), np.int64)
        self.sizes = np.zeros(MAX_SIZE + 1, np.int64)
        self.profile = np.zeros(2 * TSS_RANGE + 1, np.int64)
        self.without_pairs = 0
        self.has_tss = annotation is not None
        self.has_blacklist = blacklist is not None
        self.blacklist = blacklist or {}
        self.tss: dict[str, tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}
        if annotation is not None:
            for chrom, sites in annotation.tss.sort_values("position", kind="stable").groupby("chrom"):
                # Mitochondrial reads are many and say nothing of open chromatin.
                if chrom not in MITOCHONDRIAL:
                    self.tss[str(chrom)] = (
                        sites["position"].to_numpy(np.int64),
                        (sites["strand"] != "-").to_numpy(np.bool_),
                    )

    def add(self, contig: str, rows: NDArray[np.int32], pairs: NDArray[np.int32]) -> None:
        """Count the fragments of one contig: rows of (start, end, barcode number); read pairs, -1 where unknown."""
        top = int(rows[:, 2].max()) + 1
        while top > len(self.counts):
            self.counts = np.concatenate([self.counts, np.zeros_like(self.counts)])
        tss, forward = self.tss.get(contig, (NONE[0], np.empty(0, np.bool_)))
        black = self.blacklist.get(contig, NONE)
        self.without_pairs += _accumulate(
            rows, pairs, contig in MITOCHONDRIAL, tss, forward, *black, self.counts, self.sizes, self.profile
        )

    def table(self, barcodes: int) -> pd.DataFrame:
        """Return a row a barcode: fragments (each counted once), read_pairs (duplicates included) and
        duplicate_fraction (both NaN where the file has no column of read pairs), mitochondrial_fraction,
        nucleosome_signal, tss_enrichment (NaN without an annotation), blacklist_fraction (NaN without a blacklist).

        nucleosome_signal: fragments of [147, 294) bp over those under 147 bp (Signac's definition, over all lines).
        tss_enrichment: insertions a bp within 5 bp of a TSS over those a bp in the outer 100 bp of the 2 kb on either
        side of it, plus 0.1: (centre / 11) / (flanks / 200 + 0.1), as SnapATAC2 has it; TSSs of chrM left out.
        blacklist_fraction: fragments that overlap a region of the blacklist.
        """
        counts = self.counts[:barcodes].astype(float)
        fragments, read_pairs, mitochondrial, short, mono, centre, flank, black = counts.T
        unknown = np.full(barcodes, np.nan)
        if self.without_pairs:
            read_pairs = unknown
        with np.errstate(divide="ignore", invalid="ignore"):
            return pd.DataFrame(
                {
                    "fragments": fragments.astype(np.int64),
                    "read_pairs": unknown if self.without_pairs else read_pairs.astype(np.int64),
                    "duplicate_fraction": np.where(read_pairs > 0, 1 - fragments / read_pairs, read_pairs),
                    "mitochondrial_fraction": np.where(fragments > 0, mitochondrial / fragments, 0.0),
                    "nucleosome_signal": np.where(short > 0, mono / short, np.nan),
                    "tss_enrichment": (centre / 11) / (flank / 200 + 0.1) if self.has_tss else unknown,
                    "blacklist_fraction": np.where(fragments > 0, black / fragments, 0.0)
                    if self.has_blacklist
                    else unknown,
                }
            )

    def tss_profile(self, step: int = 10) -> list[float] | None:
        """Return insertions around TSSs relative to the outer 100 bp, in steps of `step` bp; None without any."""
        flank = np.r_[self.profile[:100], self.profile[-100:]].mean()
        if not self.has_tss or self.profile.sum() == 0:
            return None
        relative = self.profile / max(float(flank), 0.1)
        half = step // 2
        return [float(relative[max(0, i - half) : i + half + 1].mean()) for i in range(0, len(relative), step)]
