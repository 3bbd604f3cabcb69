"""What can be known of a sample's files without reading their data."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cellpredx.core.barcodes import read_barcodes
from cellpredx.core.bed import read_regions
from cellpredx.core.errors import UserError
from cellpredx.core.labels import read_label_table
from cellpredx.core.spec import Row, SampleSpec
from cellpredx.core.text import open_text

T = TypeVar("T")


class Problems:
    """Problems of a sample's rows, each with the number of its row; the workflow knows the lines of the sheet."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def add(self, row: Row, error: UserError) -> None:
        """Keep an error of a row."""
        self.found.append({"row": row.number, "what": error.what, "where": error.where, "remedy": error.remedy})

    def catch(self, row: Row, path: Path, read: Callable[[Path], T]) -> T | None:
        """Return what `read` makes of a file; keep its error, and return None then."""
        try:
            return read(path)
        except UserError as error:
            self.add(row, error)
        except (OSError, EOFError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            self.add(row, UserError(f"the file cannot be read: {reason}", path.name, "check the file"))
        return None


def fragment_line(path: Path) -> list[str]:
    """Return the fields of the first fragment. Raises UserError for a file without one, or one that is cut."""
    number = 0
    with open_text(path, "the fragment file") as lines:
        for number, line in enumerate(lines, start=1):
            if line.startswith("#"):
                continue
            fields = line.rstrip("\r\n").split("\t")
            if len(fields) < 4 or not fields[1].isdigit() or not fields[2].isdigit():
                raise UserError(
                    f"not a fragment: {line.rstrip()[:80]!r}",
                    f"{path.name}, line {number}",
                    "write: chrom, start, end, barcode, read pairs (10x fragment file), separated by tabs",
                )
            return fields
    raise UserError("the file has no fragment", path.name, f"it has {number} lines, none of them a fragment")


def check_sample(spec: SampleSpec, needs_genes: bool, has_annotation: bool) -> dict[str, Any]:
    """Return {sample, kind, proteins (whether it has any), problems} of a sample's files.

    needs_genes: gene activity will be made of an ATAC sample; then peaks need an annotation or the
    column that the sample names.
    """
    problems = Problems()
    proteins = any(row.proteins is not None for row in spec.rows)
    kinds: set[str] = set()
    barcodes: set[str] = set()
    for row in spec.rows:
        listed = problems.catch(row, row.barcodes, read_barcodes) if row.barcodes is not None else None
        # Barcodes of the row's files, what they are, and whether they are all that there are.
        sources = [(listed, "the listed barcodes", True)] if listed else []
        if row.peaks is not None:
            problems.catch(row, row.peaks, read_regions)
        if row.fragments is not None:
            sound = problems.catch(row, row.fragments, fragment_line)
            kinds.add("fragments")
            if sound and row.proteins is not None and not listed:
                from cellpredx.samplesheet.proteins import first_barcodes

                first_lines = problems.catch(row, row.fragments, first_barcodes)
                sources.append((first_lines or set(), "the fragments' barcodes", False))
        if row.matrix is not None:
            # Imported here: a sample of fragments needs no library that reads matrices.
            from cellpredx.samplesheet.headers import Header, holds_proteins, matrix_kind, read_header
            from cellpredx.samplesheet.matrices import matrix_problems

            def header_of(path: Path) -> Header:
                return read_header(path, spec.modality, [spec.labels_column] if spec.labels_column else [])

            if row.gene_activity is not None:
                problems.catch(row, row.gene_activity, header_of)
            header = problems.catch(row, row.matrix, header_of)
            if header is not None:
                kinds.add(matrix_kind(header.var, spec.modality))
                proteins = proteins or (spec.modality == "rna" and holds_proteins(header))
                sources.append((set(header.obs.index), "the barcodes of the matrix", True))
                barcodes |= {spec.cell_name(row.library, b) for b in header.obs.index}
                for error in matrix_problems(row, header, spec, listed, needs_genes and not has_annotation):
                    problems.add(row, error)
        if row.proteins is not None:
            from cellpredx.samplesheet.proteins import check_proteins

            problems.catch(row, row.proteins, partial(check_proteins, matrix=row.matrix, sources=sources))
    first = spec.rows[0]
    if spec.labels_file is not None:
        labels = problems.catch(first, spec.labels_file, read_label_table)
        if labels is not None and barcodes and not labels["barcode"].isin(barcodes).any():
            problems.add(
                first,
                UserError(
                    f"none of the {len(labels):,} labels names a cell of sample {spec.sample}",
                    spec.labels_file.name,
                    f"the labels name cells such as {labels['barcode'].iloc[0]!r}, the matrix {min(barcodes)!r}",
                ),
            )
    if len(kinds) > 1:
        problems.add(
            first,
            UserError(
                f"the files of sample {spec.sample} are of different kinds: {', '.join(sorted(kinds))}",
                None,
                "give all files of a sample as one kind, or two samples",
            ),
        )
    kind = min(kinds) if kinds else None
    return {"sample": spec.sample, "kind": kind, "proteins": proteins, "problems": problems.found}
