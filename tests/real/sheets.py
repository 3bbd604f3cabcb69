"""Ordinary sample sheets over the real data sets, and what each transfer is known to reach."""

import csv
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from tests.real import markers

COLUMNS = ["sample", "role", "modality", "fragments", "matrix", "peaks", "barcodes", "labels", "group"]


@dataclass(frozen=True)
class Expected:
    """A transfer's scenario, the accuracy that it must reach (None: it must end), and what is known of it elsewhere."""

    scenario: str
    accuracy: float | None
    known: str


EXPECTED = {
    "archr": Expected("unmatched", 0.80, "linear .82-.85, paper .860, ArchR .961"),
    "mixology": Expected("rna", 0.97, "linear 1, paper 1"),
    "bm": Expected("atac", 0.63, "linear .715, paper .675"),
    "snare_matched": Expected("matched", None, "linear .370, paper .560"),
    "snare_unmatched": Expected("unmatched", None, "linear .323, paper .541"),
    "snare_atac": Expected("atac", None, "linear .661, paper .663"),
    "snare_rna": Expected("rna", None, "linear .891, paper .893"),
    "symphony_5p": Expected("rna", None, "linear .967, paper .981"),
    "symphony_3pv1": Expected("rna", None, "linear .931, paper .923"),
    "symphony_3pv2": Expected("rna", None, "linear .935, paper .932"),
    "mixology_5_lines": Expected("rna", None, "two lines are unknown to the reference"),
}


def _write(rows: list[dict[str, str]], folder: Path) -> Path:
    sheet = folder / "sheet.csv"
    with open(sheet, "w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return sheet


def archr(data: Path, folder: Path) -> tuple[Path, list[str]]:
    """Write the sheet of archr-pbsmall, all 150 barcodes given as called cells; return it and the parameters."""
    source = data / "archr-pbsmall"
    labels = pd.read_csv(source / "query_labels.csv")
    (folder / "cells.txt").write_text("\n".join(labels["barcode"]) + "\n")
    rows = [
        {
            "sample": "pbmc_rna",
            "role": "reference",
            "modality": "rna",
            "matrix": str(source / "rna_reference.h5ad"),
            "labels": "CellType",
            "group": "archr",
        },
        {
            "sample": "pbmc_atac",
            "role": "query",
            "modality": "atac",
            "fragments": str(source / "fragments.tsv.gz"),
            "peaks": str(source / "peaks_hg19.bed"),
            "barcodes": "cells.txt",
            "labels": str(source / "query_labels.csv"),
            "group": "archr",
        },
    ]
    listed = ["--markers", str(markers.blood(data, folder / "markers.csv"))]
    genes = ["--annotation", str(source / "genes_hg19_chr5_chr11.bed"), "--genome", "hg19"]
    return _write(rows, folder), [*genes, *listed]


class _Sheet:
    """Rows of matrices, each a subset of a file's cells under a name of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, str]] = []

    def add(self, sample: str, role: str, modality: str, matrix: Path, cells: pd.Index, label: str, group: str) -> None:
        listed = self.folder / f"{sample}.barcodes.txt"
        listed.write_text("\n".join(cells) + "\n")
        self.rows.append(
            {
                "sample": sample,
                "role": role,
                "modality": modality,
                "matrix": str(matrix),
                "barcodes": listed.name,
                "labels": label,
                "group": group,
            }
        )


def matrices(data: Path, folder: Path) -> tuple[Path, list[str]]:
    """Write one sheet of every real count matrix, a group a transfer; return it and the parameters."""
    sheet = _Sheet(folder)

    mixology = {name: data / "sc-mixology" / f"sc_{name}.h5ad" for name in ("celseq2", "dropseq", "celseq2_5cl_p3")}
    for name, role, group in (
        ("celseq2", "reference", "mixology;mixology_5_lines"),
        ("dropseq", "query", "mixology"),
        ("celseq2_5cl_p3", "query", "mixology_5_lines"),
    ):
        obs = ad.read_h5ad(mixology[name]).obs
        # A doublet of two lines has no one true label.
        singlets = obs.index[obs["demuxlet_cls"].astype(str) == "SNG"]
        sheet.add(f"mix_{name}", role, "rna", mixology[name], singlets, "cell_type", group)

    bm = data / "bm-donorBM0828-scatac" / "atac_peaks.h5ad"
    cells = ad.read_h5ad(bm).obs_names
    half = np.random.default_rng(1).permutation(len(cells)) < len(cells) // 2
    sheet.add("bm_one", "reference", "atac", bm, cells[half], "cell_type", "bm")
    sheet.add("bm_two", "query", "atac", bm, cells[~half], "cell_type", "bm")

    snare = data / "snareseq-mouse-cortex-plates-A-F"
    obs = ad.read_h5ad(snare / "rna_counts.h5ad").obs
    obs = obs[obs["cell_type"].astype(str) != "Mis"]
    early = obs["batch"].astype(str).isin(sorted(obs["batch"].astype(str).unique())[:3])
    first, second = obs.index[early], obs.index[~early]
    rna, atac = snare / "rna_counts.h5ad", snare / "atac_peaks.h5ad"
    sheet.add("snare_rna", "reference", "rna", rna, obs.index, "cell_type", "snare_matched")
    sheet.add("snare_atac", "query", "atac", atac, obs.index, "cell_type", "snare_matched")
    sheet.add("snare_rna_AC", "reference", "rna", rna, first, "cell_type", "snare_unmatched;snare_rna")
    sheet.add("snare_atac_AC", "reference", "atac", atac, first, "cell_type", "snare_atac")
    sheet.add("snare_atac_DF", "query", "atac", atac, second, "cell_type", "snare_unmatched;snare_atac")
    sheet.add("snare_rna_DF", "query", "rna", rna, second, "cell_type", "snare_rna")

    symphony = data / "pbmc-3tech-symphony" / "rna_lognorm.h5ad"
    obs = ad.read_h5ad(symphony).obs
    donors = sorted(obs["donor"].astype(str).unique())
    for donor in donors:
        own = obs.index[obs["donor"].astype(str) == donor]
        others = ";".join(f"symphony_{other}" for other in donors if other != donor)
        sheet.add(f"pbmc_{donor}", "reference", "rna", symphony, own, "cell_type", others)
        sheet.add(f"pbmc_{donor}", "query", "rna", symphony, own, "cell_type", f"symphony_{donor}")
    listed = ["--markers", str(markers.cortex(data, folder / "markers.csv"))]
    return _write(sheet.rows, folder), ["--peak_gene_link", "gene", *listed]
