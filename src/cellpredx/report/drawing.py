"""How figures look and how they are written: SVG and PNG on white, a small PNG for the page, the numbers as CSV."""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pandas as pd
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from cellpredx.core.files import write_csv
from cellpredx.report.content import COLOURS, UNKNOWN_COLOUR, Json

if TYPE_CHECKING:
    from PIL.Image import Image

UNKNOWN = "Unknown"
WIDTH = 9.0  # inches, of the widest figure
DPI = 200
PAGE_DPI = (100, 88, 76)  # the first that gives an image of PAGE_BYTES, or the last
PAGE_BYTES = 50_000
PAGE_COLOURS = 256
MARKERS = "os^D"
# Of a colour's contrast with white and with a dark page (#212529), the least.
CONTRAST = 1.9
DARK_PAGE = 0.018
INK = "#333333"
PAGE_INK = "#808080"

# Nothing of a reader's own settings, no formulas in texts, and the same bytes every time.
STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 9,
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "cellpredx",
}
INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")


@dataclass(frozen=True)
class Drawing:
    """A figure: `part` is the report's, `table` its numbers, `draw` makes it anew in the style that is set."""

    name: str
    part: str
    title: str
    description: str
    alt: str
    table: pd.DataFrame
    draw: Callable[[], Figure]


def plain(text: object, most: int = 32) -> str:
    """Return a name as it is drawn: one line of printable characters, the middle left out where it is long."""
    line = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in str(text))).strip()
    if len(line) <= most:
        return line
    end = (most - 1) // 2
    return f"{line[: most - 1 - end]}…{line[len(line) - end :]}"


def _luminance(rgb: tuple[float, float, float]) -> float:
    """Return the relative luminance of a colour (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _on_any_page(colour: str) -> str:
    """Return a colour made darker or lighter until it is seen on white and on a dark page."""
    rgb = to_rgb(colour)
    for _ in range(100):
        if _luminance(rgb) > 1.05 / CONTRAST - 0.05:
            rgb = (rgb[0] * 0.98, rgb[1] * 0.98, rgb[2] * 0.98)
        elif _luminance(rgb) < CONTRAST * (DARK_PAGE + 0.05) - 0.05:
            rgb = (rgb[0] + 0.02 * (1 - rgb[0]), rgb[1] + 0.02 * (1 - rgb[1]), rgb[2] + 0.02 * (1 - rgb[2]))
    return to_hex(rgb)


VISIBLE = tuple(map(_on_any_page, COLOURS))
BLUE, ORANGE, GREY = VISIBLE[0], VISIBLE[1], UNKNOWN_COLOUR


def type_colours(types: Sequence[str]) -> dict[str, str]:
    """Give each type a colour, in order, and Unknown grey."""
    return {name: VISIBLE[i % len(VISIBLE)] for i, name in enumerate(types)} | {UNKNOWN: GREY}


def type_markers(types: Sequence[str]) -> dict[str, str]:
    """Give each type a marker: types of one colour differ in it."""
    return {name: MARKERS[i // len(VISIBLE) % len(MARKERS)] for i, name in enumerate(types)}


@contextmanager
def style(ink: str) -> Iterator[None]:
    """Draw in the house's style, axes and texts in the colour `ink`."""
    with mpl.rc_context(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes in the PNG; the SVG holds it as text.
        warnings.filterwarnings("ignore", message="Glyph|.*missing from font")
        mpl.rcdefaults()
        settings: Any = STYLE | dict.fromkeys(INKED, ink)
        mpl.rcParams.update(settings)
        yield


def _page_image(figure: Figure, dpi: int) -> "Image":
    """Return a figure as a small image with a palette, its ground transparent."""
    from PIL import Image

    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi, bbox_inches="tight", transparent=True)
    return Image.open(raw).convert("RGBA").quantize(PAGE_COLOURS, method=Image.Quantize.FASTOCTREE)


def _laid_out(drawing: Drawing) -> Figure:
    """Draw a figure and settle where its parts are, once for all files."""
    figure = drawing.draw()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _write_page_image(figure: Figure, path: Path) -> "Image":
    """Write the page's image, smaller where it takes too many bytes; a page holds those of every query."""
    for dpi in PAGE_DPI:
        image = _page_image(figure, dpi)
        image.save(path, optimize=True)
        if path.stat().st_size <= PAGE_BYTES:
            break
    return image


def write(drawing: Drawing, folder: Path) -> Json:
    """Write <name>.svg, .png, .csv and .page.png into a folder; return the figure's entry of figures.json."""
    write_csv(drawing.table, folder / f"{drawing.name}.csv")
    with style(INK):
        figure = _laid_out(drawing)
        for kind, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            figure.savefig(
                folder / f"{drawing.name}.{kind}", dpi=DPI, bbox_inches="tight", facecolor="white", metadata=metadata
            )
    page = f"{drawing.name}.page.png"
    with style(PAGE_INK):
        image = _write_page_image(_laid_out(drawing), folder / page)
    return {
        "name": drawing.name,
        "part": drawing.part,
        "title": drawing.title,
        "description": drawing.description,
        "alt": drawing.alt,
        "png": page,
        "width": image.width,
        "height": image.height,
    }
