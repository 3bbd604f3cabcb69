"""Spectral embedding of accessibility or expression by the cosine similarity of binarised cells."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh

Floats = NDArray[np.float64]
MIN_CELLS = 3
LANDMARKS = 50_000


@dataclass(frozen=True)
class Spectral:
    """A spectral embedding and the map that puts further cells in it.

    `weight` (G,): log(N / n) of each feature, 0 where fewer than 3 cells have it; `total` (G,): the sum of the unit
    rows; `directions` (G, d): sum_j y_j d_j^-1/2 V_j; `values` (d,): the eigenvalues. V and its values are those of
    A = D^-1/2 (Y Y' - I) D^-1/2, the first (trivial) pair dropped; the embedding is V times values. `sampled`: it was
    made from some of the cells.
    """

    weight: Floats
    total: Floats
    directions: Floats
    values: Floats
    sampled: bool = False

    def project(self, counts: sp.csr_matrix, within: bool) -> Floats:
        """Return the embedding of cells (n, G), (n, d); `within`: they are among those that it was made from.

        With r = d^-1/2, d the row sum of similarities: V = r (y . directions) / (values + r^2) for a cell of the
        embedding itself, whose similarity to itself is left out of A; r (y . directions) / values for another.
        """
        return self.place(unit_rows(counts, self.weight), within)

    def place(self, y: sp.csr_matrix, within: bool) -> Floats:
        """Return the embedding of unit rows y (n, G), (n, d); see `project`."""
        r = self.row_scale(y, within)
        own = r[:, None] ** 2 if within and not self.sampled else 0
        return np.asarray(y @ self.directions) * r[:, None] / (self.values + own) * self.values

    def row_scale(self, y: sp.csr_matrix, within: bool) -> Floats:
        """Return d^-1/2 of unit rows y (n, G), (n,)."""
        degree = np.asarray(y @ self.total).ravel() - (1 if within and not self.sampled else 0)
        return np.asarray(np.maximum(degree, 1e-3) ** -0.5)


def unit_rows(counts: sp.csr_matrix, weight: Floats) -> sp.csr_matrix:
    """Return the weighted presence of features, (n, G), each row of unit length; a row of nothing stays zero."""
    y = sp.csr_matrix(
        (np.where(counts.data > 0, weight[counts.indices], 0.0), counts.indices, counts.indptr), counts.shape
    )
    lengths = np.sqrt(np.asarray(y.multiply(y).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags(1 / np.maximum(lengths, 1e-12)) @ y)


def spectral(counts: sp.csr_matrix, components: int) -> tuple[Floats, Spectral]:
    """Return the embedding of cells (n, G), (n, components), and its map. A is never formed: products alone.

    Of more than 50,000 cells a fixed random 50,000 make the map, and all are put through it. Of few cells there are
    fewer components: cells - 3 at most, those of positive eigenvalues, and one of zeros where that is none.
    """
    if counts.shape[0] > LANDMARKS:
        chosen = np.sort(np.random.default_rng(0).permutation(counts.shape[0])[:LANDMARKS])
        fitted = replace(spectral(counts[chosen], components)[1], sampled=True)
        return fitted.project(counts, within=False), fitted
    cells = counts.shape[0]
    having = np.bincount(counts.indices[counts.data > 0], minlength=counts.shape[1])
    weight = np.where(having >= MIN_CELLS, np.log(cells / np.maximum(having, 1)), 0.0)
    y = unit_rows(counts, weight)
    transposed = sp.csr_matrix(y.T)
    total = np.asarray(y.sum(axis=0)).ravel()
    full = np.asarray(y.multiply(y).sum(axis=1)).ravel()  # 1, or 0 for a cell without features
    degree = np.asarray(y @ total).ravel() - full
    r = np.maximum(degree, 1e-3) ** -0.5

    def product(v: Floats) -> Floats:
        scaled = (r * v.T).T
        return (r * (y @ (transposed @ scaled) - (full * scaled.T).T).T).T

    k = min(components + 1, cells - 2)
    if k < 2 or not total.any():
        # Too few cells, or no feature that tells some of them from others: all lie at one point.
        return np.zeros((cells, 1)), Spectral(weight, total, np.zeros((len(total), 1)), np.ones(1))
    operator = LinearOperator((cells, cells), matvec=product, matmat=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(cells)
    values, vectors = eigsh(operator, k=k, v0=start, which="LA", tol=1e-6)
    order = np.argsort(-values, kind="stable")[1:]
    # A component of no or negative weight puts alike cells apart, and its map has a pole.
    order = order[values[order] > 1e-9]
    if not len(order):
        return np.zeros((cells, 1)), Spectral(weight, total, np.zeros((len(total), 1)), np.ones(1))
    values, vectors = values[order], vectors[:, order]
    vectors *= np.sign(vectors[np.argmax(np.abs(vectors), axis=0), np.arange(len(order))])
    # As a bundle keeps them, so that a cell lies in the same place in training and later.
    directions = np.asarray(transposed @ (r[:, None] * vectors)).astype(np.float32).astype(np.float64)
    return vectors * values, Spectral(weight, total, directions, values)
