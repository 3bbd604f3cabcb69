"""Counts written straight to .h5ad (anndata's on-disk format 0.1.0), block by block.

anndata wants the whole matrix in memory, and takes longer to load than a sample's counts take to make.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from isal import isal_zlib
from numpy.typing import NDArray

from cellpredx.core.files import atomic, hdf5, link_or_copy
from cellpredx.matrix.counting import Counts

if TYPE_CHECKING:
    import scipy.sparse as sp

    from cellpredx.matrix.stored import StoredMatrix

CHUNK = 1 << 18
GZIP: dict[str, Any] = {"compression": "gzip", "compression_opts": 1}


def _encode(item: Any, kind: str, version: str) -> Any:
    item.attrs["encoding-type"] = kind
    item.attrs["encoding-version"] = version
    return item


class _Stream:
    """A one-dimensional dataset, written from its start on, compressed as HDF5's gzip filter does.

    `length`: how many values come; None where it is not known, and the dataset grows.
    """

    def __init__(self, group: h5py.Group, name: str, length: int | None, dtype: Any) -> None:
        self.grows = length is None
        self.chunk = CHUNK if length is None else max(1, min(CHUNK, length))
        options = {} if length == 0 else {"chunks": (self.chunk,), **GZIP, "shuffle": True}
        if self.grows:
            options["maxshape"] = (None,)
        self.data = group.create_dataset(name, (length or 0,), dtype, **options)
        self.buffer = np.zeros(self.chunk, dtype)
        self.filled = self.written = 0

    def add(self, values: NDArray[Any]) -> None:
        """Append values."""
        done = 0
        while done < len(values):
            taken = min(self.chunk - self.filled, len(values) - done)
            self.buffer[self.filled : self.filled + taken] = values[done : done + taken]
            self.filled += taken
            done += taken
            if self.filled == self.chunk:
                self.flush()

    def flush(self) -> None:
        """Write what is in the buffer."""
        if self.filled:
            if self.grows:
                self.data.resize((self.written + self.filled,))
            self.buffer[self.filled :] = 0
            shuffled = np.ascontiguousarray(self.buffer.view(np.uint8).reshape(self.chunk, -1).T)
            self.data.id.write_direct_chunk((self.written,), isal_zlib.compress(shuffled.tobytes(), 1))
            self.written += self.chunk
            self.filled = 0


def _strings(group: h5py.Group, name: str, values: Iterable[str]) -> None:
    data = np.asarray([str(v) for v in values], dtype=object)
    _encode(group.create_dataset(name, data=data, dtype=h5py.string_dtype(), **GZIP), "string-array", "0.2.0")


def _table(root: h5py.File, name: str, index: Iterable[str], columns: dict[str, Any]) -> None:
    """Write a data frame; texts that repeat are kept as categories, as anndata does."""
    group = _encode(root.create_group(name), "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    group.attrs.create("column-order", np.asarray(list(columns), dtype=object), dtype=h5py.string_dtype())
    _strings(group, "_index", index)
    for column, values in columns.items():
        series = pd.Series(values)
        if pd.api.types.is_numeric_dtype(series):
            _encode(group.create_dataset(column, data=series.to_numpy(), **GZIP), "array", "0.2.0")
            continue
        codes, categories = pd.factorize(series.astype(str), sort=True)
        if len(categories) == len(series):
            _strings(group, column, series)
            continue
        part = _encode(group.create_group(column), "categorical", "0.2.0")
        part.attrs["ordered"] = False
        _strings(part, "categories", categories)
        kind = np.min_scalar_type(-max(1, len(categories)))
        _encode(part.create_dataset("codes", data=codes.astype(kind), **GZIP), "array", "0.2.0")


@dataclass(frozen=True)
class Totals:
    """Of each cell: the sum of its counts, and its entries that are not zero."""

    counts: NDArray[np.float64]
    entries: NDArray[np.int64]


def write_counts(
    path: str | Path,
    counts: Counts,
    obs: tuple[Collection[str], dict[str, Any]],
    var: tuple[Collection[str], dict[str, Any]],
    about: dict[str, Any],
) -> Totals:
    """Write cells x features (CSR, float32) to an .h5ad that appears whole or not at all.

    `obs` and `var`: names and columns; `about`: uns['cellpredx'], texts and numbers.
    """
    return _write(path, counts.blocks(), counts.nnz, obs, var, about)


def write_blocks(
    path: str | Path, blocks: "Iterable[sp.csr_matrix]", obs: pd.DataFrame, var: pd.DataFrame, about: dict[str, Any]
) -> None:
    """Write the blocks of cells of a matrix (CSR, float32), one at a time, to an .h5ad as `write_counts` does."""
    parts = ((np.diff(block.indptr), block.indices, block.data) for block in blocks)
    own_obs, own_var = ((table.index, {str(name): table[name] for name in table}) for table in (obs, var))
    _write(path, parts, None, own_obs, own_var, about)


def _write(
    path: str | Path,
    parts: Iterable[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]],
    nnz: int | None,
    obs: tuple[Collection[str], dict[str, Any]],
    var: tuple[Collection[str], dict[str, Any]],
    about: dict[str, Any],
) -> Totals:
    """Write parts: entries of each cell, their columns, their values; nnz: entries of all, None where not known."""
    totals: list[NDArray[Any]] = [np.zeros(0)]
    lengths: list[NDArray[Any]] = [np.zeros(0, np.int64)]
    with atomic(path) as partial, hdf5(partial) as root:
        _encode(root, "anndata", "0.1.0")
        matrix = _encode(root.create_group("X"), "csr_matrix", "0.1.0")
        matrix.attrs["shape"] = np.asarray((len(obs[0]), len(var[0])), np.int64)
        values, columns = _Stream(matrix, "data", nnz, np.float32), _Stream(matrix, "indices", nnz, np.int32)
        for length, own_columns, own_values in parts:
            columns.add(own_columns)
            values.add(own_values)
            lengths.append(length)
            totals.append(np.bincount(np.repeat(np.arange(len(length)), length), own_values, len(length)))
        columns.flush()
        values.flush()
        entries = np.concatenate(lengths)
        pointers = np.r_[0, np.cumsum(entries)].astype(np.int32 if entries.sum() < 2**31 else np.int64)
        matrix.create_dataset("indptr", data=pointers, **GZIP)
        _table(root, "obs", *obs)
        _table(root, "var", *var)
        for name in ("layers", "obsm", "obsp", "varm", "varp"):
            _encode(root.create_group(name), "dict", "0.1.0")
        own = _encode(_encode(root.create_group("uns"), "dict", "0.1.0").create_group("cellpredx"), "dict", "0.1.0")
        for key, value in about.items():
            text = isinstance(value, str)
            item = own.create_dataset(key, data=value, dtype=h5py.string_dtype() if text else None)
            _encode(item, "string" if text else "numeric-scalar", "0.2.0")
    return Totals(np.concatenate(totals), entries)


def write_cells(matrix: "StoredMatrix", source: str | Path, cells: pd.Index, path: Path) -> None:
    """Write a stored matrix (of the file `source`) with `cells` in their order; the file where these are its own.

    Raises ValueError for a cell that the matrix has not.
    """
    if matrix.obs.index.equals(cells):
        path.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(source, path)
        return
    rows = matrix.obs.index.get_indexer(cells)
    if (rows < 0).any():
        raise ValueError(f"the matrix {matrix.about['kind']} of {matrix.about['sample']} lacks cells")
    order = np.argsort(rows)
    place = np.argsort(order)
    write_blocks(path, [matrix.take(rows[order])[place]], matrix.obs.iloc[rows], matrix.var, matrix.about)
