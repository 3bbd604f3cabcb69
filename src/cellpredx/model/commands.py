"""Verbs of the model: train, predict."""

import argparse
from pathlib import Path
from typing import Any


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("train", help="train a model on a transfer -> bundle, training.json")
    parser.add_argument("--pair", required=True, help="folder that `pair` wrote")
    parser.add_argument("--labels", nargs="+", required=True, help="SAMPLE=labels.csv of every reference")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--hyperparameters", default="")
    parser.add_argument("--target-error", type=float)
    parser.add_argument("--unknown-threshold", type=float)
    parser.add_argument("--max-train-cells", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--bundle", default="model")
    parser.add_argument("--training", default="training.json")
    parser.set_defaults(run=run_train)

    parser = verbs.add_parser("predict", help="annotate a query with a bundle -> predictions.csv, annotated.h5ad")
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--query", required=True, help=".h5ad on the bundle's features")
    parser.add_argument("--target-error", type=float)
    parser.add_argument("--unknown-threshold", type=float)
    parser.add_argument("--outdir", default=".")
    parser.set_defaults(run=run_predict)


def run_train(args: argparse.Namespace) -> None:
    """Train on a pair's reference and queries; labels come from the references alone."""
    import os
    import time

    # Threads that wait by spinning slow a shared node down, and themselves most of all.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    import anndata as ad
    import numpy as np
    import pandas as pd
    import torch

    from cellpredx.core.errors import UserError
    from cellpredx.core.features import FEATURE_COLUMNS
    from cellpredx.core.files import read_json, write_json
    from cellpredx.model import bundle, presets
    from cellpredx.model.device import choose
    from cellpredx.model.fit import fit
    from cellpredx.model.normalise import is_log1p, proteins_in

    begin = time.monotonic()
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = choose(args.device)
    folder = Path(args.pair)
    pair = read_json(folder / "pair.json")
    h = presets.override(presets.load(args.preset, pair["scenario"]), args.hyperparameters)
    reference = ad.read_h5ad(folder / "reference.h5ad")
    queries = [ad.read_h5ad(folder / "queries" / f"{sample}.h5ad") for sample in pair["queries"]]
    graphs = [folder / "graphs" / f"{sample}.h5ad" for sample in pair["queries"]]
    warnings: list[str] = []

    tables = []
    for entry in args.labels:
        sample, _, path = entry.partition("=")
        tables.append(pd.read_csv(path, dtype=str, keep_default_na=False).assign(sample=sample))
    table = pd.concat(tables).set_index(["sample", "barcode"])["cell_type"]
    keys = pd.MultiIndex.from_arrays([reference.obs["sample"].astype(str), reference.obs["barcode"].astype(str)])
    known = keys.isin(table.index)
    if not known.any():
        raise UserError(
            f"none of the {reference.n_obs:,} reference cells has a label",
            ", ".join(pair["references"]),
            f"the labels name cells such as {table.index[0][1]!r}, the matrix such as {keys[0][1]!r}",
        )
    if not known.all():
        warnings.append(
            f"{int((~known).sum()):,} of {reference.n_obs:,} reference cells have no label and were left out"
        )
        reference = reference[known].copy()
    names = table.loc[keys[known]].to_numpy(dtype=str)
    labels, y = np.unique(names, return_inverse=True)
    if len(labels) < 2:
        raise UserError(
            f"the reference has one label only: {str(labels[0])!r}", None, "give a reference of two types or more"
        )
    single = labels[np.bincount(y) == 1]
    if len(single):
        warnings.append(f"types with one reference cell, left out of calibration: {', '.join(single)}")

    for query, name in zip(queries, pair["queries"], strict=True):
        if query.n_obs < 3:
            raise UserError(
                f"query {name} has {query.n_obs} cells: too few to train with", None, "annotate it with --model"
            )
    rng = np.random.default_rng(args.seed)

    def sample_rows(cells: int, most: int) -> Any:
        return np.sort(rng.choice(cells, most, replace=False)) if cells > most else slice(None)

    rows = sample_rows(reference.n_obs, args.max_train_cells)
    if not isinstance(rows, slice):
        warnings.append(f"trained on {args.max_train_cells:,} of {reference.n_obs:,} reference cells")
        rows = np.union1d(rows, np.unique(y, return_index=True)[1])
    share = min(1.0, args.max_train_cells / sum(q.n_obs for q in queries))
    query_rows = [sample_rows(q.n_obs, max(2, int(share * q.n_obs))) for q in queries]
    if share < 1:
        warnings.append(f"trained on {share:.0%} of the query cells; all are annotated")
    totals = np.asarray(reference.X.sum(axis=0)).ravel()
    if not (totals > 0).any() or np.ptp(reference.X[:1000].toarray()) == 0:
        raise UserError("the reference's features are constant", None, "give a matrix of counts")

    fitted = fit(
        reference.X[rows],
        is_log1p(reference.uns["cellpredx"]),
        y[rows].astype(np.int64),
        len(labels),
        [q.X[r] for q, r in zip(queries, query_rows, strict=True)],
        [is_log1p(q.uns["cellpredx"]) for q in queries],
        [ad.read_h5ad(p).X[r] if p.is_file() else None for p, r in zip(graphs, query_rows, strict=True)],
        pair["reference_modality"],
        pair["query_modality"],
        h,
        target_error=args.target_error or 0.05,
        threshold=args.unknown_threshold,
        seed=args.seed,
        device=device,
        proteins=proteins_in(reference.uns["cellpredx"]),
    )
    recipe = {k: v for k, v in queries[0].uns["cellpredx"].items() if k not in ("sample", "version")}
    features = reference.var[[c for c in FEATURE_COLUMNS if c in reference.var]]
    bundle.write(
        args.bundle,
        fitted,
        features,
        labels.tolist(),
        h,
        {
            "scenario": pair["scenario"],
            "reference_modality": pair["reference_modality"],
            "query_modality": pair["query_modality"],
            "references": pair["references"],
            "recipe": recipe,
            "preset": args.preset,
            "seed": args.seed,
            "threads": args.threads,
            "device": device.type,
        },
    )
    calibration = fitted.calibration
    write_json(
        {
            "transfer": pair["transfer"],
            "group": pair["group"],
            "preset": args.preset,
            "hyperparameters": vars(h),
            "labels": dict(zip(labels.tolist(), np.bincount(y).tolist(), strict=True)),
            "iterations": fitted.training.iterations,
            "stopped": fitted.training.stopped,
            "device": device.type,
            "seconds": round(time.monotonic() - begin, 1),
            "temperature": calibration.temperature,
            "threshold": calibration.threshold,
            "target_error": calibration.target_error,
            "held_out_cells": calibration.held_out_cells,
            "held_out_accuracy": calibration.held_out_accuracy,
            "held_out_coverage": calibration.held_out_coverage,
            "losses": fitted.training.log,
            "warnings": warnings,
        },
        args.training,
    )


def run_predict(args: argparse.Namespace) -> None:
    """Write predictions.csv, domain_gap.json and annotated.h5ad of one query."""
    import anndata as ad
    import numpy as np
    import pandas as pd

    from cellpredx import __version__
    from cellpredx.core.files import write_csv, write_json
    from cellpredx.matrix.sample_matrix import write_h5ad
    from cellpredx.model import bundle
    from cellpredx.model.calibration import find_threshold
    from cellpredx.model.domain_gap import domain_gap
    from cellpredx.model.normalise import model_input
    from cellpredx.model.prediction import PAPER_THRESHOLD, logits, predict

    model = bundle.read(args.bundle)
    query = ad.read_h5ad(args.query)
    x = model_input(query.X, query.uns["cellpredx"], model.info["hyperparameters"])
    result = predict(logits(x, model.folded_weight, model.folded_bias), model.calibration.temperature)
    embedding = np.asarray(x @ model.encoder_weight.T, dtype=np.float32) + model.encoder_bias

    threshold = model.calibration.threshold
    if args.unknown_threshold is not None:
        threshold = args.unknown_threshold
    elif args.target_error is not None:
        threshold = find_threshold(model.calibration.confidence, model.calibration.correct, args.target_error)
    labels = np.array(model.labels, dtype=object)
    predicted = labels[result.predicted]
    gap = domain_gap(
        model.reference_embedding, embedding, float(result.confidence.mean()), model.calibration.held_out_confidence
    )
    empty = np.asarray(query.X.sum(axis=1)).ravel() == 0
    warning = np.where(empty, "no counts on the model's features", "")
    if gap["level"] == "warn":
        warning = np.where(empty, warning, "domain gap")
    known = (result.confidence >= threshold) & ~empty
    table = pd.DataFrame(
        {
            "barcode": query.obs_names.astype(str),
            "predicted": predicted,
            "predicted_or_unknown": np.where(known, predicted, "Unknown"),
            "confidence": result.confidence,
            "margin": result.margin,
            "novelty": result.novelty,
            "unknown_paper": result.paper_confidence < PAPER_THRESHOLD,
            "warning": warning,
        }
    )
    outdir = Path(args.outdir)
    probabilities = pd.DataFrame(result.p, columns=[f"p_{name}" for name in model.labels])
    write_csv(pd.concat([table, probabilities], axis=1), outdir / "predictions.csv", digits=9)
    write_json({**gap, "threshold": threshold}, outdir / "domain_gap.json")

    for name in ("predicted", "predicted_or_unknown", "confidence", "margin", "novelty", "warning"):
        query.obs[name] = table[name].to_numpy()
    query.obs["predicted"] = pd.Categorical(query.obs["predicted"])
    query.obs["predicted_or_unknown"] = pd.Categorical(query.obs["predicted_or_unknown"])
    query.obsm["X_cellpredx"] = embedding
    query.uns["cellpredx"] = {
        **query.uns["cellpredx"],
        "annotated_by": __version__,
        "bundle_sha256": model.info["files"]["weights.safetensors"],
        "scenario": model.info["scenario"],
        "preset": model.info["preset"],
        "references": model.info["references"],
        "threshold": threshold,
        "domain_gap_auc": gap["auc"],
    }
    write_h5ad(query, outdir / "annotated.h5ad")
