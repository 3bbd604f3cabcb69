"""Metrics against scikit-learn and their definitions, and the verb that writes them."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn import metrics

from cellpredx.core.errors import UserError
from cellpredx.core.files import read_csv, write_csv, write_json
from cellpredx.core.labels import nearest_name
from cellpredx.evaluate.bootstrap import intervals, resamples
from cellpredx.evaluate.calibration import BINS, Calibration, Ranks, draws, expected_calibration_error
from cellpredx.evaluate.metrics import Labelled, beside, evaluate, mcnemar, oscr
from cellpredx.evaluate.tables import confusion_table, metrics_table, per_type_table

TYPES = ["B", "NK", "T"]


def simulated(
    cells: int = 400, seed: int = 1, types: list[str] = TYPES, novel: list[str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw predictions and the truth; `novel`: types of a fifth of the cells that the reference lacks."""
    rng = np.random.default_rng(seed)
    true_type = rng.integers(0, len(types), cells)
    names = np.array(types, dtype=object)[true_type]
    scores = rng.standard_normal((cells, len(types)))
    scores[np.arange(cells), true_type] += 1.5
    if novel:
        strange = rng.uniform(size=cells) < 0.2
        names[strange] = rng.choice(np.array(novel, dtype=object), int(strange.sum()))
        scores[strange] *= 0.5
    p = softmax(scores, axis=1)
    confidence = p.max(axis=1)
    predicted = np.array(types, dtype=object)[p.argmax(axis=1)]
    table = pd.DataFrame(
        {
            "barcode": [f"c{i}" for i in range(cells)],
            "predicted": predicted,
            "predicted_or_unknown": np.where(confidence >= 0.5, predicted, "Unknown"),
            "confidence": confidence,
            "margin": 0.0,
            "novelty": np.log((1 - confidence) / confidence),
            "unknown_paper": confidence < 0.95,
            "warning": "",
        }
    )
    probabilities = pd.DataFrame(p, columns=[f"p_{t}" for t in types])
    truth = pd.DataFrame({"barcode": table["barcode"], "cell_type": names})
    return pd.concat([table, probabilities], axis=1), truth.sample(frac=1, random_state=1)


def aligned(predictions: pd.DataFrame, truth: pd.DataFrame) -> NDArray[np.object_]:
    return truth.set_index("barcode")["cell_type"].loc[predictions["barcode"]].to_numpy()


def test_metrics_equal_scikit_learn() -> None:
    predictions, truth = simulated()
    found = evaluate(predictions, truth, TYPES)
    y, predicted = aligned(predictions, truth), predictions["predicted"]
    assert 0.5 < found["accuracy"] < 0.95
    assert found["accuracy"] == metrics.accuracy_score(y, predicted)
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(y, predicted, average="macro"), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, predicted), abs=1e-12)
    p = predictions[[f"p_{t}" for t in TYPES]].to_numpy()
    assert found["nll"] == pytest.approx(metrics.log_loss(y, p, labels=TYPES), rel=1e-12)
    brier = metrics.brier_score_loss(y, p, labels=TYPES, scale_by_half=False)
    assert found["brier"] == pytest.approx(brier, rel=1e-12)
    scores = metrics.precision_recall_fscore_support(y, predicted, labels=TYPES)
    for number, name in enumerate(TYPES):
        own = found["per_type"][name]
        expected = [float(s[number]) for s in scores]
        assert [own[k] for k in ("precision", "recall", "f1", "cells")] == pytest.approx(expected, abs=1e-12)
        assert own["predicted"] == (predicted == name).sum()
        assert own["correct"] == ((predicted == name) & (y == name)).sum()
        assert own["unknown"] == ((predictions["predicted_or_unknown"] == "Unknown") & (y == name)).sum() > 0
    accepted = (predictions["predicted_or_unknown"] != "Unknown").to_numpy()
    assert found["coverage"] == accepted.mean()
    assert found["selective_accuracy"] == metrics.accuracy_score(y[accepted], predicted[accepted])
    assert found["novel_types"] == []
    assert found["novelty_auroc"] is None
    assert found["oscr"] is None


def test_types_that_the_reference_lacks_are_kept_apart() -> None:
    predictions, truth = simulated(novel=["Mono", "DC"])
    found = evaluate(predictions, truth, TYPES)
    y = aligned(predictions, truth)
    shared = np.isin(y, TYPES)
    predicted = predictions["predicted"].to_numpy()
    assert found["novel_types"] == found["unmatched_labels"] == ["DC", "Mono"]
    assert found["shared_type_cells"] == shared.sum()
    assert found["novelty_base_rate"] == (~shared).mean()
    assert found["accuracy"] == metrics.accuracy_score(y[shared], predicted[shared])
    macro_f1 = metrics.f1_score(y[shared], predicted[shared], average="macro")
    assert found["macro_f1"] == pytest.approx(macro_f1, abs=1e-12)
    assert set(found["per_type"]) == set(TYPES)
    novelty = predictions["novelty"]
    assert found["novelty_auroc"] == pytest.approx(metrics.roc_auc_score(~shared, novelty), abs=1e-12)
    assert found["novelty_auroc"] > 0.6
    precision = metrics.average_precision_score(~shared, novelty)
    assert found["novelty_average_precision"] == pytest.approx(precision, abs=1e-12)
    accepted = (predictions["predicted_or_unknown"] != "Unknown").to_numpy()
    assert list(found["novelty"]) == ["DC", "Mono"]
    for name, values in found["novelty"].items():
        own = y == name
        both = own | shared
        assert values["cells"] == own.sum() > 0
        assert values["auroc"] == pytest.approx(metrics.roc_auc_score(own[both], novelty[both]), abs=1e-12)
        precision = metrics.average_precision_score(own[both], novelty[both])
        assert values["average_precision"] == pytest.approx(precision, abs=1e-12)
        assert values["base_rate"] == own[both].mean()
        assert values["accepted"] == accepted[own].mean()
    confidence = predictions["confidence"].to_numpy()
    right = shared & (y == predicted)
    auroc = metrics.roc_auc_score(
        np.r_[np.ones(right.sum()), np.zeros((~shared).sum())], np.r_[confidence[right], confidence[~shared]]
    )
    assert found["oscr"] == pytest.approx(found["accuracy"] * auroc, abs=1e-12)
    with_unknown = np.where(shared, y, "Unknown")
    assert found["macro_f1_unknown"] == pytest.approx(
        metrics.f1_score(with_unknown, predictions["predicted_or_unknown"], average="macro"), abs=1e-12
    )
    for key, column in (("confusion", "predicted_or_unknown"), ("confusion_forced", "predicted")):
        confusion = found[key]
        table = pd.crosstab(pd.Series(y), predictions[column])
        table = table.reindex(index=confusion["truth"], columns=confusion["predicted"])
        assert confusion["truth"] == ["B", "DC", "Mono", "NK", "T"]
        assert confusion["predicted"] == ["B", "NK", "T", "Unknown"][: 4 if key == "confusion" else 3]
        assert confusion["counts"] == table.to_numpy().tolist()
    flows = pd.Series(zip(y, predictions["predicted_or_unknown"], strict=True)).value_counts()
    assert {(name, predicted): cells for name, predicted, cells in found["flows"]} == flows.to_dict()


def test_oscr_equals_its_definition_with_ties() -> None:
    def found(correct: NDArray[np.float64], unknown: NDArray[np.float64], known: int) -> float:
        ranks = Ranks(np.r_[correct, unknown])
        is_correct = np.arange(len(correct) + len(unknown)) < len(correct)
        return oscr(ranks.sums(is_correct.astype(float)), ranks.sums((~is_correct).astype(float)), known)

    rng = np.random.default_rng(3)
    correct, unknown = np.round(rng.normal(1, 1, 150), 1), np.round(rng.normal(0, 1, 90), 1)
    pairs = [(s > u) + 0.5 * (s == u) for s in correct for u in unknown]
    assert 0.5 in pairs
    assert found(correct, unknown, 200) == pytest.approx(sum(pairs) / (200 * 90), abs=1e-12)
    labels = np.r_[np.ones(150), np.zeros(90)]
    auroc = metrics.roc_auc_score(labels, np.r_[correct, unknown])
    assert found(correct, unknown, 200) == pytest.approx(150 / 200 * auroc, abs=1e-12)
    assert found(np.array([1.0]), np.array([1.0]), 1) == 0.5


def test_the_calibration_error_is_small_for_calibrated_confidence_alone() -> None:
    rng = np.random.default_rng(4)
    confidence = rng.uniform(0.3, 1, 60_000)
    correct = rng.uniform(size=60_000) < confidence
    assert expected_calibration_error(confidence, correct) < 0.01
    assert expected_calibration_error(np.minimum(confidence + 0.2, 1), correct) > 0.1


def test_the_calibration_error_by_hand() -> None:
    # 30 cells in 15 bins of two: the sorted pairs, each |mean correct - mean confidence|.
    confidence = np.linspace(0.4, 0.98, 30)
    correct = np.arange(30) % 3 > 0
    pairs = zip(confidence.reshape(15, 2), correct.reshape(15, 2), strict=True)
    expected = np.mean([abs(c.mean() - k.mean()) for k, c in pairs])
    shuffled = np.random.default_rng(1).permutation(30)
    assert expected_calibration_error(confidence[shuffled], correct[shuffled]) == pytest.approx(expected, abs=1e-12)
    assert expected_calibration_error(np.array([0.7]), np.array([True])) == pytest.approx(0.3)


def test_the_calibration_error_does_not_depend_on_the_order_of_cells() -> None:
    # As sure of all, right in three of four: |0.75 - 0.9|, whatever cells come first.
    confidence, correct = np.full(400, 0.9), np.arange(400) < 300
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.15, abs=1e-9)
    assert expected_calibration_error(confidence, np.arange(400) % 4 > 0) == pytest.approx(0.15, abs=1e-9)


def test_the_error_of_a_perfect_calibration_is_that_of_cells_right_as_often_as_they_say() -> None:
    rng = np.random.default_rng(8)
    confidence = rng.uniform(0.3, 1, 300)
    perfect = [expected_calibration_error(confidence, rng.random(300) < confidence) for _ in range(2000)]
    found = Calibration(confidence, np.ones(300, bool)).perfect_error()
    # Means of 1,000 and 2,000 draws: four standard errors, twice that for the percentile.
    error = np.std(perfect) * np.sqrt(1 / 1000 + 1 / 2000)
    assert found[0] == pytest.approx(np.mean(perfect), abs=4 * error)
    assert found[1] == pytest.approx(np.quantile(perfect, 0.95), abs=8 * error)
    assert found == Calibration(confidence, np.ones(300, bool)).perfect_error()


def test_the_reliability_bins_sum_up_to_the_calibration_error() -> None:
    predictions, truth = simulated()
    found = evaluate(predictions, truth, TYPES)
    rows = found["reliability"]
    assert len(rows) == BINS
    assert sum(row["cells"] for row in rows) == 400
    assert {row["cells"] for row in rows} <= {26, 27}
    gaps = [row["cells"] * abs(row["accuracy"] - row["confidence"]) for row in rows]
    assert sum(gaps) / 400 == pytest.approx(found["ece"], abs=1e-12)
    order = np.argsort(predictions["confidence"].to_numpy())
    right = (aligned(predictions, truth) == predictions["predicted"].to_numpy())[order]
    assert rows[0]["accuracy"] == pytest.approx(right[: rows[0]["cells"]].mean(), abs=1e-12)
    # Wilson's interval by its formula.
    n, p, z = rows[0]["cells"], rows[0]["accuracy"], 1.959963984540054
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert [rows[0]["low"], rows[0]["high"]] == pytest.approx([middle - half, middle + half], abs=1e-9)


@pytest.mark.parametrize("novel", [None, ["DC", "Mono"]])
def test_a_resample_has_the_metrics_of_its_cells(novel: list[str] | None) -> None:
    predictions, truth = simulated(120, novel=novel)
    predictions["confidence"], predictions["novelty"] = (
        predictions["confidence"].round(2),
        predictions["novelty"].round(1),
    )
    table = predictions.merge(truth, on="barcode")
    cells = Labelled(table, TYPES)
    for weight, _ in zip(resamples(120), range(3), strict=False):
        assert weight.sum() == 120
        found = cells.statistics(weight)
        repeated = table.loc[np.repeat(table.index, weight.astype(int))].assign(barcode=[f"r{i}" for i in range(120)])
        drawn = repeated.drop(columns="cell_type"), repeated[["barcode", "cell_type"]]
        expected = evaluate(*drawn, TYPES)
        assert {name: value for name, value in found.items() if not math.isnan(value)} == pytest.approx(
            {name: expected[name] for name in found if expected[name] is not None}, abs=1e-12
        )
        assert math.isnan(found["oscr"]) == (novel is None)


def test_intervals_are_the_percentiles_of_resamples() -> None:
    predictions, truth = simulated(novel=["DC"])
    found = evaluate(predictions, truth, TYPES)
    y = aligned(predictions, truth)
    known, right = np.isin(y, TYPES), y == predictions["predicted"].to_numpy()
    rng = np.random.default_rng(5)
    drawn = (rng.integers(0, 400, 400) for _ in range(4000))
    low, high = np.quantile([right[i][known[i]].mean() for i in drawn], (0.025, 0.975))
    width = high - low
    assert found["intervals"]["accuracy"] == pytest.approx([low, high], abs=0.15 * width)
    assert set(found["intervals"]) == {
        *("accuracy", "balanced_accuracy", "macro_f1", "macro_f1_unknown", "coverage", "selective_accuracy"),
        *("ece", "brier", "nll", "novelty_auroc", "novelty_average_precision", "oscr"),
    }
    assert all(low < high for low, high in found["intervals"].values())
    assert all(low <= found[name] <= high for name, (low, high) in found["intervals"].items())
    assert evaluate(predictions, truth, TYPES)["intervals"] == found["intervals"]


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_the_interval_of_the_calibration_error_holds_the_true_one(shift: float) -> None:
    # Confidence exceeds the truth by `shift`, which is the error to be found; few cells show more of it than there is.
    rng = np.random.default_rng(9)
    holds = []
    for _ in range(40):
        p = rng.uniform(0.3, 0.9, 300)
        calibration = Calibration(p + shift, rng.random(300) < p)
        error = calibration.error(np.ones(300))
        drawn = [calibration.error(weight) for weight, _ in zip(resamples(300), range(200), strict=False)]
        quantiles = np.quantile(drawn, (0.025, 0.975)).tolist()
        low, high = calibration.interval(error, quantiles, calibration.perfect_error()[1])
        assert low <= error <= high
        holds.append(low <= shift <= high)
    assert sum(holds) >= 34


def test_a_large_query_is_resampled_less_often() -> None:
    assert [draws(n) for n in (0, 1, 100_000, 200_000, 10_000_000)] == [1000, 1000, 1000, 500, 200]


def test_an_interval_needs_two_cells() -> None:
    def statistics(weight: NDArray[np.float64]) -> dict[str, float]:
        return {"many": float(weight @ np.arange(5)), "one": 1.0, "rare": 2.0 if weight[0] else math.nan}

    found = intervals(statistics, 5, {"many": 5, "one": 1, "rare": 2})
    assert found["one"] is None
    assert found["rare"] == [2.0, 2.0]
    assert found["many"] is not None
    assert found["many"][0] < 10 < found["many"][1]


def no_nan(value: object) -> bool:
    """Whether no number in nested lists and tables is NaN or infinite."""
    if isinstance(value, dict | list):
        return all(no_nan(v) for v in (value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", ["one type", "no novel cell", "all Unknown", "one cell", "no shared type", "no cell"])
def test_what_is_not_defined_is_null(case: str) -> None:
    predictions, truth = simulated(40, novel=None if case == "no novel cell" else ["DC"])
    if case == "one type":
        truth["cell_type"] = "B"
    elif case == "all Unknown":
        predictions["predicted_or_unknown"] = "Unknown"
    elif case == "one cell":
        predictions = predictions[(predictions["confidence"] > 0.5) & np.isin(aligned(predictions, truth), TYPES)][:1]
    elif case == "no shared type":
        truth["cell_type"] = "DC"
    elif case == "no cell":
        predictions = predictions[:0]
    found = evaluate(predictions, truth, TYPES)
    baselines = predictions[["barcode"]].assign(celltypist="T", celltypist_confidence=0.9)
    found["baselines"] = beside(predictions, truth, TYPES, baselines, ["celltypist"])
    assert no_nan(found)
    shared = found["shared_type_cells"]
    assert (found["accuracy"] is None) == (found["ece"] is None) == (found["nll"] is None) == (shared == 0)
    assert (found["selective_accuracy"] is None) == (case in ("all Unknown", "no shared type", "no cell"))
    assert (found["oscr"] is None) == (case != "all Unknown")
    assert (found["intervals"]["accuracy"] is None) == (shared < 2)
    assert (found["intervals"]["novelty_auroc"] is None) == (case != "all Unknown")
    if case == "one type":
        # No cell of the other two, which got cells all the same.
        assert found["per_type"]["T"]["recall"] is None
        assert found["per_type"]["T"]["precision"] == 0
    if case == "no shared type":
        assert found["novelty"]["DC"]["auroc"] is None
        assert found["novelty"]["DC"]["cells"] == 40
    assert metrics_table(found)["value"].notna().all()
    assert len(per_type_table(found)) == len(found["per_type"]) + len(found["novelty"])
    assert confusion_table(found)["cells"].sum() == confusion_table(found)["forced_cells"].sum() == len(predictions)


def test_names_that_match_nothing_are_told_with_what_is_near() -> None:
    predictions, truth = simulated(60)
    names = truth["cell_type"].map({"B": "b", "T": "T", "NK": "Platelet"})
    found = evaluate(predictions, truth.assign(cell_type=names), TYPES)
    assert found["label_names"] == {
        "matched": ["T"],
        "only_in_query": ["Platelet", "b"],
        "only_in_reference": ["B", "NK"],
        "nearest": {"b": "B"},
    }
    assert found["novel_types"] == ["Platelet", "b"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        *(("cd4_t", "CD4 T"), ("B-cells", "B cell"), ("Bcell", "B cell"), ("b", "B cell"), ("Monocytes", "Monocyte")),
        *(("CD14 Mono", "CD14+ Mono"), ("cd14 monos", "CD14+ Mono"), ("Memory_B", "memory B"), ("T reg", "Treg")),
        *(("CD8 T", None), ("CD16+ Mono", None), ("CD14- Mono", None), ("T cell", None), ("memory T", None)),
        *(("NKT", None), ("Platelet", None), ("", None), ("cell", None)),
    ],
)
def test_a_near_name_is_one_that_may_mean_the_same(name: str, near: str | None) -> None:
    names = ["B cell", "CD4 T", "Monocyte", "CD14+ Mono", "memory B", "NK", "Treg"]
    assert nearest_name(name, names) == near


def test_cells_lost_before_prediction_count_in_one_accuracy() -> None:
    predictions, truth = simulated(100, novel=["DC"])
    found = evaluate(predictions[:80], truth, TYPES)
    whole = truth.set_index("barcode")["cell_type"]
    kept = evaluate(predictions[:80], truth[truth["barcode"].isin(predictions["barcode"][:80])], TYPES)
    assert (found["truth_cells"], found["evaluated_cells"], found["lost_cells"]) == (100, 80, 20)
    assert found["accuracy"] == kept["accuracy"]
    right = kept["accuracy"] * kept["shared_type_cells"]
    assert found["accuracy_all_truth"] == pytest.approx(right / whole.isin(TYPES).sum(), abs=1e-12)


def test_a_query_of_unknown_types_alone_has_no_accuracy() -> None:
    predictions, truth = simulated(20)
    found = evaluate(predictions, truth.assign(cell_type="DC"), TYPES)
    assert found["accuracy"] is None
    assert found["oscr"] is None
    assert found["novelty_auroc"] is None
    assert found["novelty_base_rate"] == 1.0
    assert found["confusion"]["truth"] == ["DC"]
    assert sum(found["confusion"]["counts"][0]) == 20


def test_labels_are_compared_exactly() -> None:
    predictions, truth = simulated(30)
    found = evaluate(predictions, truth.assign(cell_type=truth["cell_type"].str.replace("B", "b")), TYPES)
    assert found["unmatched_labels"] == ["b"]


@pytest.mark.parametrize("types", [TYPES, ["0", "1", "2"], ["=1", "+B", "NA"]])
@pytest.mark.parametrize("barcode", ["c{}", "{:04d}"])
def test_the_verb_writes_what_the_report_reads(
    tmp_path: Path, run_verb: Callable[..., None], types: list[str], barcode: str
) -> None:
    predictions, truth = simulated(200, types=types, novel=["DC"])
    if types[0] == "0":
        predictions["predicted_or_unknown"] = predictions["predicted"]
    for table in (predictions, truth):
        table["barcode"] = [barcode.format(int(name[1:])) for name in table["barcode"]]
    predictions.loc[3, "warning"] = "no counts on the model's features"
    write_csv(predictions, tmp_path / "predictions.csv", digits=9)
    unsure = pd.DataFrame({"barcode": ["c900", "c901"], "cell_type": "Unknown"})
    pd.concat([truth, unsure]).to_csv(tmp_path / "labels.csv", index=False)
    known = {1: (True, "1", 0), 2: ("", "", "")}
    rows = [(name, i, f"-{name}{i}", 0.9, 0.1, 7, 0.5, "", *known[i]) for name in types for i in (1, 2)]
    columns = ["cell_type", "rank", "feature", "frequency", "mean_attribution", "cells"]
    columns += ["stability", "q", "is_marker", "nearest_gene", "distance"]
    write_csv(pd.DataFrame(rows, columns=columns), tmp_path / "determinants.csv")
    told = {
        "types": {},
        "seeds": 2,
        "permutations": 0,
    }
    write_json(told, tmp_path / "explain.json")
    gap = {"auc": 0.7, "level": "pass", "reason": "", "threshold": 0.5}
    write_json(gap, tmp_path / "gap.json")
    run_verb(
        "evaluate", "--transfer", "t", "--group", "g", "--query", "q", "--predictions", tmp_path / "predictions.csv",
        "--domain-gap", tmp_path / "gap.json", "--determinants", tmp_path / "determinants.csv",
        "--explain", tmp_path / "explain.json", "--labels", tmp_path / "labels.csv", "--outdir", tmp_path,
    )  # fmt: skip
    result = json.loads((tmp_path / "result.json").read_text())
    expected = evaluate(predictions, truth, types)
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert found["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-9)
    assert found["accuracy"] > 0.5
    assert found["evaluated_cells"] == 200
    assert found["confusion"] == expected["confusion"]
    assert result["types"] == types
    counts = predictions["predicted_or_unknown"].value_counts().to_dict()
    assert result["composition"] == {name: counts.get(name, 0) for name in [*types, "Unknown"]}
    assert result["unknown_cells"] == counts.get("Unknown", 0)
    assert result["coverage"] == pytest.approx(1 - counts.get("Unknown", 0) / 200)
    assert result["unknown_paper_cells"] == int(predictions["unknown_paper"].sum())
    assert sum(result["confidence_histogram"]["counts"]) == 200
    assert list(result["determinants"]) == types
    first = {"feature": f"-{types[0]}1", "mean_attribution": 0.1, "own_attribution": None, "frequency": 0.9}
    first |= {"stability": 0.5, "q": None}
    assert result["determinants"][types[0]][0] == {**first, "is_marker": True, "nearest_gene": "1", "distance": 0}
    absent = {"is_marker": None, "nearest_gene": None, "distance": None}
    assert result["determinants"][types[0]][1] == {**first, "feature": f"-{types[0]}2", **absent}
    assert result["explain"] == told
    assert sum(result["margin_histogram"]["counts"]) == 200
    assert result["cells_without_counts"] == 1
    assert result["warnings"] == [
        "1 cell: no counts on the model's features",
        "2 labels say Unknown: no part of the evaluation",
    ]
    assert result["evaluation"] == found
    read = read_csv(tmp_path / "per_type.csv", ("cell_type",)).set_index("cell_type")
    assert list(read.index) == [*types, "DC"]
    assert read.loc[types[0], "recall"] == pytest.approx(found["per_type"][types[0]]["recall"], abs=1e-5)
    assert read.loc["DC", "novelty_auroc"] == pytest.approx(found["novelty"]["DC"]["auroc"], abs=1e-5)
    assert read["cells"].sum() == 200
    read = read_csv(tmp_path / "confusion.csv", ("truth", "predicted"))
    assert [
        list(flow) for flow in read[read["cells"] > 0][["truth", "predicted", "cells"]].itertuples(index=False)
    ] == [list(flow) for flow in found["flows"]]
    forced = read[read["forced_cells"] > 0]
    assert forced.groupby("truth")["forced_share_of_truth"].sum().to_numpy() == pytest.approx(np.ones(4), abs=1e-5)
    by_hand = [((predictions["predicted"] == p) & (aligned(predictions, truth) == t)).sum()
               for t, p in zip(forced["truth"], forced["predicted"], strict=True)]  # fmt: skip
    assert forced["forced_cells"].tolist() == by_hand
    read = pd.read_csv(tmp_path / "metrics.csv")
    assert set(read["method"]) == {"cellpredx"}
    assert dict(zip(read["metric"], read["value"], strict=True)) == pytest.approx(
        {name: found[name] for name in found["intervals"]}, rel=1e-5
    )
    read = pd.read_csv(tmp_path / "reliability.csv")
    assert read.to_dict("list")["cells"] == [row["cells"] for row in found["reliability"]]
    if types[0] == "=1":
        assert "\n'=1," in (tmp_path / "confusion.csv").read_text()


def test_labels_that_name_no_cell_are_refused(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    predictions, truth = simulated(20)
    write_csv(predictions, tmp_path / "predictions.csv")
    truth.assign(barcode=truth["barcode"] + "-1").to_csv(tmp_path / "labels.csv", index=False)
    write_csv(pd.DataFrame({"cell_type": ["B"], "feature": ["f"]}), tmp_path / "determinants.csv")
    write_json({"threshold": 0.5}, tmp_path / "gap.json")
    with pytest.raises(UserError, match="none of the 20 labels of query q names one of its cells") as caught:
        run_verb(
            "evaluate", "--transfer", "t", "--group", "g", "--query", "q", "--predictions",
            tmp_path / "predictions.csv", "--domain-gap", tmp_path / "gap.json", "--determinants",
            tmp_path / "determinants.csv", "--labels", tmp_path / "labels.csv", "--outdir", tmp_path,
        )  # fmt: skip
    assert "-1'" in str(caught.value.remedy)
    assert "'c0'" in str(caught.value.remedy)


def test_plain_classifiers_are_measured_on_the_same_cells() -> None:
    predictions, truth = simulated(novel=["DC"])
    rng = np.random.default_rng(7)
    guessed = np.where(rng.uniform(size=len(predictions)) < 0.7, aligned(predictions, truth), "T")
    baselines = pd.DataFrame({"barcode": predictions["barcode"], "celltypist": guessed}).sample(frac=1, random_state=2)
    found = beside(predictions, truth, TYPES, baselines, ["celltypist"])["celltypist"]
    y = aligned(predictions, truth)
    shared = np.isin(y, TYPES)
    y, guessed, predicted = y[shared], guessed[shared], predictions["predicted"].to_numpy()[shared]
    assert found["accuracy"] == metrics.accuracy_score(y, guessed)
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(y, guessed, average="macro"), abs=1e-12)
    scores = metrics.precision_recall_fscore_support(y, guessed, labels=TYPES)
    assert [found["per_type"][name]["f1"] for name in TYPES] == pytest.approx(list(scores[2]), abs=1e-12)
    assert found["cells"] == len(y)
    assert found["model"]["accuracy"] == metrics.accuracy_score(y, predicted)
    assert found["ece"] is found["intervals"]["ece"] is None
    right, own = predicted == y, guessed == y
    assert found["model_alone_right"] == (right & ~own).sum() > 0
    assert found["baseline_alone_right"] == (own & ~right).sum() > 0
    assert beside(predictions, truth.assign(cell_type="DC"), TYPES, baselines, ["celltypist"]) == {}


def test_the_difference_to_a_plain_classifier_is_of_the_same_cells() -> None:
    predictions, truth = simulated(novel=["DC"])
    y, predicted = aligned(predictions, truth), predictions["predicted"].to_numpy()
    # Right wherever the model is, and in five cells more: between any other cells there is no difference.
    more = np.flatnonzero(np.isin(y, TYPES) & (y != predicted))[:5]
    guessed = predicted.copy()
    guessed[more] = y[more]
    baselines = pd.DataFrame({"barcode": predictions["barcode"], "celltypist": guessed})
    baselines["celltypist_confidence"] = predictions["confidence"]
    found = beside(predictions, truth, TYPES, baselines, ["celltypist"])["celltypist"]
    shared = np.isin(y, TYPES)
    assert found["accuracy_difference"] == pytest.approx(-5 / shared.sum(), abs=1e-12)
    low, high = found["intervals"]["accuracy_difference"]
    assert -12 / shared.sum() < low < -5 / shared.sum() < high <= 0
    # Unpaired, it would be some twenty times as wide.
    wide = found["intervals"]["accuracy"]
    assert high - low < 0.4 * (wide[1] - wide[0])
    right = (guessed == y)[shared]
    ece = expected_calibration_error(predictions["confidence"].to_numpy()[shared], right)
    assert found["ece"] == pytest.approx(ece, abs=1e-12)


@pytest.mark.parametrize(("model", "baseline"), [(0, 0), (0, 6), (3, 12), (12, 3), (20, 20), (130, 171)])
def test_mcnemar_is_the_exact_binomial_of_the_discordant_cells(model: int, baseline: int) -> None:
    n, fewer = model + baseline, min(model, baseline)
    tail = sum(math.comb(n, i) for i in range(fewer + 1)) / 2**n
    assert mcnemar(model, baseline) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


def test_the_verb_tells_how_often_plain_classifiers_agree(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    predictions, truth = simulated(200)
    write_csv(predictions, tmp_path / "predictions.csv", digits=9)
    truth.to_csv(tmp_path / "labels.csv", index=False)
    write_csv(pd.DataFrame({"cell_type": ["B"], "feature": ["f"]})[:0].assign(mean_attribution=0.0, frequency=0.0),
              tmp_path / "determinants.csv")  # fmt: skip
    write_json({"threshold": 0.5}, tmp_path / "gap.json")
    guessed = np.where(np.arange(200) < 150, predictions["predicted"], "none of them")
    table = pd.DataFrame({"barcode": predictions["barcode"], "nearest_neighbours": guessed})
    write_csv(table.assign(nearest_neighbours_confidence=1.0)[::-1], tmp_path / "q.baselines.csv")
    arguments = (
        "evaluate", "--transfer", "t", "--group", "g", "--query", "q", "--predictions", tmp_path / "predictions.csv",
        "--domain-gap", tmp_path / "gap.json", "--determinants", tmp_path / "determinants.csv",
        "--baselines", tmp_path / "q.baselines.csv", "--outdir", tmp_path,
    )  # fmt: skip
    run_verb(*arguments)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["baselines"] == {"nearest_neighbours": {"agreement": 0.75}}
    assert result["evaluation"] is None
    run_verb(*arguments, "--labels", tmp_path / "labels.csv")
    found = json.loads((tmp_path / "evaluation.json").read_text())["baselines"]["nearest_neighbours"]
    read = pd.read_csv(tmp_path / "metrics.csv")
    read = read[(read["method"] == "nearest_neighbours") & (read["metric"] == "accuracy")]
    assert read[["value", "low", "high"]].to_numpy()[0] == pytest.approx(
        [found["accuracy"], *found["intervals"]["accuracy"]], abs=1e-5
    )
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(aligned(predictions, truth), guessed))
