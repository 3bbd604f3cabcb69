"""Whether confidence means what it says: accuracy against confidence, and the ECE beside that of perfect confidence."""

from cellpredx.report.content import Json, line_section, table_section

PERFECT = "perfect calibration"


def _table(evaluations: dict[str, Json]) -> Json:
    columns = {
        "ece": ("ECE", "Expected calibration error: confidence against accuracy; 0 is perfect", "number"),
        "ece_perfect": (
            "ECE by chance",
            "What perfect calibration shows with as many cells, on average",
            "number",
        ),
        "brier": ("Brier", "Brier score; 0 is perfect", "number"),
        "nll": ("NLL", "Negative log likelihood of the labels; lower is better", "number"),
    }
    text = (
        "How far confidence is from the share of right types. With few cells some of it is chance: compare the ECE "
        "with what perfect calibration would show."
    )
    return table_section("accuracy", "calibration", "Calibration", "Query", columns, evaluations, text)


def calibration_sections(evaluations: dict[str, Json]) -> list[Json]:
    """Return the table of calibration errors, and accuracy against confidence where its bins are known."""
    lines = {
        name: [(one["confidence"], one["accuracy"]) for one in evaluation.get("reliability") or [] if one["cells"]]
        for name, evaluation in evaluations.items()
    }
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return [_table(evaluations)]
    text = (
        "Cells in bins of equal size by their confidence, and the share of them that are right. On the grey diagonal "
        "confidence is what it says; under it, it promises too much."
    )
    extra = [{"name": PERFECT, "pairs": [[0, 0], [1, 1]], "color": "#808080", "dash": "dot", "width": 1}]
    settings = {
        **{"xmin": 0, "xmax": 1, "ymin": 0, "ymax": 1, "style": "lines+markers", "extra_series": extra},
        "tt_label": "confidence %{x:.2f}: %{y:.2f} right",
    }
    axes = ("Mean confidence of the bin", "Share of right types")
    return [
        _table(evaluations),
        line_section("accuracy", "reliability", "Reliability", axes, lines, text, settings),
    ]
