"""Cell types of a sample's cells: the only place where labels are read."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellpredx.core.barcodes import read_barcodes
from cellpredx.core.errors import UserError
from cellpredx.core.labels import read_label_table
from cellpredx.core.spec import SampleSpec


def read_label_column(path: Path, column: str) -> pd.DataFrame:
    """Read barcode, cell_type from a column of obs of an .h5ad; nothing else of the file is read."""
    import h5py

    from cellpredx.samplesheet.headers import DAMAGED, h5ad_table, unreadable

    try:
        with h5py.File(path, "r") as handle:
            obs, columns = h5ad_table(handle["obs"], (column,))
    except DAMAGED as error:
        raise unreadable(error, path) from error
    if column not in columns:
        raise UserError(
            f"obs has no column {column!r}: it has {', '.join(columns)}",
            path.name,
            "give one of them in the column `labels` of the sheet, or a CSV (barcode, cell_type)",
        )
    labels = obs[column].astype(object).where(obs[column].notna(), "")
    return pd.DataFrame({"barcode": obs.index.astype(str), "cell_type": labels.astype(str).to_numpy()})


def sample_labels(spec: SampleSpec) -> pd.DataFrame:
    """Return barcode (as the sample's matrix names it), cell_type of a sample; '' where a cell has no label."""
    if spec.labels_file is not None:
        return read_label_table(spec.labels_file)
    assert spec.labels_column is not None
    parts = []
    for row in spec.rows:
        assert row.matrix is not None
        part = read_label_column(row.matrix, spec.labels_column)
        if row.barcodes is not None:
            part = part[part["barcode"].isin(read_barcodes(row.barcodes))]
        parts.append(part.assign(barcode=[spec.cell_name(row.library, b) for b in part["barcode"]]))
    return pd.concat(parts, ignore_index=True)


def labels_of(entries: list[str], obs: pd.DataFrame) -> NDArray[np.str_]:
    """Return the type of every cell of a joined reference, '' where it has none.

    entries: SAMPLE=labels.csv of every reference; obs: columns sample and barcode. Raises UserError where no cell has
    a label.
    """
    tables = []
    for entry in entries:
        sample, _, path = entry.partition("=")
        tables.append(pd.read_csv(path, dtype=str, keep_default_na=False).assign(sample=sample))
    table = pd.concat(tables).set_index(["sample", "barcode"])["cell_type"]
    keys = pd.MultiIndex.from_arrays([obs["sample"].astype(str), obs["barcode"].astype(str)])
    if not keys.isin(table.index).any():
        raise UserError(
            f"none of the {len(obs):,} reference cells has a label",
            ", ".join(obs["sample"].astype(str).unique()),
            f"the labels name cells such as {table.index[0][1]!r}, the matrix such as {keys[0][1]!r}",
        )
    return table.reindex(keys).fillna("").to_numpy(dtype=str)


def numbered(names: NDArray[np.str_]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Return the types by name, and every cell's type as a number. Raises UserError where there is but one type."""
    types, y = np.unique(names, return_inverse=True)
    if len(types) < 2:
        raise UserError(
            f"the reference has one label only: {str(types[0])!r}", None, "give a reference of two types or more"
        )
    return types, y.astype(np.int64)
