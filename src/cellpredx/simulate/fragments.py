"""Fragments of cells and of empty droplets, and the file that 10x would write of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pysam
from numpy.typing import NDArray

from cellpredx.core.files import atomic
from cellpredx.simulate.cells import Cells, Programmes, draw_barcodes
from cellpredx.simulate.genome import MITOCHONDRION, Genome

IN_PEAKS, ON_MITOCHONDRION = 0.60, 0.01  # shares of a cell's fragments; the rest is background
IN_PEAKS_EMPTY = 0.25  # share of an empty droplet's fragments
FEWEST = 1_300  # fragments of a cell: a real one passes the usual threshold of 1,000
BLOCK = 500_000  # lines formatted at a time


def draw_fragments(
    rng: np.random.Generator, genome: Genome, programmes: Programmes, cells: Cells, depth: float, empties: int
) -> pd.DataFrame:
    """Draw the fragments of `cells` (median `depth` each) and of `empties` droplets (20 to 300 fragments each).

    Returns chrom, start, end (bp, half-open, Tn5-shifted), barcode, read_pairs: distinct and sorted by position.
    """
    rates = np.exp(programmes.level[cells.types] + cells.strength[:, None] * programmes.peak_fold[cells.types])
    rates /= rates.sum(axis=1, keepdims=True)
    ambient = np.broadcast_to(rates.mean(axis=0), (empties, rates.shape[1]))
    barcodes = np.concatenate([cells.barcodes, draw_barcodes(rng, empties)])
    fragments = np.concatenate(
        [
            np.maximum(rng.lognormal(np.log(depth), 0.3, len(cells)), FEWEST).astype(np.int64),
            np.exp(rng.uniform(np.log(20), np.log(300), empties)).astype(np.int64),
        ]
    )
    in_peaks = np.repeat([IN_PEAKS, IN_PEAKS_EMPTY], [len(cells), empties])
    shares = np.stack([in_peaks, 1 - in_peaks - ON_MITOCHONDRION, np.full(len(in_peaks), ON_MITOCHONDRION)], axis=1)
    peak, background, mitochondrial = rng.multinomial(fragments, shares).T

    cell, chosen = _draw_peaks(rng, peak, np.concatenate([rates, ambient]))
    names = np.array(list(genome.sizes))
    code = pd.Series(range(len(names)), index=names)
    centre = ((genome.peaks["start"] + genome.peaks["end"]) // 2).to_numpy()
    # Insertions crowd at the centre of a peak, most at a promoter's: its TSS.
    spread = np.where(genome.peaks["promoter"], 90, 130)
    sizes = np.array(list(genome.sizes.values()))
    nuclear = np.array(list(genome.nuclear.values()))
    background_chrom = rng.choice(len(nuclear), background.sum(), p=nuclear / nuclear.sum())
    chrom = np.concatenate(
        [
            code[genome.peaks["chrom"]].to_numpy()[chosen],
            background_chrom,
            np.full(mitochondrial.sum(), code[MITOCHONDRION]),
        ]
    )
    insertion = np.concatenate(
        [
            centre[chosen] + np.rint(rng.normal(0.0, spread[chosen])).astype(np.int64),
            rng.integers(0, nuclear[background_chrom]),
            rng.integers(0, sizes[-1], mitochondrial.sum()),
        ]
    )
    everyone = np.arange(len(fragments))
    cell = np.concatenate([cell, np.repeat(everyone, background), np.repeat(everyone, mitochondrial)])
    length = draw_lengths(rng, len(cell))
    # The insertion drawn is the fragment's left or right end.
    start = np.where(rng.random(len(cell)) < 0.5, insertion, insertion - length + 1)
    start = np.clip(start, 0, sizes[chrom] - length)

    rank = np.empty(len(barcodes), dtype=np.int64)
    rank[np.argsort(barcodes)] = everyone
    order = np.lexsort((rank[cell], start + length, start, chrom))
    table = np.stack([chrom, start, start + length, cell])[:, order]
    table = table[:, np.insert((np.diff(table) != 0).any(axis=0), 0, True)]
    return pd.DataFrame(
        {
            "chrom": pd.Categorical.from_codes(table[0], pd.Index(names)),
            "start": table[1],
            "end": table[2],
            "barcode": pd.Categorical.from_codes(table[3], pd.Index(barcodes)),
            "read_pairs": rng.geometric(0.65, table.shape[1]),
        }
    )


def _draw_peaks(
    rng: np.random.Generator, count: NDArray[np.int64], rates: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `count` (cells,) fragments over `rates` (cells, peaks) that sum to 1; returns a cell and a peak each."""
    counts = rng.multinomial(count, rates)
    cell, peak = np.nonzero(counts)
    times = counts[cell, peak]
    return np.repeat(cell, times), np.repeat(peak, times)


def draw_lengths(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Draw fragment lengths (count,) in bp: below a nucleosome, around one, around two."""
    kind = rng.choice(3, count, p=[0.56, 0.33, 0.11])
    below = 25 + rng.gamma(3.0, 18.0, count)
    wrapped = rng.normal(np.array([0, 197, 390])[kind], np.array([1, 22, 35])[kind])
    return np.clip(np.rint(np.where(kind == 0, below, wrapped)), 25, 1000).astype(np.int64)


def write_fragments(fragments: pd.DataFrame, sample: str, genome: Genome, path: Path) -> None:
    """Write a fragment file, BGZF with the header lines of 10x; the rows keep their order."""
    header = [f"# id={sample}", "# description=simulated"]
    header += [f"# primary_contig={chrom}" for chrom in genome.sizes]
    with atomic(path) as part, pysam.BGZFile(str(part), "wb", None) as handle:
        handle.write(("\n".join(header) + "\n").encode())
        for first in range(0, len(fragments), BLOCK):
            block = fragments.iloc[first : first + BLOCK]
            handle.write(block.to_csv(sep="\t", header=False, index=False, lineterminator="\n").encode())
