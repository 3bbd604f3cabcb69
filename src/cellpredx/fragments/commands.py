"""`cellpredx ingest-fragments`: a sample's fragment files -> store, barcodes.csv, sample.json."""

import argparse
from typing import Any


def register(verbs: Any) -> None:
    """Add this stage's verbs."""
    parser = verbs.add_parser("ingest-fragments", help="read a sample's fragment files once: store, QC, cells")
    parser.add_argument("--spec", required=True, help="the sample's rows: a JSON file, or base64:<JSON>")
    parser.add_argument("--annotation", help="GTF or gene BED, for TSS enrichment")
    parser.add_argument("--blacklist", help="BED of regions whose signal is not to be trusted")
    parser.add_argument("--genome")
    parser.add_argument("--chrom-sizes")
    parser.add_argument("--cell-calling", default="thresholds", choices=["thresholds", "knee"])
    parser.add_argument("--min-fragments", type=int, default=1000)
    parser.add_argument("--min-tss", type=float, default=4.0)
    parser.add_argument("--remove-doublets", action="store_true", help="flagged doublets are no cells")
    parser.add_argument("--store", default="store")
    parser.add_argument("--outdir", default=".")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read the fragments of every row; write the store and what the report needs."""
    from pathlib import Path

    import numpy as np
    import pandas as pd

    from cellpredx.core.annotation import read_annotation
    from cellpredx.core.blacklist import read_blacklist
    from cellpredx.core.errors import UserError
    from cellpredx.core.files import atomic, together, write_csv, write_json
    from cellpredx.core.genome import read_sizes
    from cellpredx.core.spec import read_spec
    from cellpredx.fragments.cells import call_cells, cell_names, knee, order_of
    from cellpredx.fragments.doublets import find_doublets
    from cellpredx.fragments.ingest import ingest
    from cellpredx.fragments.qc import BarcodeQC
    from cellpredx.fragments.store import StoreWriter

    spec = read_spec(args.spec)
    annotation = read_annotation(args.annotation) if args.annotation else None
    blacklist = read_blacklist(args.blacklist) if args.blacklist else None
    sizes = read_sizes(args.genome, args.chrom_sizes)
    known = {
        "annotation": set(annotation.genes["chrom"]) if annotation is not None else set(),
        "genome": set(sizes),
    }

    with atomic(Path(args.store)) as part, together(args.outdir) as outdir:
        writer = StoreWriter(part)
        qc = BarcodeQC(annotation, blacklist)
        barcodes, warnings = ingest(spec, qc, known, sizes, writer)
        if blacklist and not set(blacklist) & set(writer.files):
            raise UserError(
                f"no chromosome of the blacklist is in the fragments of sample {spec.sample}",
                Path(args.blacklist).name,
                f"the blacklist has {', '.join(list(blacklist)[:5])}; the fragments have "
                f"{', '.join(sorted(writer.files)[:5])}: give the blacklist of the fragments' genome",
            )
        table = pd.concat([barcodes, qc.table(len(barcodes))], axis=1)
        min_tss = args.min_tss if annotation is not None else None
        calls = call_cells(spec, table, args.cell_calling, args.min_fragments, min_tss)
        doublets = find_doublets(writer, calls.cells, blacklist or {})
        cells = calls.cells & ~doublets["is_doublet"].to_numpy() if args.remove_doublets else calls.cells
        table = pd.concat([table, doublets], axis=1).assign(is_cell=cells)
        table.insert(0, "cell", cell_names(spec, table))
        order = order_of(table["cell"].tolist())
        kept = order[cells[order]]
        rows = np.full(len(table), -1, np.int32)
        rows[kept] = np.arange(len(kept), dtype=np.int32)
        in_cells = table.iloc[kept]
        writer.close(
            spec.sample,
            spec.batch or spec.sample,
            in_cells["cell"].tolist(),
            in_cells["library"].tolist(),
            rows,
            in_cells["fragments"].to_numpy(),
        )

        warnings.extend(calls.warnings)
        if annotation is None:
            warnings.append("no annotation was given: TSS enrichment is not known and --min_tss not applied")
        if qc.without_pairs:
            warnings.append("the fragments have no column of read pairs: duplicates are not known")
        flagged = int(table["is_doublet"].sum())
        if args.remove_doublets and flagged:
            warnings.append(f"{flagged:,} of {int(calls.cells.sum()):,} cells were removed as doublets")
        write_csv(
            table.iloc[order].drop(columns="barcode").rename(columns={"cell": "barcode"}), outdir / "barcodes.csv"
        )
        sizes_table = pd.DataFrame({"size_bp": np.arange(len(qc.sizes)), "fragments": qc.sizes})
        write_csv(sizes_table, outdir / "fragment_sizes.csv")
        profile = qc.tss_profile()
        if profile is not None:
            distance = np.arange(-2000, 2001, 10)
            write_csv(
                pd.DataFrame({"distance_bp": distance, "relative_insertions": profile}), outdir / "tss_profile.csv"
            )

        def median(values: pd.Series) -> float | None:
            return float(values.median()) if values.notna().any() else None

        total, pairs = int(table["fragments"].sum()), table["read_pairs"].sum(min_count=len(table))
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
                    "mitochondrial_fraction": float(
                        (table["mitochondrial_fraction"] * table["fragments"]).sum() / total
                    ),
                    "blacklist_fraction": median(in_cells["blacklist_fraction"]),
                    "tss_enrichment": median(in_cells["tss_enrichment"]),
                    "nucleosome_signal": median(in_cells["nucleosome_signal"]),
                    "doublets": flagged,
                    "thresholds": {"min_fragments": calls.min_fragments, "min_tss": calls.min_tss},
                    "knee": knee(table["fragments"].to_numpy()),
                    "sizes": qc.sizes,
                    "tss_profile": profile,
                },
            },
            outdir / "sample.json",
        )
