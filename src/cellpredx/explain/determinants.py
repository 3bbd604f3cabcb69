"""Determinant features of a type, from the attributions of the cells that were given it."""

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import softmax

from cellpredx.explain.integrated_gradients import attributions, folded

PER_CELL = 100
PER_TYPE = 50
SHARES = (10, 50, 100)


class Determinants:
    """The features that decide for each type, gathered from blocks of cells.

    A feature decides in a cell when it is among the 100 with the largest positive attribution to the cell's
    predicted type. weight (K, G), bias (K,); or weight (K, parts * G), where a model reads several parts of the same G
    `features`: the attributions of a feature's parts are summed.
    """

    def __init__(self, weight: NDArray[Any], bias: NDArray[Any], features: int | None = None) -> None:
        self.weight, self.bias = weight, bias
        self.features = features or weight.shape[1]
        shape = (len(weight), self.features)
        self.often = np.zeros(shape, np.int32)
        self.total = np.zeros(shape)
        self.positive = np.zeros(shape)
        self.own = np.zeros(shape)
        self.cells = np.zeros(len(weight), np.int64)
        self.explained = np.zeros(0)

    def add(self, x: sp.csr_matrix, predicted: NDArray[np.int64], share: sp.csr_matrix | None = None) -> None:
        """Add cells: x (n, parts * G) and the numbers of their predicted types (n,).

        share (n, parts * G): how much of each value is the cell's own, where neighbours have a part in it.
        """
        whole = attributions(x, self.weight, self.bias, predicted)
        ig = folded(whole, self.features)
        carried = ig if share is None else folded(sp.csr_matrix(whole.multiply(share)), self.features)
        self.explained = np.append(self.explained, np.asarray(ig.sum(axis=1)).ravel())
        self.cells += np.bincount(predicted, minlength=len(self.cells))
        of_type = sp.csr_matrix(
            (np.ones(len(predicted)), (predicted, np.arange(len(predicted)))), (len(self.cells), len(predicted))
        )
        spoken = sp.csr_matrix((np.maximum(ig.data, 0), ig.indices, ig.indptr), ig.shape)
        for sums, values in ((self.total, ig), (self.positive, spoken), (self.own, carried)):
            part = sp.coo_matrix(of_type @ values)
            sums[part.row, part.col] += part.data
        for k, begin, end in zip(predicted, ig.indptr[:-1], ig.indptr[1:], strict=True):
            values = ig.data[begin:end]
            best = np.argsort(-values, kind="stable")[:PER_CELL]
            self.often[k, ig.indices[begin + best[values[best] > 0]]] += 1

    def ranked(self, k: int, most: int = PER_TYPE) -> NDArray[np.int64]:
        """Return the features that most often decide for type k, at most `most`; ties by `mean`."""
        some = np.flatnonzero(self.often[k])
        return some[np.lexsort((-self.total[k, some], -self.often[k, some]))[:most]]

    def types(self) -> list[int]:
        """Return the numbers of the types that a cell was given."""
        found: list[int] = np.flatnonzero(self.cells).tolist()
        return found

    def mean(self, k: int) -> NDArray[np.float64]:
        """Return every feature's mean attribution over the cells of type k, (G,); signed."""
        return self.total[k] / max(self.cells[k], 1)

    def decision_share(self, k: int) -> dict[str, float]:
        """Return which share of all that speaks for type k (positive attributions) its first 10, 50 and 100 carry."""
        spoken = self.positive[k].sum()
        own = self.positive[k, self.ranked(k, max(SHARES))]
        return {str(most): min(1.0, float(own[:most].sum() / spoken)) if spoken > 0 else 0.0 for most in SHARES}

    def residual(self, p: NDArray[np.float64], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return by how much the attributions of each type's cells miss what there is to explain, as a share, (K,).

        p (n, K): the probabilities that the model gave the cells that were added; there is to explain by how much
        those of their types exceed those of a cell without counts. Misses of cells are summed, whatever their sign.
        NaN for a type without cells.
        """
        to_explain = p[np.arange(len(p)), predicted] - softmax(self.bias)[predicted]
        parts = np.abs(to_explain - self.explained), np.abs(to_explain)
        missed, whole = (np.bincount(predicted, part, minlength=len(self.cells)) for part in parts)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(missed / whole)

    def table(self, labels: list[str], features: list[str]) -> pd.DataFrame:
        """Return the features that most often decide for a type: cell_type, rank, feature, frequency,
        mean_attribution, own_attribution, cells.

        `frequency` is the share of the type's cells in which a feature decides; the first 50 are kept, ties by
        `mean_attribution` over all cells of the type. Types that no cell was given are left out.
        """
        parts = []
        for k in self.types():
            order = self.ranked(k)
            parts.append(
                pd.DataFrame(
                    {
                        "cell_type": labels[k],
                        "rank": np.arange(1, len(order) + 1),
                        "feature": [features[j] for j in order],
                        "frequency": self.often[k, order] / self.cells[k],
                        "mean_attribution": self.mean(k)[order],
                        "own_attribution": self.own[k, order] / max(self.cells[k], 1),
                        "cells": self.cells[k],
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)
