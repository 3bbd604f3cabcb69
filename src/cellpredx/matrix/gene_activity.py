"""Gene activity from peaks: sums of those that belong to a gene."""

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellpredx.core.annotation import unique_names
from cellpredx.core.errors import UserError
from cellpredx.matrix.regions import overlaps


def from_linked_genes(peaks: ad.AnnData, column: str) -> tuple[sp.csr_matrix, pd.DataFrame]:
    """Sum the peaks that `column` of var links to a gene (several genes may be separated by commas).

    Returns cells x genes and the genes (index, gene_id, gene_name).
    """
    links = peaks.var[column].astype(str).str.split(",").explode().str.strip()
    rows = pd.Series(np.arange(peaks.n_vars), index=peaks.var_names).loc[links.index].to_numpy()
    known = ~links.isin(["", "nan", "None"]).to_numpy()
    if not known.any():
        raise UserError(f"the column {column!r} links no peak to a gene", None, "give --annotation instead")
    genes, number = np.unique(links.to_numpy(dtype=str)[known], return_inverse=True)
    membership = sp.csr_matrix(
        (np.ones(known.sum(), np.float32), (rows[known], number)), shape=(peaks.n_vars, len(genes))
    )
    membership.data[:] = 1
    return sp.csr_matrix(peaks.X @ membership), pd.DataFrame({"gene_id": genes, "gene_name": genes}, index=genes)


def from_overlapping_peaks(peaks: ad.AnnData, windows: pd.DataFrame) -> tuple[sp.csr_matrix, pd.DataFrame]:
    """Sum the peaks that overlap a gene's window. Returns cells x genes and the genes."""
    pairs = overlaps(peaks.var, windows)
    if pairs.empty:
        raise UserError(
            "no peak overlaps a gene",
            None,
            f"the peaks are on {', '.join(pd.unique(peaks.var['chrom'].astype(str))[:5])}; the genes on "
            f"{', '.join(pd.unique(windows['chrom'])[:5])}: give the annotation of the peaks' genome",
        )
    membership = sp.csr_matrix(
        (np.ones(len(pairs), np.float32), (pairs["left"], pairs["right"])), shape=(peaks.n_vars, len(windows))
    )
    return sp.csr_matrix(peaks.X @ membership), windows[["gene_id", "gene_name"]]


def rename_repeats(genes: pd.DataFrame) -> pd.DataFrame:
    """Return `genes` (gene_id, gene_name) indexed by unique names."""
    names = unique_names(genes["gene_name"].reset_index(drop=True), genes["gene_id"].reset_index(drop=True))
    return genes.set_index(pd.Index(names.to_numpy()))
