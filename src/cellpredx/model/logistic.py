"""Multinomial logistic regression: what the members of `tuned` read their features with."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

Floats = NDArray[np.float64]
OPTIONS = {"maxiter": 400, "ftol": 1e-9, "gtol": 1e-6}


class Standardised:
    """The columns of x (n, G) times `scale` minus `shift`, each (G,), as products alone: a sparse x stays sparse.

    Without them the columns are as they are.
    """

    def __init__(self, x: sp.csr_matrix | Floats, scale: Floats | None = None, shift: Floats | None = None) -> None:
        self.x = x
        self.scale = np.ones(x.shape[1]) if scale is None else scale
        self.shift = np.zeros(x.shape[1]) if shift is None else shift
        self.shape = x.shape
        # A transposed CSR matrix reads the other way round; made once, its products are as fast.
        self.transposed = sp.csr_matrix(x.T) if sp.issparse(x) else x.T

    def times(self, w: Floats) -> Floats:
        """Return the product with w (G, K), (n, K)."""
        return np.asarray(self.x @ (w * self.scale[:, None])) - self.shift @ w

    def transposed_times(self, r: Floats) -> Floats:
        """Return the product of the transposed features with r (n, K), (G, K)."""
        return np.asarray(self.transposed @ r) * self.scale[:, None] - np.outer(self.shift, r.sum(axis=0))


def fit_logistic(
    features: Standardised, labels: NDArray[np.int64], types: int, penalty: float, balance: float
) -> tuple[Floats, Floats]:
    """Return weight (K, G) and bias (K,) that minimise sum_i w_i CE_i / sum_i w_i + penalty / 2 |weight|^2.

    w_i = n_k^-balance, n_k the cells of the type of cell i; labels (n,) below `types`. The bias is free. A type
    without cells gets the least bias that the others have, minus one. L-BFGS from zero: the same input, the same bytes.
    """
    n, width = features.shape
    sizes = np.bincount(labels, minlength=types)
    w = np.maximum(sizes, 1)[labels].astype(np.float64) ** -balance
    w /= w.sum()
    present = np.flatnonzero(sizes)
    column = np.searchsorted(present, labels)
    k = len(present)
    rows = np.arange(n)

    def loss(theta: Floats) -> tuple[float, Floats]:
        weight, bias = theta[: width * k].reshape(width, k), theta[width * k :]
        log_p = log_softmax(features.times(weight) + bias, axis=1)
        residual = np.exp(log_p)
        residual[rows, column] -= 1
        residual *= w[:, None]
        gradient = features.transposed_times(residual) + penalty * weight
        value = -float(w @ log_p[rows, column]) + penalty / 2 * float((weight * weight).sum())
        return value, np.concatenate([gradient.ravel(), residual.sum(axis=0)])

    found = minimize(
        loss,
        np.zeros((width + 1) * k),
        jac=True,
        method="L-BFGS-B",
        options=OPTIONS,
    )
    weight = np.zeros((types, width))
    weight[present] = found.x[: width * k].reshape(width, k).T
    bias = np.full(types, found.x[width * k :].min() - 1)
    bias[present] = found.x[width * k :]
    return weight, bias
