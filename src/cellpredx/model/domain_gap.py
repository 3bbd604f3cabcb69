"""How far the query lies from the reference after alignment."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

MAX_CELLS = 2000
WARN_AUC = 0.95
WARN_CONFIDENCE = 0.75


def auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve of scores (n,), ties counted half."""
    ranks = rankdata(scores)
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


def domain_auc(reference: NDArray[np.float32], query: NDArray[np.float32], folds: int = 5) -> float:
    """Return how well a ridge regression tells reference from query embeddings, each (n, m), on cells held out:
    0.5 where they lie on top of each other, 1 where they are apart, NaN with fewer cells than folds."""
    if min(len(reference), len(query)) < folds:
        return float("nan")
    rng = np.random.default_rng(0)
    parts = [e[rng.permutation(len(e))[:MAX_CELLS]].astype(np.float64) for e in (reference, query)]
    z = np.concatenate(parts)
    z = (z - z.mean(axis=0)) / np.maximum(z.std(axis=0), 1e-9)
    is_query = np.r_[np.zeros(len(parts[0]), bool), np.ones(len(parts[1]), bool)]
    y = np.where(is_query, 1 / is_query.mean(), -1 / (1 - is_query.mean()))
    fold = np.concatenate([np.arange(len(p)) % folds for p in parts])
    scores = np.empty(len(z))
    for k in range(folds):
        own = fold != k
        gram = z[own].T @ z[own] + np.eye(z.shape[1]) * own.sum() * 0.01
        scores[~own] = z[~own] @ np.linalg.solve(gram, z[own].T @ y[own])
    # Fold by fold, since the folds' scores have scales of their own.
    return float(np.mean([auc(scores[fold == k], is_query[fold == k]) for k in range(folds)]))


def domain_gap(
    reference: NDArray[np.float32], query: NDArray[np.float32], confidence: float, held_out_confidence: float
) -> dict[str, Any]:
    """Return what the gate measured and its word: pass, or warn with the reason.

    It warns where reference and query can still be told apart almost perfectly, or where the query's mean
    calibrated confidence falls under three quarters of that of held-out reference cells.
    """
    value = domain_auc(reference, query)
    reasons = []
    if value > WARN_AUC:
        reasons.append(f"after alignment reference and query can still be told apart (AUC {value:.2f})")
    if confidence < WARN_CONFIDENCE * held_out_confidence:
        reasons.append(
            f"the query's mean confidence ({confidence:.2f}) is far below that of held-out reference cells "
            f"({held_out_confidence:.2f})"
        )
    return {
        "auc": value,
        "mean_confidence": confidence,
        "held_out_confidence": held_out_confidence,
        "level": "warn" if reasons else "pass",
        "reason": "; ".join(reasons),
    }
