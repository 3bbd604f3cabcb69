"""The images that were drawn for a query, as parts of the page: nothing is fetched from elsewhere."""

import base64
import html
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cellpredx.core.files import read_json
from cellpredx.report.content import Html, Json, escape, folded, html_section, natural

if TYPE_CHECKING:
    from cellpredx.report.run import Run

# The page stays under 10 MB: MultiQC takes 2, tables and plots of many queries as much; images, in base64, get 5.
PAGE_BYTES = 5_000_000
# The page has plots or tables of its own that show the same.
SHOWN_ALREADY = ("composition", "confusion", "reliability")
KINDS = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}


@dataclass(frozen=True)
class Figure:
    """An image of a query, its part of the report, and what it shows in words."""

    transfer: str
    group: str
    query: str
    name: str
    part: str
    title: str
    description: str
    alt: str
    path: Path
    width: int
    height: int


def read_figures(folders: Iterable[str]) -> list[Figure]:
    """Return the figures that folders with a figures.json list, sorted by query, in each folder's order."""
    found = []
    for folder in folders:
        listed = read_json(Path(folder) / "figures.json")
        for one in listed["figures"]:
            named = {key: one[key] for key in ("name", "part", "title", "description", "alt", "width", "height")}
            where = {key: listed[key] for key in ("transfer", "group", "query")}
            found.append(Figure(**where, **named, path=Path(folder) / one["png"]))
    return sorted(found, key=lambda figure: (natural(figure.transfer), natural(figure.query)))


def _image(figure: Figure) -> Html:
    data = base64.b64encode(figure.path.read_bytes()).decode("ascii")
    kind = KINDS[figure.path.suffix.lower()]
    return Html(
        f'<div class="cellpredx-scroll"><img class="cellpredx-figure" src="data:image/{kind};base64,{data}" '
        f'alt="{html.escape(figure.alt)}" '
        f'width="{figure.width}" height="{figure.height}"></div>'
    )


def figure_sections(run: "Run") -> list[Json]:
    """Return a section a kind of figure, with every query's image; each kind has the same room, and those beyond it
    are named."""
    kinds: dict[tuple[str, str], list[Figure]] = {}
    for figure in run.figures:
        if figure.name in SHOWN_ALREADY:
            continue
        kinds.setdefault((figure.part, figure.name), []).append(figure)
    sections = []
    room = PAGE_BYTES // max(len(kinds), 1)
    for (part, name), figures in kinds.items():
        pieces, left_out, used = [], [], 0
        for figure in figures:
            called = run.names.get((figure.transfer, figure.query), figure.query)
            size = 4 * figure.path.stat().st_size // 3
            if used + size > room:
                left_out.append(called)
                continue
            used += size
            pieces.append((called, _image(figure)))
        content = folded(pieces) if pieces else Html("")
        if left_out:
            content = Html(
                f"{content}<p>Not on this page, for its size, but in groups/&lt;group&gt;/&lt;query&gt;/figures: "
                f"{escape(', '.join(left_out))}.</p>"
            )
        text = escape(figures[0].description)
        sections.append(html_section(part, f"figure_{name}", escape(figures[0].title), content, text))
    return sections
