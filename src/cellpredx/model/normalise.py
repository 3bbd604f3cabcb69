"""Library-size normalisation."""

from typing import Any

import numpy as np
import scipy.sparse as sp


def normalise(counts: sp.csr_matrix, scale: float, binarize: bool = False) -> sp.csr_matrix:
    """Return log(1 + scale * x / sum x) of every cell (row), float32; a cell without counts stays zero."""
    x = sp.csr_matrix(counts, dtype=np.float32, copy=True)
    if binarize:
        x.data[:] = x.data > 0
    totals = np.asarray(x.sum(axis=1, dtype=np.float64)).ravel()
    factors = np.divide(scale, totals, out=np.zeros_like(totals), where=totals > 0)
    x.data = np.log1p(x.data * np.repeat(factors, np.diff(x.indptr))).astype(np.float32)
    x.eliminate_zeros()
    return x


def is_log1p(recipe: dict[str, Any]) -> bool:
    """Tell whether a matrix (recipe: its `uns['cellpredx']`) holds log1p values already."""
    return bool(recipe.get("normalised") == "log1p")


def model_input(counts: sp.csr_matrix, recipe: dict[str, Any], hyperparameters: dict[str, Any]) -> sp.csr_matrix:
    """Return what a model reads of a query: its counts normalised as in training, or its log1p values as they are.

    recipe: `uns['cellpredx']` of the matrix; hyperparameters: those of the bundle.
    """
    if is_log1p(recipe):
        return counts
    return normalise(counts, hyperparameters["scale"], hyperparameters["binarize"])
