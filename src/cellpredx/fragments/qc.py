"""Quality of barcodes: what is counted in the one pass over the fragments."""

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from cellpredx.core.annotation import Annotation

MAX_SIZE = 1000
TSS_RANGE = 2000
COLUMNS = ("fragments", "read_pairs", "mitochondrial", "short", "mono", "tss_centre", "tss_flank")


@njit(cache=True)
def _accumulate(  # type: ignore[no-untyped-def]
    starts, ends, barcodes, pairs, mitochondrial, tss, forward, counts, sizes, profile
):
    """Add the fragments of one contig to the counters; `tss` is sorted."""
    for i in range(len(starts)):
        barcode = barcodes[i]
        length = ends[i] - starts[i]
        counts[barcode, 0] += 1
        counts[barcode, 1] += pairs[i]
        if mitochondrial:
            counts[barcode, 2] += 1
        if length < 147:
            counts[barcode, 3] += 1
        elif length < 294:
            counts[barcode, 4] += 1
        sizes[min(length, MAX_SIZE)] += 1
        if len(tss) == 0:
            continue
        for side in range(2):
            position = starts[i] if side == 0 else ends[i] - 1
            j = np.searchsorted(tss, position - TSS_RANGE)
            while j < len(tss) and tss[j] <= position + TSS_RANGE:
                distance = position - tss[j] if forward[j] else tss[j] - position
                profile[distance + TSS_RANGE] += 1
                if -5 <= distance <= 5:
                    counts[barcode, 5] += 1
                elif distance < -1900 or distance > 1900:
                    counts[barcode, 6] += 1
                j += 1


class BarcodeQC:
    """Counters a barcode (row) in the order of `COLUMNS`, and profiles over all fragments."""

    def __init__(self, annotation: Annotation | None) -> None:
        self.counts = np.zeros((1 << 12, len(COLUMNS)), np.int64)
        self.sizes = np.zeros(MAX_SIZE + 1, np.int64)
        self.profile = np.zeros(2 * TSS_RANGE + 1, np.int64)
        self.has_tss = annotation is not None
        self.tss: dict[str, tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}
        if annotation is not None:
            for chrom, sites in annotation.tss.sort_values("position", kind="stable").groupby("chrom"):
                self.tss[str(chrom)] = (
                    sites["position"].to_numpy(np.int64),
                    (sites["strand"] != "-").to_numpy(np.bool_),
                )

    def add(
        self,
        contig: str,
        mitochondrial: bool,
        start: NDArray[np.int32],
        end: NDArray[np.int32],
        barcode: NDArray[np.int32],
        pairs: NDArray[np.int32],
    ) -> None:
        """Count the fragments of one contig."""
        top = int(barcode.max()) + 1
        while top > len(self.counts):
            self.counts = np.concatenate([self.counts, np.zeros_like(self.counts)])
        none = (np.empty(0, np.int64), np.empty(0, np.bool_))
        tss, forward = self.tss.get(contig, none)
        _accumulate(start, end, barcode, pairs, mitochondrial, tss, forward, self.counts, self.sizes, self.profile)

    def table(self, barcodes: int) -> pd.DataFrame:
        """Return a row a barcode: fragments, read_pairs, duplicate_fraction, mitochondrial_fraction,
        nucleosome_signal, tss_enrichment (NaN without an annotation).

        nucleosome_signal: fragments of [147, 294) bp over those under 147 bp (Signac's definition, over all lines).
        tss_enrichment: mean insertions a bp within 5 bp of a TSS over the mean a bp in the two outer 100 bp of
        the 2 kb on either side of it, plus 0.1 (the 0.1 keeps barcodes without a flanking insertion finite).
        """
        counts = self.counts[:barcodes].astype(float)
        fragments, read_pairs, mitochondrial, short, mono, centre, flank = counts.T
        enrichment = (centre / 11) / (flank / 200 + 0.1) if self.has_tss else np.full(barcodes, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            table = pd.DataFrame(
                {
                    "fragments": fragments.astype(np.int64),
                    "read_pairs": read_pairs.astype(np.int64),
                    "duplicate_fraction": np.where(read_pairs > 0, 1 - fragments / read_pairs, 0.0),
                    "mitochondrial_fraction": np.where(fragments > 0, mitochondrial / fragments, 0.0),
                    "nucleosome_signal": np.where(short > 0, mono / short, np.nan),
                    "tss_enrichment": enrichment,
                }
            )
        return table

    def tss_profile(self, step: int = 10) -> list[float] | None:
        """Return insertions around TSSs relative to the outer 100 bp, in steps of `step` bp; None without any."""
        flank = np.r_[self.profile[:100], self.profile[-100:]].mean()
        if not self.has_tss or self.profile.sum() == 0:
            return None
        relative = self.profile / max(float(flank), 0.1)
        half = step // 2
        return [float(relative[max(0, i - half) : i + half + 1].mean()) for i in range(0, len(relative), step)]
