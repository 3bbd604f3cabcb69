"""How predictions agree with labels, where a query came with some."""

from collections.abc import Iterable

from cellpredx.report.calibration import calibration_sections
from cellpredx.report.content import (
    Html,
    Json,
    escape,
    folded,
    html_section,
    html_table,
    number,
    percent,
    table_section,
)
from cellpredx.report.run import Run


def _interval(evaluation: Json, metric: str) -> str | None:
    low, high = (evaluation.get("intervals") or {}).get(metric) or (None, None)
    if low is None or high is None:
        return None
    return f"{100 * low:.1f} to {100 * high:.1f} %" if metric == "accuracy" else f"{low:.2f} to {high:.2f}"


def _agreement(evaluations: dict[str, Json]) -> Json:
    columns = {
        "truth_cells": ("Labelled", "Cells with a label", "count"),
        "evaluated_cells": ("Evaluated", "Labelled cells that were predicted", "count"),
        "accuracy": ("Accuracy", "Over predicted cells whose type the reference has, before Unknown", "percent"),
        "accuracy_interval": ("95 % interval", "Of the accuracy, by bootstrap over cells", "text"),
        "accuracy_all_truth": ("Accuracy, all", "The same, and lost cells count as wrong", "percent"),
        "macro_f1": ("Macro-F1", "Mean over types of the F1 score, before Unknown", "number"),
        "macro_f1_interval": ("95 % interval", "Of the macro-F1, by bootstrap over cells", "text"),
        "coverage": ("With a type", "Share of the evaluated cells that got a type", "percent"),
        "selective_accuracy": ("Accuracy, typed", "Over cells that got a type", "percent"),
        "macro_f1_unknown": ("Macro-F1, Unknown", "Macro-F1 with Unknown as a class of its own", "number"),
    }
    rows = {
        name: evaluation | {f"{metric}_interval": _interval(evaluation, metric) for metric in ("accuracy", "macro_f1")}
        for name, evaluation in evaluations.items()
    }
    known = {key for values in rows.values() for key, value in values.items() if value is not None}
    text = (
        "Accuracy and macro-F1 are those of the best type, before any cell is Unknown, over the reference's types. "
        "In 'all', labelled cells that quality control removed count as wrong; 'typed' is over cells that got a type."
    )
    shown = {key: column for key, column in columns.items() if key in known}
    return table_section("accuracy", "table", "Accuracy", "Query", shown, rows, text)


def _novelty(evaluations: dict[str, Json]) -> list[Json]:
    """Return how well cells of types that the reference lacks are told; none where there are no such cells."""
    novel = {name: values for name, values in evaluations.items() if values["novel_types"]}
    if not novel:
        return []
    columns = {
        "types": ("Types", "Types that the reference does not have", "text"),
        "novelty_base_rate": ("Cells", "Share of the cells that have such a type", "percent"),
        "novelty_auroc": ("AUROC", "Area under the ROC curve of finding them; 0.5 is chance", "number"),
        "novelty_average_precision": ("Average precision", "Of finding them; chance is their share", "number"),
        "oscr": ("OSCR", "Correct known cells against novel cells accepted, area under the curve", "number"),
    }
    rows = {name: {**values, "types": ", ".join(values["novel_types"])} for name, values in novel.items()}
    text = (
        "Whether cells whose type the reference lacks have the highest novelty in predictions.csv: the least "
        "confidence, or, with the preset tuned inside one modality, a place unlike the reference's. "
        "From RNA to ATAC novelty is a weak guide: where a real type was kept from the reference, it was no better "
        "than chance."
    )
    sections = [table_section("accuracy", "novelty", "Novel types", "Query", columns, rows, text)]
    types = [
        (
            *(name, cell_type, number(v["cells"]), percent(v["base_rate"]), number(v["auroc"])),
            *(number(v["average_precision"]), percent(v["accepted"])),
        )
        for name, values in novel.items()
        for cell_type, v in (values.get("novelty") or {}).items()
    ]
    if types:
        headers = ("Query", "Novel type", "Cells", "Share", "AUROC", "Average precision", "Given a type nonetheless")
        sections.append(html_section("accuracy", "novelty_types", "Each novel type", html_table(headers, types)))
    return sections


def _per_type(evaluations: dict[str, Json]) -> Json:
    rows = [
        (name, cell_type, number(v["cells"]), number(v["precision"]), number(v["recall"]), number(v["f1"]))
        for name, evaluation in evaluations.items()
        for cell_type, v in evaluation["per_type"].items()
    ]
    headers = ("Query", "Type", "Cells", "Precision", "Recall", "F1")
    return html_section("accuracy", "per_type", "Each type", html_table(headers, rows))


def _share(count: int, cells: int) -> str:
    if not count:
        return "<td></td>"
    share = count / cells
    return f'<td style="--s:{share:.2f}">{100 * share:.0f}</td>' if share >= 0.005 else "<td>&lt;1</td>"


def _confusion(confusion: Json) -> Html:
    """Return a table of the known types' cells by what was predicted, in % of the known type; shaded by that share."""
    head = "".join(f"<th>{escape(name)}</th>" for name in confusion["predicted"])
    rows = "".join(
        f"<tr><th>{escape(truth)} <small>(n = {sum(counts):,})</small></th>"
        f"{''.join(_share(count, sum(counts)) for count in counts)}</tr>"
        for truth, counts in zip(confusion["truth"], confusion["counts"], strict=True)
        if sum(counts)
    )
    return Html(
        '<div class="table-responsive"><table class="table table-sm cellpredx-heat">'
        f"<thead><tr><th>Known type ↓, predicted →</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _confusions(evaluations: dict[str, Json]) -> list[Json]:
    pieces = []
    for name, evaluation in evaluations.items():
        tables = _confusion(evaluation["confusion"])
        if forced := evaluation.get("confusion_forced"):
            tables = Html(f"{tables}<p>With the best type of every cell, none left Unknown:</p>{_confusion(forced)}")
        if any(sum(counts) for counts in evaluation["confusion"]["counts"]):
            pieces.append((name, tables))
    if not pieces:
        return []
    text = "Rows: known type; columns: predicted type; numbers: % of the known type's cells, empty for none."
    return [html_section("accuracy", "confusion", "Confusion", folded(pieces), text)]


def _with_near(name: str, nearest: dict[str, str]) -> str:
    return f"{name} (near: {nearest[name]})" if name in nearest else name


def _label_names(evaluations: dict[str, Json]) -> list[Json]:
    def listed(names: Iterable[str]) -> str:
        return ", ".join(names) or "-"

    rows = [
        (
            name,
            number(len(names["matched"])),
            listed(_with_near(one, names.get("nearest", {})) for one in names["only_in_query"]),
            listed(names["only_in_reference"]),
        )
        for name, evaluation in evaluations.items()
        if (names := evaluation.get("label_names"))
    ]
    if not rows:
        return []
    text = "Names are compared letter by letter. Give --label_map where one type has two names."
    headers = ("Query", "Names in both", "In the query's labels alone", "In the reference alone")
    return [html_section("accuracy", "names", "Label names", html_table(headers, rows), text)]


def accuracy_sections(run: Run) -> list[Json]:
    """Return how predictions agree with labels; none where no query came with labels."""
    evaluations = {run.name(result): result["evaluation"] for result in run.results if result["evaluation"]}
    if not evaluations:
        return []
    return [
        *(_agreement(evaluations), _per_type(evaluations), *_confusions(evaluations)),
        *(*calibration_sections(evaluations), *_novelty(evaluations), *_label_names(evaluations)),
    ]
