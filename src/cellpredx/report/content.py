"""Pieces of a report: sections that MultiQC reads, tables in HTML, numbers as text.

MultiQC puts names, table cells and HTML into the page as they are, and Plotly reads tags in labels, so every
text that comes from a user is escaped here, once.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
Points = list[tuple[float, float]]

# The parts of the report in their order, with the sentence under each heading.
PARTS: dict[str, tuple[str, str]] = {
    "status": ("Status", "What came of each query, why, and what to do about it."),
    "samples": ("Samples", "What was read, after cells were called and features counted."),
    "fragments": ("Fragments", "Quality of the scATAC fragment files."),
    "pairing": ("Pairing", "How each reference and its queries were put on common features."),
    "training": ("Training", "How each model was fitted to its reference."),
    "predictions": ("Predictions", "Cell types of the queries and how sure the model is of them."),
    "accuracy": ("Agreement with known labels", "Only queries that came with labels; training never sees these."),
    "determinants": ("Determinant features", "The features that speak most for each predicted type."),
    "methods": ("Methods", "What is needed to write this analysis up and to repeat it."),
}

# Okabe and Ito's colours, then Tol's muted ones: told apart with any common colour vision.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"),
    *("#332288", "#44AA99", "#882255", "#999933", "#88CCEE", "#AA4499", "#117733", "#DDCC77", "#CC6677"),
)
LEGEND_LINES = 20
ALL_POINTS = 2000  # above this MultiQC averages neighbours
UNKNOWN_COLOUR = "#999999"


class Html(str):
    """Text that is HTML already; every other text is escaped."""


def escape(text: object) -> Html:
    """Return `text` with markup made harmless, for the page's body and for Plotly's labels."""
    # Plotly knows &lt; &gt; &amp; but not &quot;, so quotes stay; nothing of ours goes into an attribute.
    return text if isinstance(text, Html) else Html(html.escape(str(text), quote=False))


def number(value: float | None, digits: int = 3) -> str:
    """Return a count with thousands separators, another number to `digits` significant digits, a dash for none."""
    if value is None:
        return "-"
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def percent(share: float | None) -> str:
    """Return a share as a percentage with one decimal, a dash for none."""
    return "-" if share is None else f"{100 * share:.1f} %"


def colours(names: Iterable[str]) -> dict[str, str]:
    """Give each name a colour, in order."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def html_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """Return an HTML table that scrolls by itself where the page is narrow or the table long."""
    head = "".join(f"<th>{escape(h)}</th>" for h in headers)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    width = 6 * len(headers)
    return Html(
        '<div class="table-responsive" style="max-height:40rem;overflow:auto">'
        f'<table class="table table-sm table-hover" style="min-width:{width}rem">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def section(
    part: str,
    name: str,
    title: str,
    plot_type: str,
    data: Any,
    description: str = "",
    settings: Json | None = None,
    **more: Any,
) -> Json:
    """Return one section of `part` as MultiQC's custom content: `settings` of the plot, `more` beside the data."""
    heading, intro = PARTS[part]
    section_id = f"{part}_{name}"
    return {
        "id": section_id,
        "parent_id": part,
        "parent_name": heading,
        "parent_description": intro,
        "section_name": title,
        "description": description,
        "plot_type": plot_type,
        "pconfig": {"id": section_id, "title": f"{heading}: {title}", **(settings or {})},
        **more,
        "data": data,
    }


def html_section(part: str, name: str, title: str, content: str, description: str = "") -> Json:
    """Return a section of HTML."""
    return section(part, name, title, "html", content, description)


def table_section(
    part: str,
    name: str,
    title: str,
    first: str,
    columns: Mapping[str, tuple[str, str, str]],
    rows: Mapping[str, Mapping[str, Any]],
    description: str = "",
) -> Json:
    """Return a sortable table; `columns` holds each column's heading, explanation and kind.

    The kinds are `count`, `number`, `percent` (given as a share) and `text`.
    """
    styles: dict[str, Json] = {
        "count": {"format": "{:,.0f}"},
        "number": {"format": "{:.3g}"},
        "percent": {"format": "{:.1f}", "suffix": " %", "min": 0, "max": 100, "scale": "Blues"},
        "text": {},
    }

    def cell(value: Any, kind: str) -> Any:
        if kind == "text":
            return escape(value)
        return 100 * value if kind == "percent" else value

    data = {
        escape(row): {
            key: cell(values[key], kind) for key, (_, _, kind) in columns.items() if values.get(key) is not None
        }
        for row, values in rows.items()
    }
    headers = {
        key: {"title": heading, "description": meaning, "scale": False, **styles[kind]}
        for key, (heading, meaning, kind) in columns.items()
    }
    settings = {"col1_header": first, "no_violin": True, "scale": False}
    return section(part, name, title, "table", data, description, settings, headers=headers)


def line_section(
    part: str,
    name: str,
    title: str,
    axes: tuple[str, str],
    lines: Mapping[str, Points],
    description: str = "",
    settings: Json | None = None,
) -> Json:
    """Return a plot of lines, one a name."""
    data = {escape(label): points for label, points in lines.items()}
    common = {
        "xlab": axes[0],
        "ylab": axes[1],
        "colors": colours(data),
        "showlegend": len(lines) <= LEGEND_LINES,
        "style": "lines",
        "smooth_points": ALL_POINTS,
        "series_label": False,
    }
    return section(part, name, title, "linegraph", data, description, common | (settings or {}))


def marks(values: Iterable[float | None]) -> list[Json]:
    """Return a dashed line for each limit, for `x_lines` or `y_lines` of a plot."""
    limits = sorted({value for value in values if value})
    return [{"value": limit, "color": "#555555", "dash": "dash", "width": 1} for limit in limits]
