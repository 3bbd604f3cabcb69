"""Verbs of explanation: reference-markers, explain."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from cellpredx.explain.determinants import Determinants
    from cellpredx.explain.trust import Trust
    from cellpredx.model.bundle import Bundle

ENTRIES = 1 << 27  # of the features of the cells that are explained at a time: about 5 GB at the peak
RANKED = ("genes", "gene_activity", "peaks")


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("reference-markers", help="differential features of a pair's reference -> a CSV")
    parser.add_argument("--pair", required=True, help="folder that `pair` wrote")
    parser.add_argument("--labels", nargs="+", required=True, help="SAMPLE=labels.csv of every reference")
    parser.add_argument("--max-cells", type=int, default=20_000)
    parser.add_argument("--out", default="reference_markers.csv")
    parser.set_defaults(run=run_reference_markers)

    parser = verbs.add_parser("explain", help="the features that decided the predictions -> determinants.csv, ...")
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--annotated", required=True, help="annotated.h5ad of `annotate`")
    parser.add_argument("--graph", help=".h5ad of the query's peaks or windows, where the features are gene activity")
    parser.add_argument("--retrained", nargs="*", default=[], help="what `retrain` wrote: seed_*, shuffled_*")
    parser.add_argument("--reference-markers", help="what `reference-markers` wrote")
    parser.add_argument("--markers", help="CSV (cell_type, gene)")
    parser.add_argument("--annotation", help="genes, for the names of peaks: GTF or BED")
    parser.add_argument("--outdir", default=".")
    parser.set_defaults(run=run_explain)


def run_reference_markers(args: argparse.Namespace) -> None:
    """Write the differential features of a reference; of windows, which are too many to be ranked, none."""
    from cellpredx.core.threads import limit

    limit(1)

    import numpy as np
    import pandas as pd

    from cellpredx.core.files import write_csv
    from cellpredx.explain.differential import COLUMNS, differential_features
    from cellpredx.matrix.stored import StoredMatrix
    from cellpredx.model.normalise import model_input
    from cellpredx.model.subsample import by_type
    from cellpredx.reference.labels import labels_of, numbered

    with StoredMatrix(Path(args.pair) / "reference.h5ad") as stored:
        if stored.about["kind"] not in RANKED:
            write_csv(pd.DataFrame(columns=COLUMNS), args.out)
            return
        given = labels_of(args.labels, stored.obs)
        known = np.flatnonzero(given != "")
        types, y = numbered(given[known])
        chosen = by_type(y, stored.totals()[known], args.max_cells, np.random.default_rng(0))
        x = model_input(stored.take(known[chosen]), stored.about, {"scale": 1e4, "binarize": False})
        features = list(stored.var.index.astype(str))
    write_csv(differential_features(x, y[chosen], types.tolist(), features), args.out)


def run_explain(args: argparse.Namespace) -> None:
    """Write the determinant features of every predicted type, what they are worth, and where they lie."""
    from cellpredx.core.threads import limit

    limit(1)

    import numpy as np
    from scipy.special import softmax

    from cellpredx.core.files import read_csv, together, write_csv, write_json
    from cellpredx.explain.determinants import Determinants
    from cellpredx.explain.markers import Markers, read_markers
    from cellpredx.explain.places import Places, write_beds
    from cellpredx.explain.trust import MAX_CELLS
    from cellpredx.matrix.stored import StoredMatrix
    from cellpredx.model import bundle
    from cellpredx.model.normalise import model_input
    from cellpredx.model.subsample import RARE, by_type
    from cellpredx.model.whole_query import read_whole

    given = read_markers(Path(args.markers)) if args.markers else {}
    model = bundle.read(args.bundle)
    number = {name: k for k, name in enumerate(model.labels)}
    places = Places(model.features, args.annotation)
    differential = read_csv(args.reference_markers, ("cell_type", "feature")) if args.reference_markers else None
    markers = Markers(model.features.index.astype(str), places.names, given, differential)
    with StoredMatrix(args.annotated) as stored:
        predicted = np.array([number[str(name)] for name in stored.obs["predicted"]], np.int64)
        residual, own = None, 0.0
        sample = np.zeros(0, np.int64)
        if args.retrained or model.ensemble.members is not None:
            # Smoothed cells have the features of their neighbours too.
            a_cell = model.ensemble.spread() * int(stored.starts[-1]) / max(len(predicted), 1)
            most = max(1, min(MAX_CELLS, int(ENTRIES / max(a_cell, 1))))
            # Many types, each with its fewest cells, must not exceed it by far.
            fewest = max(1, min(RARE, most // max(len(np.unique(predicted)), 1)))
            sample = by_type(predicted, stored.totals(), most, np.random.default_rng(0), fewest)
        weight: NDArray[Any]
        bias: NDArray[Any]
        if model.ensemble.members is None:
            weight, bias = model.ensemble.weight, model.ensemble.bias
            zero = np.zeros(weight.shape[1])
            found = Determinants(weight, bias)
            for begin, block in stored.blocks(entries=1 << 22):
                x = model_input(block, stored.about, model.info["hyperparameters"])
                found.add(x, predicted[begin : begin + block.shape[0]])
            if args.retrained:
                x = model_input(stored.take(sample), stored.about, model.info["hyperparameters"])
        else:
            whole, accessibility, within = read_whole(model, args.annotated, args.graph)
            placed = model.ensemble.members.place(whole, accessibility, within)
            explained = model.ensemble.explained(whole, placed, sample)
            x, zero, own = explained.features, explained.zero, placed.own_similarity
            weight, bias = model.ensemble.stacked(own)
            bias = bias - weight @ zero
            found = Determinants(weight, bias, whole.shape[1])
            found.add(x, predicted[sample], explained.own)
            residual = found.residual(softmax(explained.logits, axis=1), predicted[sample])
        trust = _trust([Path(path) for path in args.retrained], found, x, predicted[sample], (zero, own))
    given_to = np.bincount(predicted, minlength=len(number))
    types = {
        model.labels[k]: {
            "cells": int(given_to[k]),
            "decision_share": found.decision_share(k),
            **trust.of_type(k, found.ranked(k)),
            "residual": None if residual is None else float(residual[k]),
            "hit_rate": markers.hit_rates(model.labels[k], found.ranked(k)),
        }
        for k in found.types()
    }
    # Of members that need the whole query, a sample of its cells is explained.
    table = _table(found, model, trust, markers, places).assign(cells=lambda t: given_to[t["cell_type"].map(number)])
    strangers = [name for name in given if name not in number]
    counts = {"seeds": trust.seeds, "permutations": trust.permutations}
    with together(args.outdir) as out:
        write_csv(table, out / "determinants.csv")
        told = {"types": types, **counts, "marker_types": len(given), "markers_of_other_types": strangers}
        write_json(told, out / "explain.json")
        if places.regions is not None:
            write_beds(table, places.regions, out / "determinants_bed")


def _table(found: "Determinants", model: "Bundle", trust: "Trust", markers: Any, places: Any) -> "pd.DataFrame":
    """Return determinants.csv; what is not known is empty."""
    import numpy as np

    table = found.table(model.labels, list(model.features.index.astype(str)))
    types = found.types()
    at = np.concatenate([found.ranked(k) for k in types])
    of_type = np.repeat(types, [len(found.ranked(k)) for k in types])
    table["stability"] = "" if trust.named is None else trust.named[of_type, at] / trust.seeds
    table["q"] = "" if trust.q is None else trust.q[of_type, at]
    known = [markers.given(model.labels[k]) for k in types]
    marked = [
        np.full(len(found.ranked(k)), "") if m is None else m[found.ranked(k)]
        for k, m in zip(types, known, strict=True)
    ]
    table["is_marker"] = np.concatenate([part.astype(object) for part in marked])
    table["nearest_gene"] = places.nearest[at]
    table["distance"] = places.distance[at]
    return table


def _trust(paths: list[Path], found: "Determinants", x: Any, predicted: Any, query: tuple[Any, float]) -> "Trust":
    """Measure trust by retrained models, `seed_*` and `shuffled_*`, on cells x (n, parts * G) of a query.

    query: what is taken from x before weights are applied, (parts * G,), and `Placed.own_similarity`.
    """
    from safetensors.numpy import load_file

    from cellpredx.explain.trust import Trust
    from cellpredx.model.members import Ensemble

    zero, own = query
    shape = (len(found.cells), found.features)
    trust = Trust([found.ranked(k) for k in range(shape[0])], shape)
    if not paths:
        return trust
    trust.observe(x, predicted, found.weight, found.bias)
    for path in sorted(paths):
        weight, bias = Ensemble.read(load_file(path)).stacked(own)
        add = trust.add_seed if path.name.startswith("seed") else trust.add_shuffled
        add(weight, bias - weight @ zero)
    return trust
