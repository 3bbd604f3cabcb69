"""Count matrices as users have them (.h5ad, 10x .h5, 10x mtx folder) -> one sample's matrix."""

from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellpredx.core.barcodes import missing_text, read_barcodes
from cellpredx.core.errors import UserError
from cellpredx.core.spec import Row, SampleSpec
from cellpredx.matrix.gene_activity import rename_repeats
from cellpredx.matrix.regions import REGION_COLUMNS, named, parse_names
from cellpredx.matrix.sample_matrix import sample_matrix
from cellpredx.matrix.values import counts_of
from cellpredx.samplesheet.headers import (
    COORDINATES,
    ENSEMBL,
    GENE_IDS,
    GENE_NAMES,
    matrix_kind,
    read_header,
    unlisted,
)


@dataclass(frozen=True)
class Standardised:
    """A sample's matrix and what was noteworthy on the way."""

    matrix: ad.AnnData
    warnings: list[str]


def regions_of(var: pd.DataFrame) -> pd.DataFrame:
    """Return chrom, start, end of a peak matrix: from the names, else from columns of var; NaN where a name is none."""
    parsed = parse_names(var.index)
    columns = next((c for c in COORDINATES if set(c) <= set(var.columns)), None)
    if columns is None or parsed["start"].notna().mean() >= 0.9:
        return parsed
    return var[list(columns)].reset_index(drop=True).set_axis(REGION_COLUMNS, axis=1)


def gene_table(var: pd.DataFrame) -> pd.DataFrame:
    """Return gene_id (version stripped) and gene_name of every feature, indexed by unique names."""
    names = pd.Series(var.index.astype(str), dtype=object)
    keyed_by_id = names.str.match(ENSEMBL).mean() > 0.5

    def column(candidates: tuple[str, ...]) -> pd.Series:
        found = next((c for c in candidates if c in var.columns), None)
        if found is None:
            return names
        values = pd.Series(var[found].to_numpy(), dtype=object)
        return values.where(values.notna() & (values.astype(str).str.strip() != ""), names).astype(str)

    gene_id = names if keyed_by_id else column(GENE_IDS)
    table = pd.DataFrame(
        {"gene_id": gene_id.str.replace(r"^(ENS[A-Z]*\d+)\.\d+$", r"\1", regex=True), "gene_name": column(GENE_NAMES)}
    )
    return rename_repeats(table)


def _peak_table(var: pd.DataFrame, link: str | None, where: str) -> pd.DataFrame:
    """Return chrom, start, end (bp) of every peak, and `linked_gene` of the column `link`, indexed by names."""
    regions = regions_of(var)
    odd = regions.isna().any(axis=1).to_numpy()
    if odd.any():
        raise UserError(
            f"{odd.sum()} of {len(var)} feature names are no regions, the first is {var.index[odd][0]!r}",
            where,
            "name every peak chrom:start-end",
        )
    features = named(regions.astype({"chrom": str, "start": np.int64, "end": np.int64}))
    empty = (features["start"] >= features["end"]).to_numpy()
    if empty.any():
        raise UserError(f"peak {features.index[empty][0]}: start is not before end", where, "name it chrom:start-end")
    twice = features.index[features.index.duplicated()]
    if len(twice):
        raise UserError(
            f"{len(twice)} peaks stand more than once, the first is {twice[0]}", where, "keep one column a peak"
        )
    if link is not None and link in var.columns:
        features["linked_gene"] = var[link].astype(str).to_numpy()
    return features


def _one_file(
    row: Row, path: Path, spec: SampleSpec, modality: str, link: str | None
) -> tuple[ad.AnnData, list[str], str]:
    batch, where = spec.batch, path.name
    header = read_header(path, modality, [batch] if batch else [], [link] if link else [])
    warnings: list[str | None] = []
    rows = np.arange(len(header.obs))
    if row.barcodes is not None:
        listed = read_barcodes(row.barcodes)
        wrong = unlisted(header, row.barcodes, listed)
        if wrong is not None:
            raise wrong
        rows = np.flatnonzero(header.obs.index.isin(listed))
        warnings.append(missing_text(listed, set(header.obs.index), row.barcodes.name, f"the matrix {where}"))
    kind = matrix_kind(header.var, modality)
    if kind == "peaks":
        features = _peak_table(header.var, link, where)
    else:
        features = gene_table(header.var)
        shared = int(features["gene_name"].duplicated(keep=False).sum())
        if shared:
            warnings.append(
                f"{where}: {shared:,} of {len(features):,} genes share their name with another; "
                f"they were told apart by their ids, as {features.index[features['gene_name'].duplicated()][0]}"
            )
    values, is_log, warning = counts_of(header, rows, modality)
    warnings.append(warning)
    empty = int((np.diff(values.indptr) == 0).sum())
    if 2 * empty > len(rows):
        warnings.append(
            f"{where}: {empty:,} of {len(rows):,} cells have no count: is it the matrix of all barcodes, not of cells?"
        )
    obs = header.obs.iloc[rows]
    if batch is not None and batch in obs.columns:
        batches = obs[batch].astype(str).tolist()
    else:
        batches = [batch or spec.sample] * len(obs)
    matrix = sample_matrix(
        values,
        [spec.cell_name(row.library, b) for b in obs.index],
        [row.library] * len(obs),
        batches,
        features,
        sample=spec.sample,
        modality=spec.modality,
        kind=kind,
        recipe={"normalised": "log1p"} if is_log else None,
    )
    return matrix, [text for text in warnings if text], kind


def standardise(
    spec: SampleSpec, files: list[tuple[Row, Path]], link: str | None = None, activity: bool = False
) -> Standardised:
    """Join the matrices of a sample's libraries, features in the union; cells in the order of the rows.

    `link`: a column of var that links peaks to genes, kept as `linked_gene`; `activity`: they were given as ready gene
    activity. Raises UserError for what cannot be read, for libraries of different kinds, and where a part is normalised
    and another is not.
    """
    parts, warnings, kinds = [], [], {}
    for row, path in files:
        part, notes, kind = _one_file(row, path, spec, "gene_activity" if activity else spec.modality, link)
        parts.append(part)
        warnings.extend(notes)
        kinds[kind, str(part.uns["cellpredx"].get("normalised"))] = path.name
    if len(kinds) > 1:
        raise UserError(
            f"the matrices of sample {spec.sample} are of different kinds: "
            + ", ".join(
                f"{name} is {kind[0]}{' (log1p)' if kind[1] == 'log1p' else ''}" for kind, name in kinds.items()
            ),
            None,
            "give all libraries of a sample as the same kind of matrix",
        )
    if len(parts) == 1:
        return Standardised(parts[0], warnings)
    joined = ad.concat(parts, join="outer", merge="first", fill_value=0)
    joined.var = pd.concat([p.var for p in parts]).loc[lambda t: ~t.index.duplicated()].loc[joined.var_names]
    joined.X = sp.csr_matrix(joined.X, dtype=np.float32)
    joined.uns["cellpredx"] = parts[0].uns["cellpredx"]
    return Standardised(joined, warnings)
