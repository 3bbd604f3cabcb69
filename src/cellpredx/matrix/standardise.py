"""Count matrices as users have them (.h5ad, 10x .h5, 10x mtx folder) -> one sample's matrix."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellpredx.core.barcodes import read_barcodes
from cellpredx.core.errors import UserError
from cellpredx.core.spec import Row, SampleSpec
from cellpredx.matrix.gene_activity import rename_repeats
from cellpredx.matrix.regions import named, parse_names
from cellpredx.matrix.sample_matrix import REGION_COLUMNS, sample_matrix
from cellpredx.samplesheet.headers import matrix_kind

_FEATURE_TYPES = {"rna": "Gene Expression", "atac": "Peaks"}
_COORDINATES = (("chrom", "start", "end"), ("seqnames", "start", "end"), ("chr", "start", "end"))
_GENE_NAMES = ("gene_name", "gene_names", "gene_symbol", "gene_symbols", "symbol", "feature_name")
_GENE_IDS = ("gene_id", "gene_ids", "ensembl_id", "feature_id")
ENSEMBL = r"^ENS[A-Z]*G\d{6,}(\.\d+)?$"


@dataclass(frozen=True)
class Standardised:
    """A sample's matrix and what was noteworthy on the way."""

    matrix: ad.AnnData
    warnings: list[str]


def read_matrix(path: Path, modality: str) -> ad.AnnData:
    """Read .h5ad, 10x .h5 or a 10x mtx folder; of several feature types, the one of `modality`.

    Raises UserError for what is none of them.
    """
    try:
        if path.suffix == ".h5ad":
            data = ad.read_h5ad(path)
        elif path.is_dir():
            import scanpy as sc

            data = sc.read_10x_mtx(path, gex_only=False, make_unique=False)
        else:
            import scanpy as sc

            data = sc.read_10x_h5(path, gex_only=False)
    except (OSError, EOFError, zlib.error, KeyError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(
            f"the matrix cannot be read: {reason}",
            path.name,
            "give an .h5ad, a 10x .h5 (Cell Ranger 3 or newer) or a 10x folder with matrix.mtx.gz",
        ) from error
    if "feature_types" in data.var and data.var["feature_types"].nunique() > 1:
        wanted = _FEATURE_TYPES[modality]
        chosen = (data.var["feature_types"] == wanted).to_numpy()
        if not chosen.any():
            kinds = ", ".join(sorted(map(str, data.var["feature_types"].unique())))
            raise UserError(f"the file has no features of type {wanted}: it has {kinds}", path.name, "check `modality`")
        data = data[:, chosen].copy()
    return data


def _check_values(values: Any, where: str) -> None:
    numbers = values.data if sp.issparse(values) else np.asarray(values)
    if np.isnan(numbers).any():
        raise UserError("the matrix has NaN", where, "give counts; write 0 where nothing was counted")
    if np.isinf(numbers).any():
        raise UserError("the matrix has infinite values", where, "give counts")
    if (numbers < 0).any():
        raise UserError("the matrix has negative values", where, "give counts, not scaled values")


def _whole(values: Any) -> bool:
    numbers = values.data if sp.issparse(values) else np.asarray(values)
    return bool(np.all(numbers == np.round(numbers)))


def _raw(data: ad.AnnData) -> Any:
    """Return the values of raw for the features of X; None without raw, or where its names cannot tell them apart."""
    if data.raw is None:
        return None
    if data.raw.var_names.equals(data.var_names):
        return data.raw.X
    if not (
        data.raw.var_names.is_unique and data.var_names.is_unique and data.var_names.isin(data.raw.var_names).all()
    ):
        return None
    return data.raw.X[:, data.raw.var_names.get_indexer(data.var_names)]


def counts_of(data: ad.AnnData, modality: str, where: str) -> tuple[Any, bool, str | None]:
    """Return (values, are they log1p, a warning): the first of layers['counts'], X and raw that holds counts.

    RNA goes on with log1p values where a file has nothing else; ATAC does not. Raises UserError for NaN and
    negative values.
    """
    raw = _raw(data)
    candidates = {"layers['counts']": data.layers.get("counts"), "X": data.X, "raw.X": raw}
    known = {name: values for name, values in candidates.items() if values is not None}
    for name, values in known.items():
        if name == "X" and not _whole(values) and len(known) > 1:
            continue
        _check_values(values, f"{where}, {name}")
        if _whole(values):
            return values, False, None if name == "X" else f"{where}: counts were taken from {name}"
    # Where X was scaled, raw holds the log1p values.
    name, values = ("raw.X", raw) if raw is not None and data.X.min() < 0 else ("X", data.X)
    _check_values(values, f"{where}, {name}")
    if modality == "atac" or float(values.max()) > 50:
        raise UserError(
            "the matrix holds no whole-number counts (nor do layers['counts'] and raw)",
            f"{where}, X",
            "give raw counts in X, layers['counts'] or raw",
        )
    return values, True, f"{where}: {name} is not counts; it was taken as log1p of normalised counts, and used as it is"


def regions_of(data: ad.AnnData) -> pd.DataFrame:
    """Return chrom, start, end of a peak matrix: from the names, else from columns of var; NaN where a name is none."""
    parsed = parse_names(data.var_names)
    if parsed["start"].notna().mean() >= 0.9:
        return parsed
    columns = next(c for c in _COORDINATES if set(c) <= set(data.var.columns))
    return data.var[list(columns)].reset_index(drop=True).set_axis(REGION_COLUMNS, axis=1)


def gene_table(data: ad.AnnData) -> pd.DataFrame:
    """Return gene_id (version stripped) and gene_name of every feature, indexed by unique names."""
    names = pd.Series(data.var_names.astype(str), dtype=object)
    keyed_by_id = names.str.match(ENSEMBL).mean() > 0.5

    def column(candidates: tuple[str, ...]) -> pd.Series | None:
        found = next((c for c in candidates if c in data.var.columns), None)
        return None if found is None else pd.Series(data.var[found].astype(str).to_numpy(), dtype=object)

    given_name, given_id = column(_GENE_NAMES), column(_GENE_IDS)
    gene_id = names if keyed_by_id else (given_id if given_id is not None else names)
    gene_name = given_name if given_name is not None else names
    table = pd.DataFrame(
        {"gene_id": gene_id.str.replace(r"^(ENS[A-Z]*\d+)\.\d+$", r"\1", regex=True), "gene_name": gene_name}
    )
    return rename_repeats(table)


def _one_file(row: Row, path: Path, spec: SampleSpec, link: str | None) -> tuple[ad.AnnData, list[str], str]:
    data = read_matrix(path, spec.modality)
    where = path.name
    if data.n_obs == 0 or data.n_vars == 0:
        raise UserError(f"the matrix has {data.n_obs} cells and {data.n_vars} features", where, "give a count matrix")
    warnings: list[str] = []
    repeated = data.obs_names[data.obs_names.duplicated()]
    if len(repeated):
        raise UserError(
            f"{len(repeated)} barcodes stand more than once, the first is {repeated[0]!r}",
            where,
            "give every library its own row, with `library`",
        )
    if row.barcodes is not None:
        wanted = read_barcodes(row.barcodes)
        kept = data.obs_names.isin(wanted)
        if not kept.any():
            raise UserError(
                f"none of the {len(wanted):,} barcodes of the list is in the matrix",
                row.barcodes.name,
                f"the list has {', '.join(sorted(wanted)[:3])}; the matrix has {', '.join(data.obs_names[:3])}: "
                "write them alike (a suffix such as -1 counts)",
            )
        data = data[kept].copy()
    values, is_log, warning = counts_of(data, spec.modality, where)
    if warning:
        warnings.append(warning)
    kind = matrix_kind(data.var, spec.modality)
    if kind == "peaks":
        regions = regions_of(data)
        if regions.isna().any(axis=None):
            bad = data.var_names[regions.isna().any(axis=1).to_numpy()]
            raise UserError(
                f"{len(bad)} of {data.n_vars} feature names are no regions, the first is {bad[0]!r}",
                where,
                "name every peak chrom:start-end",
            )
        features = named(regions.astype({"chrom": str, "start": np.int64, "end": np.int64}))
        twice = features.index[features.index.duplicated()]
        if len(twice):
            raise UserError(
                f"{len(twice)} peaks stand more than once, the first is {twice[0]}", where, "keep one column a peak"
            )
        if link is not None and link in data.var.columns:
            features["linked_gene"] = data.var[link].astype(str).to_numpy()
    else:
        features = gene_table(data)
    batch = spec.batch
    if batch is not None and batch in data.obs.columns:
        batches = data.obs[batch].astype(str).tolist()
    else:
        batches = [batch or spec.sample] * data.n_obs
    matrix = sample_matrix(
        values,
        [spec.cell_name(row.library, b) for b in data.obs_names],
        [row.library] * data.n_obs,
        batches,
        features,
        sample=spec.sample,
        modality=spec.modality,
        kind=kind,
        recipe={"normalised": "log1p"} if is_log else None,
    )
    return matrix, warnings, kind


def standardise(spec: SampleSpec, files: list[tuple[Row, Path]], link: str | None = None) -> Standardised:
    """Join the matrices of a sample's libraries, features in the union; cells in the order of the rows.

    `link`: a column of var that links peaks to genes, kept as `linked_gene`. Raises UserError for what cannot be
    read, for libraries of different kinds, and where a part is normalised and another is not.
    """
    parts, warnings, kinds = [], [], {}
    for row, path in files:
        part, notes, kind = _one_file(row, path, spec, link)
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
