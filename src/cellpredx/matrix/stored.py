"""A matrix in an .h5ad, read in blocks of cells: its size in memory does not grow with the cells."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.core.files import atomic, hdf5

ENTRIES = 1 << 25


class StoredMatrix:
    """A sample's matrix (CSR, float32) on disk: obs, var and `about` (uns['cellpredx']) in memory, X in blocks."""

    def __init__(self, path: str | Path) -> None:
        self.file = h5py.File(path, "r")
        self.obs: pd.DataFrame = ad.io.read_elem(self.file["obs"])
        self.var: pd.DataFrame = ad.io.read_elem(self.file["var"])
        self.about: dict[str, Any] = ad.io.read_elem(self.file["uns"])["cellpredx"]
        self.starts = self.file["X"]["indptr"][:].astype(np.int64)
        self.shape = (len(self.obs), len(self.var))

    def __enter__(self) -> "StoredMatrix":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def rows(self, begin: int, end: int) -> sp.csr_matrix:
        """Return cells begin to end, (end - begin, features)."""
        first, last = int(self.starts[begin]), int(self.starts[end])
        x = self.file["X"]
        parts = (x["data"][first:last], x["indices"][first:last], self.starts[begin : end + 1] - first)
        return sp.csr_matrix(parts, shape=(end - begin, self.shape[1]), dtype=np.float32)

    def blocks(
        self, begin: int = 0, end: int | None = None, entries: int = ENTRIES
    ) -> Iterator[tuple[int, sp.csr_matrix]]:
        """Yield (its first cell, block) through the cells begin to end, each of at most `entries` non-zeros, or one
        cell."""
        end = self.shape[0] if end is None else end
        while begin < end:
            stop = int(np.searchsorted(self.starts, self.starts[begin] + entries, side="right")) - 1
            stop = min(max(stop, begin + 1), end)
            yield begin, self.rows(begin, stop)
            begin = stop

    def totals(self) -> NDArray[np.float64]:
        """Return the counts of every cell, (cells,)."""
        parts = [np.asarray(block.sum(axis=1, dtype=np.float64)).ravel() for _, block in self.blocks()]
        return np.concatenate(parts) if parts else np.zeros(0)

    def take(self, cells: Any) -> sp.csr_matrix:
        """Return the cells of sorted numbers `cells`, (len(cells), features), one block in memory at a time."""
        parts = []
        for begin, block in self.blocks():
            low, high = np.searchsorted(cells, (begin, begin + block.shape[0]))
            parts.append(block[cells[low:high] - begin])
        return sp.csr_matrix(sp.vstack(parts, format="csr")) if parts else self.rows(0, 0)


def is_constant(x: sp.csr_matrix) -> bool:
    """Tell whether every cell (row) has the same value in each feature."""
    ends = [np.asarray(getattr(x, name)(axis=0).todense()).ravel() for name in ("min", "max")]
    return bool((ends[0] == ends[1]).all())


def copy_with(
    source: str | Path, target: str | Path, obs: dict[str, Any], obsm: dict[str, Any], about: dict[str, Any]
) -> None:
    """Copy an .h5ad, X as it is on disk, with more columns of obs, arrays of obsm and entries of uns['cellpredx']."""
    with StoredMatrix(source) as stored, atomic(target) as part, hdf5(part) as root:
        for name in ("encoding-type", "encoding-version"):
            root.attrs[name] = stored.file.attrs[name]
        for name in set(stored.file) - {"obs", "obsm", "uns"}:
            stored.file.copy(name, root)
        compressed = {"compression": "gzip", "compression_opts": 1}
        ad.io.write_elem(root, "obs", stored.obs.assign(**obs), dataset_kwargs=compressed)
        ad.io.write_elem(root, "obsm", obsm, dataset_kwargs=compressed)
        ad.io.write_elem(root, "uns", {"cellpredx": {**stored.about, **about}})
