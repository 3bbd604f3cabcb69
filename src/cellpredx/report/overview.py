"""The report's top: how each query fared, and what was read."""

from cellpredx.report.content import Html, Json, escape, html_section, html_table, number, percent, table_section
from cellpredx.report.run import Run
from cellpredx.report.status import level

# Blue, yellow and dark red with a word on each: told apart without colour too.
BADGES = {"pass": ("#0072B2", "#ffffff"), "warn": ("#F0E442", "#000000"), "fail": ("#A32A00", "#ffffff")}
KINDS = {
    "fragments": "fragments",
    "peaks": "peak counts",
    "gene_activity": "gene activity",
    "genes": "gene counts",
}


def _badge(state: str) -> Html:
    ground, ink = BADGES[state]
    return Html(f'<span class="badge" style="background-color:{ground};color:{ink}">{state}</span>')


def _lines(texts: list[str]) -> Html:
    return Html("<br>".join(escape(text) for text in texts))


def status_sections(run: Run) -> list[Json]:
    """Return the status table: each query's verdict, why, and the remedy."""
    if not run.results:
        return []
    rows = []
    for result in run.results:
        findings = run.findings(result)
        rows.append(
            (
                _badge(level(findings)),
                run.name(result),
                number(result["cells"]),
                percent(result["coverage"]),
                _lines([f.reason for f in findings]) if findings else "Nothing noteworthy.",
                _lines([f.remedy for f in findings if f.remedy]) or "-",
            )
        )
    queries = {result["query"]: result["cells"] for result in run.results}
    counts = (
        f"<p>Samples read: {len(run.samples):,}. Queries: {len(queries):,}. "
        f"Cells annotated: {sum(queries.values()):,}.</p>"
    )
    headers = ("Status", "Query", "Cells", "With a type", "Why", "What to do")
    return [html_section("status", "queries", "Status", counts + html_table(headers, rows))]


def sample_sections(run: Run) -> list[Json]:
    """Return the table of samples."""
    if not run.samples:
        return []
    columns = {
        "modality": ("Modality", "RNA or ATAC", "text"),
        "kind": ("Read as", "What the sample's file holds", "text"),
        "libraries": ("Libraries", "Libraries of the sample", "count"),
        "cells": ("Cells", "Cells that go on", "count"),
        "barcodes": ("Barcodes", "Barcodes seen; equal to cells for a matrix", "count"),
        "features": ("Features", "Rows of the sample's matrix; empty for fragments", "count"),
        "median_counts": ("Median counts", "Median counts a cell; for fragments, fragments a cell", "count"),
        "median_features": ("Median features", "Median number of features seen in a cell", "count"),
    }
    rows = {
        sample["sample"]: {
            **sample,
            "modality": sample["modality"].upper(),
            "kind": KINDS.get(sample["kind"], sample["kind"]),
            "libraries": len(sample["libraries"]),
        }
        for sample in run.samples
    }
    return [table_section("samples", "table", "Samples", "Sample", columns, rows)]


def matrix_sections(run: Run) -> list[Json]:
    """Return the table of the matrices that were counted from fragments."""
    if not run.counted:
        return []
    columns = {
        "counting": ("Counting", "How a fragment counts in a feature", "text"),
        "features": ("Features", "Peaks, windows with a count, or genes", "count"),
        "median_counts": ("Median counts", "Median counts a cell", "count"),
        "median_features": ("Median features", "Median number of features seen in a cell", "count"),
    }
    rows = {f"{one['sample']}: {one['name']}": one for one in run.counted}
    return [table_section("samples", "matrices", "Matrices counted from fragments", "Matrix", columns, rows)]
