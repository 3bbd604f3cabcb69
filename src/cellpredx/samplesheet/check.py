"""What can be known of a sample's files without reading their data."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from cellpredx.core.barcodes import read_barcodes
from cellpredx.core.errors import UserError
from cellpredx.core.spec import Row, SampleSpec
from cellpredx.samplesheet.headers import REGION_NAME, matrix_header, matrix_kind


class Problems:
    """Problems of a sample's rows, each with the line of the sheet."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def add(self, row: Row | None, error: UserError) -> None:
        """Keep an error."""
        line = row.line if row is not None else None
        self.found.append({"line": line, "what": error.what, "where": error.where, "remedy": error.remedy})

    def catch(self, row: Row | None, check: Callable[[], Any]) -> Any:
        """Run `check`; keep its UserError, and return None then."""
        try:
            return check()
        except UserError as error:
            self.add(row, error)
        except (OSError, EOFError, gzip.BadGzipFile) as error:
            self.add(
                row,
                UserError(
                    f"the file cannot be read: {error.strerror if isinstance(error, OSError) and error.strerror else error}"
                ),
            )
        return None


def fragment_line(path: Path) -> list[str]:
    """Return the fields of the first fragment. Raises UserError for a file without one, or one that is cut."""
    from cellpredx.core.whole import check_whole

    check_whole(path)
    with open(path, "rb") as handle:
        opener = gzip.open if handle.read(2) == b"\x1f\x8b" else open
    number = 0
    with opener(path, "rt", encoding="utf-8", errors="replace") as lines:
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
            problems.catch(row, lambda r=row: read_barcodes(r.barcodes))  # type: ignore[misc]
        if row.peaks is not None:
            from cellpredx.core.bed import read_bed

            problems.catch(row, lambda r=row: read_bed(r.peaks))  # type: ignore[misc]
        if row.fragments is not None:
            problems.catch(row, lambda r=row: fragment_line(r.fragments))  # type: ignore[misc]
            kinds.add("fragments")
            continue
        assert row.matrix is not None
        header = problems.catch(row, lambda r=row: matrix_header(r.matrix))  # type: ignore[misc]
        if header is None:
            continue
        obs, var = header
        kind = matrix_kind(var, spec.modality)
        kinds.add(kind)
        barcodes |= {spec.cell_name(row.library, b) for b in obs.index.astype(str)}
        _check_column(problems, row, spec, obs)
        if spec.modality == "rna" and var.index.astype(str).str.match(REGION_NAME).mean() >= 0.9:
            problems.add(
                row,
                UserError("modality rna, but the features are regions", row.matrix.name, "write atac, or give genes"),
            )
        if kind == "peaks" and needs_genes and row.gene_activity is None and not has_annotation:
            if spec.peak_gene_link is None or spec.peak_gene_link not in var.columns:
                problems.add(
                    row,
                    UserError(
                        "RNA->ATAC needs gene activity, and only peaks are given",
                        row.matrix.name,
                        "give --annotation, a ready `gene_activity`, or --peak_gene_link with one of var's columns: "
                        + (", ".join(map(str, var.columns)) or "none"),
                    ),
                )
    if spec.labels_file is not None:
        from cellpredx.core.labels import read_label_table

        labels = problems.catch(spec.rows[0], lambda: read_label_table(spec.labels_file))  # type: ignore[arg-type]
        if labels is not None and barcodes and not labels["barcode"].isin(barcodes).any():
            problems.add(
                spec.rows[0],
                UserError(
                    f"none of the {len(labels):,} labels names a cell of sample {spec.sample}",
                    spec.labels_file.name,
                    f"the labels name cells such as {labels['barcode'].iloc[0]!r}, the matrix such as {min(barcodes)!r}",
                ),
            )
    if len(kinds) > 1:
        problems.add(
            spec.rows[0],
            UserError(f"the files of sample {spec.sample} are of different kinds: {', '.join(sorted(kinds))}"),
        )
    return {"sample": spec.sample, "kind": min(kinds) if kinds else None, "problems": problems.found}


def _check_column(problems: Problems, row: Row, spec: SampleSpec, obs: pd.DataFrame) -> None:
    column = spec.labels_column
    if column is None:
        return
    name = row.matrix.name if row.matrix is not None else None
    if column not in obs.columns:
        problems.add(
            row,
            UserError(
                f"obs has no column {column!r}",
                name,
                f"write in `labels` one of {', '.join(map(str, obs.columns)) or 'none'}; or a CSV (barcode, cell_type)",
            ),
        )
        return
    if "reference" not in spec.roles:
        return
    used = obs[column]
    if row.barcodes is not None:
        used = used[obs.index.isin(read_barcodes(row.barcodes))]
    empty = int((used.isna() | (used.astype(str).str.strip() == "")).sum())
    if empty:
        problems.add(
            row,
            UserError(
                f"{empty:,} of {len(used):,} cells of reference {spec.sample} have no label in {column!r}",
                name,
                "leave these cells out with the column `barcodes`",
            ),
        )
    elif used.nunique() < 2:
        problems.add(row, UserError(f"the column {column!r} has one label only", name, "give two types or more"))
