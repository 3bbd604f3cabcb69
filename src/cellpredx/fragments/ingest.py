"""One pass over a sample's fragment files."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellpredx.core.annotation import Annotation
from cellpredx.core.errors import UserError
from cellpredx.core.genome import MITOCHONDRIAL
from cellpredx.core.progress import Progress
from cellpredx.core.spec import SampleSpec
from cellpredx.fragments.qc import BarcodeQC
from cellpredx.fragments.reader import Fragments, Names, read_fragments
from cellpredx.fragments.store import StoreWriter


def _check_range(block: Fragments, rows: NDArray[np.int64], contig: str, size: int | None, name: str) -> None:
    if size is None or int(block.end[rows].max()) <= size:
        return
    row = int(rows[np.argmax(block.end[rows] > size)])
    raise UserError(
        f"a fragment ends at {int(block.end[row]):,}, beyond the end of {contig} ({size:,} bp)",
        f"{name}, line {block.first_line + row}, column 3",
        "give the genome that the reads were aligned to: --genome or --chrom_sizes",
    )


def _check_contigs(contigs: set[str], known: set[str], source: str, name: str) -> None:
    """Raise UserError where no contig of the fragments is known: chr1 against 1, or another genome."""
    if known and not contigs & known:
        raise UserError(
            f"no chromosome of the fragments is in the {source}",
            name,
            f"the fragments have {', '.join(sorted(contigs)[:5])}; the {source} has {', '.join(sorted(known)[:5])}: "
            "give files of one genome that name chromosomes alike",
        )


def ingest(
    spec: SampleSpec, annotation: Annotation | None, sizes: dict[str, int], writer: StoreWriter
) -> tuple[pd.DataFrame, BarcodeQC]:
    """Read every fragment file of a sample into `writer`; lanes of a library share its barcodes.

    Returns a table (barcode, library), a row a barcode number, and its QC. Raises UserError for what is no
    fragment, for positions beyond a chromosome's end, and for chromosome names that fit nothing.
    """
    qc = BarcodeQC(annotation)
    contigs = Names()
    table: list[pd.DataFrame] = []
    total = 0
    progress = Progress(f"{spec.sample}: fragments")
    for library in sorted({row.library for row in spec.rows}):
        barcodes = Names(1 << 14)
        base = sum(len(t) for t in table)
        for row in (r for r in spec.rows if r.library == library):
            assert row.fragments is not None
            seen: set[str] = set()
            for block in read_fragments(row.fragments, contigs, barcodes):
                names = contigs.names()
                numbers = block.barcode + np.int32(base)
                for contig in np.unique(block.contig):
                    rows = np.flatnonzero(block.contig == contig)
                    name = names[contig]
                    _check_range(block, rows, name, sizes.get(name), row.fragments.name)
                    qc.add(
                        name,
                        name in MITOCHONDRIAL,
                        block.start[rows],
                        block.end[rows],
                        numbers[rows],
                        block.pairs[rows],
                    )
                    writer.add(name, block.start[rows], block.end[rows], numbers[rows])
                    seen.add(name)
                total += len(block.start)
                progress.update(total)
            if annotation is not None:
                _check_contigs(seen, set(annotation.genes["chrom"]), "annotation", row.fragments.name)
            _check_contigs(seen, set(sizes), "genome", row.fragments.name)
        table.append(pd.DataFrame({"barcode": barcodes.names(), "library": library}))
    progress.close(total)
    return pd.concat(table, ignore_index=True), qc
