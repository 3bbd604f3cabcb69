"""What the header of a file of proteins says against its row of the sheet."""

from collections.abc import Collection
from itertools import islice
from pathlib import Path

from cellpredx.core.barcodes import near_match
from cellpredx.core.errors import UserError
from cellpredx.samplesheet.headers import ENSEMBL, PROTEIN_TYPE, REGION_NAME, read_header


def strangers(barcodes: Collection[str], cells: Collection[str], path: Path, holder: str) -> UserError:
    """Return the mistake of a file of proteins, with `barcodes`, that has none of `cells`, which `holder` names."""
    near = near_match(barcodes, cells)
    examples = f"it has {', '.join(islice(barcodes, 3))}; {holder} {', '.join(islice(cells, 3))}"
    return UserError(
        f"none of the {len(barcodes):,} barcodes of the proteins is among {holder}",
        path.name,
        f"{examples}: " + (f"write its barcodes alike: {near}" if near else "give the proteins of the same cells"),
    )


def check_proteins(path: Path, matrix: Path | None, sources: list[tuple[set[str], str, bool]]) -> None:
    """Raise UserError for what is wrong in the header of a file of proteins.

    matrix: the row's matrix; sources: barcodes of the row's other files, what they are, and whether they are all that
    there are. Beside a part of them only barcodes that are written in another way are a mistake.
    """
    header = read_header(path, "protein")
    if PROTEIN_TYPE not in header.types:
        others: list[str] = [kind for kind in ("Gene Expression", "Peaks") if kind in header.types]
        for what, pattern in (("regions", REGION_NAME), ("genes", ENSEMBL)):
            if header.var.index.astype(str).str.match(pattern).mean() >= 0.5:
                others.append(what)
        if matrix is not None and path.resolve() == matrix.resolve():
            others.insert(0, f"the matrix itself, without features of type {PROTEIN_TYPE}")
        if others:
            raise UserError(
                f"the file of proteins holds {others[0]}", path.name, "give counts of antibody-derived tags"
            )
    own = list(header.obs.index)
    for barcodes, holder, complete in sources:
        if barcodes and barcodes.isdisjoint(own) and (complete or near_match(own, barcodes)):
            raise strangers(own, sorted(barcodes), path, holder)
