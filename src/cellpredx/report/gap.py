"""The domain gap: how far a query lies from its reference, beside the limits of the gate."""

from cellpredx.model.domain_gap import WARN_AUC, WARN_CONFIDENCE
from cellpredx.report.content import Json, line_keys, section, table_section
from cellpredx.report.run import Run

LIMIT = ("#D55E00", "dash")


def _bars(part: str, title: str, values: dict[str, float], label: str, limit: float, text: str) -> Json:
    settings = {
        **{"ylab": label, "ymin": 0, "ymax": 1, "cpswitch": False, "use_legend": False, "series_label": False},
        **{"tt_decimals": 2, "sort_samples": False},
        "x_lines": [{"value": limit, "color": LIMIT[0], "dash": LIMIT[1], "width": 2}],
    }
    categories = {"value": {"name": label, "color": "#0072B2"}}
    keys = line_keys({f"limit: {limit:g}": LIMIT})
    data = {name: {"value": value} for name, value in values.items()}
    return section("gap", part, title, "bargraph", data, text + keys, settings, categories=categories)


def gap_sections(run: Run) -> list[Json]:
    """Return the gate's measures of every query, drawn with their limits."""
    gaps = {run.name(result): result["domain_gap"] for result in run.results if result["domain_gap"]}
    if not gaps:
        return []
    columns = {
        "auc": ("AUC", "Of telling query from reference after alignment; 0.5 is no gap, 1 a full one", "number"),
        "mean_confidence": ("Confidence", "Mean calibrated confidence of the query", "number"),
        "held_out_confidence": ("On the reference", "That of reference cells kept from training", "number"),
        "verdict": ("Verdict", "Whether either passes its limit", "text"),
    }
    verdicts = {"pass": "no gap to speak of", "warn": "a gap: see the summary"}
    rows = {
        name: {**gap, "verdict": verdicts.get(gap["level"], gap["level"]), "auc": gap.get("auc")}
        for name, gap in gaps.items()
    }
    meaning = (
        "A model can only carry over what reference and query have in common. Where a query lies apart, types that the "
        "reference lacks are not seen as such, and confidence is worth less. Then use a reference nearer in tissue and "
        "protocol, look at marker genes, and read the composition as rough."
    )
    sections = [table_section("gap", "table", "Both measures", "Query", columns, rows, meaning)]
    aucs = {name: gap["auc"] for name, gap in gaps.items() if gap.get("auc") is not None}
    if aucs:
        text = "0.5: reference and query cannot be told apart; 1: entirely. Beyond the dashed line the gate warns."
        sections.append(_bars("auc", "Told apart", aucs, "AUC of query against reference", WARN_AUC, text))
    kept = {
        name: min(1.0, gap["mean_confidence"] / gap["held_out_confidence"])
        for name, gap in gaps.items()
        if gap.get("mean_confidence") is not None and gap.get("held_out_confidence")
    }
    if kept:
        text = (
            "The query's mean confidence, as a share of that of reference cells kept from training. Below the dashed "
            "line the gate warns."
        )
        label = "Confidence, relative to the reference"
        sections.append(_bars("confidence", "Confidence beside the reference", kept, label, WARN_CONFIDENCE, text))
    return sections
