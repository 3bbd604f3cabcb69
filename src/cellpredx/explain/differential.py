"""The features that a labelled reference itself shows to differ between its types."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

import cellpredx.core.compiled  # noqa: F401 - before scanpy

COLUMNS = ["cell_type", "rank", "feature", "score", "q"]
PER_TYPE = 20
BELOW = 0.05


def differential_features(
    x: sp.csr_matrix, y: NDArray[np.int64], types: list[str], features: list[str]
) -> pd.DataFrame:
    """Return the 20 features of each type that are most above its other cells: cell_type, rank, feature, score, q.

    x (n, G) log-normalised, y (n,) numbers of types. Wilcoxon's rank-sum test of a type against the rest, corrected for
    ties, by scanpy; those with an adjusted p (Benjamini and Hochberg) below 0.05. A type with one cell has none.
    """
    import scanpy as sc

    cells = ad.AnnData(sp.csr_matrix(x), var=pd.DataFrame(index=pd.Index(features, dtype=str)))
    # Numbers as groups: a type's own name may be that of scanpy's rest.
    cells.obs["type"] = pd.Categorical(y.astype(str))
    tested = [k for k in range(len(types)) if 2 <= (y == k).sum() < len(y)]
    if not tested:
        return pd.DataFrame(columns=COLUMNS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.tl.rank_genes_groups(
            cells, "type", groups=[str(k) for k in tested], method="wilcoxon", tie_correct=True, n_genes=PER_TYPE
        )
    found = cells.uns["rank_genes_groups"]
    parts = []
    for k in tested:
        score, q = (np.asarray(found[name][str(k)], float) for name in ("scores", "pvals_adj"))
        kept = (score > 0) & (q < BELOW)
        names = np.asarray(found["names"][str(k)], object)[kept]
        columns = {"cell_type": types[k], "rank": np.arange(1, len(names) + 1), "feature": names}
        parts.append(pd.DataFrame({**columns, "score": score[kept], "q": q[kept]}))
    return pd.concat(parts, ignore_index=True)
