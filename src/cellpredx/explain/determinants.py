"""Determinant features of a type, from the attributions of the cells that were given it."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.explain.integrated_gradients import attributions

PER_CELL = 100
PER_TYPE = 50
BLOCK = 2048


def determinants(
    x: sp.csr_matrix,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    predicted: NDArray[np.int64],
    labels: list[str],
    features: list[str],
) -> pd.DataFrame:
    """Return the features that most often decide for a type: cell_type, rank, feature, frequency,
    mean_attribution, cells.

    A feature decides in a cell when it is among the 100 with the largest positive attribution to the cell's
    predicted type; `frequency` is the share of the type's cells in which it does, the first 50 are kept, ties by
    `mean_attribution` over all cells of the type. x (n, G), weight (K, G), predicted (n,).
    """
    parts = []
    for k, name in enumerate(labels):
        cells = np.flatnonzero(predicted == k)
        if len(cells) == 0:
            continue
        often = np.zeros(x.shape[1], np.int64)
        total = np.zeros(x.shape[1])
        for begin in range(0, len(cells), BLOCK):
            block = cells[begin : begin + BLOCK]
            ig = attributions(x[block], weight, bias, predicted[block])
            total += np.asarray(ig.sum(axis=0)).ravel()
            for i in range(len(block)):
                values = ig.data[ig.indptr[i] : ig.indptr[i + 1]]
                columns = ig.indices[ig.indptr[i] : ig.indptr[i + 1]]
                best = np.argsort(-values, kind="stable")[:PER_CELL]
                often[columns[best[values[best] > 0]]] += 1
        mean = total / len(cells)
        order = np.lexsort((-mean, -often))[:PER_TYPE]
        order = order[often[order] > 0]
        parts.append(
            pd.DataFrame(
                {
                    "cell_type": name,
                    "rank": np.arange(1, len(order) + 1),
                    "feature": [features[j] for j in order],
                    "frequency": often[order] / len(cells),
                    "mean_attribution": mean[order],
                    "cells": len(cells),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
