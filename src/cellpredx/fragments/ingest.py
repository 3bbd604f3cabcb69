"""One pass over a sample's fragment files."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellpredx.core.errors import UserError
from cellpredx.core.genome import MITOCHONDRIAL
from cellpredx.core.progress import Progress
from cellpredx.core.spec import SampleSpec
from cellpredx.fragments.qc import BarcodeQC
from cellpredx.fragments.reader import Fragments, Names, read_fragments
from cellpredx.fragments.store import StoreWriter

MIN_MAPPED = 0.5
GOOD_MAPPED = 0.9


def _runs(contig: NDArray[np.int32]) -> Iterator[tuple[int, slice | NDArray[np.int64]]]:
    """Yield each contig number and where it stands: a slice where the fragments are in order, as they mostly are."""
    cuts = np.flatnonzero(np.diff(contig)) + 1
    numbers = contig[np.r_[0, cuts]]
    if len(np.unique(numbers)) == len(numbers):
        for number, begin, stop in zip(
            numbers.tolist(), [0, *cuts.tolist()], [*cuts.tolist(), len(contig)], strict=True
        ):
            yield number, slice(begin, stop)
    else:
        for number in np.unique(numbers).tolist():
            yield number, np.flatnonzero(contig == number)


def _check_range(rows: NDArray[np.int32], contig: str, size: int | None, block: Fragments, name: str) -> None:
    if size is None or int(rows[:, 1].max()) <= size:
        return
    end = int(rows[np.argmax(rows[:, 1] > size), 1])
    # The line is looked up only now: the first fragment of the block like it.
    beyond = rows[rows[:, 1] > size][0]
    row = int(np.flatnonzero((block.rows == beyond).all(axis=1))[0])
    raise UserError(
        f"a fragment ends at {end:,}, beyond the end of {contig} ({size:,} bp)",
        f"{name}, line {block.first_line + row}, column 3",
        "give the genome that the reads were aligned to: --genome or --chrom_sizes",
    )


def mapped_text(fragments: Counter[str], known: set[str], source: str, name: str) -> str | None:
    """Return a warning where under 90 % of a file's fragments are on chromosomes that the annotation or genome knows.

    Raises UserError under half: chr1 against 1, or another genome. Mitochondrial fragments do not count.
    """
    counted = Counter({chrom: n for chrom, n in fragments.items() if chrom not in MITOCHONDRIAL}) or fragments
    total = sum(counted.values())
    share = sum(n for chrom, n in counted.items() if chrom in known) / total
    if share >= GOOD_MAPPED:
        return None
    unknown = [chrom for chrom, _ in counted.most_common() if chrom not in known]
    text = f"{1 - share:.0%} of the fragments are on chromosomes that the {source} does not know"
    if share >= MIN_MAPPED:
        return f"{name}: {text}: {', '.join(unknown[:5])}"
    raise UserError(
        text if share else f"no chromosome of the fragments is in the {source}",
        name,
        f"the fragments have {', '.join(sorted(fragments)[:5])}; the {source} has {', '.join(sorted(known)[:5])}: "
        "give files of one genome that name chromosomes alike",
    )


def ingest(
    spec: SampleSpec, qc: BarcodeQC, known: dict[str, set[str]], sizes: dict[str, int], writer: StoreWriter
) -> tuple[pd.DataFrame, list[str]]:
    """Read every fragment file of a sample into `writer` and `qc`; lanes of a library share its barcodes.

    `known`: the chromosomes that a source of theirs (annotation, genome) has, checked for each file; `sizes`: {contig:
    length in bp}. Returns a table (barcode, library), a row a barcode number, and warnings. Raises UserError for what
    is no fragment, for positions beyond a chromosome's end, and for chromosome names that fit nothing.
    """
    contigs = Names()
    table: list[pd.DataFrame] = []
    warnings: list[str] = []
    total = base = 0
    progress = Progress(f"{spec.sample}: fragments")

    def keep(block: Fragments, names: list[str], fragments: Counter[str], file: str) -> None:
        for contig, place in _runs(block.contig):
            name, rows = names[contig], block.rows[place]
            _check_range(rows, name, sizes.get(name), block, file)
            qc.add(name, rows, block.pairs[place])
            writer.add(name, rows)
            fragments[name] += len(rows)

    # A block is counted and stored while the next one is parsed.
    with ThreadPoolExecutor(1) as beside:
        for library in sorted({row.library for row in spec.rows}):
            barcodes = Names(1 << 14)
            for row in (r for r in spec.rows if r.library == library):
                assert row.fragments is not None
                fragments: Counter[str] = Counter()
                names: list[str] = []
                kept: Future[None] | None = None
                for block in read_fragments(row.fragments, contigs, barcodes, base):
                    if len(names) < contigs.count:
                        names = contigs.names()
                    if kept is not None:
                        kept.result()
                    kept = beside.submit(keep, block, names, fragments, row.fragments.name)
                    total += len(block.rows)
                    progress.update(total)
                if kept is not None:
                    kept.result()
                checks = ((own, source) for source, own in known.items() if own)
                texts = (mapped_text(fragments, own, source, row.fragments.name) for own, source in checks)
                warnings.extend(text for text in texts if text)
            table.append(pd.DataFrame({"barcode": barcodes.names(), "library": library}))
            base += barcodes.count
    progress.close(total)
    return pd.concat(table, ignore_index=True), warnings
