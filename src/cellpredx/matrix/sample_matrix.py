"""One sample's matrix in the one form that later stages read."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellpredx import __version__
from cellpredx.core.files import atomic, hdf5
from cellpredx.matrix.regions import GENE_COLUMNS, REGION_COLUMNS


def sample_matrix(
    counts: Any,
    barcodes: list[str],
    library: list[str],
    batch: list[str],
    features: pd.DataFrame,
    *,
    sample: str,
    modality: str,
    kind: str,
    recipe: dict[str, Any] | None = None,
) -> ad.AnnData:
    """Return cells x features with what may travel to training, and nothing else.

    `counts`: (cells, features) sparse; `features`: index of unique names, columns gene_id and gene_name, or chrom,
    start and end, or none for proteins; `kind`: genes, gene_activity, peaks, windows or proteins; `recipe`: how the
    counts were made.
    """
    matrix = sp.csr_matrix(counts, dtype=np.float32)
    matrix.sort_indices()
    obs = pd.DataFrame({"library": library, "batch": batch}, index=pd.Index(barcodes, dtype=object))
    columns = GENE_COLUMNS if kind in ("genes", "gene_activity") else [] if kind == "proteins" else REGION_COLUMNS
    extra = [c for c in features.columns if c == "linked_gene"]
    result = ad.AnnData(matrix, obs=obs, var=features[columns + extra].copy())
    result.uns["cellpredx"] = {
        "sample": sample,
        "modality": modality,
        "kind": kind,
        "version": __version__,
        **{key: value for key, value in (recipe or {}).items() if value is not None},
    }
    return result


def write_h5ad(matrix: ad.AnnData, path: str | Path) -> None:
    """Write an .h5ad that appears whole or not at all."""
    matrix.strings_to_categoricals()
    with atomic(path) as part, hdf5(part) as handle:
        ad.io.write_elem(handle, "/", matrix, dataset_kwargs={"compression": "gzip", "compression_opts": 1})
