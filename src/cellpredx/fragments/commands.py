"""`cellpredx ingest-fragments`: a sample's fragment files -> store, barcodes.csv, sample.json."""

import argparse
from typing import Any


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("ingest-fragments", help="read a sample's fragment files once: store, QC, cells")
    parser.add_argument("--spec", required=True, help="the sample's rows: a JSON file, or base64:<JSON>")
    parser.add_argument("--annotation", help="GTF or gene BED, for TSS enrichment")
    parser.add_argument("--genome")
    parser.add_argument("--chrom-sizes")
    parser.add_argument("--min-fragments", type=int, default=1000)
    parser.add_argument("--min-tss", type=float, default=4.0)
    parser.add_argument("--store", default="store")
    parser.add_argument("--outdir", default=".")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read the fragments of every row; write the store and what the report needs."""
    from pathlib import Path

    import numpy as np
    import pandas as pd

    from cellpredx.core.annotation import read_annotation
    from cellpredx.core.files import atomic, write_csv, write_json
    from cellpredx.core.genome import read_sizes
    from cellpredx.core.spec import read_spec
    from cellpredx.fragments.cells import above_thresholds, knee, whitelisted
    from cellpredx.fragments.ingest import ingest
    from cellpredx.fragments.store import StoreWriter

    spec = read_spec(args.spec)
    annotation = read_annotation(args.annotation) if args.annotation else None
    sizes = read_sizes(args.genome, args.chrom_sizes)
    outdir = Path(args.outdir)
    warnings: list[str] = []

    with atomic(Path(args.store)) as part:
        writer = StoreWriter(part)
        barcodes, qc = ingest(spec, annotation, sizes, writer)
        table = pd.concat([barcodes, qc.table(len(barcodes))], axis=1)
        lists: dict[str, list[Path]] = {}
        for row in spec.rows:
            if row.barcodes is not None:
                lists.setdefault(row.library, []).append(row.barcodes)
        unlisted = sorted({r.library for r in spec.rows} - set(lists))
        min_tss = args.min_tss if annotation is not None else None
        if annotation is None:
            warnings.append("no annotation was given: TSS enrichment is not known and --min_tss not applied")
        cells = whitelisted(table, lists, spec.sample) if lists else np.zeros(len(table), bool)
        if unlisted:
            own = table["library"].isin(unlisted).to_numpy()
            cells[own] = above_thresholds(table[own], args.min_fragments, min_tss, spec.sample)
        table["is_cell"] = cells
        table.insert(
            0, "cell", [spec.cell_name(lib, b) for lib, b in zip(table["library"], table["barcode"], strict=True)]
        )
        order = np.argsort(table["cell"].to_numpy(), kind="stable")
        rows = np.full(len(table), -1, np.int32)
        kept = order[cells[order]]
        rows[kept] = np.arange(len(kept), dtype=np.int32)
        writer.close(
            spec.sample,
            spec.batch or spec.sample,
            table["cell"].to_numpy()[kept].tolist(),
            table["library"].to_numpy()[kept].tolist(),
            rows,
        )

    in_cells = table[cells]
    total, pairs = int(table["fragments"].sum()), int(table["read_pairs"].sum())
    write_csv(table.iloc[order].drop(columns="barcode").rename(columns={"cell": "barcode"}), outdir / "barcodes.csv")
    sizes_table = pd.DataFrame({"size_bp": np.arange(len(qc.sizes)), "fragments": qc.sizes})
    write_csv(sizes_table, outdir / "fragment_sizes.csv")
    profile = qc.tss_profile()
    if profile is not None:
        distance = np.arange(-2000, 2001, 10)
        write_csv(pd.DataFrame({"distance_bp": distance, "relative_insertions": profile}), outdir / "tss_profile.csv")

    def median(values: pd.Series) -> float | None:
        return float(values.median()) if values.notna().any() else None

    write_json(
        {
            "sample": spec.sample,
            "modality": spec.modality,
            "kind": "fragments",
            "libraries": sorted({r.library for r in spec.rows}),
            "cells": len(in_cells),
            "barcodes": len(table),
            "features": None,
            "median_counts": median(in_cells["fragments"]),
            "median_features": None,
            "warnings": warnings,
            "fragments": {
                "total": total,
                "in_cells": int(in_cells["fragments"].sum()),
                "duplicate_fraction": 1 - total / pairs if pairs >= total else None,
                "mitochondrial_fraction": float((table["mitochondrial_fraction"] * table["fragments"]).sum() / total),
                "tss_enrichment": median(in_cells["tss_enrichment"]),
                "nucleosome_signal": median(in_cells["nucleosome_signal"]),
                "thresholds": {
                    "min_fragments": args.min_fragments if unlisted else None,
                    "min_tss": min_tss if unlisted else None,
                },
                "knee": knee(table["fragments"].to_numpy()),
                "sizes": qc.sizes,
                "tss_profile": profile,
            },
        },
        outdir / "sample.json",
    )
