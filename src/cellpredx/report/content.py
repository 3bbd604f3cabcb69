"""Pieces of a report: sections that MultiQC reads, tables in HTML, numbers as text.

MultiQC puts names, table cells and HTML into the page as they are, and Plotly reads tags in labels, so every
text that comes from a user is escaped here, once.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
Points = list[tuple[float, float]]

# The parts of the report in their order, with the sentence under each heading.
PARTS: dict[str, tuple[str, str]] = {
    "summary": ("Summary", "What was annotated, how well it went, and what to distrust."),
    "samples": ("Samples", "What was read, after cells were called and features counted."),
    "fragments": ("Fragments", "Quality of the scATAC fragment files."),
    "pairing": ("Pairing", "How each reference and its queries were put on common features."),
    "training": ("Training", "How each model was fitted to its reference."),
    "predictions": ("Predictions", "Cell types of the queries and how sure the model is of them."),
    "gap": ("Domain gap", "How far each query lies from the reference after alignment."),
    "embedding": ("Embedding", "The cells in two dimensions, as the data and as the model see them."),
    "accuracy": ("Agreement with known labels", "Only queries that came with labels; training never sees these."),
    "determinants": ("Determinant features", "The features that speak most for each predicted type."),
    "methods": ("Methods", "What is needed to write this analysis up and to repeat it."),
}

# Okabe and Ito's colours, then Tol's muted ones: told apart with any common colour vision.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"),
    *("#332288", "#44AA99", "#882255", "#999933", "#88CCEE", "#AA4499", "#117733", "#DDCC77", "#CC6677"),
)
# Lines stand alone: colours with a contrast of 3 to white and to the dark theme, told apart further by dashes.
LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#808080")
DASHES = {"solid": "", "dash": "8 4", "dot": "2 4", "dashdot": "8 4 2 4"}
LEGEND_LINES = len(LINE_COLOURS) * len(DASHES)
NAMED = 6
OPEN = 2  # more queries than that are folded up
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


def line_styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Give each name a colour and a kind of dash, in order."""
    dashes, size = tuple(DASHES), len(LINE_COLOURS)
    return {
        name: (LINE_COLOURS[i % size], dashes[i // size % len(dashes)]) for i, name in enumerate(dict.fromkeys(names))
    }


def _keys(swatches: Iterable[tuple[str, str]]) -> str:
    keys = "".join(f'<span class="cellpredx-key">{swatch}{escape(name)}</span>' for name, swatch in swatches)
    return f'<div class="cellpredx-keys">{keys}</div>'


def _swatch(shape: str) -> str:
    return f'<svg width="28" height="12" aria-hidden="true">{shape}</svg>'


def line_keys(styles: Mapping[str, tuple[str, str]]) -> str:
    """Return a legend of lines that wraps where the page is narrow; for too many of them, how to find a line's name."""
    if not styles:
        return ""
    if len(styles) > LEGEND_LINES:
        return "<p>Point at a line for its name; the toolbox at the right highlights or hides samples.</p>"
    return _keys(
        (
            name,
            _swatch(f'<line x2="28" y1="6" y2="6" stroke="{c}" stroke-width="3" stroke-dasharray="{DASHES[dash]}"/>'),
        )
        for name, (c, dash) in styles.items()
    )


def area_keys(fills: Mapping[str, str]) -> str:
    """Return a legend of filled areas that wraps where the page is narrow."""
    return _keys((name, _swatch(f'<rect x="8" width="12" height="12" fill="{c}"/>')) for name, c in fills.items())


def folded(pieces: Sequence[tuple[str, Html]]) -> Html:
    """Return pieces of HTML under their names, the first `OPEN` unfolded; a single one stands without its name."""
    if len(pieces) == 1:
        return pieces[0][1]
    return Html(
        '<div class="cellpredx-folds">'
        + "".join(
            f'<details class="cellpredx-fold"{" open" if i < OPEN else ""}>'
            f"<summary>{escape(name)}</summary>{piece}</details>"
            for i, (name, piece) in enumerate(pieces)
        )
        + "</div>"
    )


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts q2 before q10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", text)]


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """Return the first names and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


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


def stacked_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """Return an HTML table whose rows become paragraphs where the page is narrow, so that sentences stay readable."""
    head = "".join(f"<th>{escape(h)}</th>" for h in headers)
    body = "".join(
        "<tr>"
        + "".join(f"<td><b>{escape(h)}</b>{escape(cell)}</td>" for h, cell in zip(headers, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return Html(
        '<div class="table-responsive cellpredx-stack"><table class="table table-sm table-hover">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def filled_table(headers: Sequence[str], rows: Sequence[Sequence[object]], kept: int) -> Html:
    """Return an HTML table without the columns, after the first `kept`, that have nothing but dashes."""
    columns = [i for i in range(len(headers)) if i < kept or any(row[i] != "-" for row in rows)]
    return html_table([headers[i] for i in columns], [[row[i] for i in columns] for row in rows])


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
        "pconfig": {"id": section_id, "title": title, **(settings or {})},
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
    """Return a plot of lines, one a name, with its legend above it."""
    styles = line_styles(lines)
    data = {escape(label): points for label, points in lines.items()}
    return section(
        part, name, title, "linegraph", data, description + line_keys(styles), line_settings(axes, styles, settings)
    )


def line_settings(axes: tuple[str, str], styles: Mapping[str, tuple[str, str]], settings: Json | None = None) -> Json:
    """Return the settings of a plot of lines, `settings` before its own."""
    common = {
        "xlab": axes[0],
        "ylab": axes[1],
        "colors": {escape(name): colour for name, (colour, _) in styles.items()},
        "dash_styles": {escape(name): dash for name, (_, dash) in styles.items()},
        # Plotly's legend takes half of a narrow page, and is dark on dark.
        "showlegend": False,
        "style": "lines",
        "smooth_points": ALL_POINTS,
        "series_label": False,
    }
    return common | (settings or {})


def marks(values: Iterable[float | None]) -> list[Json]:
    """Return a dashed line for each limit, for `x_lines` or `y_lines` of a plot."""
    limits = sorted({value for value in values if value})
    return [{"value": limit, "color": "#808080", "dash": "dash", "width": 1} for limit in limits]
