"""The data sets: samples, their sheet, and a README that tells the answer."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from cellpredx.core.files import atomic, write_csv
from cellpredx.simulate.cells import CELL_TYPES, PROTEINS, Cells, draw_cells, draw_programmes, draw_proteins, draw_rna
from cellpredx.simulate.fragments import draw_fragments, write_fragments
from cellpredx.simulate.genome import draw_genome, write_genes, write_peaks, write_sizes

RNA_DEPTH = 1_500.0  # median counts a cell
ATAC_DEPTH = 2_500.0  # median fragments a cell
ADT_DEPTH = 600.0  # median counts of proteins a cell
MISSING = "NK"
COLUMNS = ("sample", "role", "modality", "library", "fragments", "matrix", "proteins", "peaks", "labels")

Row = dict[str, str]


class World:
    """What the samples of a scenario share: genome, programmes of the types, random numbers and the folder."""

    def __init__(self, outdir: Path, seed: int) -> None:
        self.outdir = outdir
        self.rng = np.random.default_rng(seed)
        self.genome = draw_genome(self.rng)
        self.programmes = draw_programmes(self.rng, self.genome)
        self.composition: dict[str, pd.Series] = {}

    def cells(self, sample: str, count: int, without: str | None = None) -> Cells:
        """Draw the cells of `sample`, none of the type `without`, and note how many there are of each type."""
        cells = draw_cells(self.rng, count, without)
        self.composition[sample] = pd.Series(cells.type_names).value_counts()
        return cells

    def draw_fragments(self, cells: Cells, depth: float = ATAC_DEPTH) -> pd.DataFrame:
        """Draw the fragments of `cells` and of empty droplets, about two for three cells."""
        empties = int(np.clip(len(cells) * 2 // 3, 200, 500))
        return draw_fragments(self.rng, self.genome, self.programmes, cells, depth, empties)

    def write_fragments(self, sample: str, fragments: pd.DataFrame, suffix: str = "") -> str:
        """Write a fragment file of `sample`; returns its name."""
        name = f"{sample}{suffix}_fragments.tsv.gz"
        write_fragments(fragments, sample, self.genome, self.outdir / name)
        return name

    def write_labels(self, sample: str, cells: Cells) -> str:
        """Write the types of `cells` as CSV; returns its name."""
        name = f"{sample}_labels.csv"
        write_csv(pd.DataFrame({"barcode": cells.barcodes, "cell_type": cells.type_names}), self.outdir / name)
        return name

    def write_rna(self, sample: str, counts: sparse.csr_matrix, cells: Cells, label: str, var: pd.DataFrame) -> Row:
        """Write counts (cells, genes) as .h5ad with the types in the obs column `label`; returns a part of a row."""
        obs = pd.DataFrame({label: cells.type_names}, index=cells.barcodes)
        with atomic(self.outdir / f"{sample}.h5ad") as part:
            ad.AnnData(counts, obs=obs, var=var).write_h5ad(part, compression="gzip")
        return {"sample": sample, "modality": "rna", "matrix": f"{sample}.h5ad", "labels": label}

    def write_proteins(self, sample: str, cells: Cells, names: list[str], depth: float = ADT_DEPTH) -> str:
        """Write counts of proteins as .h5ad, under `names`; returns its name."""
        counts = draw_proteins(self.rng, cells, depth)
        name = f"{sample}_proteins.h5ad"
        with atomic(self.outdir / name) as part:
            data = ad.AnnData(counts, obs=pd.DataFrame(index=cells.barcodes), var=pd.DataFrame(index=names))
            data.write_h5ad(part, compression="gzip")
        return name

    def genes_by(self, key: str) -> pd.DataFrame:
        """The genes' ids and names, indexed by `key`."""
        return self.genome.genes[["gene_id", "gene_name"]].set_index(key, drop=False).rename_axis(None)


def _write_reference_rna(world: World, cells: Cells) -> Row:
    counts = draw_rna(world.rng, world.programmes, cells, RNA_DEPTH)
    row = world.write_rna("reference_rna", counts, cells, "cell_type", world.genes_by("gene_name"))
    return row | {"role": "reference"}


def _write_query_atac(world: World, cells: Cells, depth: float = ATAC_DEPTH) -> Row:
    return {
        "sample": "query",
        "role": "query",
        "modality": "atac",
        "fragments": world.write_fragments("query", world.draw_fragments(cells, depth)),
        "peaks": "peaks.bed",
        "labels": world.write_labels("query", cells),
    }


def _demo(world: World, count: int) -> list[Row]:
    reference = _write_reference_rna(world, world.cells("reference_rna", count, without=MISSING))
    return [reference, _write_query_atac(world, world.cells("query", count))]


def _unmatched(world: World, count: int) -> list[Row]:
    reference = _write_reference_rna(world, world.cells("reference_rna", count))
    return [reference, _write_query_atac(world, world.cells("query", count))]


def _matched(world: World, count: int) -> list[Row]:
    cells = world.cells("query", count)
    world.composition["reference_rna"] = world.composition["query"]
    return [_write_reference_rna(world, cells), _write_query_atac(world, cells)]


def _atac(world: World, count: int) -> list[Row]:
    cells = world.cells("reference_atac", count)
    split = count * 2 // 3
    # Libraries draw from one list of barcodes: a few name a cell in each.
    cells.barcodes[split : split + 5] = cells.barcodes[:5]
    first, second = cells.take(slice(split)), cells.take(slice(split, None))
    of_first = world.draw_fragments(first)
    lane = world.rng.random(len(of_first)) < 0.5
    library = np.where(np.arange(count) < split, "lib1#", "lib2#")
    named = Cells(np.char.add(library, cells.barcodes), cells.types, cells.strength)
    reference = {
        "sample": "reference_atac",
        "role": "reference",
        "modality": "atac",
        "peaks": "peaks.bed",
        "labels": world.write_labels("reference_atac", named),
    }
    files = [
        ("lib1", world.write_fragments("reference_atac", of_first[lane], "_lib1_L001")),
        ("lib1", world.write_fragments("reference_atac", of_first[~lane], "_lib1_L002")),
        ("lib2", world.write_fragments("reference_atac", world.draw_fragments(second), "_lib2")),
    ]
    rows = [reference | {"library": library, "fragments": name} for library, name in files]
    return [*rows, _write_query_atac(world, world.cells("query", count), 0.8 * ATAC_DEPTH)]


def _rna(world: World, count: int) -> list[Row]:
    cells = world.cells("reference_rna", count)
    counts = draw_rna(world.rng, world.programmes, cells, RNA_DEPTH)
    reference = world.write_rna("reference_rna", counts, cells, "cell_type", world.genes_by("gene_id"))
    cells = world.cells("query", count)
    counts = draw_rna(world.rng, world.programmes, cells, 0.5 * RNA_DEPTH, protocol_shift=0.5)
    query = world.write_rna("query", counts, cells, "author_label", world.genes_by("gene_name")[[]])
    return [reference | {"role": "reference"}, query | {"role": "query"}]


def _citeseq(world: World, count: int) -> list[Row]:
    cells = world.cells("reference_rna", count)
    reference = _write_reference_rna(world, cells)
    reference["proteins"] = world.write_proteins("reference_rna", cells, list(PROTEINS))
    cells = world.cells("query", count)
    query = _write_query_atac(world, cells)
    # Another laboratory's antibodies: written in capitals, and not so deep.
    query["proteins"] = world.write_proteins("query", cells, [name.upper() for name in PROTEINS], 0.5 * ADT_DEPTH)
    return [reference, query]


SCENARIOS: dict[str, tuple[Callable[[World, int], list[Row]], str]] = {
    "demo": (
        _demo,
        f"A labelled RNA reference and an ATAC query of other cells. The reference lacks {MISSING}: the query's\n"
        f"{MISSING} cells should come out as Unknown; they share a programme with T_CD8.",
    ),
    "unmatched": (_unmatched, "A labelled RNA reference and an ATAC query of other cells, with the same types."),
    "matched": (_matched, "RNA and ATAC of the same cells, by the same barcodes."),
    "atac": (
        _atac,
        "An ATAC reference of two libraries, the first in two lanes, and a shallower ATAC query. A few barcodes\n"
        "name a cell in either library; the labels tell them apart as lib1#BARCODE and lib2#BARCODE.",
    ),
    "rna": (
        _rna,
        "Two RNA protocols. The query is half as deep, each of its genes is scaled by a factor of its own,\n"
        "and its genes go by name where the reference's go by id.",
    ),
    "citeseq": (
        _citeseq,
        "A labelled CITE-seq reference and an ASAP-seq query of other cells: RNA and ATAC, each with surface\n"
        "proteins, whose names are written in another case on either side.",
    ),
}


def write_scenario(scenario: str, outdir: Path, count: int, seed: int) -> None:
    """Write the data set of a scenario into `outdir`, `count` cells a sample, with sheet.csv and README.txt."""
    write_samples, story = SCENARIOS[scenario]
    world = World(outdir, seed)
    write_sizes(world.genome, outdir / "genome.sizes")
    write_genes(world.genome, outdir / "genes.gtf.gz")
    write_peaks(world.genome, outdir / "peaks.bed")
    write_csv(world.programmes.markers, outdir / "markers.csv")
    sheet = pd.DataFrame(write_samples(world, count))
    write_csv(sheet[[name for name in COLUMNS if name in sheet]].fillna(""), outdir / "sheet.csv")
    composition = pd.DataFrame(world.composition).reindex(CELL_TYPES).fillna(0).astype(int)
    with atomic(outdir / "README.txt") as part:
        part.write_text(
            f"Simulated data: cellpredx simulate --scenario {scenario} --cells {count} --seed {seed}\n\n"
            f"{story}\n\n"
            "The answer is in the labels: of the query they serve for evaluation alone. T_CD4 and T_CD8 share most\n"
            "of their programme. markers.csv has the genes that are up in each type; the peaks linked to them are\n"
            "more open. Barcodes without a label in the fragment files are empty droplets.\n\n"
            f"Cells of each type:\n{composition.to_string()}\n",
            encoding="utf-8",
        )
