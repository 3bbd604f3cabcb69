"""What can be known of a sample's files without reading their data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from cellpredx.core.barcodes import read_barcodes
from cellpredx.core.bed import read_bed
from cellpredx.core.errors import UserError
from cellpredx.core.labels import read_label_table
from cellpredx.core.spec import Row, SampleSpec
from cellpredx.core.text import open_text
from cellpredx.core.whole import check_whole
from cellpredx.samplesheet.headers import matrix_header, matrix_kind

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
    check_whole(path)
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
    """Return {sample, kind, problems} of a sample's files.

    needs_genes: gene activity will be made of an ATAC sample; then peaks need an annotation or the
    column that the sample names.
    """
    problems = Problems()
    kinds: set[str] = set()
    barcodes: set[str] = set()
    for row in spec.rows:
        if row.barcodes is not None:
            problems.catch(row, row.barcodes, read_barcodes)
        if row.peaks is not None:
            problems.catch(row, row.peaks, read_bed)
        if row.fragments is not None:
            problems.catch(row, row.fragments, fragment_line)
            kinds.add("fragments")
        if row.matrix is not None:
            header = problems.catch(row, row.matrix, matrix_header)
            if header is not None:
                obs, var = header
                kinds.add(matrix_kind(var, spec.modality))
                barcodes |= {spec.cell_name(row.library, b) for b in obs.index.astype(str)}
                found = [_label_problem(row, spec, obs), _modality_problem(row, spec, var)]
                if needs_genes and not has_annotation:
                    found.append(_gene_problem(row, spec, var))
                for error in filter(None, found):
                    problems.add(row, error)
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
    return {"sample": spec.sample, "kind": min(kinds) if kinds else None, "problems": problems.found}


def _columns(table: pd.DataFrame) -> str:
    return ", ".join(map(str, table.columns)) or "none"


def _modality_problem(row: Row, spec: SampleSpec, var: pd.DataFrame) -> UserError | None:
    if spec.modality == "rna" and matrix_kind(var, "atac") == "peaks":
        name = row.matrix.name if row.matrix else None
        return UserError("modality is rna, but the features are regions", name, "write atac, or give genes")
    return None


def _gene_problem(row: Row, spec: SampleSpec, var: pd.DataFrame) -> UserError | None:
    linked = spec.peak_gene_link is not None and spec.peak_gene_link in var.columns
    if matrix_kind(var, spec.modality) != "peaks" or row.gene_activity is not None or linked:
        return None
    return UserError(
        "RNA->ATAC needs gene activity, and only peaks are given",
        row.matrix.name if row.matrix else None,
        "give --annotation, a ready `gene_activity`, or --peak_gene_link with one of var's columns: " + _columns(var),
    )


def _label_problem(row: Row, spec: SampleSpec, obs: pd.DataFrame) -> UserError | None:
    column = spec.labels_column
    if column is None:
        return None
    name = row.matrix.name if row.matrix else None
    if column not in obs.columns:
        return UserError(
            f"obs has no column {column!r}",
            name,
            f"write in `labels` one of {_columns(obs)}; or a CSV (barcode, cell_type)",
        )
    if "reference" not in spec.roles:
        return None
    used = obs[column]
    if row.barcodes is not None:
        used = used[obs.index.isin(read_barcodes(row.barcodes))]
    empty = int((used.isna() | (used.astype(str).str.strip() == "")).sum())
    if empty:
        return UserError(
            f"{empty:,} of {len(used):,} cells of reference {spec.sample} have no label in {column!r}",
            name,
            "leave these cells out with the column `barcodes`",
        )
    return None
