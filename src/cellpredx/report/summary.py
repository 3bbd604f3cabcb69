"""summary.csv: one line a query of a transfer."""

import pandas as pd

from cellpredx.report.content import Json
from cellpredx.report.run import Run
from cellpredx.report.status import level

COLUMNS = [
    *("group", "query", "status", "reason", "cells", "cells_lost", "coverage", "unknown_cells", "mean_confidence"),
    *("domain_gap_auc", "scenario", "accuracy", "accuracy_all_truth", "macro_f1", "novelty_auroc", "ece"),
    "evaluated_cells",
]
COUNTS = ("cells", "cells_lost", "unknown_cells", "evaluated_cells")
MEASURES = ("accuracy", "accuracy_all_truth", "macro_f1", "novelty_auroc", "ece", "evaluated_cells")


def _line(run: Run, result: Json) -> Json:
    findings = run.findings(result)
    evaluation = result["evaluation"] or {}
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
    }


def summary(run: Run) -> pd.DataFrame:
    """Return the table; a number that is not known is empty."""
    table = pd.DataFrame([_line(run, result) for result in run.results], columns=COLUMNS)
    return table.astype(dict.fromkeys(COUNTS, "Int64"))
