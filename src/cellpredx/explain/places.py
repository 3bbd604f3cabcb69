"""Where determinant features lie on the genome: their nearest genes, and BED files."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellpredx.core.annotation import read_annotation

BLOCK = 1000


def _rows_of(chrom: pd.Series) -> dict[str, NDArray[np.int64]]:
    """Return the rows of every chromosome, by its name without `chr`."""
    names = chrom.astype(str).str.replace("^chr", "", regex=True).replace("M", "MT")
    return {str(name): np.asarray(rows) for name, rows in names.groupby(names).indices.items()}


def nearest_genes(regions: pd.DataFrame, genes: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row of each region's nearest gene, -1 where its chromosome has none, and the distance in bp.

    regions: chrom, start, end; genes: these and strand (bp, half-open). The distance is 0 where the two overlap, 1
    where they touch; of genes equally near, the one whose start of transcription is nearest to the region's middle. The
    two may name chromosomes with and without `chr`.
    """
    nearest, distance = np.full(len(regions), -1), np.zeros(len(regions), np.int64)
    of_genes = _rows_of(genes["chrom"])
    low, high = (genes[name].to_numpy(np.int64) for name in ("start", "end"))
    tss = np.where(genes["strand"] == "-", high - 1, low)
    begin, end = (regions[name].to_numpy(np.int64) for name in ("start", "end"))
    for chrom, rows in _rows_of(regions["chrom"]).items():
        own = of_genes.get(chrom)
        if own is None:
            continue
        for at in np.split(rows, range(BLOCK, len(rows), BLOCK)):
            gap = np.maximum(low[own] - end[at, None], begin[at, None] - high[own]) + 1
            gap = np.maximum(gap, 0)
            middle = np.abs(tss[own] - (begin[at, None] + end[at, None]) // 2)
            best = (gap * (1 << 32) + middle).argmin(axis=1)
            nearest[at], distance[at] = own[best], gap[np.arange(len(at)), best]
    return nearest, distance


class Places:
    """Features and their genes.

    `regions`: chrom, start, end of peaks and windows, else None; `names`: the names of each feature's gene, for regions
    the nearest one, None where no annotation tells it; `nearest` and `distance` (bp) of each region, '' where they are
    not known.
    """

    def __init__(self, features: pd.DataFrame, annotation: str | None) -> None:
        self.regions = features if {"chrom", "start", "end"} <= set(features) else None
        self.names: pd.DataFrame | None = None
        self.nearest = self.distance = np.full(len(features), "", object)
        if self.regions is None:
            columns = [name for name in ("gene_name", "gene_id") if name in features]
            self.names = features[columns] if columns else features.index.to_frame()
        elif annotation:
            genes = read_annotation(annotation).genes
            rows, distance = nearest_genes(self.regions, genes)
            near = rows >= 0
            self.names = genes[["gene_name", "gene_id"]].iloc[rows].reset_index(drop=True)
            self.names.loc[~near] = ""
            self.nearest = self.names["gene_name"].to_numpy(object)
            self.distance = np.where(near, distance.astype(object), "")


def file_names(types: list[str]) -> dict[str, str]:
    """Return a name for a file of each type: letters, digits, `_.-+` alone, and no two alike whatever their case."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in types:
        base = re.sub(r"[^A-Za-z0-9_.+-]", "_", name)
        base = re.sub(r"^[.-]", "_", base)
        number, safe = 1, base
        while safe.lower() in taken:
            number += 1
            safe = f"{base}_{number}"
        taken.add(safe.lower())
        found[name] = safe
    return found


def write_beds(table: pd.DataFrame, regions: pd.DataFrame, folder: Path) -> None:
    """Write <type>.bed of every type: chrom, start, end, name, score, strand `.`, sorted.

    table: determinants.csv; regions: chrom, start, end of every feature, by its name. The name is the nearest gene,
    where one is known, else the feature's; the score is the mean attribution, 1000 the type's largest.
    """
    folder.mkdir()
    for cell_type, safe in file_names(list(dict.fromkeys(table["cell_type"]))).items():
        own = table[table["cell_type"] == cell_type]
        places = regions.loc[own["feature"]].reset_index(drop=True)
        mean = own["mean_attribution"].to_numpy()
        name = own["nearest_gene"].where(own["nearest_gene"] != "", own["feature"])
        bed = places[["chrom", "start", "end"]].assign(
            name=name.str.replace(r"\s", "_", regex=True).to_numpy(),
            score=np.rint(1000 * np.clip(mean / max(mean.max(), np.finfo(float).tiny), 0, 1)).astype(int),
            strand=".",
        )
        bed = bed.sort_values(["chrom", "start", "end"])
        bed.to_csv(folder / f"{safe}.bed", sep="\t", header=False, index=False, lineterminator="\n")
