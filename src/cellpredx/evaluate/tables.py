"""An evaluation as tables, for those who work on in a spreadsheet, R or Python."""

from pathlib import Path
from typing import Any

import pandas as pd

from cellpredx.core.files import write_csv

SCORES = ("precision", "recall", "f1")
COUNTS = ("cells", "predicted", "correct", "unknown")
RELIABILITY = ["confidence", "accuracy", "cells", "low", "high"]


def metrics_table(evaluation: dict[str, Any]) -> pd.DataFrame:
    """Return a line a metric that is defined, of the model and of each plain classifier, with its interval."""
    methods = {"cellpredx": evaluation, **evaluation.get("baselines", {})}
    rows = []
    for method, values in methods.items():
        for metric, interval in values["intervals"].items():
            if values[metric] is not None:
                rows.append((method, metric, values[metric], *(interval or (None, None))))
    return pd.DataFrame(rows, columns=["method", "metric", "value", "low", "high"])


def per_type_table(evaluation: dict[str, Any]) -> pd.DataFrame:
    """Return a line a type: its scores by the model and by each plain classifier; types of the query alone last.

    For a type that the reference lacks: its cells, those that are Unknown, and how well novelty finds it.
    """
    baselines = evaluation.get("baselines", {})
    rows = []
    for name, scores in evaluation["per_type"].items():
        row = {"cell_type": name, "in_reference": True, **{key: scores[key] for key in (*COUNTS, *SCORES)}}
        for method, values in baselines.items():
            own = values["per_type"].get(name, {})
            row |= {f"{method}_{score}": own.get(score) for score in SCORES}
        rows.append(row)
    for name, values in evaluation["novelty"].items():
        kept = {"cells": values["cells"], "unknown": round(values["cells"] * (1 - values["accepted"]))}
        found = {f"novelty_{key}": values[key] for key in ("auroc", "average_precision", "base_rate")}
        rows.append({"cell_type": name, "in_reference": False, **kept, **found})
    columns = [
        *("cell_type", "in_reference", *COUNTS, *SCORES),
        *(f"{method}_{score}" for method in baselines for score in SCORES),
        *("novelty_auroc", "novelty_average_precision", "novelty_base_rate"),
    ]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(COUNTS, "Int64"))


def confusion_table(evaluation: dict[str, Any]) -> pd.DataFrame:
    """Return a line a pair of true and predicted type that occurs: cells, and their share of either type.

    First with Unknown where the threshold says so, then (`forced_`) with the most probable type of every cell.
    """
    tables = []
    for prefix, key in (("", "confusion"), ("forced_", "confusion_forced")):
        confusion = evaluation[key]
        index = pd.MultiIndex.from_product([confusion["truth"], confusion["predicted"]], names=["truth", "predicted"])
        cells = pd.Series([count for row in confusion["counts"] for count in row], index, dtype="int64")
        cells = cells[cells > 0]
        shares = {f"share_of_{side}": cells / cells.groupby(level=side).transform("sum") for side in index.names}
        tables.append(pd.DataFrame({"cells": cells, **shares}).add_prefix(prefix))
    # Text columns would sort by their types' names; Unknown stays last within a true type.
    table = tables[0].join(tables[1], how="outer").reset_index()
    table["last"] = table["predicted"] == "Unknown"
    table = table.sort_values(["truth", "last", "predicted"], ignore_index=True).drop(columns="last")
    counts = ["cells", "forced_cells"]
    return table.fillna(dict.fromkeys(counts, 0)).astype(dict.fromkeys(counts, "int64"))


def write_tables(evaluation: dict[str, Any], outdir: Path) -> None:
    """Write metrics.csv, per_type.csv, confusion.csv and reliability.csv."""
    write_csv(metrics_table(evaluation), outdir / "metrics.csv")
    write_csv(per_type_table(evaluation), outdir / "per_type.csv")
    write_csv(confusion_table(evaluation), outdir / "confusion.csv")
    write_csv(pd.DataFrame(evaluation["reliability"], columns=RELIABILITY), outdir / "reliability.csv")
