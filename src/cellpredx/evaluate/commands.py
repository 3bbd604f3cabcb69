"""`cellpredx evaluate`: predictions (and truth, where known) -> result.json, evaluation.json."""

import argparse
from collections.abc import Hashable
from pathlib import Path
from typing import Any

UNKNOWN = "Unknown"


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("evaluate", help="what a query's predictions are worth -> result.json, evaluation.json")
    parser.add_argument("--transfer", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--query", required=True)
    parser.add_argument("--predictions", required=True)
    parser.add_argument("--domain-gap", required=True)
    parser.add_argument("--determinants", required=True)
    parser.add_argument("--explain", help="what the determinants are worth: explain.json")
    parser.add_argument("--baselines", help="what plain classifiers say of the query's cells: <query>.baselines.csv")
    parser.add_argument("--labels", help="barcode, cell_type of the query")
    parser.add_argument("--outdir", default=".")
    parser.set_defaults(run=run)


def determinant(row: dict[Hashable, Any]) -> dict[str, Any]:
    """Return a row of determinants.csv as result.json has it: what is empty there is null."""
    names = (
        *("feature", "mean_attribution", "own_attribution", "frequency", "stability", "q"),
        *("is_marker", "nearest_gene", "distance"),
    )
    found = {name: None if row.get(name, "") == "" else row[name] for name in names}
    return {**found, "is_marker": {"True": True, "False": False}.get(str(found["is_marker"]))}


def run(args: argparse.Namespace) -> None:
    """Write what the report needs of a query, and its evaluation where labels are known."""
    import numpy as np
    import pandas as pd

    from cellpredx.baselines.classifiers import METHODS
    from cellpredx.core.errors import UserError
    from cellpredx.core.files import read_csv, read_json, write_json
    from cellpredx.evaluate.metrics import beside, evaluate
    from cellpredx.evaluate.tables import write_tables

    outdir = Path(args.outdir)
    predictions = read_csv(args.predictions, ("barcode", "predicted", "predicted_or_unknown", "warning"))
    gap = read_json(args.domain_gap)
    determinants = read_csv(args.determinants, ("cell_type", "feature", "nearest_gene"))
    explain = read_json(args.explain) if args.explain else None
    types = [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]
    baselines = read_csv(args.baselines, ("barcode", *METHODS)) if args.baselines else None
    methods = [] if baselines is None else [name for name in METHODS if name in baselines]
    evaluation, unknown_labels, truth = None, 0, None
    if args.labels:
        truth = pd.read_csv(args.labels, dtype=str, keep_default_na=False)
        # Whoever labelled such a cell did not know: there is nothing to agree with.
        unknown_labels = int((truth["cell_type"] == UNKNOWN).sum())
        truth = truth[truth["cell_type"] != UNKNOWN]
    if truth is not None and len(truth):
        if not truth["barcode"].isin(predictions["barcode"]).any():
            raise UserError(
                f"none of the {len(truth):,} labels of query {args.query} names one of its cells",
                None,
                f"the labels name cells such as {truth['barcode'].iloc[0]!r}, the matrix such as "
                f"{predictions['barcode'].iloc[0]!r}",
            )
        evaluation = {"group": args.group, "query": args.query, **evaluate(predictions, truth, types)}
        if baselines is not None:
            evaluation["baselines"] = beside(predictions, truth, types, baselines, methods)
        write_tables(evaluation, outdir)
        write_json(evaluation, outdir / "evaluation.json")
    counts, edges = np.histogram(predictions["confidence"], bins=np.arange(21) / 20)
    unknown = int((predictions["predicted_or_unknown"] == UNKNOWN).sum())
    counted = predictions["warning"].value_counts()
    warnings = [f"{n} cell{'' if n == 1 else 's'}: {w}" for w, n in counted.items() if w not in ("", "domain gap")]
    if unknown_labels:
        said = "1 label says" if unknown_labels == 1 else f"{unknown_labels:,} labels say"
        warnings.append(f"{said} Unknown: no part of the evaluation")
    agreement = None
    if baselines is not None:
        # Of a very large query they have a sample of the cells.
        both = predictions[["barcode", "predicted"]].merge(baselines, on="barcode")
        agreement = {name: {"agreement": float((both[name] == both["predicted"]).mean())} for name in methods}
    write_json(
        {
            "group": args.group,
            "query": args.query,
            "transfer": args.transfer,
            "cells": len(predictions),
            "cells_lost": evaluation["lost_cells"] if evaluation else None,
            "unknown_cells": unknown,
            "coverage": 1 - unknown / len(predictions),
            "unknown_paper_cells": int((predictions["unknown_paper"].astype(str) == "True").sum()),
            "mean_confidence": float(predictions["confidence"].mean()),
            "threshold": gap["threshold"],
            "types": types,
            "composition": {
                name: int((predictions["predicted_or_unknown"] == name).sum()) for name in [*types, UNKNOWN]
            },
            "confidence_histogram": {"edges": edges, "counts": counts},
            "margin_histogram": {"edges": edges, "counts": np.histogram(predictions["margin"], bins=edges)[0]},
            "cells_without_counts": int(predictions["warning"].str.contains("no counts").sum()),
            "domain_gap": gap,
            "determinants": {
                str(name): [determinant(row) for row in part.to_dict("records")]
                for name, part in determinants.groupby("cell_type", sort=False)
            },
            "explain": explain,
            "baselines": agreement,
            "evaluation": evaluation,
            "warnings": warnings,
        },
        outdir / "result.json",
    )
