"""The rows of one sample, as the workflow hands them to a task."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellpredx.core.errors import UserError

FILES = ("fragments", "matrix", "gene_activity", "proteins", "peaks", "barcodes")


@dataclass(frozen=True)
class Row:
    """One row of the sheet: a file of a sample; `number` counts the sample's rows from 0."""

    number: int
    library: str
    fragments: Path | None
    matrix: Path | None
    gene_activity: Path | None
    proteins: Path | None
    peaks: Path | None
    barcodes: Path | None


@dataclass(frozen=True)
class SampleSpec:
    """One sample: its rows, and where its labels and batches stand."""

    sample: str
    modality: str
    roles: tuple[str, ...]
    labels_file: Path | None
    labels_column: str | None
    batch: str | None
    peak_gene_link: str | None
    rows: tuple[Row, ...]

    def cell_name(self, library: str, barcode: str) -> str:
        """Name a cell within the sample: its barcode, with the library before it where there are several."""
        return f"{library}#{barcode}" if len({r.library for r in self.rows}) > 1 else barcode


def _staged(folder: str | None) -> Path | None:
    """Return the one file or folder that the engine staged in `folder`."""
    if folder is None:
        return None
    entries = sorted(Path(folder).iterdir())
    if len(entries) != 1:
        raise UserError(f"expected one file in {folder}, found {len(entries)}")
    return entries[0]


def read_spec(source: str) -> SampleSpec:
    """Read a sample's description (JSON) from a file, or from `base64:<text>`.

    Files are named by the folder in which the engine stages them (`in1`, `in2`, ...), each with one entry, so
    that no name that a user chose is ever part of a command.
    """
    encoded = source.removeprefix("base64:")
    text = Path(source).read_text(encoding="utf-8") if encoded == source else base64.b64decode(encoded).decode("utf-8")
    raw: dict[str, Any] = json.loads(text)
    rows = tuple(
        Row(
            number=number,
            library=str(row["library"]),
            **{key: _staged(row.get(key)) for key in FILES},
        )
        for number, row in enumerate(raw["rows"])
    )
    labels = raw.get("labels") or {}
    return SampleSpec(
        sample=str(raw["sample"]),
        modality=str(raw["modality"]),
        roles=tuple(raw.get("roles", ())),
        labels_file=_staged(labels.get("file")),
        labels_column=labels.get("column"),
        batch=raw.get("batch"),
        peak_gene_link=raw.get("peak_gene_link"),
        rows=rows,
    )
