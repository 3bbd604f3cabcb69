"""Cells of known types, the gene programmes of the types, and the RNA counts that they give."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellpredx.simulate.genome import Genome

CELL_TYPES = ("B", "T_CD4", "T_CD8", "Monocyte", "NK")
PROPORTIONS = (0.18, 0.28, 0.20, 0.22, 0.12)
# Programmes that types share make T_CD4 and T_CD8 alike, and NK, where it is missing, look like T_CD8.
PROGRAMMES: tuple[tuple[tuple[str, ...], int], ...] = (
    (("B",), 30),
    (("Monocyte",), 30),
    (("T_CD4", "T_CD8"), 18),
    (("T_CD4",), 12),
    (("T_CD8",), 8),
    (("T_CD8", "NK"), 8),
    (("NK",), 22),
)
BARCODE_LENGTH = 16
# Surface proteins and the types that carry them; every cell binds a little of each antibody.
PROTEINS: dict[str, tuple[str, ...]] = {
    "CD3": ("T_CD4", "T_CD8"),
    "CD4": ("T_CD4", "Monocyte"),
    "CD8a": ("T_CD8",),
    "CD14": ("Monocyte",),
    "CD16": ("NK",),
    "CD19": ("B",),
    "CD20": ("B",),
    "CD45RA": ("B", "T_CD8", "NK"),
    "CD56": ("NK",),
    "HLA-DR": ("B", "Monocyte"),
    "IgG1": (),
    "IgG2a": (),
}


@dataclass(frozen=True)
class Programmes:
    """What the types express and open, on a natural-log scale.

    base: (genes,) log means without a programme. fold: (types, genes) what a type's programmes add.
    level: (types, peaks) log rates without a programme. peak_fold: (types, peaks) what a type's programmes add.
    markers: cell_type, gene (the name): the genes of each type's programmes.
    """

    base: NDArray[np.float64]
    fold: NDArray[np.float64]
    level: NDArray[np.float64]
    peak_fold: NDArray[np.float64]
    markers: pd.DataFrame


@dataclass(frozen=True)
class Cells:
    """The cells of a sample: barcodes (n,), types (n,) as indices of CELL_TYPES, strength (n,) of their programmes."""

    barcodes: NDArray[np.str_]
    types: NDArray[np.int64]
    strength: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.barcodes)

    def take(self, index: NDArray[np.int64] | slice) -> "Cells":
        """Return the cells at `index`."""
        return Cells(self.barcodes[index], self.types[index], self.strength[index])

    @property
    def type_names(self) -> NDArray[np.str_]:
        """The cells' types (n,) by name."""
        return np.array(CELL_TYPES)[self.types]


def draw_programmes(rng: np.random.Generator, genome: Genome) -> Programmes:
    """Draw each type's programmes; a peak follows its gene in part, and has a noise of its own in each type."""
    genes, peaks = len(genome.genes), len(genome.peaks)
    coding = np.flatnonzero(genome.genes["gene_type"] == "protein_coding")
    chosen = rng.choice(coding, sum(size for _, size in PROGRAMMES), replace=False)
    fold = rng.normal(0.0, 0.1, (len(CELL_TYPES), genes))
    markers = []
    for (types, size), members in zip(
        PROGRAMMES, np.split(chosen, np.cumsum([size for _, size in PROGRAMMES])[:-1]), strict=True
    ):
        gain = rng.uniform(0.8, 2.0, size)
        for name in types:
            fold[CELL_TYPES.index(name), members] += gain
            markers.append(pd.DataFrame({"cell_type": name, "gene": genome.genes["gene_name"].iloc[members]}))

    linked = genome.peaks["gene"].to_numpy()
    promoter = genome.peaks["promoter"].to_numpy()
    # Promoters are open in most types and follow expression weakly; some distal peaks do not follow it at all.
    follows = np.where(promoter, rng.uniform(0.1, 0.5, peaks), rng.uniform(0.4, 1.1, peaks) * (rng.random(peaks) < 0.8))
    level = np.where(promoter, rng.normal(1.0, 0.5, peaks), rng.normal(0.0, 0.7, peaks))
    noise = rng.normal(0.0, 0.2, (len(CELL_TYPES), peaks))
    return Programmes(
        base=rng.normal(0.0, 1.2, genes),
        fold=fold,
        level=level + noise,
        peak_fold=follows * fold[:, linked],
        markers=pd.concat(markers).sort_values("cell_type", kind="stable", ignore_index=True),
    )


def draw_barcodes(rng: np.random.Generator, count: int) -> NDArray[np.str_]:
    """Draw `count` different barcodes: 16 bases and `-1`."""
    codes = rng.choice(4**BARCODE_LENGTH, count, replace=False)
    bases = codes[:, None] // 4 ** np.arange(BARCODE_LENGTH) % 4
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)[bases]
    return np.char.add(letters.view(f"S{BARCODE_LENGTH}").ravel().astype(str), "-1")


def draw_cells(rng: np.random.Generator, count: int, without: str | None = None) -> Cells:
    """Draw `count` cells, about in the types' proportions, none of the type `without`."""
    weights = np.array(PROPORTIONS) * rng.lognormal(0.0, 0.2, len(CELL_TYPES)) * [n != without for n in CELL_TYPES]
    bounds = np.cumsum(weights) / weights.sum()
    types = rng.permutation(np.searchsorted(bounds, (np.arange(count) + 0.5) / count))
    return Cells(draw_barcodes(rng, count), types.astype(np.int64), np.minimum(rng.gamma(8.0, 1 / 8, count), 1.8))


def draw_rna(
    rng: np.random.Generator, programmes: Programmes, cells: Cells, depth: float, protocol_shift: float = 0.0
) -> sparse.csr_matrix:
    """Draw negative-binomial counts, (cells, genes) int32.

    depth: median counts a cell. protocol_shift: standard deviation of a log factor of each gene that all cells share.
    """
    log_means = programmes.base + cells.strength[:, None] * programmes.fold[cells.types]
    rates = np.exp(log_means + rng.normal(0.0, protocol_shift, log_means.shape[1]))
    rates *= (depth * rng.lognormal(0.0, 0.35, len(cells)) / rates.sum(axis=1))[:, None]
    shape = 4.0  # gamma shape: a gene's variance beyond Poisson's is mean ** 2 / shape
    return sparse.csr_matrix(rng.poisson(rates * rng.gamma(shape, 1 / shape, rates.shape)).astype(np.int32))


def draw_proteins(rng: np.random.Generator, cells: Cells, depth: float) -> sparse.csr_matrix:
    """Draw counts of antibody-derived tags, (cells, proteins) int32, median `depth` a cell.

    A protein that a type carries gets about 15 times the background of one that it does not.
    """
    carried = np.array([[name in types for types in PROTEINS.values()] for name in CELL_TYPES])
    rates = np.where(carried[cells.types], 15.0, 1.0) * rng.lognormal(0.0, 0.5, (len(cells), len(PROTEINS)))
    rates *= (depth * rng.lognormal(0.0, 0.5, len(cells)) / rates.sum(axis=1))[:, None]
    return sparse.csr_matrix(rng.poisson(rates).astype(np.int32))
