"""`cellpredx baselines`: plain classifiers on a transfer's features -> <query>.baselines.csv, baselines.json."""

import argparse
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("baselines", help="plain classifiers on the model's features, to compare it with")
    parser.add_argument("--pair", required=True, help="folder that `pair` wrote")
    parser.add_argument("--labels", nargs="+", required=True, help="SAMPLE=labels.csv of every reference")
    parser.add_argument("--methods", default="all", help="names separated by commas, or all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--outdir", default=".")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Classify a pair's queries by its reference; labels come from the references alone."""
    import os
    import sys
    import time

    # Sums over threads, and so the last digits, depend on how many there are: read when numpy is loaded.
    os.environ.update(dict.fromkeys(THREADS, str(args.threads)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    import anndata as ad
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

    from cellpredx.baselines.classifiers import METHODS, LeftOutError
    from cellpredx.core.errors import UserError
    from cellpredx.core.files import read_json, together, write_csv, write_json
    from cellpredx.model.normalise import model_input
    from cellpredx.reference.labels import labels_of, numbered

    methods = list(METHODS) if args.methods == "all" else list(dict.fromkeys(args.methods.split(",")))
    if unknown := [name for name in methods if name not in METHODS]:
        raise UserError(f"{unknown[0]!r} is no baseline", "--methods", f"choose from {', '.join(METHODS)}, or all")
    folder = Path(args.pair)
    pair = read_json(folder / "pair.json")
    reference = ad.read_h5ad(folder / "reference.h5ad")
    given = labels_of(args.labels, reference.obs)
    reference = reference[given != ""]
    types, y = numbered(given[given != ""])
    queries = [ad.read_h5ad(folder / "queries" / f"{sample}.h5ad") for sample in pair["queries"]]

    def features(matrix: ad.AnnData) -> sp.csr_matrix:
        # The model's, by its default: a preset that changes them is compared with the usual ones.
        return model_input(sp.csr_matrix(matrix.X), matrix.uns["cellpredx"], {"scale": 1e4, "binarize": False})

    x_reference = features(reference)
    x_query = sp.vstack([features(query) for query in queries], format="csr")
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
    ends = np.cumsum([query.n_obs for query in queries])
    with together(args.outdir) as out:
        for sample, query, end in zip(pair["queries"], queries, ends, strict=True):
            own = table.iloc[end - query.n_obs : end].reset_index(drop=True)
            own.insert(0, "barcode", query.obs_names.astype(str))
            write_csv(own, out / f"{sample}.baselines.csv")
        write_json(
            {
                "transfer": pair["transfer"],
                "group": pair["group"],
                "reference_cells": reference.n_obs,
                "features": reference.n_vars,
                "methods": used,
                "left_out": left_out,
            },
            out / "baselines.json",
        )
