"""`cellpredx baselines`: plain classifiers on a transfer's features -> <query>.baselines.csv, baselines.json."""

import argparse
from pathlib import Path
from typing import Any


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("baselines", help="plain classifiers on the model's features, to compare it with")
    parser.add_argument("--pair", required=True, help="folder that `pair` wrote")
    parser.add_argument("--labels", nargs="+", required=True, help="SAMPLE=labels.csv of every reference")
    parser.add_argument("--methods", default="all", help="names separated by commas, or all")
    parser.add_argument("--max-cells", type=int, default=100_000, help="most cells a side; of more, a sample")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--outdir", default=".")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Classify a pair's queries by its reference; labels come from the references alone."""
    import sys
    import time

    from cellpredx.core.threads import limit

    limit(args.threads)

    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

    from cellpredx.baselines.classifiers import METHODS, LeftOutError
    from cellpredx.core.errors import UserError
    from cellpredx.core.files import read_json, together, write_csv, write_json
    from cellpredx.matrix.stored import StoredMatrix
    from cellpredx.model.normalise import model_input
    from cellpredx.model.subsample import by_depth, by_type
    from cellpredx.reference.labels import labels_of, numbered

    methods = list(METHODS) if args.methods == "all" else list(dict.fromkeys(args.methods.split(",")))
    if unknown := [name for name in methods if name not in METHODS]:
        raise UserError(f"{unknown[0]!r} is no baseline", "--methods", f"choose from {', '.join(METHODS)}, or all")
    folder = Path(args.pair)
    pair = read_json(folder / "pair.json")
    rng = np.random.default_rng(args.seed)

    def features(matrix: StoredMatrix, cells: Any) -> sp.csr_matrix:
        # The model's, by its default: a preset that changes them is compared with the usual ones.
        return model_input(matrix.take(cells), matrix.about, {"scale": 1e4, "binarize": False})

    with StoredMatrix(folder / "reference.h5ad") as stored:
        given = labels_of(args.labels, stored.obs)
        known = np.flatnonzero(given != "")
        types, y = numbered(given[known])
        chosen = by_type(y, stored.totals()[known], args.max_cells, rng)
        x_reference, y = features(stored, known[chosen]), y[chosen]
    barcodes, parts = [], []
    for sample in pair["queries"]:
        with StoredMatrix(folder / "queries" / f"{sample}.h5ad") as stored:
            cells = by_depth(stored.totals(), max(1, args.max_cells // len(pair["queries"])), rng)
            parts.append(features(stored, cells))
            barcodes.append(stored.obs.index[cells].astype(str))
    x_query = sp.vstack(parts, format="csr")
    names = types.astype(object)
    columns: dict[str, Any] = {}
    used: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name in methods:
        begin = time.monotonic()
        print(f"{name}: {x_reference.shape[0]:,} reference and {x_query.shape[0]:,} query cells", file=sys.stderr)
        try:
            p = METHODS[name](x_reference, y, len(types), x_query, args.seed)
        except LeftOutError as error:
            left_out[name] = str(error)
            print(f"WARNING: {name} was left out: {error}", file=sys.stderr)
            continue
        columns[name] = names[p.argmax(axis=1)]
        columns[f"{name}_confidence"] = p.max(axis=1)
        used[name] = {"seconds": round(time.monotonic() - begin, 1)}
    table = pd.DataFrame(columns, index=range(x_query.shape[0]))
    ends = np.cumsum([len(cells) for cells in barcodes])
    with together(args.outdir) as out:
        for sample, names_of, end in zip(pair["queries"], barcodes, ends, strict=True):
            own = table.iloc[end - len(names_of) : end].reset_index(drop=True)
            own.insert(0, "barcode", names_of)
            write_csv(own, out / f"{sample}.baselines.csv")
        write_json(
            {
                "transfer": pair["transfer"],
                "group": pair["group"],
                "reference_cells": x_reference.shape[0],
                "features": x_reference.shape[1],
                "methods": used,
                "left_out": left_out,
            },
            out / "baselines.json",
        )
