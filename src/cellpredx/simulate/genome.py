"""A small genome: chromosomes, genes on both strands, a promoter peak for each, distal peaks linked to genes."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cellpredx.core.files import atomic

MITOCHONDRION = "chrM"
CODING_GENES = 600
LNCRNA_GENES = 20
DISTAL_PEAKS = 1400
BIN = 1000  # bp; a bin holds at most one distal peak, so that peaks never overlap
UPSTREAM = 10_000  # bp upstream of a gene where its distal peaks may lie


@dataclass(frozen=True)
class Genome:
    """Where things are; coordinates are half-open, in bp, 0-based.

    sizes: length of each chromosome, chrM last.
    genes: a row a gene, in genome order: chrom, start, end, strand, tss, gene_id, gene_name, gene_type.
    peaks: a row a peak, in genome order: chrom, start, end, gene (row of the linked gene), promoter (bool).
    """

    sizes: dict[str, int]
    genes: pd.DataFrame
    peaks: pd.DataFrame

    @property
    def nuclear(self) -> dict[str, int]:
        """The sizes without chrM."""
        return {chrom: size for chrom, size in self.sizes.items() if chrom != MITOCHONDRION}


def draw_genome(rng: np.random.Generator) -> Genome:
    """Draw genes and peaks on three chromosomes of 8 to 10 Mb."""
    sizes = {"chr1": 10_000_000, "chr2": 9_000_000, "chr3": 8_000_000}
    genes = _draw_genes(rng, sizes)
    return Genome(sizes | {MITOCHONDRION: 16_569}, genes, _draw_peaks(rng, genes))


def _draw_genes(rng: np.random.Generator, sizes: dict[str, int]) -> pd.DataFrame:
    """Draw one gene in each of equal slots, so that genes do not overlap; returns `Genome.genes`."""
    total = CODING_GENES + LNCRNA_GENES
    margin = 20_000  # bp at either end of a chromosome, room for windows around a TSS
    room = {chrom: size - 2 * margin for chrom, size in sizes.items()}
    shares = np.cumsum(list(room.values())) / sum(room.values())
    chrom = np.searchsorted(shares, (np.arange(total) + 0.5) / total)
    per_chrom = np.bincount(chrom, minlength=len(sizes))
    slot = np.array(list(room.values())) // per_chrom
    rank = np.arange(total) - np.repeat(np.cumsum(per_chrom) - per_chrom, per_chrom)

    length = np.clip(rng.lognormal(np.log(12_000), 0.6, total), 2_000, 30_000).astype(np.int64)
    start = margin + rank * slot[chrom] + (rng.random(total) * (slot[chrom] - length)).astype(np.int64)
    strand = rng.choice(["+", "-"], total)
    end = start + length
    coding = np.ones(total, dtype=bool)
    coding[rng.choice(total, LNCRNA_GENES, replace=False)] = False
    number = rng.permutation(total) + 1
    return pd.DataFrame(
        {
            "chrom": np.array(list(sizes))[chrom],
            "start": start,
            "end": end,
            "strand": strand,
            "tss": np.where(strand == "+", start, end - 1),
            "gene_id": [f"ENSGSIM{n:011d}.{n % 9 + 1}" for n in number],
            "gene_name": [f"{'SIMG' if c else 'LNCSIM'}{n}" for n, c in zip(number, coding, strict=True)],
            "gene_type": np.where(coding, "protein_coding", "lncRNA"),
        }
    )


def _draw_peaks(rng: np.random.Generator, genes: pd.DataFrame) -> pd.DataFrame:
    """Draw a peak on each TSS and distal peaks in gene bodies or upstream of them; returns `Genome.peaks`."""
    plus = (genes["strand"] == "+").to_numpy()
    low = (genes["start"] - np.where(plus, UPSTREAM, 0)).to_numpy() // BIN
    high = (genes["end"] + np.where(plus, 0, UPSTREAM)).to_numpy() // BIN
    span = high - low
    gene = np.repeat(np.arange(len(genes)), span)
    candidates = pd.DataFrame({"gene": gene, "chrom": genes["chrom"].to_numpy()[gene]})
    candidates["bin"] = low[gene] + np.arange(len(gene)) - np.repeat(np.cumsum(span) - span, span)
    # A promoter peak reaches into the bins beside its TSS's.
    near = pd.DataFrame({"chrom": np.repeat(genes["chrom"], 3)})
    near["bin"] = np.repeat(genes["tss"].to_numpy() // BIN, 3) + np.tile([-1, 0, 1], len(genes))
    candidates = candidates.drop_duplicates(["chrom", "bin"]).merge(near, how="left", indicator=True)
    candidates = candidates[candidates["_merge"] == "left_only"].reset_index(drop=True)
    distal = candidates.iloc[np.sort(rng.choice(len(candidates), DISTAL_PEAKS, replace=False))]
    distal_centre = distal["bin"].to_numpy() * BIN + BIN // 2 + rng.integers(-150, 150, DISTAL_PEAKS)

    centre = np.concatenate([genes["tss"].to_numpy(), distal_centre])
    half = rng.integers(200, 300, len(centre))
    peaks = pd.DataFrame(
        {
            "chrom": np.concatenate([genes["chrom"], distal["chrom"]]),
            "start": centre - half,
            "end": centre + half,
            "gene": np.concatenate([np.arange(len(genes)), distal["gene"]]),
            "promoter": np.arange(len(centre)) < len(genes),
        }
    )
    return peaks.sort_values(["chrom", "start"], ignore_index=True)


def write_sizes(genome: Genome, path: Path) -> None:
    """Write a chromosome and its size a line."""
    with atomic(path) as part:
        part.write_text("".join(f"{chrom}\t{size}\n" for chrom, size in genome.sizes.items()), encoding="utf-8")


def write_peaks(genome: Genome, path: Path) -> None:
    """Write the peaks as BED with three columns."""
    with atomic(path) as part:
        genome.peaks[["chrom", "start", "end"]].to_csv(part, sep="\t", header=False, index=False, lineterminator="\n")


def write_genes(genome: Genome, path: Path) -> None:
    """Write a gzipped GTF: a gene line and its transcripts, every third gene with a second, shorter transcript."""
    lines = ["##description: simulated genes\n"]
    for index, gene in enumerate(genome.genes.to_dict("records")):
        gene_id, start, end = str(gene["gene_id"]), int(gene["start"]), int(gene["end"])
        names = f'gene_id "{gene_id}";'
        kinds = f' gene_type "{gene["gene_type"]}"; gene_name "{gene["gene_name"]}";'
        rows = [("gene", start, end, names + kinds)]
        transcripts = [(start, end)]
        if index % 3 == 0:
            middle = (start + end) // 2
            transcripts.append((start, middle) if gene["strand"] == "+" else (middle, end))
        stem = gene_id.replace("ENSGSIM", "ENSTSIM").split(".")[0]
        for number, (first, last) in enumerate(transcripts, 1):
            rows.append(("transcript", first, last, f'{names} transcript_id "{stem}{number}.1";{kinds}'))
        for feature, first, last, attributes in rows:
            place = f"{first + 1}\t{last}\t.\t{gene['strand']}\t."
            lines.append(f"{gene['chrom']}\tSIM\t{feature}\t{place}\t{attributes}\n")
    with atomic(path) as part:
        # No time and no name in the header: the same seed gives the same bytes.
        part.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
