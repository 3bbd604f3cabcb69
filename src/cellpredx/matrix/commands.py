"""Verbs that make matrices and what they count in."""

import argparse
from pathlib import Path
from typing import Any


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("standardise", help="a sample's count matrices -> one .h5ad of counts")
    parser.add_argument("--spec", required=True, help="the sample's rows: a JSON file, or base64:<JSON>")
    parser.add_argument("--outdir", default=".")
    parser.set_defaults(run=run_standardise)

    parser = verbs.add_parser("proteins", help="proteins of the cells of a sample of fragments -> .h5ad of counts")
    parser.add_argument("--spec", required=True, help="the sample's rows: a JSON file, or base64:<JSON>")
    parser.add_argument("--store", required=True)
    parser.add_argument("--out", default="proteins.h5ad")
    parser.set_defaults(run=run_proteins)

    parser = verbs.add_parser("count", help="count a sample's fragments in peaks, windows or genes")
    parser.add_argument("--store", required=True)
    parser.add_argument("--kind", required=True, choices=["peaks", "windows", "gene_activity"])
    parser.add_argument("--name", help="name of the matrix in the report; its kind, if not given")
    parser.add_argument("--counting", default="auto", choices=["auto", "paired-insertion", "insertion", "fragment"])
    parser.add_argument("--peaks", help="peaks: a BED, a peak matrix (.h5ad), or a bundle's features.csv")
    parser.add_argument("--annotation", help="GTF or gene BED")
    parser.add_argument("--gene-model", default="body", choices=["body", "archr"])
    parser.add_argument("--window-size", type=int, default=500)
    parser.add_argument("--blacklist", help="BED of regions: windows that overlap one are left out")
    parser.add_argument("--genome")
    parser.add_argument("--chrom-sizes")
    parser.add_argument("--out", required=True)
    parser.set_defaults(run=run_count)

    parser = verbs.add_parser("gene-activity", help="gene activity from a peak matrix")
    parser.add_argument("--peaks", required=True, help=".h5ad of peaks")
    parser.add_argument("--annotation")
    parser.add_argument("--genome")
    parser.add_argument("--chrom-sizes")
    parser.add_argument("--out", required=True)
    parser.set_defaults(run=run_gene_activity)

    parser = verbs.add_parser("call-peaks", help="peaks of a sample's fragments, by MACS3 -> narrowPeak")
    parser.add_argument("--store", required=True)
    parser.add_argument("--q", type=float, default=0.01, help="largest q value of a peak")
    parser.add_argument("--genome")
    parser.add_argument("--chrom-sizes")
    parser.add_argument("--blacklist", help="BED of regions without peaks")
    parser.add_argument("--out", required=True)
    parser.set_defaults(run=run_call_peaks)

    parser = verbs.add_parser("merge-peaks", help="one peak set of several samples' calls -> BED")
    parser.add_argument("--calls", nargs="+", required=True, help="what call-peaks wrote: <sample>.narrowPeak")
    parser.add_argument("--genome")
    parser.add_argument("--chrom-sizes")
    parser.add_argument("--blacklist", help="BED of regions without peaks")
    parser.add_argument("--out", required=True)
    parser.set_defaults(run=run_merge_peaks)


def run_standardise(args: argparse.Namespace) -> None:
    """Write <kind>.h5ad (gene_activity.h5ad and proteins.h5ad where there are such) and sample.json, or nothing."""
    import numpy as np

    from cellpredx.core.errors import UserError
    from cellpredx.core.files import together, write_json
    from cellpredx.core.spec import read_spec
    from cellpredx.matrix.proteins import protein_files, protein_matrix
    from cellpredx.matrix.sample_matrix import write_h5ad
    from cellpredx.matrix.standardise import standardise

    spec = read_spec(args.spec)
    result = standardise(spec, [(r, r.matrix) for r in spec.rows if r.matrix is not None], spec.peak_gene_link)
    matrix, warnings = result.matrix, list(result.warnings)
    kind = matrix.uns["cellpredx"]["kind"]
    results = {kind: matrix}
    ready = [(r, r.gene_activity) for r in spec.rows if r.gene_activity is not None]
    if ready:
        activity = standardise(spec, ready, activity=True)
        missing = matrix.obs_names.difference(activity.matrix.obs_names)
        if len(missing):
            raise UserError(
                f"{len(missing)} cells of the matrix are not in its gene_activity, the first is {missing[0]!r}",
                ready[0][1].name,
                "give both for the same barcodes",
            )
        warnings.extend(activity.warnings)
        results["gene_activity"] = activity.matrix[matrix.obs_names].copy()
    if measured := protein_files(spec):
        library, batch = (matrix.obs[name].astype(str).tolist() for name in ("library", "batch"))
        results["proteins"] = protein_matrix(spec, measured, matrix.obs_names.tolist(), library, batch)
    totals = np.asarray(matrix.X.sum(axis=1)).ravel()
    summary = {
        "sample": spec.sample,
        "modality": spec.modality,
        "kind": kind,
        "libraries": sorted({r.library for r in spec.rows}),
        "cells": matrix.n_obs,
        "barcodes": matrix.n_obs,
        "features": matrix.n_vars,
        "median_counts": float(np.median(totals)),
        "median_features": float(np.median(np.diff(matrix.X.indptr))),
        "warnings": warnings,
        "fragments": None,
    }
    with together(args.outdir) as part:
        for name, values in results.items():
            write_h5ad(values, part / f"{name}.h5ad")
        write_json(summary, part / "sample.json")


def run_proteins(args: argparse.Namespace) -> None:
    """Write the proteins of the cells that were called in a sample's fragments."""
    from cellpredx.core.spec import read_spec
    from cellpredx.fragments.store import Store
    from cellpredx.matrix.proteins import protein_files, protein_matrix
    from cellpredx.matrix.sample_matrix import write_h5ad

    spec, store = read_spec(args.spec), Store.open(args.store)
    batch = [store.batch] * len(store.cells)
    write_h5ad(protein_matrix(spec, protein_files(spec), store.cells, store.libraries, batch), args.out)


def run_count(args: argparse.Namespace) -> None:
    """Write one matrix of a sample's fragments with its recipe, what the report says of it and, for peaks, FRiP."""
    import numpy as np
    import pandas as pd

    from cellpredx import __version__
    from cellpredx.core.annotation import read_annotation
    from cellpredx.core.blacklist import read_blacklist
    from cellpredx.core.errors import UserError
    from cellpredx.core.files import sha256, together, write_csv, write_json
    from cellpredx.core.genome import MITOCHONDRIAL, read_sizes
    from cellpredx.fragments.store import Store
    from cellpredx.matrix.counting import Counts, count_features, count_windows
    from cellpredx.matrix.gene_windows import gene_windows
    from cellpredx.matrix.h5ad import write_counts
    from cellpredx.matrix.regions import GENE_COLUMNS, REGION_COLUMNS, named, peak_set

    store = Store.open(args.store)
    sizes = read_sizes(args.genome, args.chrom_sizes)
    counting = (
        ("fragment" if args.kind == "gene_activity" else "paired-insertion")
        if args.counting == "auto"
        else args.counting
    )
    recipe: dict[str, Any] = {"genome": args.genome}
    counts: Counts
    if args.kind == "gene_activity":
        if args.annotation is None:
            raise UserError("gene activity needs the genes", None, "give --annotation")
        annotation = read_annotation(args.annotation)
        recipe.update(annotation_sha256=annotation.checksum, gene_model=args.gene_model)
        if args.gene_model == "archr":
            from cellpredx.matrix.gene_score import gene_scores

            counting = "insertion"
            counts, features = gene_scores(store, annotation, sizes)
        else:
            features = gene_windows(annotation, sizes)
            counts = count_features(store, features, counting)
        columns = GENE_COLUMNS
    elif args.kind == "peaks":
        if args.peaks is None:
            raise UserError("counting peaks needs the peaks", None, "give --peaks")
        features = peak_set(Path(args.peaks), sizes)
        counts = count_features(store, features, counting)
        recipe["peaks_sha256"] = sha256(args.peaks)
        columns = REGION_COLUMNS
    else:
        if counting == "fragment":
            raise UserError("windows are counted by insertions", None, "give --counting paired-insertion or insertion")
        blacklist = read_blacklist(args.blacklist) if args.blacklist else None
        counts, windows = count_windows(store, args.window_size, counting, MITOCHONDRIAL, blacklist)
        features = named(windows)
        recipe["window_size"] = args.window_size
        columns = REGION_COLUMNS
    about = {
        "sample": store.sample,
        "modality": "atac",
        "kind": args.kind,
        "version": __version__,
        **{key: value for key, value in recipe.items() if value is not None},
        "counting": counting,
    }
    batch = [store.batch] * len(store.cells)
    out = Path(args.out)
    with together(out.parent) as folder:
        totals = write_counts(
            folder / out.name,
            counts,
            (store.cells, {"library": store.libraries, "batch": batch}),
            (features.index, {column: features[column] for column in columns}),
            about,
        )
        report = {
            "sample": store.sample,
            "name": args.name or args.kind,
            "kind": args.kind,
            "counting": counting,
            "features": len(features),
            "median_counts": float(np.median(totals.counts)),
            "median_features": float(np.median(totals.entries)),
            "frip": None,
        }
        if args.kind == "peaks":
            table = pd.DataFrame(
                {"barcode": store.cells, "fragments": store.fragments_of_cell, "fragments_in_peaks": counts.in_features}
            )
            table["frip"] = table["fragments_in_peaks"] / table["fragments"]
            write_csv(table, folder / "frip.csv")
            report["frip"] = float(table["frip"].median())
        write_json(report, folder / "counted.json")


def run_gene_activity(args: argparse.Namespace) -> None:
    """Write gene activity: the peaks that a column links to a gene, else those that overlap its window."""
    import anndata as ad

    from cellpredx.core.annotation import read_annotation
    from cellpredx.core.errors import UserError
    from cellpredx.core.genome import read_sizes
    from cellpredx.matrix.gene_activity import from_linked_genes, from_overlapping_peaks
    from cellpredx.matrix.gene_windows import gene_windows
    from cellpredx.matrix.sample_matrix import sample_matrix, write_h5ad

    peaks = ad.read_h5ad(args.peaks)
    recipe = {k: v for k, v in peaks.uns["cellpredx"].items() if k in ("genome", "counting", "peaks_sha256")}
    if "linked_gene" in peaks.var.columns:
        counts, genes = from_linked_genes(peaks, "linked_gene")
        recipe["peak_gene_link"] = "column"
    elif args.annotation:
        annotation = read_annotation(args.annotation)
        windows = gene_windows(annotation, read_sizes(args.genome, args.chrom_sizes))
        counts, genes = from_overlapping_peaks(peaks, windows)
        recipe.update(peak_gene_link="overlap", annotation_sha256=annotation.checksum)
    else:
        raise UserError(
            "gene activity from peaks needs the genes",
            peaks.uns["cellpredx"]["sample"],
            "give --annotation, or --peak_gene_link with the column of var that names a peak's gene",
        )
    matrix = sample_matrix(
        counts,
        list(peaks.obs_names),
        list(peaks.obs["library"].astype(str)),
        list(peaks.obs["batch"].astype(str)),
        genes,
        sample=peaks.uns["cellpredx"]["sample"],
        modality="atac",
        kind="gene_activity",
        recipe=recipe,
    )
    write_h5ad(matrix, args.out)


def run_call_peaks(args: argparse.Namespace) -> None:
    """Write the peaks of a sample's fragments."""
    import tempfile

    from cellpredx.core.bed import read_bed
    from cellpredx.core.files import atomic
    from cellpredx.core.genome import read_sizes
    from cellpredx.fragments.store import Store
    from cellpredx.matrix.peak_calling import call_peaks

    blacklist = read_bed(args.blacklist) if args.blacklist else None
    sizes = read_sizes(args.genome, args.chrom_sizes)
    with atomic(args.out) as part, tempfile.TemporaryDirectory(dir=part.parent) as scratch:
        peaks = call_peaks(Store.open(args.store), sizes, args.genome, blacklist, args.q, Path(scratch))
        peaks.to_csv(part, sep="\t", header=False, index=False, lineterminator="\n")


def run_merge_peaks(args: argparse.Namespace) -> None:
    """Write the one peak set of several samples: chrom, start, end, and the call that each comes from."""
    from cellpredx.core.bed import read_bed
    from cellpredx.core.files import atomic
    from cellpredx.core.genome import read_sizes
    from cellpredx.matrix.peak_calling import merge_peaks, read_narrow_peaks

    blacklist = read_bed(args.blacklist) if args.blacklist else None
    paths = [Path(path) for path in args.calls]
    calls = [(path.name.removesuffix(".narrowPeak"), read_narrow_peaks(path)) for path in paths]
    peaks = merge_peaks(calls, read_sizes(args.genome, args.chrom_sizes), blacklist)
    peaks["name"] = peaks["sample"] + ":" + peaks["name"]
    with atomic(args.out) as part:
        peaks[["chrom", "start", "end", "name"]].to_csv(part, sep="\t", header=False, index=False, lineterminator="\n")
