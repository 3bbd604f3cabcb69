"""Integrated gradients of a linear model in closed form.

Source: method of Sundararajan et al. (integrated gradients), applied as CellPredX's interpreter (doi
10.1371/journal.pcbi.1013824), on predicted labels.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import softmax

MOST_NODES = 512
EXACT = 1e-9
BLOCK = 1000  # cells at a time


def nodes_for(steepness: float) -> int:
    """Return how many nodes integrate a path on which scores of types part by `steepness`, to 1e-9; at most 512.

    A softmax has its poles at 2 pi / steepness and farther from the path; the error falls with the ellipse around the
    interval that leaves them out, rho^-2n, rho = exp(asinh(2 pi / steepness)).
    """
    return int(np.clip(np.ceil(-np.log(EXACT) / 2 / np.arcsinh(2 * np.pi / max(steepness, 1e-9))), 8, MOST_NODES))


def path_weights(
    scores: NDArray[np.float64], bias: NDArray[np.float64], target: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return a_ik = integral_0^1 p_c (delta_ck - p_k) d alpha, (n, K), p = softmax(alpha M x + b), c the target.

    scores: M x without the bias, (n, K); Gauss-Legendre quadrature, with as many nodes as the steepest cell needs.
    """
    total = np.empty_like(scores)
    for begin in range(0, len(scores), BLOCK):
        cells = slice(begin, begin + BLOCK)
        nodes, weights = np.polynomial.legendre.leggauss(nodes_for(float(np.ptp(scores[cells], axis=1).max())))
        nodes, weights = (nodes + 1) / 2, weights / 2
        p = softmax(nodes[:, None, None] * scores[cells] + bias, axis=2)
        rows = np.arange(p.shape[1])
        chosen = weights[:, None] * p[:, rows, target[cells]]
        total[cells] = -np.einsum("qn,qnk->nk", chosen, p)
        total[begin + rows, target[cells]] += chosen.sum(axis=0)
    return total


def attributions(
    x: sp.csr_matrix, weight: NDArray[Any], bias: NDArray[Any], target: NDArray[np.int64]
) -> sp.csr_matrix:
    """Return IG_ij = x_ij sum_k M_kj a_ik from a zero baseline, (n, G), with the sparsity of x.

    x (n, G), weight M (K, G), bias (K,), target (n,). Every row sums to p_c(x) - p_c(0), as exactly as M is given.
    """
    a = path_weights(np.asarray(x @ weight.T, np.float64), bias.astype(np.float64), target).astype(weight.dtype)
    # A feature's weights beside each other, and a cell at a time: what is gathered stays in the cache.
    m = np.ascontiguousarray(weight.T)
    data = np.empty(x.nnz)
    for i, (begin, end) in enumerate(pairwise(x.indptr)):
        data[begin:end] = m.take(x.indices[begin:end], axis=0) @ a[i]
    data *= x.data
    return sp.csr_matrix((data, x.indices, x.indptr), shape=x.shape)


def folded(ig: sp.csr_matrix, features: int) -> sp.csr_matrix:
    """Return attributions of several parts of the same features, (n, parts * G), summed over the parts: (n, G)."""
    if ig.shape[1] == features:
        return ig
    # A product makes arrays of its own: those of `ig` belong to the cells' matrix too.
    parts = [sp.identity(features, format="csr")] * (ig.shape[1] // features)
    result = sp.csr_matrix(ig @ sp.vstack(parts, format="csr"))
    result.sort_indices()
    return result
