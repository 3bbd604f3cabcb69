"""What the header of a matrix says against its row of the sheet."""

import pandas as pd

from cellpredx.core.bed import beyond_end
from cellpredx.core.errors import UserError
from cellpredx.core.spec import Row, SampleSpec
from cellpredx.core.species import species_of
from cellpredx.samplesheet.headers import GENE_IDS, GENE_NAMES, REGION_NAME, Header, matrix_kind, unlisted


def matrix_problems(
    row: Row, header: Header, spec: SampleSpec, listed: set[str] | None, needs_genes: bool, has_annotation: bool
) -> list[UserError]:
    """Return what is wrong between a matrix and its row.

    listed: the barcodes of the row's list; needs_genes: gene activity will be made of it.
    """
    found = [_modality_problem(header, spec)]
    wrong_list = unlisted(header, row.barcodes, listed) if row.barcodes is not None and listed is not None else None
    found.append(wrong_list or _label_problem(header, spec, listed))
    if needs_genes:
        found.append(_gene_problem(row, header, spec, has_annotation))
    return [error for error in found if error is not None]


def regions_of(header: Header) -> pd.DataFrame:
    """Return chrom, start, end of the peaks of a matrix whose names tell them, as text, by their names."""
    return header.var.index.astype(str).to_series().str.extract(REGION_NAME).dropna()


def region_problem(header: Header, regions: pd.DataFrame, sizes: dict[str, int]) -> UserError | None:
    """Return the mistake of the first of a matrix's `regions_of` that begins beyond its chromosome (`sizes`, bp)."""
    sized = regions[regions["chrom"].isin(sizes)]
    beyond = sized[sized["start"].astype(float) >= sized["chrom"].map(sizes)]
    if beyond.empty:
        return None
    chrom, end = str(beyond["chrom"].iloc[0]), int(beyond["end"].iloc[0])
    return beyond_end(chrom, end, sizes[chrom], f"{header.path.name}, peak {beyond.index[0]}")


def species_of_header(header: Header) -> str | None:
    """Return human or mouse by the names and ids of the genes of a matrix, None where they do not tell."""
    columns = [name for name in (*GENE_IDS, *GENE_NAMES) if name in header.var]
    return species_of(header.var.index) or next(filter(None, (species_of(header.var[c]) for c in columns)), None)


def _modality_problem(header: Header, spec: SampleSpec) -> UserError | None:
    if spec.modality == "rna" and matrix_kind(header.var, "atac") == "peaks":
        return UserError("modality is rna, but the features are regions", header.path.name, "write atac, or give genes")
    return None


def _gene_problem(row: Row, header: Header, spec: SampleSpec, has_annotation: bool) -> UserError | None:
    link = spec.peak_gene_link
    if matrix_kind(header.var, spec.modality) != "peaks" or row.gene_activity is not None or link in header.var_columns:
        return None
    if link is not None:
        return UserError(
            f"var has no column {link!r}",
            header.path.name,
            f"write in --peak_gene_link one of {', '.join(header.var_columns) or 'none'}, or leave it out",
        )
    if has_annotation:
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
