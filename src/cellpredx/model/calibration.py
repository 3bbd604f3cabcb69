"""Confidence that means something: temperature and threshold from held-out reference cells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax


@dataclass(frozen=True)
class Calibration:
    """A temperature for the logits, and the calibrated confidence under which a cell is Unknown.

    `confidence` and `correct` are of the held-out cells, so that another target error finds its own threshold.
    """

    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]
    temperature: float
    threshold: float
    target_error: float
    held_out_cells: int
    held_out_accuracy: float
    held_out_coverage: float
    held_out_confidence: float


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return T that minimises the negative log-likelihood of logits / T, (n, K), with smoothed targets.

    The target of the true type is 1 - 1/(n + 2) (Platt), the rest spread over the other types: on perfectly
    separated cells plain likelihood would drive T to 0, and no cell would ever be Unknown.
    """
    n, types = logits.shape
    smooth = 1 / (n + 2)
    targets = np.full((n, types), smooth / max(types - 1, 1))
    targets[np.arange(n), labels] = 1 - smooth

    def loss(log_t: float) -> float:
        return float(-(targets * log_softmax(logits / np.exp(log_t), axis=1)).sum() / n)

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def find_threshold(confidence: NDArray[np.float64], correct: NDArray[np.bool_], target_error: float) -> float:
    """Return the confidence under which a cell is Unknown, from held-out cells of known types.

    The smallest that keeps the error among the held-out cells above it within `target_error`. It is the confidence
    of one of them, so that a cell less sure than every held-out cell is Unknown even where all of them may pass; but
    no more than 1 - `target_error` there, since a cell of that confidence keeps the target by itself.
    """
    order = np.argsort(-confidence, kind="stable")
    errors = np.cumsum(~correct[order]) / np.arange(1, len(order) + 1)
    ranked = confidence[order]
    # Cells of equal confidence pass or fail together.
    last_of_ties = np.r_[ranked[1:] != ranked[:-1], True]
    allowed = np.flatnonzero((errors <= target_error) & last_of_ties)
    if not len(allowed):
        return float(np.nextafter(1.0, 2.0))
    lowest = float(ranked[allowed[-1]])
    return min(lowest, 1 - target_error) if allowed[-1] == len(ranked) - 1 else lowest


def calibrate(
    logits: NDArray[np.float64], labels: NDArray[np.int64], target_error: float, threshold: float | None = None
) -> Calibration:
    """Fit the temperature and the threshold on held-out cells: logits (n, K) and their true labels (n,)."""
    temperature = fit_temperature(logits, labels)
    p = softmax(logits / temperature, axis=1)
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == labels
    chosen = find_threshold(confidence, correct, target_error) if threshold is None else threshold
    return Calibration(
        confidence,
        correct,
        temperature,
        chosen,
        target_error,
        len(labels),
        float(correct.mean()),
        float((confidence >= chosen).mean()),
        float(confidence.mean()),
    )
