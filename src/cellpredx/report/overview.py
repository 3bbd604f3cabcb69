"""The report's top: how each query fared, what to distrust, and what was read."""

from collections import Counter

import pandas as pd

from cellpredx.report.content import (
    Html,
    Json,
    escape,
    html_section,
    html_table,
    listed,
    number,
    percent,
    stacked_table,
    table_section,
)
from cellpredx.report.run import Run
from cellpredx.report.status import LEVELS, Finding, level
from cellpredx.report.summary import STEPS, cells_lost

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


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _in_words(run: Run) -> str:
    """Return how many samples and cells there were, and what became of them."""
    queries = {result["query"]: result for result in run.results}
    references = run.only_references()
    cells = sum(result["cells"] for result in queries.values())
    annotated = sum(result["cells"] for result in run.results)
    unknown = sum(result["unknown_cells"] for result in run.results)
    sizes = [sample for sample in run.samples if sample["sample"] in queries]
    # A query of two groups is annotated twice.
    twice = len(run.results) > len(queries)
    times = f" in {len(run.results):,} transfers" if twice else ""
    text = [
        f"{_plural(len(queries), 'query', 'queries')}{times}"
        + (f" and {_plural(len(references), 'reference')}" if references else ", with a ready model")
        + f" were read; {_plural(cells, 'cell')} of the queries "
        + ("was annotated." if cells == 1 else "were annotated.")
    ]
    fragments = [sample for sample in sizes if sample["fragments"]]
    if fragments:
        barcodes, called = sum(s["barcodes"] for s in fragments), sum(s["cells"] for s in fragments)
        text.append(f"Of {_plural(barcodes, 'barcode')} in their fragment files, {called:,} were taken as cells.")
    if cells:
        typed = annotated - unknown
        counted = ", each counted in every transfer it is in" if twice else ""
        text.append(f"{typed:,} cells ({percent(typed / annotated)}) got a type, {unknown:,} are Unknown{counted}.")
    known = [r for r in run.results if r["evaluation"] and r["evaluation"]["accuracy"] is not None]
    measured, labelled = [r["evaluation"] for r in known], len({r["query"] for r in known})
    if measured:
        low, high = min(e["accuracy"] for e in measured), max(e["accuracy"] for e in measured)
        between = percent(low) if len(measured) == 1 else f"between {percent(low)} and {percent(high)}"
        having = "The query agrees with its" if labelled == 1 else f"{labelled:,} queries agree with their"
        text.append(f"{having} labels in {between} of the cells whose type the reference has.")
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in text)


def _distrust(judged: list[tuple[str, list[Finding]]]) -> Html:
    """Return what is to be distrusted, the worst and the most frequent first, each kind with one remedy."""
    kinds: dict[str, list[tuple[str, Finding]]] = {}
    for name, findings in judged:
        first: dict[str, Finding] = {}
        for finding in findings:
            first.setdefault(finding.topic, finding)
        for topic, finding in first.items():
            kinds.setdefault(topic, []).append((name, finding))
    if not kinds:
        return Html("<p>Nothing was found that speaks against these results.</p>")

    def rank(found: list[tuple[str, Finding]]) -> tuple[int, bool, int]:
        # What nothing can be done about is a note.
        remedied = any(finding.remedy for _, finding in found)
        return max(LEVELS.index(finding.level) for _, finding in found), remedied, len(found)

    items = []
    for topic, found in sorted(kinds.items(), key=lambda kind: rank(kind[1]), reverse=True):
        found.sort(key=lambda one: -LEVELS.index(one[1].level))
        worst = found[0][1]
        names = list(dict.fromkeys(name for name, _ in found))
        instance = worst.reason if len(names) == 1 else f"For instance {found[0][0]}: {worst.reason}"
        remedy = f"<br><em>What to do:</em> {escape(worst.remedy)}" if worst.remedy else ""
        items.append(
            f"<li>{_badge(worst.level)} <strong>{escape(topic)}</strong> ({escape(listed(names))}). "
            f"{escape(instance)}{remedy}</li>"
        )
    return Html(f'<p>What to distrust, the worst first:</p><ul class="cellpredx-findings">{"".join(items)}</ul>')


def summary_sections(run: Run) -> list[Json]:
    """Return what a reader asks first, in words, and each sample's verdict with why and what to do."""
    if not run.results:
        return []
    queries = [(result, run.findings(result)) for result in run.results]
    references = run.only_references()
    levels = Counter(level(findings) for _, findings in queries)
    counts = " ".join(f"{_badge(state)} {levels[state]:,}" for state in reversed(LEVELS) if levels[state])
    judged = [(run.name(result), findings) for result, findings in queries]
    overview = f"{_in_words(run)}<p>Status of the queries: {counts}</p>{_distrust(judged)}"
    rows = [
        (
            *(_badge(level(findings)), run.name(result), "query", number(result["cells"]), percent(result["coverage"])),
            *_why(findings),
        )
        for result, findings in sorted(queries, key=lambda one: -LEVELS.index(level(one[1])))
    ]
    rows += [
        (_badge(level(findings)), sample["sample"], "reference", number(sample["cells"]), "-", *_why(findings))
        for sample, findings in references
    ]
    headers = ("Status", "Sample", "Role", "Cells", "With a type", "Why", "What to do")
    return [
        html_section("summary", "overview", "At a glance", overview),
        html_section("summary", "samples", "Status of each sample", stacked_table(headers, rows)),
    ]


def _why(findings: list[Finding]) -> tuple[object, object]:
    if not findings:
        return "Nothing noteworthy.", "-"
    remedies = list(dict.fromkeys(finding.remedy for finding in findings if finding.remedy))
    return _lines([finding.reason for finding in findings]), _lines(remedies) or "-"


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


def step_sections(run: Run) -> list[Json]:
    """Return the table of the cells that each sample has left at each step."""
    table = cells_lost(run)
    if table.empty:
        return []
    columns = [name for name in STEPS if table[name].notna().any()]
    # The queries come first, in the order of the results.
    names = [*(run.name(result) for result in run.results), *table["sample"][len(run.results) :]]
    rows = [
        (shown, row["role"], *(number(None if pd.isna(row[name]) else row[name]) for name in columns))
        for shown, row in zip(names, table.to_dict("records"), strict=True)
    ]
    text = (
        "Cells that are left after each step, from the barcodes of the file to the cells that got a type; a dash where "
        "a step is not known or does not apply. All of it is in cells_lost.csv."
    )
    headers = ("Sample", "Role", *(STEPS[name] for name in columns))
    return [html_section("samples", "steps", "Cells at each step", html_table(headers, rows), text)]
