"""Tables of labels."""

from pathlib import Path
from typing import TYPE_CHECKING

from cellpredx.core.errors import UserError
from cellpredx.core.text import open_text

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["barcode", "cell_type"]


def read_text_table(path: Path, columns: list[str]) -> "pd.DataFrame":
    """Read `columns` of a CSV or TSV, plain or .gz, as text. Raises UserError where one is missing."""
    import pandas as pd

    with open_text(path, "the table") as lines:
        head = lines.readline()
    separator = next((mark for mark in "\t,;" if mark in head), " ")
    try:
        with open_text(path, "the table") as lines:
            table = pd.read_csv(lines, dtype=str, keep_default_na=False, sep=separator, skip_blank_lines=False).fillna(
                ""
            )
    except ValueError as error:
        raise UserError(f"the table cannot be read: {error}", path.name, f"give a CSV: {','.join(columns)}") from error
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise UserError(
            f"the table has no column {missing[0]!r}: it has {', '.join(map(str, table.columns))}",
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
            f"{path.name}, line {line}",
            "keep one line a cell",
        )
    return table
