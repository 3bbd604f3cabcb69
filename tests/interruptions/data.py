"""A data set that reaches every stage."""

import csv
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from tests.pipeline.conftest import simulate

COLUMNS = ["sample", "role", "modality", "fragments", "matrix", "proteins", "labels", "group"]
ROWS = [
    # Without peaks of its own: they are called. With proteins on both sides.
    "reference,reference,rna,,reference_rna.h5ad,reference_rna_proteins.h5ad,cell_type,called;ready",
    "donor,query,atac,query_fragments.tsv.gz,,query_proteins.h5ad,query_labels.csv,called",
    # A matrix of peaks, whose gene activity is made of it.
    "ready,query,atac,,ready.h5ad,,,ready",
]


def write_data(folder: Path, cells: int = 100) -> None:
    """Write the samples and data/sheet.csv into `folder`/data."""
    data = simulate("citeseq", folder / "data", cells=cells)
    peaks = pd.read_csv(data / "peaks.bed", sep="\t", header=None, usecols=[0, 1, 2], names=["chrom", "start", "end"])
    peaks.index = pd.Index([f"{chrom}:{start}-{end}" for chrom, start, end in peaks.itertuples(index=False)])
    counts = np.random.default_rng(1).poisson(0.4, (cells, len(peaks))).astype(np.float32)
    obs = pd.DataFrame(index=[f"cell{number}" for number in range(cells)])
    ad.AnnData(sp.csr_matrix(counts), obs=obs, var=peaks).write_h5ad(data / "ready.h5ad")
    with open(data / "sheet.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(COLUMNS)
        writer.writerows(row.split(",") for row in ROWS)
