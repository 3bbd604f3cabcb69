"""Inputs that both sides of a comparison read: one made to break counters, and real ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellpredx.core.genome import read_sizes

DATA = Path(__file__).parents[3] / "shared" / "data"
FRAGMENTS = ["chrom", "start", "end", "barcode", "read_pairs"]
HARD_SIZES = {"chr1": 300_000, "chr2": 90_123, "chr3": 20_000, "chr9": 50_000, "chrM": 16_569}


@dataclass(frozen=True)
class Input:
    """Files of one sample: fragments, called cells, peaks, genes (one transcript each), and genes for their TSSs."""

    name: str
    fragments: Path
    barcodes: Path
    peaks: Path
    genes: Path
    tss: Path
    sizes: Path


def _write(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path, sep="\t", header=False, index=False, lineterminator="\n")
    return path


def write_gtf(transcripts: pd.DataFrame, path: Path) -> Path:
    """Write a GTF: `transcripts` has chrom, start, end (half-open), strand, gene."""
    lines = []
    for place, (gene, own) in enumerate(transcripts.groupby("gene", sort=False)):
        chrom, strand = own["chrom"].iloc[0], own["strand"].iloc[0]
        spans = [("gene", own["start"].min(), own["end"].max())]
        spans += [("transcript", start, end) for start, end in zip(own["start"], own["end"], strict=True)]
        for number, (kind, start, end) in enumerate(spans):
            names = f'gene_id "ID{place}"; gene_type "protein_coding"; gene_name "{gene}";'
            if kind == "transcript":
                names += f' transcript_id "T{number}_{gene}"; transcript_name "T{number}_{gene}";'
            lines.append(f"{chrom}\tx\t{kind}\t{start + 1}\t{end}\t.\t{strand}\t.\t{names}\n")
    path.write_text("".join(lines))
    return path


def _sizes(sizes: dict[str, int], path: Path) -> Path:
    return _write(pd.DataFrame(sizes.items()), path)


def hard_fragments(rng: np.random.Generator, count: int = 30_000) -> pd.DataFrame:
    """Draw fragments: of one base and of thousands, at both ends of chromosomes, repeated, in cells and in none."""
    chrom = rng.choice(["chr1", "chr2", "chr3", "chrM"], count, p=[0.6, 0.28, 0.02, 0.1])
    size = np.array([HARD_SIZES[c] for c in chrom])
    length = rng.choice([1, 2, 40, 146, 147, 200, 293, 294, 600, 999, 1000, 1001, 5000], count)
    # Insertions crowd where the genes of `hard_genes` begin.
    start = np.where(rng.random(count) < 0.5, rng.integers(0, size), 2_000 * rng.integers(0, 40, count))
    start = np.minimum(start + rng.integers(-3, 4, count), size - 1).clip(0)
    start[rng.random(count) < 0.005] = 0
    end = np.minimum(start + length, size)
    barcodes = np.array([f"{'ACGT'[i % 4]}{'ACGT'[i // 4 % 4]}{'ACGT'[i // 16]}TTGCA-1" for i in range(30)])
    table = pd.DataFrame(
        {
            "chrom": chrom,
            "start": start,
            "end": end,
            "barcode": rng.choice(barcodes, count),
            "read_pairs": rng.geometric(0.6, count),
        }
    )
    again = table.sample(300, random_state=1)
    return pd.concat([table, again], ignore_index=True).sort_values(["chrom", "start", "end", "barcode"])


def hard_features(rng: np.random.Generator) -> pd.DataFrame:
    """Draw features that nest, overlap, abut, lie at chromosome ends and on a contig without fragments; unsorted."""
    rows: list[tuple[str, int, int]] = []
    for chrom, size in HARD_SIZES.items():
        start = rng.integers(0, size - 1, 150)
        width = rng.integers(1, 4000, 150)
        rows += [(chrom, int(s), int(min(s + w, size))) for s, w in zip(start, width, strict=True)]
        rows += [(chrom, 4000 + 100 * i, 4100 + 100 * i) for i in range(10)]
        rows += [(chrom, 6000 + 50 * i, 8000 - 50 * i) for i in range(10)]
        rows += [(chrom, 0, 1), (chrom, 0, size), (chrom, size - 1, size)]
    table = pd.DataFrame(rows, columns=["chrom", "start", "end"]).drop_duplicates()
    return table.iloc[rng.permutation(len(table))]


def hard_genes(rng: np.random.Generator) -> pd.DataFrame:
    """Draw genes of one transcript: overlapping, at chromosome ends, on both strands with the same coordinates."""
    rows: list[tuple[str, int, int, str]] = []
    for chrom, size in HARD_SIZES.items():
        for start in rng.integers(0, size - 1, 20):
            end = int(min(start + rng.integers(1, 30_000), size))
            rows.append((chrom, int(start), end, str(rng.choice(["+", "-"]))))
        rows += [(chrom, 8_000, 12_001, "+"), (chrom, 8_000, 12_001, "-"), (chrom, 2_000, 2_001, "+")]
        rows += [
            (chrom, 0, 300, "+"),
            (chrom, 0, 301, "-"),
            (chrom, size - 300, size, "+"),
            (chrom, size - 9, size, "-"),
        ]
    table = pd.DataFrame(rows, columns=["chrom", "start", "end", "strand"]).drop_duplicates(ignore_index=True)
    return table.assign(gene=[f"G{i}" for i in range(len(table))])


def hard(folder: Path) -> Input:
    """Write the hard input."""
    rng = np.random.default_rng(11)
    fragments, genes = hard_fragments(rng), hard_genes(rng)
    cells = sorted(fragments["barcode"].unique())[:25]
    shorter = genes.assign(start=genes["start"] + 37, end=genes["end"] + 37)
    # SnapATAC2 2.9.0 puts insertions at a wrong distance from a forward TSS under 2 kb from the chromosome's start.
    tss = pd.concat([genes, shorter]).query("strand == '-' or start >= 2000").sort_values("gene", kind="stable")
    tss = tss[tss["end"] <= tss["chrom"].map(HARD_SIZES)]
    (folder / "barcodes.txt").write_text("\n".join(cells) + "\n")
    return Input(
        "hard",
        _write(fragments, folder / "fragments.tsv"),
        folder / "barcodes.txt",
        _write(hard_features(rng), folder / "peaks.bed"),
        write_gtf(genes, folder / "genes.gtf"),
        write_gtf(tss, folder / "tss.gtf"),
        _sizes(HARD_SIZES, folder / "genome.sizes"),
    )


def archr(folder: Path) -> Input:
    """Write what archr-pbsmall lacks for a comparison: its genes as GTF, the sizes of its chromosomes, its barcodes."""
    source = DATA / "archr-pbsmall"
    columns = ["chrom", "start", "end", "gene", "gene_id", "strand"]
    genes = pd.read_csv(source / "genes_hg19_chr5_chr11.bed", sep="\t", names=columns).drop_duplicates("gene")
    labels = pd.read_csv(source / "query_labels.csv")
    (folder / "barcodes.txt").write_text("\n".join(labels["barcode"]) + "\n")
    gtf = write_gtf(genes, folder / "genes.gtf")
    sizes = {chrom: size for chrom, size in read_sizes("hg19", None).items() if chrom in ("chr5", "chr11")}
    return Input(
        "archr-pbsmall",
        source / "fragments.tsv.gz",
        folder / "barcodes.txt",
        source / "peaks_hg19.bed",
        gtf,
        gtf,
        _sizes(sizes, folder / "genome.sizes"),
    )


INPUTS: dict[str, Any] = {"hard": hard, "archr-pbsmall": archr}
