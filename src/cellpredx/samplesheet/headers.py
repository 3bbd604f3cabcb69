"""Names of cells and features of a matrix file, and what kind of matrix it is; no values are read."""

import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellpredx.core.barcodes import explain_mismatch
from cellpredx.core.errors import UserError
from cellpredx.core.text import open_text
from cellpredx.samplesheet.layout import MOST_UNPACKED_NAMES, check_shape, refuse_odd

REGION_NAME = r"^(?P<chrom>.+?)[:\-_](?P<start>\d+)[\-_](?P<end>\d+)$"
COORDINATES = (("chrom", "start", "end"), ("seqnames", "start", "end"), ("chr", "start", "end"))
GENE_NAMES = ("gene_name", "gene_names", "gene_symbol", "gene_symbols", "symbol", "feature_name")
GENE_IDS = ("gene_id", "gene_ids", "ensembl_id", "feature_id")
ENSEMBL = r"^ENS[A-Z]*G\d{6,}(?:\.\d+)?$"
SUPPORTED = (
    "give an .h5ad, a 10x .h5 (Cell Ranger 2 or newer), or a 10x folder (matrix.mtx, barcodes.tsv, features.tsv)"
)

_VAR_COLUMNS = {*GENE_NAMES, *GENE_IDS, *sum(COORDINATES, ()), "strand", "feature_types", "genome"}
PROTEIN_TYPE = "Antibody Capture"
_FEATURE_TYPES = {"rna": "Gene Expression", "atac": "Peaks", "protein": PROTEIN_TYPE}
_VERSION_2 = {"barcodes", "genes", "gene_names", "data", "indices", "indptr", "shape"}
_PARTS = {
    "matrix.mtx": ("matrix.mtx",),
    "barcodes.tsv": ("barcodes.tsv",),
    "features.tsv": ("features.tsv", "genes.tsv", "peaks.bed"),
}
_SEQUENCE = r"(?:^|[^A-Za-z])[ACGTN]{10,}(?:$|[^A-Za-z])"
_REGION_OF_OBS = r"^(?:[^:]+:\d+-\d+|chr[^:\-_]+[\-_]\d+[\-_]\d+)$"
_COMMON_GENES = {"ACTB", "GAPDH", "B2M", "MALAT1", "EEF1A1", "RPLP0", "TMSB4X", "FTL"}
# What h5py, anndata and scipy raise for a file that is damaged or not what it seems.
DAMAGED = (
    *(OSError, EOFError, KeyError, ValueError, TypeError, RuntimeError, IndexError, AttributeError, OverflowError),
    zlib.error,
)


@dataclass(frozen=True)
class Header:
    """What a matrix file says of its cells and features.

    `layout`: h5ad, 10x 2, 10x 3 or folder; `obs`, `var`: names, and the columns that are of use; `obs_columns`,
    `var_columns`: all that there are; `width`: features of the file; `picked`: which of them `var` holds, None for
    all; `group`: the group of a 10x .h5 with the matrix; `types`: the types of features that the file names.
    """

    path: Path
    layout: str
    obs: pd.DataFrame
    var: pd.DataFrame
    obs_columns: tuple[str, ...]
    var_columns: tuple[str, ...]
    width: int
    picked: NDArray[np.int64] | None = None
    group: str = "matrix"
    types: frozenset[str] = frozenset()


def unreadable(error: Exception, path: Path) -> UserError:
    """Return the one message for a file that a library cannot read."""
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return UserError(f"the matrix cannot be read: {reason}", path.name, SUPPORTED)


def folder_files(path: Path) -> dict[str, Path]:
    """Return the files `matrix.mtx`, `barcodes.tsv` and `features.tsv` of a 10x folder.

    Each may be gzipped, features be genes.tsv or Cell Ranger ATAC's peaks.bed, and all have one prefix, as in GEO.
    Raises UserError where one is missing, and where there are several prefixes.
    """
    names = {entry.name.removesuffix(".gz"): entry for entry in sorted(path.iterdir()) if entry.is_file()}
    sets: dict[str, dict[str, Path]] = {}
    for part, endings in _PARTS.items():
        for ending in endings:
            for name, entry in names.items():
                if name.endswith(ending):
                    sets.setdefault(name.removesuffix(ending), {}).setdefault(part, entry)
    whole = {prefix: files for prefix, files in sets.items() if len(files) == len(_PARTS)}
    if len(whole) > 1:
        raise UserError(
            f"the folder has {len(whole)} matrices: {', '.join(sorted(whole))}",
            path.name,
            "give each a folder and a row of its own",
        )
    if not whole:
        best = max(sets.values(), key=len, default={})
        lacking = [part for part in _PARTS if part not in best]
        there = ", ".join(sorted(entry.name for entry in path.iterdir())[:6]) or "nothing"
        raise UserError(
            f"no 10x folder: {', '.join(lacking)} (.gz or not, with one prefix) is missing",
            path.name,
            f"it has {there}: give filtered_feature_bc_matrix or a folder like it",
        )
    return next(iter(whole.values()))


def mtx_size(path: Path) -> tuple[int, int]:
    """Return rows and columns of a Matrix Market file. Raises UserError where it is none, and where it is too short for
    the entries that it announces."""
    with open_text(path, "the matrix") as lines:
        number = 0
        for number, line in enumerate(lines, start=1):
            if number == 1 and not line.startswith("%%MatrixMarket"):
                break
            if line.startswith("%") or not line.strip():
                continue
            fields = line.split()
            if len(fields) < 2 or not all(field.isdecimal() and len(field) < 19 for field in fields[:3]):
                break
            # An entry takes six bytes or more: row, column, value.
            most = path.stat().st_size * (MOST_UNPACKED_NAMES if path.suffix == ".gz" else 1) // 6
            if len(fields) > 2 and int(fields[2]) > most:
                raise UserError(
                    f"the matrix announces {int(fields[2]):,} entries, and the file has room for {most:,} at most",
                    f"{path.name}, line {number}",
                    "copy the file again",
                )
            return int(fields[0]), int(fields[1])
    raise UserError("no Matrix Market file", f"{path.name}, line {number}", "give matrix.mtx of Cell Ranger")


def _fields(path: Path, what: str) -> list[list[str]]:
    with open_text(path, what) as lines:
        return [line.rstrip("\r\n").split("\t") for line in lines if line.strip()]


def _folder_header(path: Path) -> Header:
    files = folder_files(path)
    barcodes = [fields[0] for fields in _fields(files["barcodes.tsv"], "the list of barcodes")]
    rows = _fields(files["features.tsv"], "the list of features")
    if "peaks.bed" in files["features.tsv"].name:
        rows = [row for row in rows if not row[0].startswith("#")]
        names = [f"{row[0]}:{'-'.join(row[1:3])}" for row in rows]
        var = pd.DataFrame(index=pd.Index(names, dtype=object))
    else:
        var = pd.DataFrame({"gene_ids": [row[0] for row in rows]}, dtype=object)
        var.index = pd.Index([row[1] if len(row) > 1 else row[0] for row in rows], dtype=object)
        if rows and all(len(row) > 2 for row in rows):
            var["feature_types"] = [row[2] for row in rows]
    size, expected = mtx_size(files["matrix.mtx"]), (len(var), len(barcodes))
    if size != expected:
        own = files["matrix.mtx"].name
        turned = size == expected[::-1]
        raise UserError(
            f"{own} has {size[0]:,} rows and {size[1]:,} columns for {expected[0]:,} features and "
            f"{expected[1]:,} barcodes" + (": it is transposed" if turned else ""),
            f"{path.name}, {own}",
            "write the features in rows and the cells in columns: scipy.io.mmwrite(path, scipy.io.mmread(path).T)"
            if turned
            else "give the three files of one matrix, without headers in barcodes and features",
        )
    return Header(
        path, "folder", pd.DataFrame(index=pd.Index(barcodes, dtype=object)), var, (), tuple(var.columns), len(var)
    )


def element(item: Any) -> Any:
    """Return what anndata makes of a part of an .h5ad. Raises ValueError for one that it does not know."""
    import anndata as ad

    try:
        return ad.io.read_elem(item)
    except DAMAGED:
        raise
    except Exception as error:
        # anndata's own kind of error for an encoding that it does not know; it has no public name.
        raise ValueError(f"{item.name.strip('/')}: {error}") from error


def h5ad_table(group: Any, wanted: Collection[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a table of an .h5ad (obs, var, raw/var) with the columns `wanted` alone, and the names of all columns.

    Other columns are not read, so that what is odd in them does no harm. Raises UserError for a table of anndata
    before 0.7.
    """
    if not isinstance(group, h5py.Group):
        raise UserError(
            "the .h5ad was written by anndata before 0.7",
            f"{Path(group.file.filename).name}, {group.name.strip('/')}",
            "write it again: anndata.read_h5ad(path).write_h5ad(path)",
        )
    columns = tuple(map(str, group.attrs["column-order"]))
    names = np.asarray(element(group[group.attrs["_index"]]), dtype=object)
    index = pd.Index([str(name) for name in names], dtype=object)
    if group.attrs.get("encoding-version") == "0.1.0":
        # Categories stood apart from their codes then.
        return element(group).set_axis(index)[[c for c in columns if c in wanted]], columns
    chosen = {name: element(group[name]) for name in columns if name in wanted}
    return pd.DataFrame(chosen, index=index), columns


def _texts(dataset: Any) -> list[str]:
    values = dataset[:]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]


def _version_3(path: Path, matrix: Any) -> Header:
    features = matrix["features"]
    columns = {"id": "gene_ids", "feature_type": "feature_types", "genome": "genome"}
    var = pd.DataFrame(
        {new: _texts(features[old]) for old, new in columns.items() if old in features},
        index=pd.Index(_texts(features["name"]), dtype=object),
        dtype=object,
    )
    obs = pd.DataFrame(index=pd.Index(_texts(matrix["barcodes"]), dtype=object))
    return Header(path, "10x 3", obs, var, (), tuple(var.columns), len(var))


def _hdf5_header(path: Path, obs_columns: Collection[str], var_columns: Collection[str]) -> Header:
    with h5py.File(path, "r") as handle:
        refuse_odd(handle, path)
        keys = set(handle)
        if {"obs", "var"} <= keys:
            obs, own_obs = h5ad_table(handle["obs"], obs_columns)
            var, own_var = h5ad_table(handle["var"], _VAR_COLUMNS | set(var_columns))
            for name in ("layers/counts", "X"):
                if name in handle and handle[name].attrs.get("encoding-type") != "null":
                    check_shape(handle[name], len(obs), len(var))
            return Header(path, "h5ad", obs, var, own_obs, own_var, len(var))
        if "matrix" in keys and "features" in handle["matrix"]:
            return _version_3(path, handle["matrix"])
        genomes = sorted(k for k in keys if isinstance(handle[k], h5py.Group) and set(handle[k]) >= _VERSION_2)
        if len(genomes) > 1:
            raise _several_genomes(genomes, path)
        if genomes:
            group = handle[genomes[0]]
            var = pd.DataFrame({"gene_ids": _texts(group["genes"])}, index=pd.Index(_texts(group["gene_names"])))
            obs = pd.DataFrame(index=pd.Index(_texts(group["barcodes"]), dtype=object))
            return Header(path, "10x 2", obs, var, (), tuple(var.columns), len(var), group=genomes[0])
        if "mod" in keys:
            hint = f"it is a MuData file: write one modality of {', '.join(sorted(handle['mod']))} as .h5ad"
        elif "barcode_idx" in keys:
            hint = "it is a molecule_info.h5: give filtered_feature_bc_matrix.h5"
        else:
            hint = f"it has {', '.join(sorted(keys)[:6]) or 'nothing'} at its top; {SUPPORTED}"
        raise UserError("the layout of the HDF5 file is not known", path.name, hint)


def _several_genomes(genomes: Iterable[str], path: Path) -> UserError:
    return UserError(
        f"the file holds several genomes: {', '.join(sorted(genomes))}",
        path.name,
        "write the cells and genes of one genome as an .h5ad, the genome's name taken off the genes' names",
    )


def read_header(path: Path, modality: str, obs_columns: Iterable[str] = (), var_columns: Iterable[str] = ()) -> Header:
    """Return the names of cells and features of an .h5ad, a 10x .h5 or a 10x folder, told apart by content.

    Of several types of features, those of `modality` (rna, atac, protein) are taken; what is given as gene_activity
    has one type, whatever a tool calls it. Of obs and var, the columns named, and of var those that name genes and
    regions. Raises UserError for what is none of these files, for one without cells or features, several genomes,
    barcodes that repeat, and a matrix with features in obs.
    """
    try:
        if path.is_dir():
            header = _folder_header(path)
        elif h5py.is_hdf5(path):
            header = _hdf5_header(path, set(obs_columns), set(var_columns))
        else:
            raise UserError("the matrix cannot be read: it is no HDF5 file", path.name, SUPPORTED)
    except DAMAGED as error:
        raise unreadable(error, path) from error
    header = _of_activity(header) if modality == "gene_activity" else _of_modality(header, modality)
    _check_names(header)
    return header


def _of_modality(header: Header, modality: str) -> Header:
    if "feature_types" not in header.var:
        return header
    wanted, types = _FEATURE_TYPES[modality], header.var["feature_types"].astype(str)
    header = replace(header, types=frozenset(types))
    # write10xCounts of DropletUtils names every feature so if it is not told otherwise, peaks too.
    if header.types == {_FEATURE_TYPES["rna"]} and modality == "atac" and not _are_regions(header.var.index):
        raise UserError(
            "modality is atac, but the features are of type Gene Expression",
            header.path.name,
            "write rna; for gene activity give the features another type, or none",
        )
    if len(header.types) < 2:
        return header
    picked = np.flatnonzero(types == wanted)
    if len(picked) == 0:
        raise UserError(
            f"the file has no features of type {wanted}: it has {', '.join(sorted(types.unique()))}",
            header.path.name,
            "check `modality`",
        )
    return replace(header, var=header.var.iloc[picked], picked=picked)


def _of_activity(header: Header) -> Header:
    types = set(header.var["feature_types"].astype(str)) if "feature_types" in header.var else set()
    # Genes may have places beside their names.
    if len(types) < 2 and types != {_FEATURE_TYPES["atac"]} and not _are_regions(header.var.index):
        return header
    held = f"features of type {', '.join(sorted(types))}" if len(types) > 1 else "regions"
    raise UserError(
        f"gene activity is a matrix of genes, and the file has {held}",
        header.path.name,
        "give gene activity alone, counted in the fragments or peaks of these cells: no peaks, and no measured RNA",
    )


def holds_proteins(header: Header) -> bool:
    """Tell whether a 10x matrix has counts of proteins beside others; an .h5ad may hold anything but counts."""
    return header.layout != "h5ad" and PROTEIN_TYPE in header.types and len(header.types) > 1


def _check_names(header: Header) -> None:
    obs, var, where = header.obs.index, header.var.index, header.path.name
    if len(obs) == 0 or len(var) == 0:
        raise UserError(f"the matrix has {len(obs)} cells and {len(var)} features", where, "give a count matrix")
    if is_transposed(obs, var):
        raise UserError(
            f"the matrix is transposed: its cells are named as features, such as {obs[0]!r}, "
            f"and its features such as {var[0]!r}",
            where,
            "write it the other way round: anndata.read_h5ad(path).T.write_h5ad(path)",
        )
    repeated = obs[obs.duplicated()]
    if len(repeated):
        raise UserError(
            f"{len(repeated)} barcodes stand more than once, the first is {repeated[0]!r}",
            where,
            "give every library its own row, with `library`",
        )
    genomes = _genomes(header.var)
    if len(genomes) > 1:
        raise _several_genomes(genomes, header.path)


def _genomes(var: pd.DataFrame) -> set[str]:
    """Return the genomes of features: by the column `genome`, else by what stands before Ensembl's ids."""
    if "genome" in var:
        return {str(g) for g in var["genome"].dropna().unique()} - {"", "nan", "None", "NA", "unknown"}
    ids = var["gene_ids"] if "gene_ids" in var else pd.Series(var.index)
    prefixes = ids.astype(str).str.extract(r"^([A-Za-z0-9.\-]+?)_+ENS[A-Z]*G\d", expand=False)
    return set(prefixes.dropna().unique())


def _share(names: pd.Index, pattern: str) -> float:
    some = names[:: max(1, len(names) // 1000)]
    return float(pd.Series(some.astype(str)).str.contains(pattern, regex=True).mean())


def is_transposed(obs: pd.Index, var: pd.Index) -> bool:
    """Tell whether names of cells read as features (regions, Ensembl ids, common genes), or names of features as
    barcodes, and the other side does not."""
    if _share(var, _SEQUENCE) >= 0.9 and _share(obs, _SEQUENCE) < 0.5:
        return True
    for pattern in (_REGION_OF_OBS, ENSEMBL):
        if _share(obs, pattern) >= 0.9 and _share(var, pattern) < 0.5:
            return True
    genes = {str(name).upper() for name in obs} & _COMMON_GENES
    return len(genes) >= 3 and not {str(name).upper() for name in var} & _COMMON_GENES


def unlisted(header: Header, path: Path, listed: set[str]) -> UserError | None:
    """Return the mistake where a list of barcodes (of the file `path`) names no cell of a matrix."""
    if header.obs.index.isin(listed).any():
        return None
    return UserError(
        f"none of the {len(listed):,} barcodes of the list is in the matrix {header.path.name}",
        path.name,
        explain_mismatch(listed, list(header.obs.index), "the matrix"),
    )


def _are_regions(names: pd.Index) -> bool:
    return bool(names.astype(str).str.match(REGION_NAME).mean() >= 0.9)


def matrix_kind(var: pd.DataFrame, modality: str) -> str:
    """Return genes, peaks or gene_activity of a matrix by names and columns of var; `modality` is read_header's."""
    if modality != "atac":
        return "genes" if modality == "rna" else modality
    if "feature_types" in var.columns and (var["feature_types"] == "Peaks").any():
        return "peaks"
    if _are_regions(var.index):
        return "peaks"
    has_columns = any(set(columns) <= set(var.columns) for columns in COORDINATES)
    return "peaks" if has_columns and "strand" not in var.columns else "gene_activity"
