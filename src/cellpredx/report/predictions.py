"""What was predicted: composition, confidence, agreement with labels, determinant features."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

from cellpredx.report.content import (
    UNKNOWN_COLOUR,
    Html,
    Json,
    colours,
    escape,
    html_section,
    html_table,
    line_section,
    marks,
    number,
    percent,
    section,
    table_section,
)
from cellpredx.report.run import Run

UNKNOWN = "Unknown"
TOP_FEATURES = 5


def _coverage(run: Run) -> Json:
    columns = {
        "cells": ("Cells", "Cells annotated", "count"),
        "cells_lost": ("Lost", "Expected cells that quality control removed", "count"),
        "coverage": ("With a type", "Share of the cells that got a type", "percent"),
        "unknown_cells": ("Unknown", "Cells whose calibrated confidence is under the threshold", "count"),
        "unknown_paper_cells": ("Unknown (paper)", "Cells whose raw probability is under 0.95", "count"),
        "mean_confidence": ("Mean confidence", "Mean calibrated confidence", "number"),
        "auc": ("Domain gap", "AUC of telling query from reference; 0.5 is no gap, 1 a full one", "number"),
    }
    rows = {run.name(result): {**result, **(result["domain_gap"] or {})} for result in run.results}
    return table_section("predictions", "coverage", "Coverage", "Query", columns, rows)


def _composition(run: Run) -> Json:
    totals: Counter[str] = Counter()
    for result in run.results:
        totals.update(result["composition"])
    types = [name for name, cells in totals.most_common() if cells and name != UNKNOWN]
    categories = {escape(name): {"name": escape(name), "color": colour} for name, colour in colours(types).items()}
    if totals[UNKNOWN]:
        categories[escape(UNKNOWN)] = {"name": UNKNOWN, "color": UNKNOWN_COLOUR}
    data = {
        escape(run.name(result)): {escape(name): cells for name, cells in result["composition"].items()}
        for result in run.results
    }
    settings = {
        "ylab": "Cells",
        "series_label": "queries",
        "cpswitch_counts_label": "Cells",
        "cpswitch_percent_label": "Share of cells",
    }
    text = "Cells of each predicted type."
    return section("predictions", "composition", "Composition", "bargraph", data, text, settings, categories=categories)


def _confidence(run: Run) -> Json:
    lines = {}
    for result in run.results:
        edges, counts = result["confidence_histogram"]["edges"], result["confidence_histogram"]["counts"]
        cells = sum(counts)
        if cells:
            middles = [round((low + high) / 2, 6) for low, high in pairwise(edges)]
            lines[run.name(result)] = [(x, 100 * count / cells) for x, count in zip(middles, counts, strict=True)]
    settings = {
        "xmin": 0,
        "xmax": 1,
        "ymin": 0,
        "style": "lines+markers",
        "x_lines": marks(m["threshold"] for m in run.training if m["threshold_on"] == "confidence"),
    }
    text = "Confidence of the best type. Cells left of the dashed line (a model's threshold) are Unknown."
    axes = ("Calibrated confidence", "Cells (%)")
    return line_section("predictions", "confidence", "Confidence", axes, lines, text, settings)


def prediction_sections(run: Run) -> list[Json]:
    """Return coverage, composition and confidence of the queries that have cells."""
    with_cells = replace(run, results=[r for r in run.results if r["cells"]])
    if not with_cells.results:
        return []
    return [_coverage(with_cells), _composition(with_cells), _confidence(with_cells)]


def _agreement_tables(evaluations: dict[str, Json]) -> list[Json]:
    agreement = {
        "truth_cells": ("Labelled", "Cells with a label", "count"),
        "evaluated_cells": ("Evaluated", "Labelled cells that were predicted", "count"),
        "accuracy": ("Accuracy", "Over predicted cells whose type the reference has, before Unknown", "percent"),
        "accuracy_all_truth": ("Accuracy, all", "The same, and lost cells count as wrong", "percent"),
        "macro_f1": ("Macro-F1", "Mean over types of the F1 score, before Unknown", "number"),
        "coverage": ("With a type", "Share of the evaluated cells that got a type", "percent"),
        "selective_accuracy": ("Accuracy, typed", "Over cells that got a type", "percent"),
        "macro_f1_unknown": ("Macro-F1, Unknown", "Macro-F1 with Unknown as a class of its own", "number"),
    }
    calibration = {
        "ece": ("ECE", "Expected calibration error: confidence against accuracy; 0 is perfect", "number"),
        "brier": ("Brier", "Brier score; 0 is perfect", "number"),
        "nll": ("NLL", "Negative log likelihood of the labels; lower is better", "number"),
    }
    text = (
        "Accuracy and macro-F1 are those of the best type, before any cell is Unknown, over the reference's types. "
        "In 'all', labelled cells that quality control removed count as wrong; 'typed' is over cells that got a type."
    )
    sections = [
        table_section("accuracy", "table", "Accuracy", "Query", agreement, evaluations, text),
        table_section("accuracy", "calibration", "Calibration", "Query", calibration, evaluations),
    ]
    novel = {name: values for name, values in evaluations.items() if values["novel_types"]}
    if novel:
        columns = {
            "types": ("Types", "Types that the reference does not have", "text"),
            "novelty_base_rate": ("Cells", "Share of the cells that have such a type", "percent"),
            "novelty_auroc": ("AUROC", "Area under the ROC curve of finding them; 0.5 is chance", "number"),
            "novelty_average_precision": ("Average precision", "Of finding them; chance is their share", "number"),
            "oscr": ("OSCR", "Correct known cells against novel cells accepted, area under the curve", "number"),
        }
        rows = {name: {**values, "types": ", ".join(values["novel_types"])} for name, values in novel.items()}
        sections.append(table_section("accuracy", "novelty", "Novel types", "Query", columns, rows))
    return sections


def _per_type(evaluations: dict[str, Json]) -> Json:
    rows = [
        (name, cell_type, number(v["cells"]), number(v["precision"]), number(v["recall"]), number(v["f1"]))
        for name, evaluation in evaluations.items()
        for cell_type, v in evaluation["per_type"].items()
    ]
    headers = ("Query", "Type", "Cells", "Precision", "Recall", "F1")
    return html_section("accuracy", "per_type", "Each type", html_table(headers, rows))


def _confusion(index: int, name: str, confusion: Json) -> Json | None:
    rows = [(truth, row, sum(row)) for truth, row in zip(confusion["truth"], confusion["counts"], strict=True)]
    rows = [row for row in rows if row[2]]
    if not rows:
        return None
    settings = {
        # MultiQC gives heatmaps no axis titles.
        "title": f"{escape(name)}<br><sup>Rows: known type; columns: predicted; %</sup>",
        "xlab": "Predicted type",
        "ylab": "Known type",
        "zlab": "% of the known type",
        "min": 0,
        "max": 100,
        "colstops": [[0, "#ffffff"], [0.5, "#6baed6"], [1, "#08306b"]],
        "display_values": True,
        "legend": False,
        "tt_decimals": 0,
        "height": 200 + 36 * len(rows),
        "square": False,
        "series_label": False,
        "xcats_samples": False,
        "ycats_samples": False,
        "cluster_rows": False,
        "cluster_cols": False,
    }
    shares = [[100 * count / cells for count in row] for _, row, cells in rows]
    return section(
        "accuracy",
        f"confusion_{index}",
        f"Confusion matrix: {escape(name)}",
        "heatmap",
        shares,
        settings=settings,
        xcats=[escape(predicted) for predicted in confusion["predicted"]],
        ycats=[f"{escape(truth)} (n = {cells:,})" for truth, _, cells in rows],
    )


def accuracy_sections(run: Run) -> list[Json]:
    """Return how predictions agree with labels; none where no query came with labels."""
    evaluations = {run.name(result): result["evaluation"] for result in run.results if result["evaluation"]}
    if not evaluations:
        return []
    matrices = (_confusion(i, name, e["confusion"]) for i, (name, e) in enumerate(evaluations.items(), start=1))
    return [*_agreement_tables(evaluations), *(m for m in matrices if m), _per_type(evaluations)]


def determinant_sections(run: Run) -> list[Json]:
    """Return the top features of each type of each query."""
    rows = []
    for result in run.results:
        for cell_type, features in result["determinants"].items():
            cells = [
                Html(
                    f"{escape(top['feature'])}<br><small>{number(top['mean_attribution'])}"
                    f" · {percent(top['frequency'])}</small>"
                )
                for top in features[:TOP_FEATURES]
            ]
            if cells:
                rows.append((run.name(result), cell_type, *cells, *[""] * (TOP_FEATURES - len(cells))))
    if not rows:
        return []
    headers = ("Query", "Type", *(f"Feature {rank}" for rank in range(1, TOP_FEATURES + 1)))
    text = (
        f"The {TOP_FEATURES} features with the highest mean attribution; under each, that mean and the share of the "
        "type's cells in which the feature is among the strongest. All are in determinants.csv."
    )
    return [html_section("determinants", "table", "Top features of each type", html_table(headers, rows), text)]
