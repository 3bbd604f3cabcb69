"""Metrics of label transfer."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata

BINS = 15


def oscr(correct: NDArray[np.float64], unknown: NDArray[np.float64], known_cells: int) -> float:
    """Return the open-set classification rate (1 / (N_k N_u)) sum [s_i > s_u] + 1/2 [s_i = s_u].

    correct: confidence of correctly predicted known cells; unknown: of cells of types that the reference lacks;
    known_cells: N_k, correct or not. Sorted, O(n log n).
    """
    ordered = np.sort(unknown)
    below = np.searchsorted(ordered, correct, side="left")
    equal = np.searchsorted(ordered, correct, side="right") - below
    return float((below + 0.5 * equal).sum() / (known_cells * len(unknown)))


def expected_calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Return the ECE over 15 bins of equal mass: mean |accuracy - confidence| of a bin, weighted by its cells."""
    # Cells of equal confidence share a rank and so a bin, whatever their order.
    ranks = rankdata(confidence) - 0.5
    bins = np.minimum((ranks * BINS / len(ranks)).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence)
    return float(np.abs(gaps).sum() / len(ranks))


def mcnemar(first_alone: int, second_alone: int) -> float:
    """Return the two-sided exact p of McNemar's test: cells that one of two classifiers alone has right.

    Without a difference each falls to either with one half. Cells that both or neither has right say nothing.
    """
    discordant = first_alone + second_alone
    return float(binomtest(first_alone, discordant).pvalue) if discordant else 1.0


def per_type(truth: pd.Series, predicted: pd.Series) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and cells of each type that is present in `truth`."""
    from sklearn.metrics import precision_recall_fscore_support

    present = sorted(truth.unique())
    scores = precision_recall_fscore_support(truth, predicted, labels=present, zero_division=0)
    return {
        name: {"precision": float(a), "recall": float(b), "f1": float(c), "cells": int(n)}
        for name, a, b, c, n in zip(present, *scores, strict=True)
    }


def beside(
    predictions: pd.DataFrame, truth: pd.DataFrame, types: list[str], baselines: pd.DataFrame, methods: list[str]
) -> dict[str, Any]:
    """Return what plain classifiers reach on the cells of the model's accuracy, and whether they differ from it.

    baselines: barcode, and the predicted type in a column of each of `methods`; the others as in `evaluate`. `p` is
    McNemar's: of the cells that either the model or the method alone has right.
    """
    table = predictions[["barcode", "predicted"]].merge(truth, on="barcode").merge(baselines, on="barcode")
    known = table[table["cell_type"].isin(types)]
    if known.empty:
        return {}
    right = (known["predicted"] == known["cell_type"]).to_numpy()
    found = {}
    for name in methods:
        own = (known[name] == known["cell_type"]).to_numpy()
        scores = per_type(known["cell_type"], known[name])
        model_alone, baseline_alone = int((right & ~own).sum()), int((own & ~right).sum())
        found[name] = {
            "accuracy": float(own.mean()),
            "macro_f1": float(np.mean([score["f1"] for score in scores.values()])),
            "model_alone_right": model_alone,
            "baseline_alone_right": baseline_alone,
            "p": mcnemar(model_alone, baseline_alone),
            "per_type": scores,
        }
    return found


def evaluate(predictions: pd.DataFrame, truth: pd.DataFrame, types: list[str]) -> dict[str, Any]:
    """Return every metric of one query.

    predictions: a row a cell as in predictions.csv; truth: barcode, cell_type; types: those of the reference. Labels
    are compared exactly. Accuracy, F1 and calibration are over cells whose true type the reference has; novelty
    compares them with the others.
    """
    from sklearn.metrics import (
        average_precision_score,
        confusion_matrix,
        f1_score,
        roc_auc_score,
    )

    table = predictions.merge(truth, on="barcode", how="inner", validate="one_to_one")
    shared = table["cell_type"].isin(types).to_numpy()
    truth_shared = int(truth["cell_type"].isin(types).sum())
    novel = sorted(set(truth["cell_type"]) - set(types))
    known = table[shared]
    result: dict[str, Any] = {
        "truth_cells": len(truth),
        "evaluated_cells": len(table),
        "lost_cells": len(truth) - len(table),
        "shared_type_cells": int(shared.sum()),
        "accuracy": None,
        "accuracy_all_truth": None,
        "macro_f1": None,
        "coverage": None,
        "selective_accuracy": None,
        "macro_f1_unknown": None,
        "novel_types": novel,
        "novelty_auroc": None,
        "novelty_average_precision": None,
        "novelty_base_rate": float((~shared).mean()) if len(table) else None,
        "oscr": None,
        "ece": None,
        "brier": None,
        "nll": None,
        "per_type": {},
        "confusion": {"truth": [], "predicted": [], "counts": []},
        "unmatched_labels": novel,
    }
    if len(known):
        correct = (known["predicted"] == known["cell_type"]).to_numpy()
        accepted = (known["predicted_or_unknown"] != "Unknown").to_numpy()
        present = sorted(known["cell_type"].unique())
        p = np.clip(known[[f"p_{t}" for t in types]].to_numpy(float), 1e-12, 1)
        column = known["cell_type"].map({t: k for k, t in enumerate(types)}).to_numpy()
        one_hot = np.eye(len(types))[column]
        result |= {
            "accuracy": float(correct.mean()),
            "accuracy_all_truth": float(correct.sum() / truth_shared),
            "macro_f1": float(
                f1_score(known["cell_type"], known["predicted"], labels=present, average="macro", zero_division=0)
            ),
            "coverage": float(accepted.mean()),
            "selective_accuracy": float(correct[accepted].mean()) if accepted.any() else None,
            "ece": expected_calibration_error(known["confidence"].to_numpy(float), correct),
            "brier": float(((p - one_hot) ** 2).sum(axis=1).mean()),
            "nll": float(-np.log(p[np.arange(len(p)), column]).mean()),
            "per_type": per_type(known["cell_type"], known["predicted"]),
        }
    if len(table):
        with_unknown = table["cell_type"].where(shared, "Unknown")
        classes = sorted(with_unknown.unique())
        result["macro_f1_unknown"] = float(
            f1_score(with_unknown, table["predicted_or_unknown"], labels=classes, average="macro", zero_division=0)
        )
        rows = sorted(table["cell_type"].unique())
        columns = [*sorted(set(table["predicted_or_unknown"]) - {"Unknown"}), "Unknown"]
        names = list(dict.fromkeys(rows + columns))
        counts = confusion_matrix(table["cell_type"], table["predicted_or_unknown"], labels=names)
        at = {name: i for i, name in enumerate(names)}
        result["confusion"] = {
            "truth": rows,
            "predicted": columns,
            "counts": counts[np.ix_([at[r] for r in rows], [at[c] for c in columns])].tolist(),
        }
    if len(known) and len(known) < len(table):
        novelty = table["novelty"].to_numpy(float)
        score = -novelty
        right = shared & (table["predicted"] == table["cell_type"]).to_numpy()
        result |= {
            "novelty_auroc": float(roc_auc_score(~shared, novelty)),
            "novelty_average_precision": float(average_precision_score(~shared, novelty)),
            "oscr": oscr(score[right], score[~shared], int(shared.sum())),
        }
    return result
