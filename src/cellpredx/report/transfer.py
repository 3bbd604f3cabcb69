"""How references and queries were joined, and how the models were trained."""

from cellpredx.report.content import (
    Json,
    Points,
    escape,
    html_section,
    html_table,
    line_keys,
    line_section,
    line_settings,
    line_styles,
    listed,
    number,
    percent,
    table_section,
)
from cellpredx.report.run import Run

SCENARIOS = {
    "matched": "matched RNA → ATAC",
    "unmatched": "unmatched RNA → ATAC",
    "atac": "ATAC → ATAC",
    "rna": "RNA → RNA",
}
JOINS = {
    "gene_name": "gene name",
    "gene_id": "gene id",
    "coordinates": "equal coordinates",
    "overlap": "overlapping peaks",
    "bundle": "the features of the model bundle",
}
PEAKS = {
    "bundle": "of the model bundle",
    "reference": "of the reference's matrix",
    "given": "given",
    "query": "of the query's matrix",
    "called": "called, one set for the group",
    "none": "-",
}
LOSSES = {
    "total": "Total",
    "cross_entropy": "Cross-entropy",
    "projection": "Projection",
    "contrastive": "Contrastive",
    "alignment": "Alignment",
    "sparse_centre": "Sparse centre",
}


def pairing_sections(run: Run) -> list[Json]:
    """Return the table of transfers: scenario, overlap, features and how they were joined."""
    if not run.pairs:
        return []
    headers = (
        *("Transfer", "Scenario", "Chosen", "References", "Queries", "Barcode overlap"),
        *("Features", "Shared", "In the reference", "In the query", "Joined by", "Peaks"),
    )
    rows = [
        (
            pair["transfer"],
            SCENARIOS.get(pair["scenario"], pair["scenario"]),
            "by the data" if pair["chosen"] == "auto" else "by --scenario",
            ", ".join(pair["references"]) or "-",
            listed(pair["queries"]),
            percent(pair["barcode_overlap"]),
            pair["features"].replace("_", " "),
            number(pair["shared_features"]),
            number(pair["reference_features"]),
            number(pair["query_features"]),
            JOINS.get(pair["joined_by"], pair["joined_by"]),
            PEAKS[pair["peak_source"]],
        )
        for pair in run.pairs
    ]
    text = "Barcode overlap: share of the query's cells that carry a barcode of the reference; it decides the scenario."
    return [html_section("pairing", "table", "Reference and query", html_table(headers, rows), text)]


def _training_table(training: list[Json]) -> Json:
    columns = {
        "preset": ("Preset", "The set of hyper-parameters", "text"),
        "reference_cells": ("Cells", "Labelled cells that the model learnt from", "count"),
        "types": ("Types", "Cell types of the reference", "count"),
        "iterations": ("Iterations", "Steps that training took", "count"),
        "stopped": ("Stopped", "Whether the loss had settled or the steps had run out", "text"),
        "held_out": ("Kept from training", "What the calibration kept: whole batches, or half of each type", "text"),
        "held_out_accuracy": ("Accuracy", "On reference cells kept from training", "percent"),
        "held_out_coverage": ("Coverage", "Share of the cells kept from training that got a type", "percent"),
        "target_error": ("Target error", "Share of wrong labels aimed at among the cells that get a type", "percent"),
        "threshold": ("Threshold", "Calibrated confidence under which a cell is Unknown", "number"),
        "temperature": ("Temperature", "Divides the scores before they become probabilities", "number"),
        "device": ("Device", "Where training ran", "text"),
        "seconds": ("Time (s)", "Time that training took, in seconds", "count"),
    }
    stops = {"early": "settled", "iterations": "all done"}
    rows = {
        model["transfer"]: {
            **model,
            "reference_cells": sum(model["labels"].values()),
            "types": len(model["labels"]),
            "held_out": "batches" if model["held_out_by_batch"] else "cells",
            "stopped": stops.get(model["stopped"], model["stopped"]),
        }
        for model in training
    }
    text = "Accuracy and coverage are those of the reference's own cells that were kept from training."
    return table_section("training", "table", "Models", "Transfer", columns, rows, text)


def training_sections(run: Run) -> list[Json]:
    """Return the table of models, and their losses with one button a term."""
    if not run.training:
        return []
    curves = {}
    for key, title in LOSSES.items():
        lines: dict[str, Points] = {}
        for model in run.training:
            steps, values = model["losses"]["iteration"], model["losses"].get(key) or []
            points = [(step, value) for step, value in zip(steps, values, strict=False) if value is not None]
            if any(value for _, value in points):
                lines[escape(model["transfer"])] = points
        if lines:
            curves[title] = lines
    sections = [_training_table(run.training)]
    if curves:
        text = "Each term of the loss, as weighted in the total. The total should fall and then stay level."
        buttons = [{"name": title, "ylab": f"{title} loss"} for title in curves]
        styles = line_styles(model["transfer"] for model in run.training)
        settings = {"data_labels": buttons}
        plot = line_section("training", "losses", "Loss", ("Iteration", "Loss"), {}, text + line_keys(styles))
        plot["pconfig"] |= line_settings(("Iteration", "Loss"), styles, settings)
        sections.append(plot | {"data": list(curves.values())})
    return sections
