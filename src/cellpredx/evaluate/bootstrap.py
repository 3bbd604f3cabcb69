"""Intervals by resampling cells."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from cellpredx.evaluate.calibration import SEED, draws

Weights = NDArray[np.float64]
Interval = list[float] | None


def resamples(cells: int, seed: int = SEED) -> Iterator[Weights]:
    """Yield, for each bootstrap resample of `cells` cells, how often it holds each of them: (n,)."""
    rng = np.random.default_rng(seed)
    for _ in range(draws(cells)):
        yield np.bincount(rng.integers(0, cells, cells), minlength=cells).astype(float)


def intervals(
    statistics: Callable[[Weights], dict[str, float]], cells: int, basis: dict[str, int]
) -> dict[str, Interval]:
    """Return the 95 % percentile interval of every statistic.

    statistics: values (NaN where undefined) of cells that count as often as their weights (n,) say; basis: of how many
    cells a statistic is. None where these are fewer than two. Resamples without a value are left out.
    """
    wanted = [name for name, count in basis.items() if count > 1]
    found: dict[str, Interval] = dict.fromkeys(basis)
    if not wanted:
        return found
    drawn: list[list[float]] = []
    for weight in resamples(cells):
        values = statistics(weight)
        drawn.append([values[name] for name in wanted])
    for name, column in zip(wanted, np.array(drawn).T, strict=True):
        found[name] = np.quantile(column[~np.isnan(column)], (0.025, 0.975)).tolist()
    return found
