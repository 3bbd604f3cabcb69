"""Regions: their names, and which of them overlap."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cellpredx.core.bed import beyond_end, read_bed
from cellpredx.core.features import read_features
from cellpredx.samplesheet.headers import REGION_NAME

GENE_COLUMNS = ["gene_id", "gene_name"]
REGION_COLUMNS = ["chrom", "start", "end"]


def parse_names(names: pd.Index) -> pd.DataFrame:
    """Return chrom, start, end of names such as chr1:1-20, chr1-1-20 or chr1_1_20; NaN where a name is none."""
    return pd.Series(names.astype(str)).str.extract(REGION_NAME)


def region_names(features: pd.DataFrame) -> pd.Index:
    """Return chrom:start-end of a table of regions."""
    return pd.Index(
        features["chrom"].astype(str) + ":" + features["start"].astype(str) + "-" + features["end"].astype(str)
    )


def named(regions: pd.DataFrame) -> pd.DataFrame:
    """Return `regions` indexed by chrom:start-end."""
    return regions.set_index(region_names(regions))


def peak_set(path: Path, sizes: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Read the one peak set of a group, in its own order: a BED, a peak matrix's peaks, or a bundle's features.

    Raises UserError for a peak that begins beyond its chromosome, where `sizes` (bp) has it.
    """
    if path.suffix not in (".h5ad", ".csv"):
        return named(read_bed(path, sizes))
    if path.suffix == ".h5ad":
        import anndata as ad

        table = ad.read_h5ad(path, backed="r").var
    else:
        table = read_features(path)
    peaks = named(table[REGION_COLUMNS])
    limit = peaks["chrom"].astype(str).map(dict(sizes or {})).to_numpy(float)
    beyond = np.flatnonzero(peaks["start"].to_numpy() >= limit)
    if len(beyond):
        name, peak = peaks.index[beyond[0]], peaks.iloc[beyond[0]]
        raise beyond_end(str(peak["chrom"]), int(peak["end"]), int(limit[beyond[0]]), f"{path.name}, peak {name}")
    return peaks


def overlaps(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of overlapping regions: row numbers `left` and `right`, and `length`, the overlap in bp."""
    import pyranges as pr

    def ranges(table: pd.DataFrame) -> "pr.PyRanges":
        return pr.PyRanges(
            pd.DataFrame(
                {
                    "Chromosome": table["chrom"].astype(str).to_numpy(),
                    "Start": table["start"].to_numpy(np.int64),
                    "End": table["end"].to_numpy(np.int64),
                    "row": np.arange(len(table)),
                }
            )
        )

    joined = ranges(left).join(ranges(right)).df
    if joined.empty:
        return pd.DataFrame({"left": [], "right": [], "length": []}, dtype=np.int64)
    length = joined[["End", "End_b"]].min(axis=1) - joined[["Start", "Start_b"]].max(axis=1)
    pairs = pd.DataFrame({"left": joined["row"], "right": joined["row_b"], "length": length})
    return pairs.sort_values(["left", "right"], ignore_index=True)


def match_regions(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Match regions one to one: equal coordinates first, else reciprocal overlap of at least 50 %, the largest first.

    Returns row numbers `left` and `right`, in order of `left`.
    """
    pairs = overlaps(left, right)
    widths = [(t["end"] - t["start"]).to_numpy() for t in (left, right)]
    share = np.minimum(
        pairs["length"] / widths[0][pairs["left"]],
        pairs["length"] / widths[1][pairs["right"]],
    )
    pairs = pairs.assign(share=share)[share >= 0.5].sort_values(
        ["share", "left", "right"], ascending=[False, True, True]
    )
    taken_left = np.zeros(len(left), bool)
    taken_right = np.zeros(len(right), bool)
    kept = []
    for a, b in zip(pairs["left"], pairs["right"], strict=True):
        if not taken_left[a] and not taken_right[b]:
            taken_left[a] = taken_right[b] = True
            kept.append((a, b))
    return pd.DataFrame(sorted(kept), columns=["left", "right"], dtype=np.int64)
