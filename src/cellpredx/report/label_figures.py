"""Figures of a query whose labels are known: where they go, and whether the confidence holds."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from cellpredx.report.content import Json
from cellpredx.report.drawing import BLUE, GREY, UNKNOWN, WIDTH, Drawing, plain, type_colours

COUNTED = 25  # types a side up to which the confusion matrix holds the counts
GAP = 0.006  # between two types of the river, of its height


def label_figures(result: Json) -> Iterator[Drawing]:
    """Yield the figures of a query's evaluation; none where its labels are not known."""
    evaluation = result.get("evaluation") or {}
    flows = _flows(evaluation)
    if not flows.empty:
        yield _river(flows, result["types"])
        yield _confusion(flows, result["types"])
    bins = pd.DataFrame(evaluation.get("reliability") or [])
    if not bins.empty:
        yield _reliability(bins)


def _flows(evaluation: Json) -> pd.DataFrame:
    """Return truth, predicted (or Unknown) and cells of every pair of types that has any."""
    rows = evaluation.get("flows")
    if rows is None:
        matrix = evaluation.get("confusion") or {"truth": [], "predicted": [], "counts": []}
        rows = [
            (truth, predicted, cells)
            for truth, counts in zip(matrix["truth"], matrix["counts"], strict=True)
            for predicted, cells in zip(matrix["predicted"], counts, strict=True)
        ]
    table = pd.DataFrame(rows, columns=["truth", "predicted_or_unknown", "cells"])
    return table[table["cells"] > 0].reset_index(drop=True)


def _sides(flows: pd.DataFrame, types: list[str]) -> tuple[list[str], list[str]]:
    """Return the types of both sides: the model's in their order, the others after them, Unknown last."""
    order = {name: i for i, name in enumerate(types)}
    truth = sorted(set(flows["truth"]), key=lambda name: (order.get(name, len(order)), name))
    predicted = sorted(set(flows["predicted_or_unknown"]), key=lambda name: (name == UNKNOWN, order.get(name, -1)))
    return truth, predicted


def _river(flows: pd.DataFrame, types: list[str]) -> Drawing:
    left, right = _sides(flows, types)
    return Drawing(
        "river",
        "accuracy",
        "From known label to predicted type",
        "Each band is as thick as the cells of one known label (left) that got one type, or Unknown (right). Labels "
        "with a star are none of the reference's types.",
        f"River plot of {int(flows['cells'].sum()):,} cells, from {len(left)} known labels to {len(right)} types",
        flows,
        partial(_draw_river, flows, types),
    )


def _spread(middles: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return sorted heights moved as little as is easy so that neighbours are `least` apart."""
    spread = middles.copy()
    for _ in range(200):
        gaps = np.diff(spread)
        close = np.flatnonzero(gaps < least - 1e-9)
        if not len(close):
            break
        for i in close:
            move = (least - (spread[i + 1] - spread[i])) / 2
            if move > 0:
                spread[i] -= move
                spread[i + 1] += move
    return spread


def _draw_river(flows: pd.DataFrame, types: list[str]) -> Figure:
    left, right = _sides(flows, types)
    colour = type_colours([*types, *(name for name in left if name not in types)])
    height = max(3.0, 0.6 + 0.19 * max(len(left), len(right)))
    figure = Figure(figsize=(7.5, height))
    ax = figure.subplots()
    ax.axis("off")
    total = float(flows["cells"].sum())
    places: list[dict[str, float]] = []
    for names, column, x, align in ((left, "truth", 0.0, "right"), (right, "predicted_or_unknown", 1.0, "left")):
        cells = flows.groupby(column)["cells"].sum().reindex(names)
        sizes = cells.to_numpy(float) / total
        tops = np.r_[0, np.cumsum(sizes + GAP)[:-1]]
        places.append(dict(zip(names, tops, strict=True)))
        heights = _spread(tops + sizes / 2, 0.155 / height * (1 + GAP * max(len(left), len(right))))
        for name, top, size, at in zip(names, tops, sizes, heights, strict=True):
            ax.add_patch(Rectangle((x - 0.012, top), 0.024, size, facecolor=colour[name], linewidth=0))
            out = -1 if align == "right" else 1
            ax.plot([x + out * 0.015, x + out * 0.035], [top + size / 2, at], color=GREY, linewidth=0.5)
            star = "*" if align == "right" and name not in types else ""
            label = f"{plain(name, 28)}{star} ({int(cells[name]):,})"
            ax.text(x + out * 0.04, at, label, ha=align, va="center", fontsize=7.5)
    # Through each type's bar the bands run in the order of the other side, so that few cross.
    filled = ({name: 0.0 for name in left}, {name: 0.0 for name in right})
    rank = ({name: i for i, name in enumerate(left)}, {name: i for i, name in enumerate(right)})
    rows = sorted(flows.itertuples(index=False), key=lambda row: (rank[0][row[0]], rank[1][row[1]]))
    for truth, predicted, cells in rows:
        size = cells / total
        a, b = places[0][truth] + filled[0][truth], places[1][predicted] + filled[1][predicted]
        filled[0][truth] += size
        filled[1][predicted] += size
        _band(ax, a, b, size, colour[truth])
    for x, align, text in ((0.0, "right", "Known label"), (1.0, "left", "Predicted type")):
        ax.text(x, -0.03, text, ha=align, va="bottom", fontsize=9)
    ax.set(xlim=(-0.03, 1.03), ylim=(1 + GAP * max(len(left), len(right)), -0.02))
    return figure


def _band(ax: Axes, a: float, b: float, size: float, colour: str) -> None:
    x0, x1, middle = 0.015, 0.985, 0.5
    points = [
        *((x0, a), (middle, a), (middle, b), (x1, b)),
        *((x1, b + size), (middle, b + size), (middle, a + size), (x0, a + size), (x0, a)),
    ]
    curve = [Outline.CURVE4] * 3
    codes = [Outline.MOVETO, *curve, Outline.LINETO, *curve, Outline.CLOSEPOLY]
    ax.add_patch(PathPatch(Outline(points, codes), facecolor=colour, alpha=0.55, linewidth=0))


def _confusion(flows: pd.DataFrame, types: list[str]) -> Drawing:
    truth, predicted = _sides(flows, types)
    table = flows.assign(share_of_label=flows["cells"] / flows.groupby("truth")["cells"].transform("sum"))
    counted = " with their numbers" if max(len(truth), len(predicted)) <= COUNTED else ""
    return Drawing(
        "confusion",
        "accuracy",
        "Confusion matrix",
        f"Of the cells of each known label, the share that got each type{counted}. A row adds up to 100 %. Labels with "
        "a star are none of the reference's types.",
        f"Heat map of {len(truth)} known labels against {len(predicted)} predicted types",
        table,
        partial(_draw_confusion, table, types),
    )


def _draw_confusion(table: pd.DataFrame, types: list[str]) -> Figure:
    truth, predicted = _sides(table, types)
    columns = [*(name for name in types if name in {*truth, *predicted}), UNKNOWN]
    counts = table.pivot(index="truth", columns="predicted_or_unknown", values="cells").reindex(truth, columns=columns)
    share = table.pivot(index="truth", columns="predicted_or_unknown", values="share_of_label")
    values = share.reindex(truth, columns=columns).to_numpy(float)
    cell = min(0.42, (WIDTH - 3.2) / len(columns))
    figure = Figure(figsize=(3.2 + cell * len(columns), 1.9 + cell * len(truth)))
    ax = figure.subplots()
    blues = colormaps["Blues"]
    shown = ax.imshow(100 * np.ma.masked_invalid(values), cmap=blues, vmin=0, vmax=100, aspect="equal")
    if max(len(truth), len(columns)) <= COUNTED:
        for (i, j), cells in np.ndenumerate(counts.to_numpy(float)):
            if np.isfinite(cells):
                ink = "white" if values[i, j] > 0.6 else "#222222"
                size = min(7.0, 72 * cell / max(2.6, 0.68 * len(f"{cells:,.0f}")))
                ax.text(j, i, f"{cells:,.0f}", ha="center", va="center", fontsize=size, color=ink)
    size = 8 if cell > 0.25 else 6.5
    stars = ["" if name in types else "*" for name in truth]
    ax.set_yticks(range(len(truth)), [plain(n, 30) + star for n, star in zip(truth, stars, strict=True)], fontsize=size)
    ax.set_xticks(range(len(columns)), [plain(name, 30) for name in columns], rotation=90, fontsize=size)
    ax.set(xlabel="Predicted type", ylabel="Known label")
    ax.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(truth) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="#80808055", linewidth=0.4)
    ax.tick_params(which="minor", length=0)
    figure.colorbar(shown, ax=ax, shrink=0.7, aspect=25, label="Share of the label's cells (%)")
    return figure


def _reliability(bins: pd.DataFrame) -> Drawing:
    return Drawing(
        "reliability",
        "accuracy",
        "Confidence against accuracy",
        "Cells in bins of equal size by their confidence, with 95 % intervals. On the dashed line the confidence says "
        "how often the type is right; under it the model is too sure.",
        f"Accuracy against confidence in {len(bins)} bins of cells, beside the diagonal",
        bins,
        partial(_draw_reliability, bins),
    )


def _draw_reliability(bins: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(4.6, 4.4))
    ax = figure.subplots()
    x, y = bins["confidence"].to_numpy(float), bins["accuracy"].to_numpy(float)
    ax.plot([0, 1], [0, 1], linestyle="--", color=GREY, linewidth=1, label="Confidence = accuracy")
    below, above = (bins[key].to_numpy(float) if key in bins else y for key in ("low", "high"))
    errors = np.clip([y - below, above - y], 0, None)
    ax.errorbar(
        *(x, y, errors),
        fmt="o",
        color=BLUE,
        markersize=4,
        elinewidth=1,
        capsize=2,
        label="Cells of a bin, 95 % interval",
    )
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="Mean confidence", ylabel="Accuracy", box_aspect=1)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, fontsize=7)
    return figure
