"""Verbs of the model: train, fit-query, predict, annotate."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from cellpredx.model.bundle import Bundle
    from cellpredx.model.fit import Query, Reference
    from cellpredx.model.prediction import Prediction

TARGET_ERROR = 0.05
MIN_FEATURES = 10


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("check-settings", help="read what all samples share -> settings.json")
    parser.add_argument("--genome")
    parser.add_argument("--chrom-sizes", type=Path)
    parser.add_argument("--annotation", type=Path, help="GTF or gene BED")
    parser.add_argument("--blacklist", type=Path, help="BED of regions whose signal is not to be trusted")
    parser.add_argument("--label-map", type=Path, help="CSV (from, to)")
    parser.add_argument("--bundles", type=Path, nargs="*", default=[])
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--hyperparameters", default="")
    parser.add_argument("--scenarios", nargs="*", default=[], help="those that the transfers may have")
    parser.add_argument("--out", default="settings.json")
    parser.set_defaults(run=run_check_settings)

    parser = verbs.add_parser("train", help="train a model on a transfer -> bundle, training.json")
    _training_options(parser)
    parser.add_argument("--target-error", type=float)
    parser.add_argument("--unknown-threshold", type=float)
    parser.add_argument("--bundle", default="model")
    parser.add_argument("--training", default="training.json")
    parser.set_defaults(run=run_train)

    parser = verbs.add_parser("retrain", help="train as `train` does, without calibration -> what predicts")
    _training_options(parser)
    parser.add_argument("--shuffled", action="store_true", help="on labels that are permuted among the reference cells")
    parser.add_argument("--out", default="weights.safetensors")
    parser.set_defaults(run=run_retrain)

    parser = verbs.add_parser("fit-query", help="what prediction needs of a whole query -> query_fit, domain_gap.json")
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--query", required=True, help=".h5ad on the bundle's features")
    parser.add_argument("--graph", help=".h5ad of the query's peaks or windows, where the features are gene activity")
    parser.add_argument("--target-error", type=float)
    parser.add_argument("--unknown-threshold", type=float)
    parser.add_argument("--outdir", default=".")
    parser.set_defaults(run=run_fit_query)

    parser = verbs.add_parser("predict", help="predict a block of a query's cells -> a part of its predictions")
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--query", required=True, help=".h5ad on the bundle's features")
    parser.add_argument("--fit", required=True, help="folder that `fit-query` wrote")
    parser.add_argument("--begin", type=int, default=0, help="number of the block's first cell, from 0")
    parser.add_argument("--cells", type=int, help="cells of the block; all where it is not given")
    parser.add_argument("--out", default="part_0")
    parser.set_defaults(run=run_predict)

    parser = verbs.add_parser("annotate", help="join the parts of a query -> predictions.csv, annotated.h5ad")
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--query", required=True)
    parser.add_argument("--fit", required=True)
    parser.add_argument("--parts", nargs="+", required=True, help="folders that `predict` wrote")
    parser.add_argument("--outdir", default=".")
    parser.set_defaults(run=run_annotate)


def _training_options(parser: argparse.ArgumentParser) -> None:
    """Add what every training takes."""
    parser.add_argument("--pair", required=True, help="folder that `pair` wrote")
    parser.add_argument("--labels", nargs="+", required=True, help="SAMPLE=labels.csv of every reference")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--hyperparameters", default="")
    parser.add_argument("--max-train-cells", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])


def run_check_settings(args: argparse.Namespace) -> None:
    """Write what is wrong with what all samples share; the workflow gathers it with the samples' problems."""
    from dataclasses import fields

    from cellpredx.core.files import write_json
    from cellpredx.model.settings import Settings, check_settings

    given = {field.name: getattr(args, field.name) for field in fields(Settings)}
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    write_json(check_settings(Settings(**{**given, **lists})), args.out)


def _start_torch(threads: int) -> None:
    """Let torch take `threads`, and give the same numbers again and again. Comes before numpy is imported."""
    import os

    from cellpredx.core.threads import limit

    limit(threads)
    # A GPU's products are repeatable with a workspace of fixed size alone.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Every tensor that is made empty is filled by what follows; filling it before would cost a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def run_train(args: argparse.Namespace) -> None:
    """Train on a pair's reference and queries; labels come from the references alone."""
    import time

    _start_torch(args.threads)

    import numpy as np

    from cellpredx.core.files import read_json, write_json
    from cellpredx.model import bundle, presets
    from cellpredx.model.device import CPU, first_that_fits, places
    from cellpredx.model.fit import fit
    from cellpredx.model.members import refuse_few

    begin = time.monotonic()
    candidates = places(args.device)
    folder = Path(args.pair)
    pair = read_json(folder / "pair.json")
    h = presets.override(presets.load(args.preset, pair["scenario"]), args.hyperparameters)
    rng = np.random.default_rng(args.seed)
    reference, types, sizes, about = _reference(folder, pair, args.labels, args.max_train_cells, rng)
    queries, described = _queries(folder, pair, args.max_train_cells, rng)
    if h.graph_components:
        for name, query in zip(pair["queries"], queries, strict=True):
            refuse_few(query.counts.shape[0], name)
        # Calibration takes half of the reference for a query.
        refuse_few(len(reference.labels) // 2, f"half of {', '.join(pair['references'])}")
    warnings = about.pop("warnings") + described.pop("warnings")
    if args.device == "auto" and candidates == [CPU]:
        warnings.append("no GPU was found: trained on the CPU")
    cells = [len(reference.labels), sum(q.counts.shape[0] for q in queries)]

    fitted, place, tried = first_that_fits(
        candidates,
        lambda place: fit(
            reference,
            queries,
            (pair["reference_modality"], pair["query_modality"]),
            h,
            target_error=args.target_error or TARGET_ERROR,
            threshold=args.unknown_threshold,
            seed=args.seed,
            place=place,
        ),
    )
    as_printed = h.unknown_below > 0 and args.target_error is None and args.unknown_threshold is None
    unknown = {"on": "confidence", "below": fitted.calibration.threshold}
    if as_printed:
        unknown = {"on": "paper_confidence", "below": h.unknown_below}
    bundle.write(
        args.bundle,
        fitted,
        about["features"],
        types,
        h,
        {
            "scenario": pair["scenario"],
            "reference_modality": pair["reference_modality"],
            "query_modality": pair["query_modality"],
            "references": pair["references"],
            "recipe": {**about["recipe"], **described["recipe"]},
            "reference_normalised": "log1p" if reference.is_log else "counts",
            "preset": args.preset,
            "seed": args.seed,
            "threads": args.threads,
            "max_train_cells": args.max_train_cells,
            "device": place.device.type,
            "unknown": unknown,
            "content": {**about["content"], "queries": described["content"]},
            "queries_whole": described["whole"],
        },
    )
    calibration = fitted.calibration
    write_json(
        {
            "transfer": pair["transfer"],
            "group": pair["group"],
            "preset": args.preset,
            "hyperparameters": vars(h),
            "labels": dict(zip(types, sizes, strict=True)),
            "trained_cells": {"reference": cells[0], "query": cells[1]},
            "network_share": fitted.ensemble.network_share,
            "iterations": fitted.training.iterations,
            "stopped": fitted.training.stopped,
            "device": place.device.type,
            "seconds": round(time.monotonic() - begin, 1),
            "temperature": calibration.temperature,
            "threshold": unknown["below"],
            "threshold_on": unknown["on"],
            "target_error": None if as_printed or args.unknown_threshold is not None else calibration.target_error,
            "held_out_by_batch": fitted.held_out_by_batch,
            "held_out_cells": calibration.held_out_cells,
            "held_out_accuracy": calibration.held_out_accuracy,
            "held_out_coverage": None if as_printed else calibration.held_out_coverage,
            "losses": fitted.training.log,
            "warnings": warnings + tried,
        },
        args.training,
    )


def run_retrain(args: argparse.Namespace) -> None:
    """Train once more, by another seed or on shuffled labels; write what predicts, alone.

    The seed draws the cells where they are a sample, the permutation of the labels, and the training.
    """
    _start_torch(args.threads)

    import numpy as np
    from safetensors.numpy import save_file

    from cellpredx.core.files import atomic, read_json
    from cellpredx.model import presets
    from cellpredx.model.device import first_that_fits, places
    from cellpredx.model.fit import train_model

    folder = Path(args.pair)
    pair = read_json(folder / "pair.json")
    h = presets.override(presets.load(args.preset, pair["scenario"]), args.hyperparameters)
    rng = np.random.default_rng(args.seed)
    reference, *_ = _reference(folder, pair, args.labels, args.max_train_cells, rng)
    queries, _ = _queries(folder, pair, args.max_train_cells, rng)
    if args.shuffled:
        reference = replace(reference, labels=rng.permutation(reference.labels))
    modalities = (pair["reference_modality"], pair["query_modality"])
    (_, joined, _), *_ = first_that_fits(
        places(args.device), lambda place: train_model(reference, queries, modalities, h, args.seed, place)
    )
    with atomic(args.out) as part:
        save_file({k: np.ascontiguousarray(v) for k, v in joined.tensors().items()}, part)


def _reference(
    folder: Path, pair: dict[str, Any], labels: list[str], most: int, rng: Any
) -> "tuple[Reference, list[str], list[int], dict[str, Any]]":
    """Return the reference as training reads it, its types and their cells, and features, content and warnings."""
    import numpy as np

    from cellpredx.core.errors import UserError
    from cellpredx.core.features import FEATURE_COLUMNS
    from cellpredx.matrix.stored import StoredMatrix, is_constant
    from cellpredx.model.fit import Reference
    from cellpredx.model.normalise import is_log1p, proteins_in
    from cellpredx.model.subsample import by_type
    from cellpredx.model.whole_query import content_of, digest
    from cellpredx.reference.labels import labels_of, numbered

    warnings = []
    with StoredMatrix(folder / "reference.h5ad") as stored:
        names = labels_of(labels, stored.obs)
        known = np.flatnonzero(names != "")
        if len(known) < len(names):
            left = len(names) - len(known)
            warnings.append(f"{left:,} of {len(names):,} reference cells have no label and were left out")
        types, y = numbered(names[known])
        sizes = np.bincount(y)
        usable = int((sizes >= 2).sum())
        if usable < 2:
            raise UserError(
                f"types of the reference with two cells or more: {usable}; confidence needs two of them",
                ", ".join(pair["references"]),
                "give a reference with more cells a type",
            )
        if stored.shape[1] < MIN_FEATURES:
            raise UserError(
                f"reference and query share {stored.shape[1]} features: too few to learn from",
                ", ".join([*pair["references"], *pair["queries"]]),
                "give both by the same genome and names",
            )
        single = types[sizes == 1]
        if len(single):
            warnings.append(f"types with one reference cell, left out of calibration: {', '.join(single)}")
        content, depth = content_of(stored)
        chosen = by_type(y, depth[known], most, rng)
        if len(chosen) < len(known):
            warnings.append(f"trained on {len(chosen):,} of {len(known):,} reference cells")
        counts = stored.take(known[chosen])
        if is_constant(counts):
            raise UserError(
                "every reference cell has the same value in each feature: nothing can be learnt",
                ", ".join(pair["references"]),
                "give a matrix of counts",
            )
        batches = np.unique(stored.obs["batch"].astype(str).to_numpy()[known[chosen]], return_inverse=True)[1]
        columns = [c for c in FEATURE_COLUMNS if c in stored.var]
        about = {
            "features": stored.var[columns],
            "recipe": {k: stored.about[k] for k in ("genome", "annotation_sha256") if k in stored.about},
            "content": {"reference": content, "labels": digest(names)},
            "warnings": warnings,
        }
        kinds = (is_log1p(stored.about), proteins_in(stored.about))
        reference = Reference(counts, y[chosen], len(types), batches, *kinds)
    return reference, types.tolist(), sizes.tolist(), about


def _queries(folder: Path, pair: dict[str, Any], most: int, rng: Any) -> "tuple[list[Query], dict[str, Any]]":
    """Return the queries as training reads them; recipe, content and warnings."""
    from contextlib import ExitStack

    from cellpredx.core.errors import UserError
    from cellpredx.matrix.stored import StoredMatrix, is_constant
    from cellpredx.model.fit import Query
    from cellpredx.model.normalise import is_log1p, proteins_in
    from cellpredx.model.subsample import by_depth
    from cellpredx.model.whole_query import content_of

    queries, content, warnings = [], {}, []
    with ExitStack() as stack:
        stored = [stack.enter_context(StoredMatrix(folder / "queries" / f"{name}.h5ad")) for name in pair["queries"]]
        cells = [matrix.shape[0] for matrix in stored]
        for matrix, name in zip(stored, pair["queries"], strict=True):
            if matrix.shape[0] < 3:
                raise UserError(
                    f"query {name} has {matrix.shape[0]} cells: too few to train with", None, "annotate it with --model"
                )
            content[name], depth = content_of(matrix)
            chosen = by_depth(depth, max(3, most * matrix.shape[0] // sum(cells)), rng)
            graph = None
            path = folder / "graphs" / f"{name}.h5ad"
            if path.is_file():
                graph = stack.enter_context(StoredMatrix(path)).take(chosen)
            query = Query(matrix.take(chosen), graph, is_log1p(matrix.about), proteins_in(matrix.about))
            if is_constant(query.counts) or (graph is not None and is_constant(graph)):
                raise UserError(
                    f"every cell of query {name} has the same value in each feature: nothing can be told apart",
                    name,
                    "give a matrix of counts on features that the reference has too",
                )
            queries.append(query)
        # What the first query's matrix does not tell (a user's own knows no genome), another one may.
        recipe = {k: v for m in reversed(stored) for k, v in m.about.items() if k not in ("sample", "version")}
    sampled = sum(cells) > most
    if sampled:
        used = sum(query.counts.shape[0] for query in queries)
        warnings.append(f"trained on {used:,} of {sum(cells):,} query cells; all are annotated")
    return queries, {"recipe": recipe, "content": content, "whole": not sampled, "warnings": warnings}


def run_fit_query(args: argparse.Namespace) -> None:
    """Measure the domain gap of a whole query, and settle when its cells are Unknown."""
    from cellpredx.core.threads import limit

    limit(1)

    import numpy as np

    from cellpredx.core.files import together, write_json
    from cellpredx.matrix.stored import StoredMatrix
    from cellpredx.model import bundle
    from cellpredx.model.calibration import find_threshold
    from cellpredx.model.domain_gap import MAX_CELLS, domain_gap
    from cellpredx.model.normalise import model_input
    from cellpredx.model.prediction import embed, logits, predict

    model = bundle.read(args.bundle)
    calibration, h = model.calibration, model.info["hyperparameters"]
    on, threshold = model.info["unknown"]["on"], model.info["unknown"]["below"]
    if args.unknown_threshold is not None:
        on, threshold = "confidence", args.unknown_threshold
    elif args.target_error is not None:
        on, threshold = "confidence", find_threshold(calibration.confidence, calibration.correct, args.target_error)
    beyond, novelty = _beyond(model, args.query, args.graph)
    with StoredMatrix(args.query) as stored:
        cells = stored.shape[0]
        sample = np.sort(np.random.default_rng(0).permutation(cells)[:MAX_CELLS])
        total, embedding = 0.0, []
        for begin, block in stored.blocks():
            x = model_input(block, stored.about, h)
            scores = logits(x, model.folded_weight, model.folded_bias)
            if beyond is not None:
                scores += beyond[begin : begin + block.shape[0]]
            total += float(predict(scores, calibration.temperature).confidence.sum())
            low, high = np.searchsorted(sample, (begin, begin + block.shape[0]))
            embedding.append(embed(x[sample[low:high] - begin], model.encoder_weight, model.encoder_bias))
    gap = domain_gap(
        model.reference_embedding, np.concatenate(embedding), total / cells, calibration.held_out_confidence
    )
    found = {**gap, "threshold": threshold, "threshold_on": on}
    with together(args.outdir) as scratch:
        write_json(found, scratch / "domain_gap.json")
        (scratch / "query_fit").mkdir()
        for name, values in (("beyond", beyond), ("novelty", novelty)):
            if values is not None:
                np.save(scratch / "query_fit" / f"{name}.npy", values)
        write_json({"cells": cells, **found}, scratch / "query_fit" / "query.json")


def _beyond(model: "Bundle", query: str, graph: str | None) -> "tuple[Any, Any]":
    """Return what a bundle's members that need the whole query say of it: logits with their share (n, K), and novelty.

    Both none where the bundle has no such member; novelty alone where it has none of its own.
    """
    import numpy as np

    from cellpredx.model.members import Smoothed, refuse_few
    from cellpredx.model.whole_query import read_whole

    if model.ensemble.members is None:
        return None, None
    x, accessibility, within = read_whole(model, query, graph)
    if isinstance(model.ensemble.members.rest, Smoothed):
        refuse_few(x.shape[0], Path(query).stem)
    placed = model.ensemble.members.place(x, accessibility, within)
    return model.ensemble.beyond(x, placed).astype(np.float32), model.ensemble.members.novelty(placed)


def prediction_table(
    result: "Prediction", labels: list[str], barcodes: Any, known: Any, warning: Any = ""
) -> "pd.DataFrame":
    """Return predictions.csv of cells: barcodes, whether each keeps its type (`known`), and its warning."""
    import numpy as np
    import pandas as pd

    from cellpredx.model.prediction import PAPER_THRESHOLD

    predicted = np.array(labels, dtype=object)[result.predicted]
    table = pd.DataFrame(
        {
            "barcode": barcodes,
            "predicted": predicted,
            "predicted_or_unknown": np.where(known, predicted, "Unknown"),
            "confidence": result.confidence,
            "margin": result.margin,
            "novelty": result.novelty,
            "unknown_paper": result.paper_confidence < PAPER_THRESHOLD,
            "warning": warning,
        }
    )
    return pd.concat([table, pd.DataFrame(result.p, columns=[f"p_{name}" for name in labels])], axis=1)


def run_predict(args: argparse.Namespace) -> None:
    """Write the predictions and the embedding of a block of a query's cells; no torch is loaded."""
    from cellpredx.core.threads import limit

    limit(1)

    import numpy as np
    import pandas as pd

    from cellpredx.core.files import atomic, read_json, write_csv
    from cellpredx.matrix.stored import StoredMatrix
    from cellpredx.model import bundle
    from cellpredx.model.normalise import model_input
    from cellpredx.model.prediction import embed, logits, predict

    model = bundle.read(args.bundle)
    gap = read_json(Path(args.fit) / "query.json")
    whole = {path.stem: np.load(path, mmap_mode="r") for path in Path(args.fit).glob("*.npy")}
    tables, embeddings = [], []
    with StoredMatrix(args.query) as stored:
        end = stored.shape[0] if args.cells is None else min(stored.shape[0], args.begin + args.cells)
        for begin, block in stored.blocks(args.begin, end):
            x = model_input(block, stored.about, model.info["hyperparameters"])
            scores = logits(x, model.folded_weight, model.folded_bias)
            own = slice(begin, begin + block.shape[0])
            if "beyond" in whole:
                scores += whole["beyond"][own]
            result = predict(scores, model.calibration.temperature)
            if "novelty" in whole:
                result = replace(result, novelty=np.asarray(whole["novelty"][own]))
            empty = np.asarray(block.sum(axis=1)).ravel() == 0
            warning = np.where(empty, "no counts on the model's features", "")
            if gap["level"] == "warn":
                warning = np.where(empty, warning, "domain gap")
            known = (getattr(result, gap["threshold_on"]) >= gap["threshold"]) & ~empty
            barcodes = stored.obs.index[own].astype(str)
            tables.append(prediction_table(result, model.labels, barcodes, known, warning))
            embeddings.append(embed(x, model.encoder_weight, model.encoder_bias))
    with atomic(args.out) as part:
        part.mkdir()
        write_csv(pd.concat(tables), part / "predictions.csv", digits=9)
        np.save(part / "embedding.npy", np.concatenate(embeddings))


def run_annotate(args: argparse.Namespace) -> None:
    """Join a query's parts: predictions.csv, and its matrix with them as annotated.h5ad."""
    import numpy as np
    import pandas as pd

    from cellpredx import __version__
    from cellpredx.core.files import read_csv, read_json, together
    from cellpredx.matrix.stored import copy_with
    from cellpredx.model import bundle

    model = bundle.read(args.bundle)
    gap = read_json(Path(args.fit) / "query.json")
    parts = sorted(map(Path, args.parts), key=lambda path: int(path.name.rpartition("_")[2]))
    with together(args.outdir) as scratch:
        predictions = scratch / "predictions.csv"
        with open(predictions, "wb") as joined:
            for number, path in enumerate(parts):
                with open(path / "predictions.csv", "rb") as handle:
                    header = handle.readline()
                    joined.write(b"" if number else header)
                    while chunk := handle.read(1 << 24):
                        joined.write(chunk)
        columns = ["predicted", "predicted_or_unknown", "confidence", "margin", "novelty", "warning"]
        texts = ("barcode", "predicted", "predicted_or_unknown", "warning")
        table = read_csv(predictions, texts)
        if len(table) != gap["cells"]:
            raise RuntimeError(f"{len(table)} cells in the parts of the predictions")
        obs = {
            name: pd.Categorical(table[name]) if name.startswith("predicted") else table[name].to_numpy()
            for name in columns
        }
        embedding = np.concatenate([np.load(path / "embedding.npy") for path in parts])
        about = {
            "annotated_by": __version__,
            "bundle_sha256": model.info["files"]["weights.safetensors"],
            "scenario": model.info["scenario"],
            "preset": model.info["preset"],
            "references": model.info["references"],
            "bundle_version": model.info["version"],
            "bundle_made_with": model.info["made_with"],
            "threshold": gap["threshold"],
            "threshold_on": gap["threshold_on"],
            "domain_gap_auc": np.nan if gap["auc"] is None else gap["auc"],
        }
        copy_with(args.query, scratch / "annotated.h5ad", obs, {"X_cellpredx": embedding}, about)
