"""Files that appear whole or not at all, and tables and JSON written in one way."""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, else remove it.

    The block may make a file or a folder there.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.part{os.getpid()}{target.suffix}")
    try:
        yield scratch
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(scratch, target)
    finally:
        if scratch.is_dir():
            shutil.rmtree(scratch)
        elif scratch.exists():
            scratch.unlink()


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


def _safe_text(value: Any) -> Any:
    """Keep a spreadsheet from reading a text as a formula: a leading apostrophe before = + - @ tab CR."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


def write_csv(table: pd.DataFrame, path: str | Path, digits: int = 6) -> None:
    """Write `table` without its index, floats to `digits` significant digits, texts safe for spreadsheets."""
    safe = table.copy()
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = safe[name].map(_safe_text)
    safe.columns = [_safe_text(str(c)) for c in safe.columns]
    with atomic(path) as part:
        safe.to_csv(part, index=False, float_format=f"%.{digits}g", lineterminator="\n")


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a table that `write_csv` wrote, its texts as they were before they were made safe."""
    table = pd.read_csv(path, keep_default_na=False, na_values={})
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = table[name].astype(str).str.replace(r"^'([=+\-@\t\r])", r"\1", regex=True)
    return table


def sha256(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
