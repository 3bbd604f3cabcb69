"""Simulated counts for the benchmarks of the model: cells of types, with the density that is asked for."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

SLOTS = 1 << 20
BLOCK = 1000


def _slots(profile: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the feature of every slot, a feature in as many as its share of `profile`."""
    ends = np.rint(np.cumsum(profile) / profile.sum() * SLOTS).astype(np.int64)
    return np.repeat(np.arange(len(profile), dtype=np.int32), np.diff(ends, prepend=0))


def _depth(profiles: NDArray[np.float64], density: float) -> int:
    """Return the counts a cell that leave `density` of its features above zero, on average over the types."""
    low, high = 1.0, 1e7
    shares = profiles / profiles.sum(axis=1, keepdims=True)
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if (1 - np.exp(-middle * shares)).mean() < density else (low, middle)
    return round(high)


def profiles_of(types: int, features: int, seed: int) -> NDArray[np.float64]:
    """Return what the types express, (types, features): log-normal, a tenth of the features changed in each type."""
    rng = np.random.default_rng(seed)
    base = rng.lognormal(0, 1, features)
    changed = rng.random((types, features)) < 0.1
    profiles: NDArray[np.float64] = base * np.where(changed, rng.lognormal(0, 0.7, (types, features)), 1)
    return profiles


def counts_of(
    cells: int, profiles: NDArray[np.float64], density: float, seed: int
) -> tuple[sp.csr_matrix, NDArray[np.int64]]:
    """Return counts (cells, features), float32, and the cells' types (cells,); features as in `profiles`."""
    rng = np.random.default_rng(seed)
    types, features = profiles.shape
    labels = rng.permutation(np.arange(cells) % types)
    slots = np.stack([_slots(p) for p in profiles])
    depth = _depth(profiles, density)
    parts = []
    for begin in range(0, cells, BLOCK):
        own = labels[begin : begin + BLOCK]
        drawn = slots[own[:, None], rng.integers(SLOTS, size=(len(own), depth))]
        pointers = np.arange(len(own) + 1, dtype=np.int64) * depth
        part = sp.csr_matrix((np.ones(drawn.size, np.float32), drawn.ravel(), pointers), shape=(len(own), features))
        part.sum_duplicates()
        parts.append(part)
    return sp.vstack(parts, format="csr"), labels
