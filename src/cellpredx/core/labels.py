"""Tables of labels."""

import csv
import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

from cellpredx.core.errors import UserError
from cellpredx.core.text import open_text

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["barcode", "cell_type"]
ALIKE = 0.8
ROWS = 20_000  # read at a time
# What R and Python write where there is none.
MISSING = ("NA", "N/A", "<NA>", "NaN", "nan", "None")


def _spelled(name: str) -> tuple[str, list[str], list[str]]:
    """Return a name's letters and digits, its numbers with the minus of CD16-, and its short words (B, T, NK)."""
    plain = re.sub(r"cells?(?![a-z])", " ", name.casefold())
    numbers = re.findall(r"\d+(?:-(?!\w))?", plain)
    return re.sub(r"[\W_]", "", plain), numbers, sorted(re.findall(r"(?<![a-z])[a-z]{1,2}(?![a-z])", plain))


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that is spelled most like `name`, where one is near enough to mean the same.

    Case, blanks, marks and the word "cell" do not count; numbers and short words must be the same, for CD4 is not CD8,
    and a B cell is no T cell.
    """
    own, numbers, short = _spelled(name)
    best, found = ALIKE, None
    for other in names:
        theirs, their_numbers, their_short = _spelled(other)
        if numbers == their_numbers and (own == theirs or short == their_short):
            alike = SequenceMatcher(None, own, theirs).ratio() if own and theirs else 0
            if alike > best:
                best, found = alike, other
    return found


def _first_long_line(path: Path, separator: str) -> int | None:
    """Return the number of the first line with more fields than the header."""
    with open_text(path, "the table") as lines:
        rows = csv.reader(lines, delimiter=separator)
        try:
            columns = len(next(rows, []))
            return next((rows.line_num for row in rows if len(row) > columns and any(row[columns:])), None)
        except csv.Error:
            # A quote without an end makes a field of all that follows.
            return None


def read_text_table(path: Path, columns: list[str]) -> "pd.DataFrame":
    """Read `columns` of a CSV or TSV, plain or .gz, as text; row i of the index is line i + 2.

    Raises UserError where a column is missing, or a line has more fields than the header.
    """
    import warnings

    import pandas as pd

    with open_text(path, "the table") as lines:
        head = lines.readline()
    separator = next((mark for mark in "\t,;" if mark in head), " ")
    try:
        with open_text(path, "the table") as lines, warnings.catch_warnings():
            # Without a word, the first column would become the rows' names, or the last one vanish.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            chunks = pd.read_csv(
                lines,
                dtype=str,
                keep_default_na=False,
                sep=separator,
                skip_blank_lines=False,
                index_col=False,
                chunksize=ROWS,
            )
            # A table of a million cells may have dozens of columns: the others are let go as they come.
            parts = []
            for chunk in chunks:
                header = chunk.columns
                parts.append(chunk.loc[:, header.isin(columns)])
            table = pd.concat(parts).fillna("")
    except (ValueError, pd.errors.ParserWarning) as error:
        line = _first_long_line(path, separator)
        if line is None:
            remedy = f"give a CSV: {','.join(columns)}"
            raise UserError(f"the table cannot be read: {error}", path.name, remedy) from error
        raise UserError(
            "the line has more fields than the header",
            f"{path.name}, line {line}, after column {columns[-1]}",
            'put a name that holds a comma in quotes: "CD4 T, naive"',
        ) from error
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise UserError(
            f"the table has no column {missing[0]!r}: it has {', '.join(map(str, header))}",
            f"{path.name}, line 1",
            f"write a header with {','.join(columns)}",
        )
    return table.loc[(table[columns] != "").any(axis=1), columns]


def read_label_table(path: Path) -> "pd.DataFrame":
    """Read barcode, cell_type from a CSV or TSV. Raises UserError for a missing column and a barcode given twice."""
    table = read_text_table(path, COLUMNS)
    repeated = table["barcode"].duplicated(keep="first")
    if repeated.any():
        at = int(repeated.to_numpy().argmax())
        line = int(table.index.to_numpy()[at]) + 2
        raise UserError(
            f"barcode {table['barcode'].iloc[at]!r} has two labels",
            f"{path.name}, line {line}, column barcode",
            "keep one line a cell",
        )
    return table


def read_map(path: Path) -> dict[str, str]:
    """Return the new name of every label that a CSV (from, to) names; '' takes the label away.

    Raises UserError where a line renames nothing, or a label has two new names.
    """
    table = read_text_table(path, ["from", "to"])
    names: dict[str, str] = {}
    for row, old, new in table.itertuples(name=None):
        if old == "":
            raise UserError(
                f"no label to rename to {new!r}",
                f"{path.name}, line {row + 2}, column from",
                "give the label as it is in the data; a cell without a label gets none by this table",
            )
        if names.setdefault(old, new) != new:
            raise UserError(
                f"label {old!r} is renamed to {names[old]!r} and to {new!r}",
                f"{path.name}, line {row + 2}, column to",
                "keep one line a label",
            )
    return names


def apply_map(labels: "pd.DataFrame", names: dict[str, str]) -> "pd.DataFrame":
    """Rename labels, matched exactly, once: what a label was renamed to is not renamed again."""
    return labels.assign(cell_type=labels["cell_type"].map(lambda name: names.get(name, name)))


def unused_names(labels: "pd.DataFrame", names: dict[str, str]) -> dict[str, str | None]:
    """Return the labels of a map that no cell has, each with the label that is spelled most like it, where one is."""
    there = labels["cell_type"].unique().tolist()
    return {name: nearest_name(name, there) for name in names if name not in there}


def without_missing(labels: "pd.DataFrame") -> "pd.DataFrame":
    """Take away labels that are what R and Python write where there is none."""
    missing = labels["cell_type"].str.strip().isin(MISSING)
    return labels.assign(cell_type=labels["cell_type"].mask(missing, ""))


def check_reference(labels: "pd.DataFrame", sample: str) -> None:
    """Raise UserError where a cell of a reference has an empty label, or a type has the name of no type."""
    if (labels["cell_type"] == "Unknown").any():
        raise UserError(
            f"reference {sample} has a type named Unknown, which here means that a cell has none",
            None,
            "rename it with --label_map, or leave its cells out",
        )
    empty = labels["cell_type"].str.strip() == ""
    if empty.any():
        first = labels.loc[empty, "barcode"].iloc[0]
        raise UserError(
            f"{int(empty.sum())} of {len(labels)} cells of reference {sample} have no label, the first is {first!r}",
            None,
            "leave these cells out with the column `barcodes`, or out of the CSV of labels; NA and NaN count as no "
            "label: a type of such a name needs another, by --label_map",
        )


def final_labels(labels: "pd.DataFrame", names: dict[str, str]) -> "pd.DataFrame":
    """Rename labels by a map, and leave out the cells whose label it takes away; '' where a cell has none."""
    before = labels["cell_type"] != ""
    renamed = apply_map(labels, names)
    return without_missing(renamed[~(before & (renamed["cell_type"] == ""))])
