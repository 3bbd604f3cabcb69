"""Spectral embedding of accessibility or expression by the cosine similarity of binarised cells."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh

from cellpredx.core.threads import allowed

Floats = NDArray[np.float64]
MIN_CELLS = 3
LANDMARKS = 50_000
ROWS = 4096  # cells embedded at a time
ENTRIES = 1 << 17  # of a block, whose ones stay in a core's cache


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

    def project(self, counts: sp.csr_matrix, within: bool) -> tuple[Floats, Floats]:
        """Return the embedding of cells (n, G), (n, d), and their r, (n,); `within`: they are among those that it was
        made from.

        With r = d^-1/2, d the row sum of similarities: V = r (y . directions) / (values + r^2) for a cell of the
        embedding itself, whose similarity to itself is left out of A; r (y . directions) / values for another.
        """
        made_from = within and not self.sampled
        embedding, r = np.empty((counts.shape[0], len(self.values))), np.empty(counts.shape[0])
        for begin in range(0, len(r), ROWS):
            rows = slice(begin, begin + ROWS)
            y = unit_rows(counts[rows], self.weight)
            degree = np.asarray(y @ self.total).ravel() - (1 if made_from else 0)
            r[rows] = np.maximum(degree, 1e-3) ** -0.5
            own = r[rows, None] ** 2 if made_from else 0
            embedding[rows] = np.asarray(y @ self.directions) * r[rows, None] / (self.values + own) * self.values
        return embedding, r


class Presence:
    """The unit rows Y (n, G) of cells, held as which features they have alone: Y_ij = weight_j / length_i there.

    8 bytes an entry, in the order of cells and of features: every sum is of one thread, so that two give the bytes of
    one.
    """

    def __init__(self, counts: sp.csr_matrix) -> None:
        """Read which features (G) the cells (n) of counts (n, G) have; they weigh 1 until `weigh`."""
        if (counts.data > 0).all():
            ones = np.ones(counts.nnz, np.int8)
            pattern = sp.csr_matrix((ones, counts.indices, counts.indptr), shape=counts.shape)
        else:
            pattern = sp.csr_matrix(counts > 0)
        transposed = pattern.tocsc()
        self.having = np.diff(transposed.indptr)
        self.by_cell = _blocks(pattern.indptr, pattern.indices, counts.shape[1])
        self.by_feature = _blocks(transposed.indptr, transposed.indices, counts.shape[0])
        self.weight, self.scale = np.ones(counts.shape[1]), np.ones(counts.shape[0])

    def weigh(self, weight: Floats) -> Floats:
        """Give the features their weights (G,), and the cells the length 1; return their lengths, 0 for those that
        have no feature of any weight, (n,)."""
        squared = _sums(self.by_cell, weight**2)
        self.weight = weight
        self.scale = 1 / np.maximum(np.sqrt(squared), 1e-12)
        return np.where(squared > 0, 1.0, 0.0)

    def times(self, v: Floats) -> Floats:
        """Return Y v of v (G,), (n,)."""
        return self.scale * _sums(self.by_cell, self.weight * v)

    def transposed_times(self, v: Floats) -> Floats:
        """Return Y' v of v (n,), (G,)."""
        return self.weight * _sums(self.by_feature, self.scale * v)


def _blocks(indptr: NDArray[np.integer], indices: NDArray[np.integer], columns: int) -> list[sp.csr_matrix]:
    """Return the rows of a matrix of ones, some at a time, in one block at least; all read the same ones."""
    ones = np.ones(max(ENTRIES, int(np.diff(indptr).max(initial=0))))
    found: list[sp.csr_matrix] = []
    begin, rows = 0, len(indptr) - 1
    while begin < rows or not found:
        end = max(begin + 1, int(np.searchsorted(indptr, indptr[begin] + ENTRIES, side="right")) - 1)
        end = min(end, rows)
        own = slice(indptr[begin], indptr[end])
        starts = indptr[begin : end + 1] - indptr[begin]
        size = own.stop - own.start
        found.append(sp.csr_matrix((ones[:size], indices[own], starts), shape=(end - begin, columns)))
        begin = end
    return found


def _sums(blocks: list[sp.csr_matrix], values: Floats) -> Floats:
    """Return the product of the rows of all blocks with values (columns,), (rows,)."""

    def products(part: list[sp.csr_matrix]) -> list[Floats]:
        return [block @ values for block in part]

    threads = min(allowed(), len(blocks))
    if threads == 1:
        # To start a pool takes longer than a small product.
        return np.concatenate(products(blocks))
    share = -(-len(blocks) // threads)
    parts = [blocks[begin : begin + share] for begin in range(0, len(blocks), share)]
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate([product for part in pool.map(products, parts) for product in part])


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
        return fitted.project(counts, within=False)[0], fitted
    cells = counts.shape[0]
    y = Presence(counts)
    weight = np.where(y.having >= MIN_CELLS, np.log(cells / np.maximum(y.having, 1)), 0.0)
    full = y.weigh(weight)
    total = y.transposed_times(np.ones(cells))
    r = np.maximum(y.times(total) - full, 1e-3) ** -0.5

    def product(v: Floats) -> Floats:
        scaled = r * v.ravel()
        return r * (y.times(y.transposed_times(scaled)) - full * scaled)

    k = min(components + 1, cells - 2)
    if k < 2 or not total.any():
        # Too few cells, or no feature that tells some of them from others: all lie at one point.
        return np.zeros((cells, 1)), Spectral(weight, total, np.zeros((len(total), 1)), np.ones(1))
    operator = LinearOperator((cells, cells), matvec=product, dtype=np.float64)
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
    directions = np.stack([y.transposed_times(r * v) for v in vectors.T], axis=1)
    return vectors * values, Spectral(weight, total, directions.astype(np.float32).astype(np.float64), values)
