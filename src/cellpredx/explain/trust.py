"""How far determinant features can be trusted: other seeds, and models that learnt from shuffled labels."""

from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from cellpredx.explain.determinants import Determinants
from cellpredx.explain.integrated_gradients import path_weights

# Trust is measured on a sample of a large query: each type in proportion, and 50 of its cells at least.
MAX_CELLS = 5_000
SIGNIFICANT = 0.05


def mean_attributions(
    x: sp.csr_matrix, weight: NDArray[Any], bias: NDArray[Any], target: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the mean attribution of every feature over the cells of each type, (K, G): the sums of `attributions`.

    x (n, G), weight (K, G), bias (K,), target (n,): the type of a cell, to which its features' attributions are taken.
    A type without cells has zeros.
    """
    m = weight.astype(np.float64)
    a = path_weights(np.asarray(x @ m.T), bias.astype(np.float64), target)
    result = np.zeros(m.shape)
    for k in np.unique(target):
        own = np.flatnonzero(target == k)
        # sum_i x_ij sum_l M_lj a_il, the cells summed first.
        result[k] = np.einsum("lj,jl->j", m, np.asarray(x[own].T @ a[own])) / len(own)
    return result


def overlap(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return the share of the longer of two lists of features that is in both."""
    longer = max(len(first), len(second))
    return len(np.intersect1d(first, second)) / longer if longer else 0.0


def stability(tops: list[NDArray[np.int64]]) -> float:
    """Return the mean `overlap` of all pairs of lists, one a model."""
    return float(np.mean([overlap(one, other) for one, other in combinations(tops, 2)]))


class Trust:
    """What models that were trained again say of a model's determinant features.

    tops: the determinant features of every type (an array a type, empty where it has no cell); shape (K, G). `seeds`
    counts the models that stability compares, the model itself among them, or is 0; `named` (K, G): how many of them
    have a feature among their determinants of a type; `q` (K, G) by the shuffled-label null. Each None where no model
    was given for it.
    """

    def __init__(self, tops: list[NDArray[np.int64]], shape: tuple[int, ...]) -> None:
        self.models, self.shape = [tops], shape
        self.permutations = 0
        self.as_large = np.zeros((0, 0), np.int64)

    def observe(self, x: sp.csr_matrix, target: NDArray[np.int64], weight: NDArray[Any], bias: NDArray[Any]) -> None:
        """Take the cells on which models are compared, x (n, parts * G) and their types (n,), and the model itself."""
        self.x, self.target = x, target
        self.observed = self._shares(weight, bias)
        of_type = sp.csr_matrix((np.ones(len(target)), (target, np.arange(len(target)))), (self.shape[0], len(target)))
        # A feature that no cell of the type has decides nothing there, in any model.
        seen = (of_type @ (x != 0)).toarray() > 0
        self.present = seen.reshape(len(seen), -1, self.shape[1]).any(axis=1)
        self.as_large = np.zeros(self.shape, np.int64)

    def _shares(self, weight: NDArray[Any], bias: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean attributions of each type (K, G) over the sum of their sizes.

        Labels without sense are fitted with larger weights by one model, and less surely by another.
        """
        mean = mean_attributions(self.x, weight, bias, self.target)
        mean = mean.reshape(len(mean), -1, self.shape[1]).sum(axis=1)
        sizes = np.abs(mean).sum(axis=1, keepdims=True)
        return np.divide(mean, sizes, out=np.zeros_like(mean), where=sizes > 0)

    def add_seed(self, weight: NDArray[Any], bias: NDArray[Any]) -> None:
        """Add a model of another seed."""
        found = Determinants(weight, bias, self.shape[1])
        found.add(self.x, self.target)
        self.models.append([found.ranked(k) for k in range(self.shape[0])])

    def add_shuffled(self, weight: NDArray[Any], bias: NDArray[Any]) -> None:
        """Add a model that learnt from shuffled labels."""
        self.permutations += 1
        shares = self._shares(weight, bias)
        for k, here in enumerate(self.present):
            null = np.sort(shares[k, here])
            self.as_large[k, here] += len(null) - np.searchsorted(null, self.observed[k, here], side="left")

    @property
    def seeds(self) -> int:
        return len(self.models) if len(self.models) > 1 else 0

    @cached_property
    def named(self) -> NDArray[np.int64] | None:
        result = np.zeros(self.shape, np.int64)
        for tops in self.models:
            for k, top in enumerate(tops):
                result[k, top] += 1
        return result if self.seeds else None

    @cached_property
    def q(self) -> NDArray[np.float64] | None:
        """Benjamini and Hochberg's q of every feature of each type, (K, G); 1 where no cell of the type has it.

        The statistic is a feature's part of its type's attributions. p is the share of the null's values (all features
        of the type in all shuffled models), with the observed one itself, that are as large as the observed one.
        """
        if not self.permutations:
            return None
        result = np.ones(self.shape)
        for k, here in enumerate(self.present):
            if here.any():
                values = self.permutations * int(here.sum())
                result[k, here] = false_discovery_control((1 + self.as_large[k, here]) / (1 + values))
        return result

    def of_type(self, k: int, top: NDArray[np.int64]) -> dict[str, float | int | None]:
        """Return the stability of type k, and how many of its determinant features `top` have q < 0.05."""
        return {
            "stability": stability([tops[k] for tops in self.models]) if self.seeds else None,
            "significant": None if self.q is None else int((self.q[k, top] < SIGNIFICANT).sum()),
        }
