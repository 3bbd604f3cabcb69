"""The other side of benchmarks/fragments.py: fragments to QC, cells, peaks and genes with SnapATAC2.

Runs in an environment with SnapATAC2 (`make peers`): snapatac2_side.py FOLDER OUTDIR MIN_FRAGMENTS
"""

import sys
from pathlib import Path

import snapatac2 as snap


def main(folder: Path, outdir: Path, min_fragments: int) -> None:
    """Import the fragments of `folder`, keep the cells, count peaks and genes."""
    lines = (folder / "hg38.chrom.sizes").read_text().splitlines()
    sizes = {name: int(size) for name, size in (line.split("\t") for line in lines)}
    cells = snap.pp.import_fragments(
        folder / "fragments.tsv.gz",
        chrom_sizes=sizes,
        file=outdir / "cells.h5ad",
        sorted_by_barcode=False,
        min_num_fragments=min_fragments,
        tempdir=outdir,
    )
    snap.metrics.tsse(cells, folder / "genes.gtf")
    peaks = snap.pp.make_peak_matrix(cells, peak_file=folder / "peaks.bed", file=outdir / "peaks.h5ad")
    genes = snap.pp.make_gene_matrix(cells, folder / "genes.gtf", file=outdir / "genes.h5ad")
    print(peaks.shape, genes.shape)
    for data in (peaks, genes, cells):
        data.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
