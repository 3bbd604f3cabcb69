"""How far confidence can be taken at its word."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
# Draws of a calibrated model, no more of them than these random numbers make, and never fewer than MIN_DRAWS.
DRAWS = 1000
MIN_DRAWS = 200
MOST_NUMBERS = 10**8
SEED = 20


def draws(cells: int) -> int:
    """Return how often `cells` cells are drawn: 1,000 times, less often from 100,000 cells on, 200 times at least."""
    return max(MIN_DRAWS, min(DRAWS, MOST_NUMBERS // max(cells, 1)))


class Ranks:
    """Cells in the order of a score (n,), those of equal score together: all that a statistic of ranks needs."""

    def __init__(self, score: NDArray[np.float64]) -> None:
        self.order = np.argsort(score, kind="stable")
        ordered = score[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(score)])

    def sums(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of the cells' weights (n,) at every distinct score, ascending."""
        ordered = weight[self.order]
        return ordered if len(self.starts) == len(ordered) else np.add.reduceat(ordered, self.starts)


class Calibration:
    """Confidence (n,) and whether the cell's type is right (n,), in 15 bins of equal mass.

    Cells of equal confidence share a rank and so a bin, whatever their order.
    """

    def __init__(self, confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> None:
        self.ranks = Ranks(confidence)
        self.confidence = confidence
        self.correct = correct.astype(float)
        self.gap = correct - confidence

    def _edges(self, mass: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return where each bin begins, and the last one ends, among the distinct confidences; mass: cells at each."""
        place = (mass.cumsum() - mass / 2) * BINS / mass.sum()
        return np.searchsorted(place, [0, *range(1, BINS), np.inf])

    def error(self, weight: NDArray[np.float64]) -> float:
        """Return the expected calibration error: mean |accuracy - confidence| of a bin, weighted by its cells.

        weight: (n,) how often each cell counts.
        """
        mass = self.ranks.sums(weight)
        gaps = np.r_[0.0, self.ranks.sums(weight * self.gap).cumsum()]
        return float(np.abs(np.diff(gaps[self._edges(mass)])).sum() / mass.sum())

    def interval(self, error: float, drawn: list[float], perfect: float) -> list[float]:
        """Return a 95 % interval of the error from the quantiles `drawn` (2.5 %, 97.5 %) of its resamples.

        Resampling adds chance to the gaps of bins as sampling did, so the resamples lie above the error as far as that
        lies above the truth: they are reflected at it. Where a calibrated model shows as much (`perfect`: its 95th
        percentile) the interval begins at 0. It holds the error itself.
        """
        low = 0.0 if error <= perfect else max(0.0, 2 * error - drawn[1])
        return [min(low, error), max(2 * error - drawn[0], error)]

    def cell_bins(self) -> NDArray[np.int64]:
        """Return the bin of every cell."""
        edges = self._edges(self.ranks.sums(np.ones(len(self.confidence))))
        of_score = np.repeat(np.arange(BINS), np.diff(edges))
        bins = np.empty(len(self.confidence), np.int64)
        bins[self.ranks.order] = np.repeat(of_score, np.diff(np.r_[self.ranks.starts, len(bins)]))
        return bins

    def reliability(self) -> list[dict[str, Any]]:
        """Return mean confidence, accuracy with its 95 % Wilson interval, and cells of every bin that has cells."""
        from scipy.stats import binomtest

        bins = self.cell_bins()
        cells = np.bincount(bins, minlength=BINS)
        confidence, correct = (np.bincount(bins, values, minlength=BINS) for values in (self.confidence, self.correct))
        rows = []
        for n, sure, right in zip(cells.tolist(), confidence, correct.astype(int).tolist(), strict=True):
            if n:
                interval = binomtest(right, n).proportion_ci(method="wilson")
                row = {"confidence": sure / n, "accuracy": right / n, "cells": n}
                rows.append({**row, "low": interval.low, "high": interval.high})
        return rows

    def perfect_error(self, seed: int = SEED) -> tuple[float, float]:
        """Return mean and 95th percentile of the error that a calibrated model has by chance, with these confidences.

        Every draw makes each cell right with the probability that its confidence states.
        """
        order = np.argsort(self.cell_bins(), kind="stable")
        confidence = self.confidence[order]
        _, starts = np.unique(self.cell_bins()[order], return_index=True)
        stated = np.add.reduceat(confidence, starts)
        rng = np.random.default_rng(seed)
        errors = []
        for _ in range(draws(len(confidence))):
            right = np.add.reduceat(rng.random(len(confidence)) < confidence, starts, dtype=np.int64)
            errors.append(np.abs(right - stated).sum() / len(confidence))
        return float(np.mean(errors)), float(np.quantile(errors, 0.95))


def expected_calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Return the ECE over 15 bins of equal mass: mean |accuracy - confidence| of a bin, weighted by its cells."""
    return Calibration(confidence, correct).error(np.ones(len(confidence)))
