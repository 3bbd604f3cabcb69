"""The query's own neighbours: LSI of accessibility or PCA of expression, exact cosine kNN."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, svds


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


def neighbours(embedding: NDArray[np.float64], k: int, block: int = 2048) -> NDArray[np.int64]:
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
        best = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(similarity, best, axis=1), axis=1, kind="stable")
        result[begin : begin + block] = np.take_along_axis(best, order, axis=1)
    return result
