"""Determinant features of a type, from the attributions of the cells that were given it."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.explain.integrated_gradients import attributions

PER_CELL = 100
PER_TYPE = 50


class Determinants:
    """The features that decide for each type, gathered from blocks of cells.

    A feature decides in a cell when it is among the 100 with the largest positive attribution to the cell's
    predicted type. weight (K, G), bias (K,).
    """

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self.weight, self.bias = weight, bias
        self.often = np.zeros(weight.shape, np.int64)
        self.total = np.zeros(weight.shape)
        self.cells = np.zeros(len(weight), np.int64)

    def add(self, x: sp.csr_matrix, predicted: NDArray[np.int64]) -> None:
        """Add cells: x (n, G) and the numbers of their predicted types (n,)."""
        ig = attributions(x, self.weight, self.bias, predicted)
        self.cells += np.bincount(predicted, minlength=len(self.cells))
        np.add.at(self.total, (np.repeat(predicted, np.diff(ig.indptr)), ig.indices), ig.data)
        for k, begin, end in zip(predicted, ig.indptr[:-1], ig.indptr[1:], strict=True):
            values = ig.data[begin:end]
            best = np.argsort(-values, kind="stable")[:PER_CELL]
            self.often[k, ig.indices[begin + best[values[best] > 0]]] += 1

    def table(self, labels: list[str], features: list[str]) -> pd.DataFrame:
        """Return the features that most often decide for a type: cell_type, rank, feature, frequency,
        mean_attribution, cells.

        `frequency` is the share of the type's cells in which a feature decides; the first 50 are kept, ties by
        `mean_attribution` over all cells of the type. Types that no cell was given are left out.
        """
        parts = []
        for k in np.flatnonzero(self.cells):
            mean = self.total[k] / self.cells[k]
            order = np.lexsort((-mean, -self.often[k]))[:PER_TYPE]
            order = order[self.often[k, order] > 0]
            parts.append(
                pd.DataFrame(
                    {
                        "cell_type": labels[k],
                        "rank": np.arange(1, len(order) + 1),
                        "feature": [features[j] for j in order],
                        "frequency": self.often[k, order] / self.cells[k],
                        "mean_attribution": mean[order],
                        "cells": self.cells[k],
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)
