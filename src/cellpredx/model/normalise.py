"""Library-size normalisation, of genes (or peaks) and of proteins apart."""

from typing import Any

import numpy as np
import scipy.sparse as sp

PROTEIN_SCALE = 1e4
ROWS = 1024


def normalise(counts: sp.csr_matrix, scale: float, binarize: bool = False) -> sp.csr_matrix:
    """Return log(1 + scale * x / sum x) of every cell (row), float32; a cell without counts stays zero."""
    x = sp.csr_matrix(counts, dtype=np.float32, copy=True)
    if binarize:
        x.data[:] = x.data > 0
    totals = np.asarray(x.sum(axis=1, dtype=np.float64)).ravel()
    factors = np.divide(scale, totals, out=np.zeros_like(totals), where=totals > 0).astype(np.float32)
    lengths = np.diff(x.indptr)
    # Some cells at a time stay in the cache, and need no second array of the matrix's size.
    for begin in range(0, x.shape[0], ROWS):
        end = min(begin + ROWS, x.shape[0])
        values = x.data[x.indptr[begin] : x.indptr[end]]
        values *= np.repeat(factors[begin:end], lengths[begin:end])
        np.log1p(values, out=values)
    x.eliminate_zeros()
    return x


def without_proteins(x: sp.csr_matrix, proteins: int) -> sp.csr_matrix:
    """Return x without its last `proteins` features."""
    return x[:, : x.shape[1] - proteins] if proteins else x


def with_proteins(genes: sp.csr_matrix, proteins: sp.csr_matrix) -> sp.csr_matrix:
    """Return the features of `genes` and after them those of `proteins`, of the same cells."""
    return sp.csr_matrix(sp.hstack([genes, proteins], format="csr", dtype=np.float32))


def prepare(x: sp.csr_matrix, is_log: bool, scale: float, binarize: bool = False, proteins: int = 0) -> sp.csr_matrix:
    """Return what a model reads of cells: x normalised, or x itself where it holds log1p values.

    The last `proteins` features are counts of proteins, normalised to 10,000 a cell among themselves; a cell without
    any stays zero there.
    """
    if not proteins:
        return x if is_log else normalise(x, scale, binarize)
    genes = prepare(without_proteins(x, proteins), is_log, scale, binarize)
    return with_proteins(genes, normalise(x[:, -proteins:], PROTEIN_SCALE))


def is_log1p(recipe: dict[str, Any]) -> bool:
    """Tell whether a matrix (recipe: its `uns['cellpredx']`) holds log1p values already."""
    return bool(recipe.get("normalised") == "log1p")


def proteins_in(recipe: dict[str, Any]) -> int:
    """Return how many of a matrix's features, the last ones, are proteins; recipe: its `uns['cellpredx']`."""
    return int(recipe.get("proteins", 0))


def model_input(counts: sp.csr_matrix, recipe: dict[str, Any], hyperparameters: dict[str, Any]) -> sp.csr_matrix:
    """Return what a model reads of a query: its counts normalised as in training, or its log1p values as they are.

    recipe: `uns['cellpredx']` of the matrix; hyperparameters: those of the bundle.
    """
    scale, binarize = hyperparameters["scale"], hyperparameters["binarize"]
    return prepare(counts, is_log1p(recipe), scale, binarize, proteins_in(recipe))
