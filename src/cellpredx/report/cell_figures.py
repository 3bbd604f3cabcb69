"""Figures of a query's cells: where they lie, what they are called, and the features that decide."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from cellpredx.matrix.stored import StoredMatrix
from cellpredx.model.normalise import is_log1p, prepare, proteins_in
from cellpredx.report.drawing import (
    BLUE,
    GREY,
    ORANGE,
    UNKNOWN,
    VISIBLE,
    WIDTH,
    Drawing,
    plain,
    type_colours,
    type_markers,
)

SCALE = 1e4
TOP_FEATURES = 5
MOST_ROWS = 60  # of the dot plot
VIOLIN_CELLS = 500
RASTER_ABOVE = 2000
LEGEND_ROWS = 26
# The middle of two maps of colours, whose ends are not seen on white or on a dark page.
CONFIDENCE = LinearSegmentedColormap.from_list("confidence", colormaps["viridis"](np.linspace(0.22, 0.85, 64)))
MEAN = LinearSegmentedColormap.from_list("mean", ["#B4B4B4", "#E69F00", "#C04A00"])


def cell_figures(
    annotated: Path, determinants: pd.DataFrame, embedding: pd.DataFrame | None, types: Sequence[str]
) -> Iterator[Drawing]:
    """Yield the figures of an annotated query; types: all of the model's, which give numbers and colours."""
    if embedding is not None:
        yield from _maps(embedding, types)
    with StoredMatrix(annotated) as stored:
        predicted = stored.obs["predicted"].astype(str).to_numpy()
        kept = stored.obs["predicted_or_unknown"].astype(str).to_numpy() != UNKNOWN
        yield _composition(predicted, kept, types)
        top = determinants[determinants["rank"] <= TOP_FEATURES]
        if top.empty:
            return
        features = list(dict.fromkeys(top["feature"]))
        values = _values(stored, features)
        kind = str(stored.about["kind"])
    what = (
        "accessibility"
        if kind in ("peaks", "windows")
        else "gene activity"
        if kind == "gene_activity"
        else "expression"
    )
    yield _dot_plot(top, predicted, values, features, types, what)
    yield _violins(top, predicted, values, features, types, what)


def _values(stored: StoredMatrix, features: list[str]) -> sp.csc_matrix:
    """Return the log-normalised values of some features of all cells, (cells, features)."""
    columns = stored.var.index.get_indexer(pd.Index(features))
    about = (is_log1p(stored.about), SCALE, False, proteins_in(stored.about))
    blocks = [prepare(block, *about)[:, columns] for _, block in stored.blocks()]
    return sp.csc_matrix(sp.vstack(blocks))


def _maps(embedding: pd.DataFrame, types: Sequence[str]) -> Iterator[Drawing]:
    spaces = {
        "own": "Of the query's cells alone, from its own expression (PCA) or accessibility (LSI): what the model had "
        "no part in. Types that are groups here are groups in the data.",
        "model": "Of query and reference in the space of the CellPredX network, with the preset tuned one member of "
        "several. Where the two do not mix, the query is unlike the reference; cells between groups are uncertain.",
    }
    for space, text in spaces.items():
        names = [f"{space}_1", f"{space}_2"]
        columns = ["side", "barcode", "cell_type", "predicted_or_unknown", "confidence", *names]
        table = embedding[columns].dropna(subset=names)
        if not (table["side"] == "query").any():
            continue
        third = "accepted or Unknown" if space == "own" else "reference or query"
        cells = int((table["side"] == "query").sum())
        yield Drawing(
            f"umap_{space}",
            "embedding",
            f"UMAP of {'the query itself' if space == 'own' else 'the space of the model'}",
            f"{text} By predicted type (the reference's cells by their label), by confidence, and by {third}.",
            f"Three scatter plots of {cells:,} cells of the query: by type, by confidence, by {third}",
            table,
            partial(_draw_map, table, space, types),
        )


def _scatter(ax: Axes, x: NDArray[Any], **more: Any) -> Any:
    size = float(np.clip(8000 / max(1, more.pop("cells")), 0.8, 14))
    return ax.scatter(x[:, 0], x[:, 1], s=size, linewidths=0, **more)


def _draw_map(table: pd.DataFrame, space: str, types: Sequence[str]) -> Figure:
    # In a fixed disorder, so that no type hides the others for standing last in the file.
    table = table.iloc[np.random.default_rng(0).permutation(len(table))]
    x = table[[f"{space}_1", f"{space}_2"]].to_numpy(float)
    named = table["cell_type"].astype(str).to_numpy()
    of_query = (table["side"] == "query").to_numpy()
    common: dict[str, Any] = {"cells": len(table), "rasterized": len(table) > RASTER_ABOVE}
    figure = Figure(figsize=(WIDTH, 8.6))
    axes = figure.subplot_mosaic([["type", "legend"], ["confidence", "side"]])
    for ax in (axes["type"], axes["confidence"], axes["side"]):
        ax.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[], box_aspect=1)
        ax.set(xlim=_limits(x[:, 0]), ylim=_limits(x[:, 1]))

    colour, marker = type_colours(types), type_markers(types)
    ax = axes["type"]
    ax.set_title("Type")
    present = [name for name in types if (named == name).any()]
    if not set(named) <= set(types):
        _scatter(ax, x[~np.isin(named, types)], c=GREY, **common)
    # A scatter has one marker: types that share one are drawn together, in the disorder of the cells.
    for shape in dict.fromkeys(marker[name] for name in present):
        own = np.isin(named, [name for name in present if marker[name] == shape])
        _scatter(ax, x[own], c=[colour[name] for name in named[own]], marker=shape, **common)
    for name in present:
        middle = np.median(x[named == name], axis=0)
        ax.annotate(
            str(types.index(name) + 1),
            x[named == name][np.argmin(((x[named == name] - middle) ** 2).sum(axis=1))],
            ha="center",
            va="center",
            fontsize=7,
            color="#222222",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "#FFFFFFD0", "edgecolor": "none"},
        )
    _type_legend(axes["legend"], present, types)

    ax = axes["confidence"]
    ax.set_title("Confidence")
    if not of_query.all():
        _scatter(ax, x[~of_query], c="#80808055", **common)
    shown = _scatter(
        ax, x[of_query], c=table["confidence"].to_numpy(float)[of_query], cmap=CONFIDENCE, vmin=0, vmax=1, **common
    )
    bar = figure.colorbar(shown, cax=ax.inset_axes((0.15, -0.14, 0.7, 0.03)), orientation="horizontal")
    bar.set_label("Calibrated confidence" + ("" if of_query.all() else " (reference: grey)"))

    ax = axes["side"]
    if space == "own":
        unknown = (table["predicted_or_unknown"] == UNKNOWN).to_numpy()
        ax.set_title("Accepted or Unknown")
        sides = [("Accepted", ~unknown, BLUE), ("Unknown", unknown, ORANGE)]
        # Few are on top, so that they are seen; many would hide the others.
        order = np.argsort(unknown, kind="stable") if unknown.mean() < 0.05 else np.arange(len(x))
        colours = np.where(unknown, ORANGE, BLUE)
    else:
        ax.set_title("Reference or query")
        sides = [("Reference", ~of_query, ORANGE), ("Query", of_query, BLUE)]
        order = np.arange(len(x))
        colours = np.where(of_query, BLUE, ORANGE)
    _scatter(ax, x[order], c=colours[order], **common)
    handles = [Line2D([], [], marker="o", linestyle="", color=c, markersize=5) for _, _, c in sides]
    labels = [f"{name} ({int(own.sum()):,})" for name, own, _ in sides]
    ax.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)
    return figure


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    margin = 0.04 * (float(np.ptp(values)) or 1)
    return float(values.min()) - margin, float(values.max()) + margin


def _type_legend(ax: Axes, present: list[str], types: Sequence[str]) -> None:
    """Fill the place of a panel with the types, each with the number that it has among all of the model's."""
    colour, marker = type_colours(types), type_markers(types)
    ax.axis("off")
    columns = -(-len(present) // LEGEND_ROWS)
    size = 8 if columns == 1 else 7 if columns == 2 else 6
    # Characters that fit into 4.2 inches beside the markers.
    width = int(4.2 * 72 / (0.62 * size) / max(1, columns)) - 7
    handles = [Line2D([], [], marker=marker[n], linestyle="", color=colour[n], markersize=5) for n in present]
    labels = [f"{types.index(name) + 1}  {plain(name, width)}" for name in present]
    ax.legend(
        *(handles, labels),
        loc="upper left",
        ncols=max(1, columns),
        fontsize=size,
        borderaxespad=0,
        handletextpad=0.2,
        columnspacing=0.8,
    )


def _composition(predicted: NDArray[Any], kept: NDArray[np.bool_], types: Sequence[str]) -> Drawing:
    counts = pd.DataFrame({"cell_type": predicted, "accepted": kept, "unknown": ~kept})
    table = counts.groupby("cell_type", as_index=False).sum()
    table["cells"] = table["accepted"] + table["unknown"]
    table["share"] = table["cells"] / len(predicted)
    table = table.sort_values(["cells", "cell_type"], ascending=[False, True], ignore_index=True)
    return Drawing(
        "composition",
        "predictions",
        "Cells of each predicted type",
        "The hatched part of a bar are the cells whose confidence is below the threshold: Unknown.",
        f"Bars of the cells of {len(table)} predicted types, {int(table['unknown'].sum()):,} of them Unknown",
        table,
        partial(_draw_composition, table, types),
    )


def _draw_composition(table: pd.DataFrame, types: Sequence[str]) -> Figure:
    colour = type_colours(types)
    figure = Figure(figsize=(7, 1.1 + 0.2 * len(table)))
    ax = figure.subplots()
    at = np.arange(len(table))
    colours = [colour[name] for name in table["cell_type"]]
    ax.barh(at, table["accepted"], color=colours)
    ax.barh(
        *(at, table["unknown"]),
        left=table["accepted"],
        facecolor="none",
        edgecolor=colours,
        hatch="/////",
        linewidth=0.8,
    )
    for i, (cells, share) in enumerate(zip(table["cells"], table["share"], strict=True)):
        ax.annotate(
            f"{cells:,} ({100 * share:.1f} %)", (cells, i), (3, 0), textcoords="offset points", va="center", fontsize=7
        )
    ax.set_yticks(at, [plain(name) for name in table["cell_type"]])
    ax.set(xlabel="Cells", ylabel="Predicted type", ylim=(len(table) - 0.4, -0.6))
    ax.margins(x=0.16)
    ax.set_xlim(left=0)
    handles = [
        Patch(facecolor=GREY, label="Accepted"),
        Patch(facecolor="none", edgecolor=GREY, hatch="/////", label="Unknown"),
    ]
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def _dot_plot(
    top: pd.DataFrame,
    predicted: NDArray[Any],
    values: sp.csc_matrix,
    features: list[str],
    types: Sequence[str],
    what: str,
) -> Drawing:
    present = [name for name in types if (predicted == name).any()]
    most = max(1, min(TOP_FEATURES, MOST_ROWS // len(present)))
    rows = top[top["rank"] <= most]
    rows = rows.assign(order=rows["cell_type"].map({n: i for i, n in enumerate(types)})).sort_values(["order", "rank"])
    number = {name: i for i, name in enumerate(features)}
    parts = []
    for name in present:
        own = values[predicted == name]
        mean, share = np.asarray(own.mean(axis=0)).ravel(), own.getnnz(axis=0) / own.shape[0]
        at = rows["feature"].map(number).to_numpy()
        parts.append(
            pd.DataFrame(
                {
                    "determines": rows["cell_type"].to_numpy(),
                    "rank": rows["rank"].to_numpy(),
                    "feature": rows["feature"].to_numpy(),
                    "cell_type": name,
                    "cells": own.shape[0],
                    "mean": mean[at],
                    "share_with_counts": share[at],
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    few = "" if most == TOP_FEATURES else f" With {len(present)} types, the first {most} of each are shown."
    return Drawing(
        "dot_plot",
        "determinants",
        "Determinant features by predicted type",
        f"Mean log-normalised {what} of each type's first determinant features in the cells of every predicted type, "
        f"and the share of these cells that have counts. Boxes mark the type that the features speak for.{few}",
        f"Dot plot of {len(rows)} determinant features in {len(present)} predicted types",
        table,
        partial(_draw_dot_plot, table, present, what),
    )


def _draw_dot_plot(table: pd.DataFrame, present: list[str], what: str) -> Figure:
    first = table[table["cell_type"] == present[0]]
    rows, columns = len(first), len(present)
    mean, share = (
        np.column_stack([table.loc[table["cell_type"] == name, key] for name in present])
        for key in ("mean", "share_with_counts")
    )
    highest = mean.max(axis=1, keepdims=True)
    relative = np.divide(mean, highest, out=np.zeros_like(mean), where=highest > 0)
    cell = 0.3 if columns <= 12 else min(0.3, 5.2 / columns)
    figure = Figure(figsize=(3.4 + cell * columns, 1.6 + 0.17 * max(rows, 12)))
    ax, side = figure.subplots(1, 2, width_ratios=[cell * columns, 0.9])
    y, x = np.mgrid[:rows, :columns]
    largest = (min(cell, 0.17) * 72 * 0.95) ** 2
    shown = ax.scatter(
        x.ravel(), y.ravel(), s=share.ravel() * largest, c=relative.ravel(), cmap=MEAN, vmin=0, vmax=1, linewidths=0
    )
    groups = first["determines"].to_numpy()
    for column, name in enumerate(present):
        own = np.flatnonzero(groups == name)
        if len(own):
            corner = (column - 0.5, own[0] - 0.5)
            ax.add_patch(Rectangle(corner, 1, len(own), fill=False, edgecolor=GREY, linewidth=0.8))
    ax.set_yticks(range(rows), [plain(name, 30) for name in first["feature"]], fontsize=7)
    ax.set_xticks(range(columns), [plain(name, 28) for name in present], rotation=90, fontsize=8 if cell > 0.2 else 7)
    ax.set(xlim=(-0.7, columns - 0.3), ylim=(rows - 0.3, -0.7), xlabel="Predicted type", ylabel="Determinant feature")
    ax.tick_params(length=2)
    side.axis("off")
    steps = (0.25, 0.5, 1.0)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=GREY, markersize=float(np.sqrt(step * largest)))
        for step in steps
    ]
    side.legend(
        *(handles, [f"{100 * step:.0f} %" for step in steps]),
        title="Cells with\ncounts",
        loc="upper left",
        borderaxespad=0,
    )
    bar = figure.colorbar(shown, cax=side.inset_axes((0.05, 0.02, 0.14, 0.5)))
    bar.set_label(f"Mean log-normalised {what},\nshare of the feature's highest", fontsize=7)
    return figure


def _sample(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(cells) <= VIOLIN_CELLS:
        return cells
    return np.sort(np.random.default_rng(0).choice(cells, VIOLIN_CELLS, replace=False))


def _violins(
    top: pd.DataFrame,
    predicted: NDArray[Any],
    values: sp.csc_matrix,
    features: list[str],
    types: Sequence[str],
    what: str,
) -> Drawing:
    present = [name for name in types if (top["cell_type"] == name).any() and (predicted == name).any()]
    number = {name: i for i, name in enumerate(features)}
    rows = []
    drawn: dict[str, list[tuple[str, list[NDArray[np.float64]]]]] = {}
    for name in present:
        own = predicted == name
        for feature in top.loc[top["cell_type"] == name, "feature"]:
            column = values[:, [number[feature]]].toarray().ravel().astype(float)
            pair = []
            for group, cells in (("in type", np.flatnonzero(own)), ("other cells", np.flatnonzero(~own))):
                if not len(cells):
                    continue
                x = column[cells]
                low, middle, high = np.quantile(x, (0.25, 0.5, 0.75))
                rows.append((name, feature, group, len(x), float((x > 0).mean()), float(x.mean()), low, middle, high))
                pair.append(column[_sample(cells)])
            drawn.setdefault(name, []).append((feature, pair))
    columns = ["cell_type", "feature", "cells_of", "cells", "share_with_counts", "mean", "q25", "median", "q75"]
    return Drawing(
        "violins",
        "determinants",
        f"The first {TOP_FEATURES} determinant features of each type",
        f"Log-normalised {what} in the cells of the predicted type (colour) and in all others (grey), of at most "
        f"{VIOLIN_CELLS} cells each; the dots are means.",
        f"Violins of the first determinant features of {len(present)} predicted types, beside all other cells",
        pd.DataFrame(rows, columns=columns),
        partial(_draw_violins, drawn, types, what),
    )


def _draw_violins(
    drawn: dict[str, list[tuple[str, list[NDArray[np.float64]]]]], types: Sequence[str], what: str
) -> Figure:
    across = min(2 if len(drawn) <= 4 else 3 if len(drawn) <= 12 else 5, len(drawn))
    down = -(-len(drawn) // across)
    long = max(len(plain(feature, 18)) for pairs in drawn.values() for feature, _ in pairs)
    figure = Figure(figsize=(WIDTH if across > 2 else 3.4 * across, 0.5 + down * (1.2 + 0.05 * long)))
    panels = figure.subplots(down, across, squeeze=False).ravel()
    colour = type_colours(types)
    for ax in panels[len(drawn) :]:
        ax.axis("off")
    for ax, (name, pairs) in zip(panels, drawn.items(), strict=False):
        for i, (_, pair) in enumerate(pairs):
            for k, (x, shade) in enumerate(zip(pair, (colour[name], GREY), strict=False)):
                at = i + (k - 0.5) * 0.42
                if np.ptp(x) > 0:
                    for body in ax.violinplot(x, [at], widths=0.4, showextrema=False, points=60)["bodies"]:
                        body.set(facecolor=shade, alpha=0.9, linewidth=0)
                else:
                    ax.plot([at - 0.2, at + 0.2], [x[0], x[0]], color=shade, linewidth=1.5)
                ax.plot(at, x.mean(), "o", markersize=2, color="#222222", markeredgecolor="white", markeredgewidth=0.3)
        ax.set_title(
            f"{types.index(name) + 1}  {plain(name, 32 if across <= 3 else 24)}", fontsize=8 if across <= 3 else 7
        )
        ax.set_xticks(range(len(pairs)), [plain(f, 18) for f, _ in pairs], rotation=90, fontsize=6.5)
        ax.tick_params(length=2, labelsize=6.5)
        ax.set_xlim(-0.6, max(len(pairs), TOP_FEATURES) - 0.4)
        # Log-normalised counts begin at 0; proteins are normalised apart and may lie below it.
        ax.set_ylim(bottom=min(0.0, *(float(x.min()) for _, pair in pairs for x in pair)))
    figure.supylabel(f"Log-normalised {what}", fontsize=8)
    figure.legend(
        handles=[Patch(facecolor=VISIBLE[0], label="Cells of the type"), Patch(facecolor=GREY, label="Other cells")],
        loc="outside upper center",
        ncols=2,
    )
    return figure
