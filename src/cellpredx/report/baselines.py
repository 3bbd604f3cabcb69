"""What plain classifiers make of the same cells, beside the model."""

from cellpredx.report.content import Html, Json, escape, filled_table, html_section, html_table, listed, number, percent
from cellpredx.report.run import Run
from cellpredx.report.status import better_baseline

NAMES = {
    "logistic_regression": "Logistic regression",
    "nearest_neighbours": "Nearest neighbours",
    "celltypist": "CellTypist",
}


def _left_out(run: Run) -> str:
    """Return in words what was asked for and could not be run, each reason once."""
    reasons = dict.fromkeys(
        (NAMES[method], reason) for transfer in run.baselines for method, reason in transfer["left_out"].items()
    )
    return "".join(f" {method} was left out: {escape(reason)}." for method, reason in reasons)


def agreement_sections(run: Run) -> list[Json]:
    """Return how often plain classifiers give a query's cells the model's type: known without labels too."""
    rows = [
        (run.name(result), *(percent((result["baselines"].get(method) or {}).get("agreement")) for method in NAMES))
        for result in run.results
        if result.get("baselines")
    ]
    if not rows:
        return []
    text = (
        "Share of the cells to which a plain classifier, trained on the same reference and features, gives the type "
        "that CellPredX gives, before any cell is Unknown. It does not tell which of the two is right." + _left_out(run)
    )
    table = html_table(("Query", *NAMES.values()), rows)
    return [html_section("predictions", "agreement", "Agreement with plain classifiers", table, text)]


def _comparison(name: str, evaluation: Json) -> list[tuple[object, ...]]:
    def shown(values: Json) -> tuple[str, ...]:
        low, high = (values.get("intervals") or {}).get("accuracy") or (None, None)
        interval = "-" if low is None or high is None else f"{100 * low:.1f} to {percent(high)}"
        return percent(values["accuracy"]), interval, number(values["macro_f1"]), number(values.get("ece"))

    rows: list[tuple[object, ...]] = [(name, "CellPredX", *shown(evaluation), "-", "-", "-")]
    for method, values in evaluation["baselines"].items():
        alone = (number(values["model_alone_right"]), number(values["baseline_alone_right"]))
        rows.append((name, NAMES[method], *shown(values), *alone, number(values["p"], 2)))
    return rows


def _verdicts(evaluations: dict[str, Json]) -> Html:
    """Return in words where a plain classifier is better, each such query, and where none is."""
    better = {name: found for name, evaluation in evaluations.items() if (found := better_baseline(evaluation))}
    sentences = [
        f"{name}: CellPredX does not reach {method} ({percent(evaluations[name]['accuracy'])} against "
        f"{percent(values['accuracy'])}, p = {number(values['p'], 2)})."
        for name, (method, values) in better.items()
    ]
    if even := [name for name in evaluations if name not in better]:
        sentences.append(f"{listed(even)}: no plain classifier is better than CellPredX by more than chance.")
    return Html("".join(f"<p>{escape(sentence)}</p>" for sentence in sentences))


def _scores(evaluation: Json) -> list[Json]:
    """Return the scores of each type by the model and each method; empty for a method that was left out."""
    baselines = evaluation["baselines"]
    return [evaluation["per_type"], *(baselines[m]["per_type"] if m in baselines else {} for m in NAMES)]


def baseline_sections(run: Run) -> list[Json]:
    """Return the model and plain classifiers side by side, in numbers and in words, where labels are known."""
    evaluations = {run.name(r): r["evaluation"] for r in run.results if (r["evaluation"] or {}).get("baselines")}
    if not evaluations:
        return []
    headers = (
        *("Query", "Method", "Accuracy", "95 % interval", "Macro-F1", "ECE"),
        *("CellPredX alone right", "Method alone right", "p"),
    )
    rows = [row for name, evaluation in evaluations.items() for row in _comparison(name, evaluation)]
    verdicts = _verdicts(evaluations)
    text = (
        "Plain classifiers, trained on the same reference and features, on the cells of the accuracy above. p: exact "
        "McNemar test on the cells that one of the two alone has right; under 0.05 the difference is more than chance."
        + _left_out(run)
    )
    content = Html(f"{verdicts}{filled_table(headers, rows, 3)}")
    types = [
        (name, cell_type, number(v["cells"]), *(number(scores.get(cell_type, {}).get("f1")) for scores in columns))
        for name, evaluation in evaluations.items()
        for columns in [_scores(evaluation)]
        for cell_type, v in evaluation["per_type"].items()
    ]
    columns = ("Query", "Type", "Cells", "CellPredX", *NAMES.values())
    return [
        html_section("accuracy", "baselines", "Beside plain classifiers", content, text),
        html_section("accuracy", "baselines_per_type", "F1 of each type", html_table(columns, types)),
    ]
