"""Lists of called cells, and why barcodes do not match."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path

from cellpredx.core.errors import UserError
from cellpredx.core.text import open_text

_HEADERS = ("barcode", "barcodes", "cell_barcode")
# `is__cell_barcode` of Cell Ranger ATAC (a genome's name inside where there are two), `is_cell` of Cell Ranger ARC.
_IS_CELL = re.compile(r"is_(\w*_)?cell(_barcode)?")
_YES = ("1", "true")
# What tools put around a sequence: `lib1#`, `sample_`; `-1`, `-1_2`.
_AFFIXES = re.compile(r"(?P<prefix>.*[#:_])?(?P<core>[ACGTN+]{6,})(?P<suffix>(?:[-._]\d+)*)")


def read_barcodes(path: Path) -> set[str]:
    """Read a list of barcodes, plain or .gz: one a line, or a table's first column or column `barcode`.

    Of a table that says which barcodes are cells (singlecell.csv of Cell Ranger ATAC, per_barcode_metrics.csv of
    Cell Ranger ARC, barcodes.csv of this pipeline), the cells are taken. Raises UserError where none is left.
    """
    with open_text(path, "the list of barcodes") as lines:
        rows = ([f.strip().strip('"') for f in line.rstrip("\r\n").replace("\t", ",").split(",")] for line in lines)
        first = next(rows, [])
        named = [field.lower() for field in first]
        at = next((named.index(name) for name in _HEADERS if name in named), None)
        flags = [i for i, name in enumerate(named) if _IS_CELL.fullmatch(name)]
        barcodes = {first[0]} if at is None and not flags and first else set()
        for row in rows:
            if len(row) > (at or 0) and (not flags or any(i < len(row) and row[i].lower() in _YES for i in flags)):
                barcodes.add(row[at or 0])
    barcodes -= {"", "NO_BARCODE"}
    if not barcodes:
        what = f"no row of the table has 1 in {first[flags[0]]!r}" if flags else "the list of barcodes is empty"
        raise UserError(what, path.name, "give one barcode a line")
    return barcodes


def _change(given: str, wanted: str, place: str) -> str | None:
    if given == wanted:
        return None
    if not given:
        return f"with `{wanted}` {place} them"
    return f"without the `{given}` {place} them" if not wanted else f"with `{wanted}` for the `{given}` {place} them"


def near_match(wanted: Collection[str], seen: Iterable[str]) -> str | None:
    """Say which prefix or suffix keeps barcodes of a list (`wanted`) from those `seen`, and how many it is; else None.

    Barcodes are compared without what tools put around a sequence (`lib1#`, `-1`); the commonest difference counts.
    """
    by_core: dict[str, list[tuple[str, str]]] = {}
    for barcode in seen:
        if parts := _AFFIXES.fullmatch(barcode):
            by_core.setdefault(parts["core"], []).append((parts["prefix"] or "", parts["suffix"]))
    changes: Counter[tuple[tuple[str, str], tuple[str, str]]] = Counter()
    for barcode in wanted:
        if parts := _AFFIXES.fullmatch(barcode):
            own = (parts["prefix"] or "", parts["suffix"])
            changes.update((own, other) for other in set(by_core.get(parts["core"], ())))
    changes = Counter({change: count for change, count in changes.items() if change[0] != change[1]})
    if not changes:
        return None
    (own, other), count = min(changes.items(), key=lambda item: (-item[1], item[0]))
    texts = [_change(own[0], other[0], "before"), _change(own[1], other[1], "after")]
    return f"{' and '.join(filter(None, texts))}, {count:,} of {len(wanted):,} would match"


def explain_mismatch(wanted: Collection[str], seen: Collection[str], holder: str) -> str:
    """Return the remedy where no barcode of a list is among those `seen` in `holder` (the matrix, the fragments)."""
    near = near_match(wanted, seen)
    examples = f"the list has {', '.join(sorted(wanted)[:3])}; {holder} {', '.join(islice(seen, 3))}"
    return f"{examples}: " + (f"write the list's barcodes alike: {near}" if near else "give the list of this library")


def missing_text(wanted: Collection[str], found: Collection[str], name: str, holder: str) -> str | None:
    """Return a warning where some barcodes of the list `name` are not among those `found` in `holder`, else None."""
    known = found if isinstance(found, set | frozenset | dict) else set(found)
    missing = [barcode for barcode in wanted if barcode not in known]
    if not missing:
        return None
    return f"{name}: {len(missing):,} of {len(wanted):,} barcodes are not in {holder}, such as {min(missing)}"
