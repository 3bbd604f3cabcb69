"""Files that would run code when they are read by the wrong means: nothing of them is run."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from cellpredx.cli import main
from tests.mistakes.files import CELLS, PICKLED, matrix, pickled_bundle


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Work in a folder where the payload would leave its file."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "PWNED").exists()


def test_the_payload_is_one(tmp_path: Path) -> None:
    (tmp_path / "payload").mkdir()
    (tmp_path / "payload" / "p").write_bytes(PICKLED)
    command = "import pickle; pickle.load(open('p', 'rb'))"
    subprocess.run(["python3", "-c", command], cwd=tmp_path / "payload", check=True)
    assert (tmp_path / "payload" / "PWNED").exists()
    (tmp_path / "payload" / "PWNED").unlink()


def refused(capsys: pytest.CaptureFixture[str], *verb: object) -> str:
    """What a verb says that ends in vain."""
    assert main([str(word) for word in verb]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.startswith("ERROR: ")
    return said


def test_a_bundle_with_a_payload_for_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its checksums are right, as those of a bundle that somebody made for it are."""
    bundle = pickled_bundle(tmp_path)
    matrix().write_h5ad(tmp_path / "q.h5ad")
    said = refused(
        capsys, "fit-query", "--bundle", bundle, "--query", tmp_path / "q.h5ad", "--outdir", tmp_path / "fit"
    )
    assert "the weights cannot be read" in said
    assert not (tmp_path / "fit").exists() or not list((tmp_path / "fit").iterdir())


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("X", "the matrix cannot be read: X holds no numbers"),
        ("layers/counts", "the matrix cannot be read: layers/counts holds no numbers"),
        ("obs/cell_type", "the matrix cannot be read: obs/cell_type: "),
        ("uns/more", None),
        ("obsm/X_pca", None),
    ],
)
def test_an_h5ad_with_a_payload_is_refused_unless_it_is_not_read(
    tmp_path: Path, place: str, told: str | None, spec_text: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An array of opaque values, marked as anndata marks its own."""
    path = tmp_path / "m.h5ad"
    data = matrix()
    data.layers["counts"] = data.X.copy()
    data.obsm["X_pca"] = np.ones((len(CELLS), 2))
    data.write_h5ad(path)
    with h5py.File(path, "a") as handle:
        old = dict(handle[place].attrs) if place in handle else {"encoding-type": "array", "encoding-version": "0.2.0"}
        if place in handle:
            del handle[place]
        handle[place] = np.array([np.void(PICKLED)] * len(CELLS))
        handle[place].attrs.update({key: value for key, value in old.items() if key.startswith("encoding")})
    spec = spec_text({"matrix": path}, modality="rna", labels="cell_type", roles=("reference",))
    out = tmp_path / "out"
    codes = [
        main(["check", "--spec", spec, "--out", str(tmp_path / "check.json")]),
        main(["standardise", "--spec", spec, "--outdir", str(out)]),
        main(["labels", "--spec", spec, "--out", str(out / "labels.csv")]),
    ]
    said = capsys.readouterr().err
    assert "Traceback" not in said
    problems = json.loads((tmp_path / "check.json").read_text())["problems"]
    if told is None:
        assert codes == [0, 0, 0]
        assert problems == []
    else:
        # The labels alone need no matrix, and the matrix no labels.
        assert codes[0] == 0
        assert 1 in codes[1:]
        assert [problem["what"].startswith(told) for problem in problems] == [True]
        assert f"ERROR: {told}" in said


def test_arrays_with_a_payload(tmp_path: Path) -> None:
    from cellpredx.fragments.store import Store

    store = tmp_path / "store"
    store.mkdir()
    (store / "store.json").write_text(
        '{"sample": "s", "batch": "s", "cells": ["a"], "libraries": ["s"], "contigs": []}'
    )
    for name in ("row_of_barcode.npy", "fragments_of_cell.npy"):
        (store / name).write_bytes(PICKLED)
    with pytest.raises(ValueError, match="pickle"):
        Store.open(store)


def test_a_payload_for_every_text(tmp_path: Path, spec_text: Callable[..., str]) -> None:
    """Under the names of tables and lists: what is told is that they are no text, or no such table."""
    for name, key in (("f.tsv.gz", "fragments"), ("p.bed", "peaks"), ("b.txt", "barcodes"), ("m.h5", "matrix")):
        (tmp_path / name).write_bytes(PICKLED)
        row = {"fragments": tmp_path / "sound.tsv", key: tmp_path / name}
        (tmp_path / "sound.tsv").write_text("chr1\t5\t50\tAAAC-1\t1\n")
        out = tmp_path / "check.json"
        assert main(["check", "--spec", spec_text(row), "--out", str(out)]) == 0
        assert out.read_text().count('"what"') >= 1, key
