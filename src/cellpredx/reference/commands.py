"""Verbs that bring labels and features together: labels, pair."""

import argparse
from pathlib import Path
from typing import Any

PEAK_SOURCES = ("bundle", "reference", "given", "query", "called", "none")
NO_PEAKS = (
    "no peaks were given and none called: windows of the genome stand in for them; for a better result give `peaks`, "
    "or let them be called: with --call_peaks auto, in containers or with `macs3` on PATH"
)


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("labels", help="a sample's cell types -> labels.csv")
    parser.add_argument("--spec", required=True, help="the sample's rows: a JSON file, or base64:<JSON>")
    parser.add_argument("--label-map", help="CSV (from, to)")
    parser.add_argument("--unused", metavar="JSON", help="where to write which names of the map are no label here")
    parser.add_argument("--out", default="labels.csv")
    parser.set_defaults(run=run_labels)

    parser = verbs.add_parser("pair", help="references and queries of a transfer on shared features")
    parser.add_argument("--transfer", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--scenario", default="auto", choices=["auto", "matched", "unmatched", "atac", "rna"])
    parser.add_argument("--references", nargs="*", default=[])
    parser.add_argument("--bundle")
    parser.add_argument("--queries", nargs="+", required=True)
    parser.add_argument("--graphs", nargs="*", default=[], help="peaks or windows of the queries, for neighbours")
    parser.add_argument("--proteins", nargs="*", default=[], help="proteins of references and queries")
    parser.add_argument("--peak-source", default="none", choices=PEAK_SOURCES, help="where the peaks come from")
    parser.add_argument("--without-peaks", action="store_true", help="windows stand in for peaks: say so")
    parser.add_argument("--annotation")
    parser.add_argument("--outdir", default="pair")
    parser.set_defaults(run=run_pair)


def run_labels(args: argparse.Namespace) -> None:
    """Write barcode, cell_type of the cells that have a label."""
    from cellpredx.core.files import atomic, write_json
    from cellpredx.core.labels import check_reference, final_labels, read_map, unused_names
    from cellpredx.core.spec import read_spec
    from cellpredx.reference.labels import sample_labels

    spec = read_spec(args.spec)
    labels = sample_labels(spec)
    names = read_map(Path(args.label_map)) if args.label_map else {}
    if args.unused and args.label_map:
        write_json(unused_names(labels, names), args.unused)
    labels = final_labels(labels, names)
    if "reference" in spec.roles:
        check_reference(labels, spec.sample)
    # Names stay as they are: a leading apostrophe for spreadsheets would change them for the stages that read this.
    with atomic(args.out) as part:
        labels[labels["cell_type"].str.strip() != ""].to_csv(part, index=False, lineterminator="\n")


def run_pair(args: argparse.Namespace) -> None:
    """Write reference.h5ad, queries/<sample>.h5ad, graphs/<sample>.h5ad and pair.json."""
    from collections.abc import Iterator
    from contextlib import ExitStack
    from itertools import chain

    import numpy as np
    import pandas as pd
    import scipy.sparse as sp
    from numpy.typing import NDArray

    from cellpredx.core.annotation import read_annotation
    from cellpredx.core.bundle_info import read_info
    from cellpredx.core.features import read_features
    from cellpredx.core.files import atomic, write_json
    from cellpredx.matrix.h5ad import write_blocks, write_cells
    from cellpredx.matrix.stored import StoredMatrix
    from cellpredx.reference.checks import fingerprints, refuse_same_cells
    from cellpredx.reference.pair import barcode_overlap, choose_scenario, join, onto_bundle, stacked
    from cellpredx.reference.proteins import (
        PROTEIN,
        after_genes,
        empty_cells,
        join_proteins,
        proteins_of_bundle,
        selected,
    )

    with ExitStack() as opened:
        references, queries, measured = (
            {matrix.about["sample"]: matrix for matrix in (opened.enter_context(StoredMatrix(path)) for path in paths)}
            for paths in (args.references, args.queries, args.proteins)
        )
        query_modality = next(iter(queries.values())).about["modality"]
        if args.bundle:
            bundle = read_info(args.bundle)
            var = read_features(Path(args.bundle) / "features.csv")
            is_protein = var["feature_type"] == PROTEIN if "feature_type" in var else pd.Series(False, var.index)
            genes = var[~is_protein].drop(columns="feature_type", errors="ignore")
            pair = onto_bundle(list(queries.values()), genes, bundle["recipe"], bundle.get("reference_normalised"))
            proteins = proteins_of_bundle(var.index[is_protein].tolist(), list(queries), measured)
            overlap, scenario, chosen = None, bundle["scenario"], "bundle"
            reference_modality, reference_names = bundle["reference_modality"], bundle["references"]
        else:
            reference_modality = next(iter(references.values())).about["modality"]
            reference_names = list(references)
            overlap = barcode_overlap(list(references.values()), list(queries.values()))
            scenario, chosen = choose_scenario(reference_modality, query_modality, overlap, args.scenario)
            annotation = read_annotation(args.annotation) if args.annotation else None
            pair = join(list(references.values()), list(queries.values()), annotation)
            proteins = join_proteins(list(references), list(queries), measured, reference_modality)
        warnings = [*pair.warnings, *proteins.warnings, *empty_cells(proteins, measured)]
        features = after_genes(pair.var, proteins.names)
        extra = {"proteins": len(proteins.names)} if proteins.names else {}

        def blocks(sample: str, matrix: StoredMatrix) -> Iterator[sp.csr_matrix]:
            return selected(matrix, pair.columns[sample], measured.get(sample), proteins.columns.get(sample))

        within = bool(references) and reference_modality == query_modality
        known: list[NDArray[np.void]] = []

        def seen(
            source: Iterator[sp.csr_matrix], marks: list[NDArray[np.void]], size: dict[str, int]
        ) -> Iterator[sp.csr_matrix]:
            for block in source:
                size["cells"] += block.shape[0]
                size["values"] += block.nnz
                if within:
                    marks.append(fingerprints(block))
                yield block

        size_of_reference = {"cells": 0, "values": 0}
        sizes = {sample: {"cells": 0, "values": 0} for sample in queries}
        with atomic(args.outdir) as part:
            if references:
                parts = (
                    seen(blocks(sample, matrix), known, size_of_reference) for sample, matrix in references.items()
                )
                cells = pd.concat([stacked(sample, matrix.obs) for sample, matrix in references.items()])
                about = {**next(iter(references.values())).about, **extra}
                write_blocks(part / "reference.h5ad", chain.from_iterable(parts), cells, features, about)
            for sample, matrix in queries.items():
                path = part / "queries" / f"{sample}.h5ad"
                own: list[NDArray[np.void]] = []
                write_blocks(
                    path,
                    seen(blocks(sample, matrix), own, sizes[sample]),
                    matrix.obs,
                    features,
                    {**matrix.about, **extra},
                )
                if known and own:
                    refuse_same_cells(np.concatenate(known), np.concatenate(own), sample, matrix.obs.index)
            for path in args.graphs:
                graph = opened.enter_context(StoredMatrix(path))
                sample = graph.about["sample"]
                write_cells(graph, path, queries[sample].obs.index, part / "graphs" / f"{sample}.h5ad")
            write_json(
                {
                    "transfer": args.transfer,
                    "group": args.group,
                    "scenario": scenario,
                    "chosen": chosen,
                    "barcode_overlap": overlap,
                    "reference_modality": reference_modality,
                    "query_modality": query_modality,
                    "references": reference_names,
                    "queries": list(queries),
                    "features": next(iter(queries.values())).about["kind"],
                    "shared_features": len(pair.var),
                    "reference_features": pair.reference_features,
                    "query_features": pair.query_features,
                    "proteins": len(proteins.names),
                    "sizes": {"reference": size_of_reference, "queries": sizes},
                    "joined_by": pair.joined_by,
                    "peak_source": args.peak_source,
                    "warnings": [*warnings, *([NO_PEAKS] if args.without_peaks else [])],
                },
                part / "pair.json",
            )
