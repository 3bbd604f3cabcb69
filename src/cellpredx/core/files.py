"""Files that appear whole or not at all, and tables and JSON written in one way."""

import csv
import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellpredx.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_FULL = (errno.ENOSPC, errno.EDQUOT)


def _disk_is_full(error: BaseException | None) -> int | None:
    """Return the number of an error (or of what it came from) that says that a disk or a quota is full, else None.

    HDF5 tells it in its text alone, and numpy's tofile only how much was written.
    """
    while error is not None:
        for number in _FULL:
            told = isinstance(error, OSError) and error.errno == number
            if told or re.search(rf"errno = {number}\b|{os.strerror(number)}", str(error)):
                return number
        if re.search(r"^\d+ requested and \d+ written$", str(error)):
            return errno.ENOSPC
        error = error.__cause__ or error.__context__
    return None


def _remove(scratch: Path) -> None:
    if scratch.is_dir():
        shutil.rmtree(scratch)
    else:
        scratch.unlink(missing_ok=True)


@contextmanager
def _scratch(target: Path, what: Path) -> Iterator[Path]:
    """Yield a path beside `target` that is gone after the block. Raises UserError, naming `what`, for a full disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.part{os.getpid()}{target.suffix}")
    try:
        yield scratch
    except Exception as error:
        number = _disk_is_full(error)
        if number is None:
            raise
        remedy = f"make room in {target.parent.resolve()}, or work on another disk"
        raise UserError(os.strerror(number), str(what), remedy) from error
    finally:
        _remove(scratch)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, else remove it.

    The block may make a file or a folder there. Raises UserError where the disk is full.
    """
    target = Path(path)
    with _scratch(target, target) as scratch:
        yield scratch
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(scratch, target)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Give a file a second name; copy it where the two are on different file systems."""
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def together(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder in `folder`; what the block writes there moves to `folder` when it ends well.

    So that of several results all are there, or none. Raises UserError where the disk is full.
    """
    target = Path(folder)
    with _scratch(target / "results", target) as scratch:
        scratch.mkdir()
        yield scratch
        for path in sorted(scratch.iterdir()):
            os.replace(path, target / path.name)


class _Deaf:
    """A file for HDF5 that hides the disk's errors from it and keeps the first: HDF5 crashes where a write fails."""

    def __init__(self, path: Path) -> None:
        self.raw = open(path, "w+b", buffering=0)  # noqa: SIM115 - closed by `hdf5`
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        while len(view) and self.error is None:
            try:
                view = view[self.raw.write(view) :]
            except OSError as error:
                self.error = error
        return size

    def truncate(self, size: int) -> int:
        try:
            return self.raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size

    def read(self, size: int = -1) -> bytes | None:
        return self.raw.read(size)

    def readinto(self, buffer: Any) -> int | None:
        return self.raw.readinto(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.raw.seek(offset, whence)

    def tell(self) -> int:
        return self.raw.tell()

    def flush(self) -> None:
        """Nothing is held back."""


@contextmanager
def hdf5(path: Path) -> Iterator[Any]:
    """Yield an empty HDF5 file to write to. Raises OSError, after the block, where the disk did not take it all."""
    import h5py

    disk = _Deaf(path)
    try:
        with h5py.File(disk, "w") as handle:
            yield handle
    except Exception as error:
        raise disk.error or error from None
    finally:
        disk.raw.close()
    if disk.error is not None:
        raise disk.error


def _plain(value: Any) -> Any:
    """Turn numpy scalars and arrays into JSON's types, and NaN and infinities into null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def write_json(value: Any, path: str | Path) -> None:
    """Write `value` as indented JSON with a fixed key order as given; NaN becomes null."""
    with atomic(path) as part:
        part.write_text(json.dumps(_plain(value), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file that an earlier stage wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


_QUOTED = re.compile(r'[",\r\n]')
# What makes a spreadsheet read a text as a formula.
_UNSAFE = re.compile(r"^'*[=+\-@\t]|\r", re.MULTILINE)
_FORMULA = ("=", "+", "-", "@", "\t")


def _safe_text(value: Any) -> Any:
    """Keep a spreadsheet from reading a text as a formula: an apostrophe before = + - @ tab, blanks for line ends."""
    if not isinstance(value, str):
        return value
    value = value.replace("\r", " ")
    return "'" + value if value.lstrip("'")[:1] in _FORMULA else value


def _original_text(texts: Any) -> Any:
    """Take the apostrophe of `_safe_text` away from a series or an index of texts."""
    return texts.str.replace(r"^'('*[=+\-@\t])", r"\1", regex=True)


def _column_texts(column: "pd.Series", digits: int) -> list[str]:
    """Return a column's values as text: floats to `digits` significant digits, what is not known empty."""
    import numpy as np
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column):
        texts = ["" if value is None or value != value else str(value) for value in column.tolist()]
        # One look at all of them shows that most columns are safe as they are.
        return [_safe_text(text) for text in texts] if _UNSAFE.search("\n".join(texts)) else texts
    # Most columns repeat few values: each is written out once.
    codes, values = pd.factorize(column)
    floats = pd.api.types.is_float_dtype(column)
    texts = [f"{value:.{digits}g}" if floats else str(value) for value in values.tolist()]
    written: list[str] = np.array([*texts, ""], dtype=object)[codes].tolist()
    return written


def write_csv(table: "pd.DataFrame", path: str | Path, digits: int = 6) -> None:
    """Write `table` without its index, floats to `digits` significant digits, texts safe for spreadsheets."""
    columns = [_column_texts(table.iloc[:, i], digits) for i in range(table.shape[1])]
    with atomic(path) as part, open(part, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([_safe_text(str(name)) for name in table.columns])
        if any(_QUOTED.search("".join(texts)) for texts in columns) or len(columns) == 1:
            writer.writerows(zip(*columns, strict=True))
        else:
            handle.writelines(f"{line}\n" for line in map(",".join, zip(*columns, strict=True)))


def read_csv(path: str | Path, texts: tuple[str, ...] = ()) -> "pd.DataFrame":
    """Read a table that `write_csv` wrote, its texts as they were before they were made safe.

    The columns `texts` stay texts where they look like numbers; in others an empty field is NaN beside numbers.
    """
    import pandas as pd

    table = pd.read_csv(path, keep_default_na=False, na_values={}, dtype=dict.fromkeys(texts, str))
    table.columns = _original_text(table.columns)
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column):
            continue
        numbers = pd.to_numeric(column.where(column != ""), errors="coerce")
        if name not in texts and numbers.notna().any() and (numbers.notna() | (column == "")).all():
            table[name] = numbers
        else:
            table[name] = _original_text(column.astype(str))
    return table


def sha256(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
