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
from cellpredx.core.files import write_csv, write_json
from cellpredx.evaluate.metrics import beside, evaluate, expected_calibration_error, mcnemar, oscr

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
    assert found["macro_f1"] == metrics.f1_score(y, predicted, average="macro")
    p = predictions[[f"p_{t}" for t in TYPES]].to_numpy()
    assert found["nll"] == pytest.approx(metrics.log_loss(y, p, labels=TYPES), rel=1e-12)
    one_hot = y[:, None] == np.array(TYPES)
    assert found["brier"] == pytest.approx(((p - one_hot) ** 2).sum(axis=1).mean(), rel=1e-12)
    scores = metrics.precision_recall_fscore_support(y, predicted, labels=TYPES)
    for number, name in enumerate(TYPES):
        own = found["per_type"][name]
        assert [own[k] for k in ("precision", "recall", "f1", "cells")] == [float(s[number]) for s in scores]
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
    assert found["macro_f1"] == metrics.f1_score(y[shared], predicted[shared], average="macro")
    assert set(found["per_type"]) == set(TYPES)
    novelty = predictions["novelty"]
    assert found["novelty_auroc"] == pytest.approx(metrics.roc_auc_score(~shared, novelty), abs=1e-12)
    assert found["novelty_auroc"] > 0.6
    assert found["novelty_average_precision"] == metrics.average_precision_score(~shared, novelty)
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
    confusion = found["confusion"]
    table = pd.crosstab(pd.Series(y), predictions["predicted_or_unknown"])
    table = table.reindex(index=confusion["truth"], columns=confusion["predicted"])
    assert confusion["truth"] == ["B", "DC", "Mono", "NK", "T"]
    assert confusion["predicted"] == ["B", "NK", "T", "Unknown"]
    assert confusion["counts"] == table.to_numpy().tolist()


def test_oscr_equals_its_definition_with_ties() -> None:
    rng = np.random.default_rng(3)
    correct, unknown = np.round(rng.normal(1, 1, 150), 1), np.round(rng.normal(0, 1, 90), 1)
    pairs = [(s > u) + 0.5 * (s == u) for s in correct for u in unknown]
    assert 0.5 in pairs
    assert oscr(correct, unknown, 200) == pytest.approx(sum(pairs) / (200 * 90), abs=1e-12)
    labels = np.r_[np.ones(150), np.zeros(90)]
    auroc = metrics.roc_auc_score(labels, np.r_[correct, unknown])
    assert oscr(correct, unknown, 200) == pytest.approx(150 / 200 * auroc, abs=1e-12)
    assert oscr(np.array([1.0]), np.array([1.0]), 1) == 0.5


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
    truth.to_csv(tmp_path / "labels.csv", index=False)
    known = {1: (True, "1", 0), 2: ("", "", "")}
    rows = [(name, i, f"-{name}{i}", 0.9, 0.1, 7, 0.5, "", *known[i]) for name in types for i in (1, 2)]
    columns = ["cell_type", "rank", "feature", "frequency", "mean_attribution", "cells"]
    columns += ["stability", "q", "is_marker", "nearest_gene", "distance"]
    write_csv(pd.DataFrame(rows, columns=columns), tmp_path / "determinants.csv")
    told = {
        "types": {},
        "seeds": 2,
        "permutations": 0,
        "warnings": ["no type of --markers is one of the model's: x"],
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
    first = {"feature": f"-{types[0]}1", "mean_attribution": 0.1, "frequency": 0.9, "stability": 0.5, "q": None}
    assert result["determinants"][types[0]][0] == {**first, "is_marker": True, "nearest_gene": "1", "distance": 0}
    absent = {"is_marker": None, "nearest_gene": None, "distance": None}
    assert result["determinants"][types[0]][1] == {**first, "feature": f"-{types[0]}2", **absent}
    assert result["explain"] == told
    assert result["warnings"] == [
        "1 cell: no counts on the model's features",
        "types that the reference lacks (their cells get another type or Unknown): DC",
        "no type of --markers is one of the model's: x",
    ]
    assert result["evaluation"] == found


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
    assert [found["per_type"][name]["f1"] for name in TYPES] == list(scores[2])
    right, own = predicted == y, guessed == y
    assert found["model_alone_right"] == (right & ~own).sum() > 0
    assert found["baseline_alone_right"] == (own & ~right).sum() > 0
    assert beside(predictions, truth.assign(cell_type="DC"), TYPES, baselines, ["celltypist"]) == {}


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
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(aligned(predictions, truth), guessed))
