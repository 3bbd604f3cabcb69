"""Prediction from a trained model: one sparse product, no torch."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

PAPER_THRESHOLD = 0.95


@dataclass(frozen=True)
class Prediction:
    """Calibrated probabilities p (n, K) of cells, the forced choice, and how sure it is.

    `novelty` is log((1 - max p) / max p) in float64: it ranks as 1 - max p does, without ties at 1. `paper_confidence`
    is max p before calibration.
    """

    p: NDArray[np.float64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    margin: NDArray[np.float64]
    novelty: NDArray[np.float64]
    paper_confidence: NDArray[np.float64]


def logits(x: sp.csr_matrix, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return x M^T + b, (n, K), of normalised features x (n, G)."""
    return np.asarray(x @ weight.T, dtype=np.float64) + bias


def embed(x: sp.csr_matrix, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return z = x W_e^T + b_e, (n, m), of normalised features x (n, G)."""
    return np.asarray(x @ weight.T, dtype=np.float32) + bias


def predict(scores: NDArray[np.float64], temperature: float) -> Prediction:
    """Return the prediction of logits (n, K)."""
    log_p = log_softmax(scores / temperature, axis=1)
    predicted = log_p.argmax(axis=1)
    rows = np.arange(len(log_p))
    best = log_p[rows, predicted]
    rest = log_p.copy()
    rest[rows, predicted] = -np.inf
    second = np.exp(rest.max(axis=1)) if log_p.shape[1] > 1 else np.zeros(len(log_p))
    others = logsumexp(rest, axis=1) if log_p.shape[1] > 1 else np.full(len(log_p), -np.inf)
    return Prediction(
        np.exp(log_p),
        predicted,
        np.exp(best),
        np.exp(best) - second,
        others - best,
        np.exp(log_softmax(scores, axis=1).max(axis=1)),
    )
