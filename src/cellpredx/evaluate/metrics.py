"""Metrics of label transfer.

Every metric is a function of how often each cell counts, so that a query's value (each cell once) and its bootstrap
resamples are one computation.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from cellpredx.core.labels import nearest_name
from cellpredx.evaluate.bootstrap import Interval, Weights, intervals
from cellpredx.evaluate.calibration import Calibration, Ranks

UNKNOWN = "Unknown"
Counts = NDArray[np.float64]


def ratio(part: float, whole: float) -> float:
    """Return part / whole; NaN of nothing."""
    return float(part / whole) if whole else math.nan


def dot(a: Counts, b: Counts) -> float:
    """Return sum a_i b_i; without BLAS, whose threads cost more here than they bring and change the last digits."""
    return float((a * b).sum())


def auroc(positive: Counts, negative: Counts) -> float:
    """Return the probability that a positive cell scores above a negative one, ties by half; NaN where one is missing.

    positive, negative: cells at every distinct score, ascending.
    """
    below = negative.cumsum() - negative / 2
    return ratio(dot(positive, below), positive.sum() * negative.sum())


def average_precision(positive: Counts, negative: Counts) -> float:
    """Return the mean precision at the scores of positive cells, as scikit-learn defines it; NaN without one.

    positive, negative: cells at every distinct score, ascending.
    """
    found = positive[::-1].cumsum()
    taken = found + negative[::-1].cumsum()
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
    return ratio(dot(positive[::-1], precision), positive.sum())


def oscr(correct: Counts, unknown: Counts, known_cells: float) -> float:
    """Return the open-set classification rate (1 / (N_k N_u)) sum [s_i > s_u] + 1/2 [s_i = s_u].

    correct, unknown: correctly predicted known cells, and cells of types that the reference lacks, at every distinct
    score s, the surest last; known_cells: N_k, correct or not. With `Ranks` O(n log n); accuracy times AUROC.
    """
    return ratio(dot(correct, unknown.cumsum() - unknown / 2), known_cells * unknown.sum())


def mcnemar(first_alone: int, second_alone: int) -> float:
    """Return the two-sided exact p of McNemar's test: cells that one of two classifiers alone has right.

    Without a difference each falls to either with one half. Cells that both or neither has right say nothing.
    """
    discordant = first_alone + second_alone
    return float(binomtest(first_alone, discordant).pvalue) if discordant else 1.0


class Table:
    """Cells by their true and their predicted type, (n,) each as number of K types or K: none of them."""

    def __init__(self, truth: NDArray[np.int64], predicted: NDArray[np.int64], types: int) -> None:
        self.pair = truth * (types + 1) + predicted
        self.types = types

    def counts(self, weight: Weights) -> Counts:
        """Return cells of (true type, predicted type), (K + 1, K + 1)."""
        size = self.types + 1
        counts = np.bincount(self.pair, weight, minlength=size * size).astype(np.float64, copy=False)
        return counts.reshape(size, size)


def macro_f1(counts: Counts) -> float:
    """Return the mean F1 of the types that occur in truth; counts: cells of (true, predicted), (k, at least k)."""
    actual, given = counts.sum(axis=1), counts.sum(axis=0)[: len(counts)]
    there = actual > 0
    return float((2 * counts.diagonal()[there] / (actual + given)[there]).mean()) if there.any() else math.nan


def agreement(counts: Counts) -> dict[str, float]:
    """Return accuracy, balanced accuracy and macro-F1; counts: cells of shared types by prediction, (K, K + 1)."""
    actual, right = counts.sum(axis=1), counts.diagonal()
    there = actual > 0
    return {
        "accuracy": ratio(right.sum(), actual.sum()),
        "balanced_accuracy": float((right[there] / actual[there]).mean()) if there.any() else math.nan,
        "macro_f1": macro_f1(counts),
    }


def per_type(counts: Counts, types: list[str]) -> dict[str, dict[str, Any]]:
    """Return what is right of each type that is there in truth or prediction; counts: as in `agreement`.

    Precision is None where no cell got the type, recall where none has it.
    """
    found = {}
    actual_cells, given_cells = counts.sum(axis=1), counts.sum(axis=0)[: len(types)]
    for name, actual, given, right in zip(types, actual_cells, given_cells, counts.diagonal(), strict=True):
        if actual + given:
            found[name] = {
                "precision": float(right / given) if given else None,
                "recall": float(right / actual) if actual else None,
                "f1": float(2 * right / (actual + given)),
                "cells": int(actual),
                "predicted": int(given),
                "correct": int(right),
            }
    return found


class Labelled:
    """A query's cells with their known types, as numbers.

    table: predictions and cell_type, a row a cell; types: those of the reference. `known` (n,): whether the true type
    is one of them.
    """

    def __init__(self, table: pd.DataFrame, types: list[str]) -> None:
        self.types = types
        truth, predicted, typed = (self._numbers(table[c]) for c in ("cell_type", "predicted", "predicted_or_unknown"))
        self.known = truth < len(types)
        self.rows_known = np.flatnonzero(self.known)
        self.correct = self.known & (truth == predicted)
        self.accepted = typed < len(types)
        self.forced = Table(truth, predicted, len(types))
        self.typed = Table(truth, typed, len(types))
        self.novelty = Ranks(table["novelty"].to_numpy(float))
        known = table[self.known]
        self.calibration = Calibration(known["confidence"].to_numpy(float), self.correct[self.known])
        p = known[[f"p_{name}" for name in types]].to_numpy(float)
        own = p[np.arange(len(p)), truth[self.known]]
        self.brier = (p**2).sum(axis=1) - 2 * own + 1
        self.nll = -np.log(np.clip(own, 1e-12, 1))

    def _numbers(self, names: pd.Series) -> NDArray[np.int64]:
        found = pd.Index(self.types).get_indexer(pd.Index(names))
        return np.where(found < 0, len(self.types), found)

    def against_known(self, weight: Weights, novel: NDArray[np.bool_]) -> tuple[Counts, Counts]:
        """Return `novel` cells and those of known types at every distinct novelty."""
        return self.novelty.sums(weight * novel), self.novelty.sums(weight * self.known)

    def statistics(self, weight: Weights) -> dict[str, float]:
        """Return every metric of cells that count as often as `weight` (n,) says; NaN where undefined."""
        size = len(self.types)
        forced, typed = self.forced.counts(weight), self.typed.counts(weight)
        of_known = weight[self.rows_known]
        known = of_known.sum()
        accepted = typed[:size, :size]
        found = {
            **agreement(forced[:size]),
            "coverage": ratio(accepted.sum(), known),
            "selective_accuracy": ratio(accepted.trace(), accepted.sum()),
            "macro_f1_unknown": macro_f1(typed),
            "ece": self.calibration.error(of_known) if known else math.nan,
            "brier": ratio(dot(of_known, self.brier), known),
            "nll": ratio(dot(of_known, self.nll), known),
            "novelty_auroc": math.nan,
            "novelty_average_precision": math.nan,
            "oscr": math.nan,
        }
        novel, others = self.against_known(weight, ~self.known)
        if novel.any() and others.any():
            found |= {
                "novelty_auroc": auroc(novel, others),
                "novelty_average_precision": average_precision(novel, others),
                "oscr": oscr(self.novelty.sums(weight * self.correct)[::-1], novel[::-1], known),
            }
        return found

    def basis(self) -> dict[str, int]:
        """Return how many cells each metric is of, the rarer side of those that compare two."""
        known = int(self.known.sum())
        novel = len(self.known) - known
        of_known = ("accuracy", "balanced_accuracy", "macro_f1", "coverage", "ece", "brier", "nll")
        of_both = ("novelty_auroc", "novelty_average_precision", "oscr")
        return {
            **dict.fromkeys(of_known, known),
            "selective_accuracy": int((self.known & self.accepted).sum()),
            "macro_f1_unknown": known + novel,
            **dict.fromkeys(of_both, min(known, novel)),
        }


def ece_interval(calibration: Calibration, drawn: Interval, perfect: float) -> Interval:
    """Return the interval of the calibration error, from that of its resamples; None where these gave none."""
    return drawn and calibration.interval(calibration.error(np.ones(len(calibration.gap))), drawn, perfect)


def _known_or_none(values: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _of_method(
    table: Table, calibration: Calibration | None, difference: Weights
) -> Callable[[Weights], dict[str, float]]:
    """Return what gives a plain classifier's metrics; difference (n,): right by the model less right by it."""

    def statistics(weight: Weights) -> dict[str, float]:
        return {
            **agreement(table.counts(weight)[:-1]),
            "ece": calibration.error(weight) if calibration else math.nan,
            "accuracy_difference": ratio(dot(weight, difference), weight.sum()),
        }

    return statistics


def beside(
    predictions: pd.DataFrame, truth: pd.DataFrame, types: list[str], baselines: pd.DataFrame, methods: list[str]
) -> dict[str, Any]:
    """Return what plain classifiers reach on the cells of the model's accuracy, and whether they differ from it.

    baselines: barcode, and for each of `methods` the predicted type and, as <method>_confidence, how sure it is; the
    others as in `evaluate`. `p` is McNemar's: of the cells that either the model or the method alone has right. The
    interval of `accuracy_difference` (model - method) is of resamples in which both meet the same cells.
    """
    table = predictions[["barcode", "predicted"]].merge(truth, on="barcode").merge(baselines, on="barcode")
    known = table[table["cell_type"].isin(types)]
    if known.empty:
        return {}
    index = pd.Index(types)
    number = index.get_indexer(pd.Index(known["cell_type"]))
    once = np.ones(len(known))

    def against(column: str) -> tuple[Table, NDArray[np.bool_]]:
        given = index.get_indexer(pd.Index(known[column]))
        return Table(number, np.where(given < 0, len(types), given), len(types)), given == number

    model, right = against("predicted")
    values_of_model = agreement(model.counts(once)[:-1])
    found = {}
    for name in methods:
        table_of_method, own = against(name)
        sure = f"{name}_confidence"
        calibration = Calibration(known[sure].to_numpy(float), own) if sure in known else None
        statistics = _of_method(table_of_method, calibration, right.astype(float) - own)
        values = statistics(once)
        basis = {key: 0 if math.isnan(value) else len(known) for key, value in values.items()}
        between = intervals(statistics, len(known), basis)
        if calibration:
            between["ece"] = ece_interval(calibration, between["ece"], calibration.perfect_error()[1])
        model_alone, baseline_alone = int((right & ~own).sum()), int((own & ~right).sum())
        found[name] = {
            "cells": len(known),
            **_known_or_none(values),
            "intervals": between,
            "model": values_of_model,
            "model_alone_right": model_alone,
            "baseline_alone_right": baseline_alone,
            "p": mcnemar(model_alone, baseline_alone),
            "per_type": per_type(table_of_method.counts(once)[:-1], types),
        }
    return found


def label_names(truth: list[str], types: list[str]) -> dict[str, Any]:
    """Return which names of types query and reference share, and which one of them alone has.

    `nearest`: for a name of the query alone, that of the reference that is spelled most like it, where one is.
    """
    nearest = {name: nearest_name(name, types) for name in truth if name not in types}
    return {
        "matched": [name for name in truth if name in types],
        "only_in_query": list(nearest),
        "only_in_reference": [name for name in types if name not in truth],
        "nearest": {name: near for name, near in nearest.items() if near},
    }


def crossed(table: pd.DataFrame, column: str) -> dict[str, Any]:
    """Return cells by true type (rows) and by `column`; Unknown, where the column may hold it, is the last."""
    found = set(table[column]) - {UNKNOWN}
    columns = [*sorted(found), *([UNKNOWN] if column == "predicted_or_unknown" else [])]
    rows = sorted(table["cell_type"].unique())
    counts = pd.crosstab(table["cell_type"], table[column]).reindex(index=rows, columns=columns, fill_value=0)
    return {"truth": rows, "predicted": columns, "counts": counts.to_numpy(int).tolist()}


def evaluate(predictions: pd.DataFrame, truth: pd.DataFrame, types: list[str]) -> dict[str, Any]:
    """Return every metric of one query; None where it is not defined.

    predictions: a row a cell as in predictions.csv; truth: barcode, cell_type; types: those of the reference. Labels
    are compared exactly. Accuracy, F1 and calibration are over cells whose true type the reference has; novelty
    compares them with the others.
    """
    # In this order, the sums over ranks go through memory from end to end.
    table = predictions.merge(truth, on="barcode", how="inner", validate="one_to_one").sort_values(
        "novelty", kind="stable"
    )
    cells = Labelled(table, types)
    once = np.ones(len(table))
    known = int(cells.known.sum())
    truth_shared = int(truth["cell_type"].isin(types).sum())
    names = label_names(sorted(truth["cell_type"].unique()), types)
    values = _known_or_none(cells.statistics(once))
    between = intervals(cells.statistics, len(table), cells.basis())
    perfect = None
    if known:
        perfect = cells.calibration.perfect_error()
        between["ece"] = ece_interval(cells.calibration, between["ece"], perfect[1])
    typed = cells.typed.counts(once)[: len(types)]
    scores = per_type(cells.forced.counts(once)[: len(types)], types)
    unknown = dict(zip(types, typed[:, -1], strict=True))
    for name, score in scores.items():
        score["unknown"] = int(unknown[name])
    novelty = {}
    for name in names["only_in_query"]:
        own = (table["cell_type"] == name).to_numpy()
        if own.any():
            novel, others = cells.against_known(once, own)
            novelty[name] = {
                "cells": int(own.sum()),
                "auroc": auroc(novel, others) if known else None,
                "average_precision": average_precision(novel, others) if known else None,
                "base_rate": float(own.sum() / (own.sum() + known)),
                "accepted": float(cells.accepted[own].mean()),
            }
    forced, kept = crossed(table, "predicted"), crossed(table, "predicted_or_unknown")
    return {
        "truth_cells": len(truth),
        "evaluated_cells": len(table),
        "lost_cells": len(truth) - len(table),
        "shared_type_cells": known,
        "accuracy": values["accuracy"],
        "accuracy_all_truth": float(cells.correct.sum() / truth_shared) if known else None,
        "balanced_accuracy": values["balanced_accuracy"],
        "macro_f1": values["macro_f1"],
        "coverage": values["coverage"],
        "selective_accuracy": values["selective_accuracy"],
        "macro_f1_unknown": values["macro_f1_unknown"],
        "novel_types": names["only_in_query"],
        "novelty_auroc": values["novelty_auroc"],
        "novelty_average_precision": values["novelty_average_precision"],
        "novelty_base_rate": float((~cells.known).mean()) if len(table) else None,
        "novelty": novelty,
        "oscr": values["oscr"],
        "ece": values["ece"],
        "ece_perfect": perfect[0] if perfect else None,
        "ece_perfect_95": perfect[1] if perfect else None,
        "brier": values["brier"],
        "nll": values["nll"],
        "intervals": between,
        "reliability": cells.calibration.reliability(),
        "per_type": scores,
        "confusion": kept,
        "confusion_forced": forced,
        "flows": [
            [name, predicted, count]
            for name, row in zip(kept["truth"], kept["counts"], strict=True)
            for predicted, count in zip(kept["predicted"], row, strict=True)
            if count
        ],
        "label_names": names,
        "unmatched_labels": names["only_in_query"],
    }
