"""Cells to train on, where there are more than a training takes."""

import numpy as np
from numpy.typing import NDArray

RARE = 50


def by_depth(depth: NDArray[np.float64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return at most `most` of the cells, their numbers in order, evenly over the ranks of `depth`, their counts."""
    cells = len(depth)
    if cells <= most:
        return np.arange(cells)
    # One cell of each of `most` equal strata of neighbouring ranks.
    ranked = np.lexsort((rng.permutation(cells), depth))
    edges = np.linspace(0, cells, most + 1).astype(np.int64)
    return np.sort(ranked[rng.integers(edges[:-1], edges[1:])])


def by_type(
    labels: NDArray[np.int64], depth: NDArray[np.float64], most: int, rng: np.random.Generator, rare: int = RARE
) -> NDArray[np.int64]:
    """Return about `most` of the cells, their numbers in order: each type in proportion, evenly over its depths.

    Of a type at least `rare` cells are kept, or all that there are, so that rare types stay.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    share = most / len(labels)
    parts = []
    for k in np.unique(labels):
        own = np.flatnonzero(labels == k)
        size = min(len(own), max(rare, round(share * len(own))))
        parts.append(own[by_depth(depth[own], size, rng)])
    return np.sort(np.concatenate(parts))
