"""Files that appear whole or not at all, and tables that come back as they were written."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellpredx.core.errors import UserError
from cellpredx.core.files import atomic, read_csv, read_json, sha256, write_csv, write_json


def test_atomic_leaves_nothing_after_an_exception(tmp_path: Path) -> None:
    def fail(target: Path, folder: bool) -> None:
        with atomic(target) as part:
            if folder:
                (part / "inner").mkdir(parents=True)
                part = part / "inner" / "file"
            part.write_text("half")
            raise ValueError("stop")

    for folder in (False, True):
        with pytest.raises(ValueError, match="stop"):
            fail(tmp_path / "new.txt", folder)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.txt").write_text("whole")
    with pytest.raises(ValueError, match="stop"):
        fail(tmp_path / "old.txt", False)
    assert [p.name for p in tmp_path.iterdir()] == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "whole"


def test_atomic_replaces_files_and_folders_whole(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with atomic(tmp_path / "deep" / "a.csv") as part:
            part.write_text(text)
            assert part.suffix == ".csv"
            assert part.parent == tmp_path / "deep"
        with atomic(tmp_path / "folder") as part:
            part.mkdir()
            (part / text).write_text(text)
    assert (tmp_path / "deep" / "a.csv").read_text() == "second"
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["second"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "folder"]


FORMULAS = ["=1+1", "+A", "-", "@x", "\tx", "'", "'quoted", "'=1+1", "''-x", "plain", "a=b", "", "NA", "nan", "x,y"]


def test_texts_that_look_like_formulas_come_back_as_they_were(tmp_path: Path) -> None:
    table = pd.DataFrame({"=name": FORMULAS, "number": np.arange(len(FORMULAS))})
    write_csv(table, tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="") as handle:
        written = pd.read_csv(handle, keep_default_na=False)
    assert written.columns[0] == "'=name"
    assert not [text for text in written.iloc[:, 0] if text[:1] in ("=", "+", "-", "@", "\t", "\r")]
    found = read_csv(tmp_path / "t.csv")
    assert found.iloc[:, 0].tolist() == FORMULAS
    assert found["number"].tolist() == list(range(len(FORMULAS)))


def test_a_carriage_return_in_a_text_makes_no_row(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"label": ["\rx", "a\rb", "c"], "n": [1, 2, 3]}), tmp_path / "t.csv")
    assert read_csv(tmp_path / "t.csv")["n"].tolist() == [1, 2, 3]


def test_names_of_columns_come_back_as_they_were(tmp_path: Path) -> None:
    table = pd.DataFrame({"barcode": ["a"], "-x": [1.5], "p_=T": [0.5]})
    write_csv(table, tmp_path / "t.csv")
    assert read_csv(tmp_path / "t.csv").columns.tolist() == ["barcode", "-x", "p_=T"]


def test_numbers_are_written_to_their_digits(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1 / 3, -2.5, 1e-12], "n": [-1, 0, 123456789], "b": [True, False, True]})
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == (b"x,n,b\n0.333333,-1,True\n-2.5,0,False\n1e-12,123456789,True\n")
    write_csv(table, tmp_path / "t.csv", digits=9)
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "0.333333333,-1,True"
    assert table["x"][0] == 1 / 3


def test_counts_stay_whole_beside_an_unknown_one(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"cells": pd.array([600, None, 0], dtype="Int64"), "n": [1, 2, 3]}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "cells,n\n600,1\n,2\n0,3\n"


def test_an_unknown_number_leaves_its_column_a_number(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1.5, np.nan], "name": ["a", ""]})
    write_csv(table, tmp_path / "t.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv"), table)


def test_an_unknown_count_leaves_its_column_whole_numbers(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"cells": pd.array([12, None, 3_000_000_000], dtype="Int64"), "n": 1}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "cells,n\n12,1\n,1\n3000000000,1\n"


def test_json_has_null_for_what_is_no_number(tmp_path: Path) -> None:
    value = {
        "nan": float("nan"),
        "infinite": np.float32(np.inf),
        "array": np.array([[1, 2], [3, 4]]),
        "scalar": np.int64(7),
        "truth": np.bool_(True),
        "nested": ({"x": np.array([np.nan, 0.5])},),
        "path": Path("a/b"),
        7: "é",
    }
    write_json(value, tmp_path / "v.json")
    assert read_json(tmp_path / "v.json") == {
        "nan": None,
        "infinite": None,
        "array": [[1, 2], [3, 4]],
        "scalar": 7,
        "truth": True,
        "nested": [{"x": [None, 0.5]}],
        "path": "a/b",
        "7": "é",
    }
    assert json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))["7"] == "é"


def test_the_checksum_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_users_mistake_is_told_in_three_lines() -> None:
    assert str(UserError("what", "f, line 2", "do that")) == "ERROR: what\n  where:  f, line 2\n  remedy: do that"
    assert str(UserError("what")) == "ERROR: what"
