"""What was predicted: composition, confidence, margins."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from cellpredx.report.content import (
    UNKNOWN_COLOUR,
    Json,
    area_keys,
    colours,
    escape,
    line_section,
    marks,
    section,
    table_section,
)
from cellpredx.report.run import Run

UNKNOWN = "Unknown"


def _coverage(run: Run) -> Json:
    columns = {
        "cells": ("Cells", "Cells annotated", "count"),
        "cells_lost": ("Lost", "Expected cells that quality control removed", "count"),
        "coverage": ("With a type", "Share of the cells that got a type", "percent"),
        "threshold": ("Threshold", "Confidence under which a cell is Unknown", "number"),
        "unknown_cells": ("Unknown", "Cells whose calibrated confidence is under the threshold", "count"),
        "unknown_paper_cells": ("Unknown (paper)", "Cells whose raw probability is under 0.95", "count"),
        "mean_confidence": ("Mean confidence", "Mean calibrated confidence", "number"),
    }
    rows = {run.name(result): result for result in run.results}
    return table_section("predictions", "coverage", "Coverage", "Query", columns, rows)


def _composition(run: Run) -> Json:
    totals: Counter[str] = Counter()
    for result in run.results:
        totals.update(result["composition"])
    types = [name for name, cells in totals.most_common() if cells and name != UNKNOWN]
    fills = colours(types) | ({UNKNOWN: UNKNOWN_COLOUR} if totals[UNKNOWN] else {})
    categories = {escape(name): {"name": escape(name), "color": colour} for name, colour in fills.items()}
    data = {
        escape(run.name(result)): {escape(name): cells for name, cells in result["composition"].items()}
        for result in run.results
    }
    settings = {
        "ylab": "Cells",
        "series_label": "queries",
        "showlegend": False,
        "sort_samples": False,
        "use_legend": False,
        "cpswitch_counts_label": "Cells",
        "cpswitch_percent_label": "Share of cells",
    }
    text = "Cells of each predicted type, as they are in composition.csv." + area_keys(fills)
    return section("predictions", "composition", "Composition", "bargraph", data, text, settings, categories=categories)


def _thresholds(run: Run) -> set[float]:
    """Return the thresholds on the calibrated confidence."""
    found = {
        result["threshold"]
        for result in run.results
        if result.get("threshold") and (result["domain_gap"] or {}).get("threshold_on", "confidence") == "confidence"
    }
    return found or {m["threshold"] for m in run.training if m["threshold"] and m["threshold_on"] == "confidence"}


def _histogram(run: Run, key: str, title: str, axis: str, text: str, limits: Iterable[float] = ()) -> Json | None:
    """Return the shares of cells in a result's bins, a line a query; none where no result has them."""
    lines = {}
    for result in run.results:
        histogram = result.get(f"{key}_histogram")
        if histogram and (cells := sum(histogram["counts"])):
            middles = [round((low + high) / 2, 6) for low, high in pairwise(histogram["edges"])]
            lines[run.name(result)] = [
                (x, 100 * count / cells) for x, count in zip(middles, histogram["counts"], strict=True)
            ]
    if not lines:
        return None
    settings = {
        **{"xmin": 0, "xmax": 1, "ymin": 0, "style": "lines+markers", "x_lines": marks(limits)},
        "tt_label": "%{x:.2f}: %{y:.1f} % of the cells",
    }
    return line_section("predictions", key, title, (axis, "Cells (%)"), lines, text, settings)


def prediction_sections(run: Run) -> list[Json]:
    """Return coverage, composition, confidence and margins of the queries that have cells."""
    with_cells = replace(run, results=[r for r in run.results if r["cells"]])
    if not with_cells.results:
        return []
    limits = sorted(_thresholds(with_cells))
    text = "Confidence of the best type. Cells left of the dashed line (a model's threshold) are Unknown."
    confidence = _histogram(with_cells, "confidence", "Confidence", "Calibrated confidence", text, limits)
    text = "How far the best type's probability is ahead of the second's: near 0 the model wavers between two types."
    margin = _histogram(with_cells, "margin", "Margins", "Margin to the second type", text)
    sections = [_coverage(with_cells), _composition(with_cells), confidence, margin]
    return [one for one in sections if one]
