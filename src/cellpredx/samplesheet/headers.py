"""Names of cells and features of a matrix file, and what kind of matrix it is; no values are read."""

from pathlib import Path

import anndata as ad
import h5py
import pandas as pd

from cellpredx.core.errors import UserError

REGION_NAME = r"^(?P<chrom>.+?)[:\-_](?P<start>\d+)[\-_](?P<end>\d+)$"


def matrix_header(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return obs and var of an .h5ad, a 10x .h5 or a 10x folder (there with names alone)."""
    if path.is_dir():
        for names in (
            ("barcodes.tsv.gz", "features.tsv.gz"),
            ("barcodes.tsv", "genes.tsv"),
            ("barcodes.tsv", "features.tsv"),
        ):
            if all((path / name).is_file() for name in names):
                barcodes, features = (pd.read_csv(path / n, sep="\t", header=None, dtype=str) for n in names)
                return pd.DataFrame(index=barcodes[0]), pd.DataFrame(index=features[min(1, features.shape[1] - 1)])
        raise UserError(
            "no 10x folder: barcodes.tsv(.gz) and features.tsv(.gz) are missing",
            path.name,
            "give filtered_feature_bc_matrix",
        )
    if not h5py.is_hdf5(path):
        raise UserError("no HDF5 file", path.name, "give an .h5ad, a 10x .h5 or a 10x folder")
    with h5py.File(path, "r") as handle:
        if path.suffix == ".h5ad":
            if "obs" not in handle or "var" not in handle:
                raise UserError("no .h5ad: obs or var is missing", path.name, "write it with anndata")
            return ad.io.read_elem(handle["obs"]), ad.io.read_elem(handle["var"])
        if "matrix" not in handle or "features" not in handle["matrix"]:
            raise UserError("no 10x .h5 of Cell Ranger 3 or newer", path.name, "give filtered_feature_bc_matrix.h5")
        matrix = handle["matrix"]
        obs = pd.DataFrame(index=pd.Index(matrix["barcodes"].asstr()[:]))
        features = matrix["features"]
        var = pd.DataFrame(
            {"gene_ids": features["id"].asstr()[:], "feature_types": features["feature_type"].asstr()[:]},
            index=pd.Index(features["name"].asstr()[:]),
        )
        return obs, var


def matrix_kind(var: pd.DataFrame, modality: str) -> str:
    """Return genes, peaks or gene_activity of a matrix by the names and columns of var."""
    if modality == "rna":
        return "genes"
    if "feature_types" in var.columns and (var["feature_types"] == "Peaks").any():
        return "peaks"
    if var.index.astype(str).str.match(REGION_NAME).mean() >= 0.9:
        return "peaks"
    has_columns = any({c, "start", "end"} <= set(var.columns) for c in ("chrom", "seqnames", "chr"))
    return "peaks" if has_columns and "strand" not in var.columns else "gene_activity"
