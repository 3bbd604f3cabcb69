"""The tables of a run: a line a query, a line a query and type, a line a sample with its cells at each step."""

from statistics import fmean
from typing import Any

import pandas as pd

from cellpredx.report.content import Json
from cellpredx.report.run import Run
from cellpredx.report.status import best_baseline, level

COLUMNS = [
    *("group", "query", "status", "reason", "cells", "cells_lost", "coverage", "unknown_cells", "mean_confidence"),
    *("domain_gap_auc", "scenario", "accuracy", "accuracy_all_truth", "macro_f1", "novelty_auroc", "ece"),
    *("evaluated_cells", "barcodes", "preset", "target_error", "threshold", "best_baseline", "best_baseline_accuracy"),
    *("determinant_stability", "hit_rate_markers", "hit_rate_reference"),
]
COUNTS = ("cells", "cells_lost", "unknown_cells", "evaluated_cells", "barcodes")
MEASURES = ("accuracy", "accuracy_all_truth", "macro_f1", "novelty_auroc", "ece", "evaluated_cells")
STEPS = {
    "barcodes": "In the file",
    "called": "Called cells",
    "after_doublets": "After doublets",
    "annotated": "Annotated",
    "with_features": "With counts on the model's features",
    "typed": "With a type",
    "labelled": "Labelled",
    "labelled_lost": "Labelled, lost",
}


def _mean(values: list[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def trust(result: Json) -> Json:
    """Return means over a result's types: stability of its determinant features, and hit rates; none where unknown."""
    types = list((result.get("explain") or {}).get("types", {}).values())

    def rates(of: str) -> list[float | None]:
        return [((one.get("hit_rate") or {}).get(of) or {}).get("rate") for one in types]

    return {
        "determinant_stability": _mean([one.get("stability") for one in types]),
        "hit_rate_markers": _mean(rates("markers")),
        "hit_rate_reference": _mean(rates("reference")),
    }


def _line(run: Run, result: Json) -> Json:
    findings = run.findings(result)
    evaluation = result["evaluation"] or {}
    training = run.trained(result) or {}
    baseline, values = (best_baseline(evaluation) if evaluation else None) or (None, {})
    return {
        "group": result["group"],
        "query": result["query"],
        "status": level(findings),
        "reason": "; ".join(finding.reason.rstrip(".") for finding in findings),
        "cells": result["cells"],
        "cells_lost": result["cells_lost"],
        "coverage": result["coverage"],
        "unknown_cells": result["unknown_cells"],
        "mean_confidence": result["mean_confidence"],
        "domain_gap_auc": (result["domain_gap"] or {}).get("auc"),
        "scenario": (run.pair(result) or {}).get("scenario"),
        **{name: evaluation.get(name) for name in MEASURES},
        "barcodes": (run.sample(result["query"]) or {}).get("barcodes"),
        "preset": training.get("preset"),
        "target_error": training.get("target_error"),
        "threshold": result.get("threshold", training.get("threshold")),
        "best_baseline": baseline,
        "best_baseline_accuracy": values.get("accuracy"),
        **trust(result),
    }


def summary(run: Run) -> pd.DataFrame:
    """Return the table of queries; a number that is not known is empty."""
    table = pd.DataFrame([_line(run, result) for result in run.results], columns=COLUMNS)
    return table.astype(dict.fromkeys(COUNTS, "Int64"))


def composition(run: Run) -> pd.DataFrame:
    """Return cells and their share of every type, Unknown included, of every query."""
    rows = [
        (result["group"], result["query"], cell_type, cells, cells / result["cells"] if result["cells"] else None)
        for result in run.results
        for cell_type, cells in result["composition"].items()
    ]
    return pd.DataFrame(rows, columns=["group", "query", "cell_type", "cells", "share"])


def _called(run: Run, sample: Json) -> Json:
    doublets = sample["fragments"]["doublets"] if sample["fragments"] else None
    removed = doublets if doublets and run.parameters.get("remove_doublets") else 0
    return {
        "barcodes": sample["barcodes"],
        "called": sample["cells"] + removed,
        "after_doublets": sample["cells"],
    }


def _annotated(result: Json) -> Json:
    evaluation = result["evaluation"] or {}
    empty = result.get("cells_without_counts")
    return {
        "annotated": result["cells"],
        "with_features": None if empty is None else result["cells"] - empty,
        "typed": result["cells"] - result["unknown_cells"],
        "labelled": evaluation.get("truth_cells"),
        "labelled_lost": evaluation.get("lost_cells"),
    }


def cells_lost(run: Run) -> pd.DataFrame:
    """Return the cells that each sample has left at each step, queries first; a number that is not known is empty."""
    rows = []
    for result in run.results:
        sample = run.sample(result["query"])
        name = {"sample": result["query"], "role": "query", "group": result["group"]}
        rows.append({**name, **(_called(run, sample) if sample else {}), **_annotated(result)})
    rows += [
        {"sample": sample["sample"], "role": "reference", "group": None, **_called(run, sample)}
        for sample, _ in run.only_references()
    ]
    table = pd.DataFrame(rows, columns=["sample", "role", "group", *STEPS])
    return table.astype(dict.fromkeys(STEPS, "Int64"))
