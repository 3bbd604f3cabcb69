"""What the header of a matrix says against its row of the sheet."""

from cellpredx.core.errors import UserError
from cellpredx.core.spec import Row, SampleSpec
from cellpredx.samplesheet.headers import Header, matrix_kind, unlisted


def matrix_problems(
    row: Row, header: Header, spec: SampleSpec, listed: set[str] | None, needs_genes: bool
) -> list[UserError]:
    """Return what is wrong between a matrix and its row.

    listed: the barcodes of the row's list; needs_genes: gene activity is needed and there is no annotation.
    """
    found = [_modality_problem(header, spec)]
    wrong_list = unlisted(header, row.barcodes, listed) if row.barcodes is not None and listed is not None else None
    found.append(wrong_list or _label_problem(header, spec, listed))
    if needs_genes:
        found.append(_gene_problem(row, header, spec))
    return [error for error in found if error is not None]


def _modality_problem(header: Header, spec: SampleSpec) -> UserError | None:
    if spec.modality == "rna" and matrix_kind(header.var, "atac") == "peaks":
        return UserError("modality is rna, but the features are regions", header.path.name, "write atac, or give genes")
    return None


def _gene_problem(row: Row, header: Header, spec: SampleSpec) -> UserError | None:
    linked = spec.peak_gene_link is not None and spec.peak_gene_link in header.var_columns
    if matrix_kind(header.var, spec.modality) != "peaks" or row.gene_activity is not None or linked:
        return None
    return UserError(
        "RNA->ATAC needs gene activity, and only peaks are given",
        header.path.name,
        "give --annotation, a ready `gene_activity`, or --peak_gene_link with one of var's columns: "
        + (", ".join(header.var_columns) or "none"),
    )


def _label_problem(header: Header, spec: SampleSpec, listed: set[str] | None) -> UserError | None:
    column = spec.labels_column
    if column is None:
        return None
    if column not in header.obs_columns:
        return UserError(
            f"obs has no column {column!r}",
            header.path.name,
            f"write in `labels` one of {', '.join(header.obs_columns) or 'none'}; or a CSV (barcode, cell_type)",
        )
    if "reference" not in spec.roles:
        return None
    used = header.obs[column]
    if listed is not None:
        used = used[header.obs.index.isin(listed)]
    empty = int((used.isna() | (used.astype(str).str.strip() == "")).sum())
    if empty:
        return UserError(
            f"{empty:,} of {len(used):,} cells of reference {spec.sample} have no label in {column!r}",
            header.path.name,
            "leave these cells out with the column `barcodes`",
        )
    return None
