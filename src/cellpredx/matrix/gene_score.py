"""ArchR's gene scores: insertions around a gene, weighted by their distance and by the gene's size."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.core.annotation import Annotation
from cellpredx.core.errors import UserError
from cellpredx.core.genome import MITOCHONDRIAL
from cellpredx.core.progress import Progress
from cellpredx.fragments.store import Store
from cellpredx.matrix.counting import Counts, Rows
from cellpredx.matrix.gene_windows import gene_windows

TILE = 500
CEILING = 4  # most insertions of a tile and cell
UPSTREAM = 5000  # the body reaches this far upstream
LEAST_REACH, REACH = 1000, 100_000  # of tiles around the body
DECAY = 5000
LARGEST_WEIGHT = 5  # of the smallest gene; the largest gene's is 1
EXCLUDED = (*MITOCHONDRIAL, "chrY", "Y")


def _regions(genes: pd.DataFrame) -> pd.DataFrame:
    """Return a gene's body extended upstream (first, last), where its tiles lie (low, high), and its size weight.

    `genes`: chrom, start, end, strand. Positions are ArchR's: 1-based, both ends in.
    """
    backward = (genes["strand"] == "-").to_numpy()
    first = genes["start"].to_numpy() + 1 - np.where(backward, 0, UPSTREAM)
    last = genes["end"].to_numpy() + np.where(backward, UPSTREAM, 0)
    inverse = 1 / (last - first + 1)
    spread = np.ptp(inverse)
    weight = 1 + (LARGEST_WEIGHT - 1) * inverse / spread if spread > 0 else np.ones(len(genes))
    table = pd.DataFrame({"chrom": genes["chrom"].to_numpy(), "first": first, "last": last, "weight": weight})
    table = table.sort_values(["first", "last"], kind="stable")
    beside = table.groupby("chrom", sort=False)
    # A tile's length is kept from the neighbours' extended bodies.
    low = np.fmax(beside["last"].shift(1) + TILE, table["first"] - REACH)
    high = np.fmin(beside["first"].shift(-1) - TILE, table["last"] + REACH)
    table["low"] = np.maximum(np.minimum(low, table["first"] - LEAST_REACH), 1).astype(np.int64)
    table["high"] = np.maximum(high, table["last"] + LEAST_REACH).astype(np.int64)
    return table.sort_index()


def _weights(regions: pd.DataFrame) -> sp.csc_matrix:
    """Return the weight of every tile for every gene of a chromosome (tiles x genes)."""
    begin, stop = regions["low"].to_numpy() // TILE, regions["high"].to_numpy() // TILE + 1
    length = stop - begin
    gene = np.repeat(np.arange(len(regions)), length)
    tile = np.arange(len(gene)) - np.repeat(np.cumsum(length) - length, length) + np.repeat(begin, length)
    first, last = regions["first"].to_numpy()[gene], regions["last"].to_numpy()[gene]
    distance = np.maximum(0, np.maximum(TILE * tile - last - 1, first - (TILE * tile + TILE - 1) - 1))
    weight = (np.exp(-distance / DECAY) + np.exp(-1)) * regions["weight"].to_numpy()[gene]
    return sp.csc_matrix((weight, (tile, gene)), shape=(int(stop.max()), len(regions)))


def _tiles(store: Store, chrom: str, tiles: int) -> sp.csr_matrix:
    """Return the insertions of cells in the first tiles of a chromosome (cells x tiles), at most `CEILING`."""
    shape = (len(store.cells), tiles)
    total = sp.csr_matrix(shape, dtype=np.int32)
    for start, end, cell in store.chunks(chrom):
        # ArchR's tiles begin at positions that are multiples of 500 counted from 1: one base before those from 0.
        tile: NDArray[np.int32] = np.concatenate([(start + 1) // TILE, end // TILE])
        near = tile < tiles
        ones = np.ones(int(near.sum()), np.int32)
        total += sp.csr_matrix((ones, (np.concatenate([cell, cell])[near], tile[near])), shape=shape)
    total.data = np.minimum(total.data, CEILING)
    return total


def gene_scores(store: Store, annotation: Annotation, sizes: dict[str, int]) -> tuple[Counts, pd.DataFrame]:
    """Score the genes of a sample's cells by ArchR's default model (its addGeneScoreMatrix, without a blacklist).

    Insertions are counted in tiles of 500 bp, at most 4 a tile and cell. A gene's tiles reach from its body, extended
    5 kb upstream, to 100 kb on either side, but (1 kb apart) not to the neighbouring genes' bodies so extended. A tile
    weighs exp(-d / 5 kb) + exp(-1), d its distance from the body in bp, times the gene's weight by its length:
    1 + 4 m / (max m - min m), m one over the length. Genes of the mitochondrion and of chromosome Y are left out.

    Returns cells x genes and the genes (index: unique names; gene_id, gene_name). The values are the raw
    weighted sums: ArchR scales each cell to 10,000, which every model here does with its input anyway, and the sums
    keep a cell's depth. Raises UserError where no chromosome of the genes is in the fragments.
    """
    names = gene_windows(annotation, sizes)[["gene_id", "gene_name"]]
    kept = ~annotation.genes["chrom"].isin(EXCLUDED).to_numpy()
    genes = annotation.genes[kept].reset_index(drop=True)
    if not genes["chrom"].isin(store.contigs).any():
        raise UserError(
            f"no chromosome of the genes is in the fragments of sample {store.sample}",
            None,
            f"the genes are on {', '.join(map(str, genes['chrom'].unique()[:5]))}; the fragments have "
            f"{', '.join(list(store.contigs)[:5])}: give files of one genome that name chromosomes alike "
            f"({', '.join(EXCLUDED)} do not count)",
        )
    groups = _regions(genes).groupby("chrom", sort=False)
    parts: list[Rows] = []
    progress = Progress(f"{store.sample}: chromosomes scored", len(groups))
    for done, (chrom, own) in enumerate(groups, start=1):
        if str(chrom) in store.contigs:
            weights = _weights(own)
            scores = sp.csr_matrix(_tiles(store, str(chrom), weights.shape[0]) @ weights, dtype=np.float32)
            parts.append((scores.indptr, own.index.to_numpy(np.int32)[scores.indices], scores.data))
        progress.update(done)
    progress.close(len(groups))
    return Counts((len(store.cells), len(genes)), parts, np.zeros(len(store.cells), np.int64)), names[kept]
