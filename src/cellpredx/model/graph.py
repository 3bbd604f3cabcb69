"""The query's own neighbours: LSI of accessibility or PCA of expression, exact cosine kNN."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, svds

GROUP = 64  # columns whose maximum stands for them


def _svd(operator: LinearOperator | sp.csr_matrix, components: int) -> NDArray[np.float64]:
    """Return the left singular vectors times values, largest first, with a fixed start and fixed signs."""
    k = min(components, min(operator.shape) - 1)
    start = np.random.default_rng(0).standard_normal(min(operator.shape))
    u, s, _ = svds(operator, k=k, v0=start)
    order = np.argsort(-s, kind="stable")
    u, s = u[:, order], s[order]
    signs = np.sign(u[np.argmax(np.abs(u), axis=0), np.arange(u.shape[1])])
    return u * s * np.where(signs == 0, 1, signs)


def lsi(counts: sp.csr_matrix, components: int) -> NDArray[np.float64]:
    """Return the LSI of accessibility counts, (cells, components): TF-IDF, SVD, the depth component dropped.

    TF-IDF is log(1 + 1e4 * tf * idf), tf a cell's share of its own counts, idf cells over cells with the feature.
    """
    x = sp.csr_matrix(counts, dtype=np.float64)
    cells_with = np.asarray(x.getnnz(axis=0))
    x = x[:, cells_with > 0]
    totals = np.maximum(np.asarray(x.sum(axis=1)).ravel(), 1)
    idf = x.shape[0] / cells_with[cells_with > 0]
    weighted = sp.csr_matrix(sp.diags(1 / totals) @ x @ sp.diags(idf))
    weighted.data = np.log1p(1e4 * weighted.data)
    return _svd(weighted, components + 1)[:, 1:]


def pca(x: sp.csr_matrix, components: int) -> NDArray[np.float64]:
    """Return the principal components of normalised expression, (cells, components); x is never densified."""
    x = sp.csr_matrix(x, dtype=np.float64)
    mean = np.asarray(x.mean(axis=0)).ravel()
    ones = np.ones(x.shape[0])
    centred = LinearOperator(
        shape=x.shape,
        dtype=np.float64,
        matvec=lambda v: x @ v.ravel() - ones * (mean @ v.ravel()),
        rmatvec=lambda v: x.T @ v.ravel() - mean * v.sum(),
        matmat=lambda v: x @ v - np.outer(ones, mean @ v),
        rmatmat=lambda v: x.T @ v - np.outer(mean, v.sum(axis=0)),
    )
    return _svd(centred, components)


def loadings_of(x: sp.csr_matrix, scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the loadings (G, d) and mean (G,) of principal components: scores (n, d) = (x - mean) loadings."""
    mean = np.asarray(x.mean(axis=0)).ravel()
    product = np.asarray(x.T @ scores) - np.outer(mean, scores.sum(axis=0))
    return product / np.maximum((scores**2).sum(axis=0), 1e-12), mean


def largest(values: NDArray[Any], k: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the columns of the k largest values of each row of values (n, m), largest first, and these, (n, k).

    Equal values keep the order of their columns. The k-th largest of the maxima of some groups of columns is at most
    the k-th largest of all: few values are left to be sorted, and the whole is passed over twice.
    """
    rows, columns = values.shape
    groups = columns // GROUP
    if groups >= 4 * k:
        peaks = values[:, : groups * GROUP].reshape(rows, GROUP, groups).max(axis=1)
        least = np.partition(peaks, groups - k, axis=1)[:, groups - k]
    else:
        least = np.partition(values, columns - k, axis=1)[:, columns - k]
    left = values >= least[:, None]
    # Of many equal values, such as a cell's of zeros, the first are enough.
    for i in np.flatnonzero(np.count_nonzero(left, axis=1) > GROUP * k):
        exact = np.partition(values[i], columns - k)[columns - k]
        left[i] = values[i] > exact
        left[i, np.flatnonzero(values[i] == exact)[: k - np.count_nonzero(left[i])]] = True
    row, column = np.divmod(np.flatnonzero(left), columns)
    order = np.lexsort((column, -values[row, column], row))
    first = np.searchsorted(row, np.arange(rows))
    chosen = column[order][first[:, None] + np.arange(k)]
    return chosen, np.take_along_axis(values, chosen, axis=1)


def neighbours(embedding: NDArray[np.float64], k: int, block: int = 1024) -> NDArray[np.int64]:
    """Return each cell's k nearest others by cosine, (cells, k), nearest first; exact, in blocks of rows."""
    norms = np.linalg.norm(embedding, axis=1, keepdims=True)
    unit = (embedding / np.maximum(norms, 1e-12)).astype(np.float32)
    cells = len(unit)
    k = min(k, cells - 1)
    result = np.empty((cells, k), np.int64)
    for begin in range(0, cells, block):
        similarity = unit[begin : begin + block] @ unit.T
        rows = np.arange(len(similarity))
        similarity[rows, begin + rows] = -np.inf
        result[begin : begin + block] = largest(similarity, k)[0]
    return result
