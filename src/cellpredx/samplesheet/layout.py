"""What an HDF5 file says of its size and its parts, against what it can hold: known before a value is read."""

from pathlib import Path
from typing import Any

import h5py

from cellpredx.core.errors import UserError
from cellpredx.core.text import ALWAYS_UNPACKED

# deflate packs no more than 1032 bytes into one; names, which tell cells or genes apart, are never packed that far.
MOST_UNPACKED = 1100
MOST_UNPACKED_NAMES = 100
_NAMES = ("barcodes", "genes", "gene_names", "id", "name")
# What is never read of an .h5ad does no harm, however it is packed.
_UNREAD = ("uns/", "obsm/", "varm/", "obsp/", "varp/")
_WHOLE_FILE = "write the file again in one piece: anndata.read_h5ad(path).write_h5ad(path)"


def refuse_odd(handle: Any, path: Path) -> None:
    """Raise UserError for a part that is read and lies in another file, or is larger than the file can hold."""
    links: list[tuple[str, Any]] = []
    # Raised inside the visit, an error would be lost in HDF5.
    handle.visititems_links(lambda name, link: links.append((name, link)))
    for name, link in links:
        if name.startswith(_UNREAD):
            continue
        if isinstance(link, h5py.ExternalLink):
            raise UserError("a part of the file lies in another file", f"{path.name}, {name}", _WHOLE_FILE)
        if isinstance(link, h5py.HardLink) and isinstance(item := handle[name], h5py.Dataset):
            _look_at(item, name, path)


def _look_at(item: Any, name: str, path: Path) -> None:
    if item.is_virtual or item.external:
        raise UserError("a part of the file lies in another file", f"{path.name}, {name}", _WHOLE_FILE)
    unpacked = item.size * item.dtype.itemsize if item.shape else 0
    is_name = name.rpartition("/")[2] in (*_NAMES, item.parent.attrs.get("_index"))
    most = MOST_UNPACKED_NAMES if is_name else MOST_UNPACKED
    if unpacked > ALWAYS_UNPACKED + most * item.id.get_storage_size():
        raise UserError(
            f"{name} claims {item.size:,} values, which {item.id.get_storage_size():,} bytes cannot hold",
            path.name,
            "the file is damaged, or made to fill the memory: write or copy it again",
        )


def check_shape(values: Any, cells: int, features: int) -> None:
    """Raise ValueError where a matrix (dense, or sparse as anndata stores it) is not (cells, features), not whole or no
    numbers."""
    stored = values if isinstance(values, h5py.Dataset) else values["data"]
    if stored.dtype.kind not in "biuf":
        raise ValueError(f"{values.name.strip('/')} holds no numbers")
    if stored is values:
        shape = values.shape
    else:
        shape = tuple(int(n) for n in values.attrs.get("shape", values.attrs.get("h5sparse_shape", ())))
        kind = values.attrs.get("encoding-type", "csr")
        # Julia writes texts of a fixed length, which h5py reads as bytes.
        rows = shape[1:] if kind in ("csc_matrix", b"csc_matrix") else shape[:1]
        entries, starts = len(values["data"]), len(values["indptr"])
        if len(values["indices"]) != entries or (rows and starts != rows[0] + 1):
            raise ValueError(f"{entries} values, {len(values['indices'])} places and {starts} starts do not fit")
    if len(shape) == 2 and shape != (cells, features):
        raise ValueError(f"{shape[0]} x {shape[1]} values for {cells} cells and {features} features")
