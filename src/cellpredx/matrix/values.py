"""Values of users' matrix files, read one at a time, and which of them are counts."""

from collections.abc import Callable
from functools import partial
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.core.errors import UserError
from cellpredx.samplesheet.headers import DAMAGED, Header, element, folder_files, h5ad_table, unreadable

_BLOCK = 32 << 20
Read = Callable[[], sp.csr_matrix]


def _csr(values: Any, shape: tuple[int, int]) -> sp.csr_matrix:
    if values.shape != shape:
        raise ValueError(f"{values.shape[0]} x {values.shape[1]} values for {shape[0]} cells and {shape[1]} features")
    values.check_format(full_check=True)
    return sp.csr_matrix(values)


def _read_group(path: Any, name: str, shape: tuple[int, int], columns: NDArray[np.int64] | None) -> sp.csr_matrix:
    """Read a matrix of an .h5ad, sparse or dense (then in blocks of rows); `columns` of it, None for all."""
    with h5py.File(path, "r") as handle:
        item = handle[name]
        if isinstance(item, h5py.Group):
            stored = element(item)
            stored.check_format(full_check=True)
            values = sp.csr_matrix(stored)
        else:
            rows = max(1, _BLOCK // max(1, item.shape[1] * item.dtype.itemsize))
            parts = [sp.csr_matrix(item[i : i + rows]) for i in range(0, item.shape[0], rows)]
            values = sp.vstack(parts, format="csr")
    values = _csr(values, shape)
    return values if columns is None else values[:, columns]


def _read_10x(header: Header, shape: tuple[int, int]) -> sp.csr_matrix:
    with h5py.File(header.path, "r") as handle:
        group = handle[header.group]
        parts = (group["data"][:], group["indices"][:], group["indptr"][:])
        size = tuple(int(n) for n in group["shape"][:])
    # Features x cells by column is cells x features by row.
    return _csr(sp.csr_matrix(parts, shape=size[::-1]), shape)


def _read_folder(header: Header, shape: tuple[int, int]) -> sp.csr_matrix:
    values = scipy.io.mmread(folder_files(header.path)["matrix.mtx"])
    return _csr(sp.csr_matrix(values.T), shape)


def _guarded(read: Read, header: Header, rows: NDArray[np.int64]) -> Read:
    """Return `read` for the features that were picked and for `rows`, with one message for what a library raises."""

    def values() -> sp.csr_matrix:
        try:
            found = read()
        except DAMAGED as error:
            raise unreadable(error, header.path) from error
        if found.dtype.kind not in "biuf":
            raise UserError(f"the values are no numbers but {found.dtype}", header.path.name, "give counts")
        if header.picked is not None and found.shape[1] != len(header.picked):
            found = found[:, header.picked]
        return found if len(rows) == found.shape[0] else found[rows]

    return values


def _raw_columns(raw_names: pd.Index, own_names: pd.Index) -> NDArray[np.int64] | None:
    """Return where the features of X stand in raw; None where the names cannot tell."""
    if raw_names.equals(own_names):
        return np.arange(len(own_names))
    if not (raw_names.is_unique and own_names.is_unique and own_names.isin(raw_names).all()):
        return None
    return raw_names.get_indexer(own_names)


def sources(header: Header, rows: NDArray[np.int64]) -> dict[str, Read]:
    """Return what holds values in a file, in the order in which it is tried; each is read when it is called.

    Each gives the cells `rows` x the features of `header`, CSR. Raises UserError, now or then, for a damaged file.
    """
    path, cells = header.path, len(header.obs)
    width = header.width
    if header.layout != "h5ad":
        reader = _read_folder if header.layout == "folder" else _read_10x
        return {"matrix": _guarded(partial(reader, header, (cells, width)), header, rows)}
    found: dict[str, Read] = {}
    try:
        with h5py.File(path, "r") as handle:
            for name, label in (("layers/counts", "layers['counts']"), ("X", "X")):
                if name in handle and handle[name].attrs.get("encoding-type") != "null":
                    found[label] = partial(_read_group, path, name, (cells, width), None)
            if "raw" in handle and "X" in handle["raw"]:
                names = h5ad_table(handle["raw/var"], ())[0].index
                columns = _raw_columns(names, header.var.index)
                if columns is not None:
                    found["raw.X"] = partial(_read_group, path, "raw/X", (cells, len(names)), columns)
    except DAMAGED as error:
        raise unreadable(error, path) from error
    if not found:
        raise UserError("the .h5ad holds no values: neither X, layers['counts'] nor raw", path.name, "give counts")
    return {label: _guarded(read, header, rows) for label, read in found.items()}


def is_whole(values: sp.csr_matrix) -> bool:
    """Tell whether all values are whole numbers."""
    return values.dtype.kind in "biu" or bool(np.all(values.data == np.rint(values.data)))


def _check(values: sp.csr_matrix, header: Header, rows: NDArray[np.int64], name: str) -> None:
    """Raise UserError with the first cell and feature of NaN, infinite and negative values, and where all are 0."""
    numbers = values.data
    checks: list[tuple[str, Callable[[Any], Any], str]] = [
        ("NaN", np.isnan, "give counts; write 0 where nothing was counted"),
        ("infinite", np.isinf, "give counts"),
        ("negative", lambda v: v < 0, "give counts, not scaled values"),
    ]
    for what, test, remedy in checks:
        bad = test(numbers)
        if bad.any():
            at = int(np.argmax(bad))
            cell = header.obs.index[rows[int(np.searchsorted(values.indptr, at, side="right")) - 1]]
            feature = header.var.index[values.indices[at]]
            raise UserError(
                f"the matrix has {what} values: {int(bad.sum()):,} of {len(numbers):,} stored",
                f"{header.path.name}, {name}, cell {cell!r}, feature {feature!r}",
                remedy,
            )
    if not numbers.any():
        raise UserError("every value of the matrix is 0", f"{header.path.name}, {name}", "give counts")


def counts_of(header: Header, rows: NDArray[np.int64], modality: str) -> tuple[sp.csr_matrix, bool, str | None]:
    """Return (values of `rows`, are they log1p, a warning): the first of layers['counts'], X and raw with counts.

    RNA goes on with log1p values where a file has nothing else; ATAC and proteins do not. Raises UserError for NaN,
    infinite and negative values, and where there are neither counts nor log1p values.
    """
    where = header.path.name
    known = sources(header, rows)
    negative = False
    for name, read in known.items():
        values = read()
        whole = is_whole(values)
        if name == "X":
            negative = bool((values.data < 0).any())
            if not whole and len(known) > 1:
                continue
        _check(values, header, rows, name)
        if whole:
            warning = f"{where}: counts were taken from {name}" if name in ("layers['counts']", "raw.X") else None
            return values, False, warning
        del values
    # Where X was scaled, raw holds the log1p values.
    name = (
        "raw.X" if "raw.X" in known and (negative or "X" not in known) else "X" if "X" in known else next(iter(known))
    )
    values = known[name]()
    _check(values, header, rows, name)
    if modality != "rna" or name.startswith("layers") or float(values.data.max()) > 50:
        raise UserError(
            "the matrix holds no whole-number counts (nor do layers['counts'] and raw)",
            f"{where}, {name}",
            "give raw counts in X, layers['counts'] or raw",
        )
    return values, True, f"{where}: {name} is not counts; it was taken as log1p of normalised counts, and used as it is"
