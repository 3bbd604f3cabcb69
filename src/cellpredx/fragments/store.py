"""The store: a sample's fragments as integers, a file a contig, and which barcodes are cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellpredx.core.files import read_json, write_json

CHUNK = 4_000_000


class StoreWriter:
    """Append fragments to a folder, contig by contig, as rows of int32 (start, end, barcode number)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.fragments: dict[str, int] = {}
        self.files: dict[str, str] = {}

    def add(self, contig: str, rows: NDArray[np.int32]) -> None:
        """Append fragments of one contig: rows of (start, end, barcode number)."""
        if contig not in self.files:
            # A contig's name is the user's text, a file's name is ours.
            self.files[contig] = f"contig{len(self.files)}.int32"
            self.fragments[contig] = 0
        with open(self.folder / self.files[contig], "ab") as handle:
            handle.write(np.ascontiguousarray(rows).data)
        self.fragments[contig] += len(rows)

    def rows(self, contig: str) -> NDArray[np.int32]:
        """Return the fragments of a contig that were added so far, in the order of their adding."""
        return np.fromfile(self.folder / self.files[contig], np.int32).reshape(-1, 3)

    def close(
        self,
        sample: str,
        batch: str,
        cells: list[str],
        libraries: list[str],
        row_of_barcode: NDArray[np.int32],
        fragments: NDArray[np.int64],
    ) -> None:
        """Write the index: cells in row order with their libraries and numbers of fragments, and each barcode number's
        row or -1."""
        np.save(self.folder / "row_of_barcode.npy", row_of_barcode)
        np.save(self.folder / "fragments_of_cell.npy", fragments)
        contigs = [
            {"name": name, "file": self.files[name], "fragments": self.fragments[name]} for name in sorted(self.files)
        ]
        write_json(
            {"sample": sample, "batch": batch, "cells": cells, "libraries": libraries, "contigs": contigs},
            self.folder / "store.json",
        )


@dataclass(frozen=True)
class Store:
    """A sample's fragments, opened for reading.

    `contigs`: {name: (file, fragments)}; `row_of_barcode`: a cell's row, or -1, for each barcode number;
    `fragments_of_cell`: fragments of each cell, over all contigs.
    """

    folder: Path
    sample: str
    batch: str
    cells: list[str]
    libraries: list[str]
    contigs: dict[str, tuple[str, int]]
    row_of_barcode: NDArray[np.int32]
    fragments_of_cell: NDArray[np.int64]

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """Open a folder that `StoreWriter` wrote."""
        folder = Path(folder)
        index = read_json(folder / "store.json")
        return cls(
            folder,
            index["sample"],
            index["batch"],
            index["cells"],
            index["libraries"],
            {c["name"]: (c["file"], c["fragments"]) for c in index["contigs"]},
            np.load(folder / "row_of_barcode.npy"),
            np.load(folder / "fragments_of_cell.npy"),
        )

    def rows(self, contig: str) -> NDArray[np.int32]:
        """Return a contig's fragments, of all barcodes: rows of (start, end, barcode number)."""
        return np.fromfile(self.folder / self.contigs[contig][0], np.int32).reshape(-1, 3)

    def chunks(self, contig: str) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]]:
        """Yield (start, end, cell row) of a contig's fragments in cells, a bounded number at a time."""
        name, fragments = self.contigs[contig]
        with open(self.folder / name, "rb") as handle:
            for _ in range(0, fragments, CHUNK):
                rows = np.fromfile(handle, np.int32, 3 * CHUNK).reshape(-1, 3)
                cell = self.row_of_barcode[rows[:, 2]]
                kept = cell >= 0
                yield rows[kept, 0], rows[kept, 1], cell[kept]
