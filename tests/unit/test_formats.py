"""Users' matrices, lists and regions in every layout, and what is refused in them: through the verbs themselves."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.cli import main
from cellpredx.core.barcodes import missing_text, near_match, read_barcodes
from cellpredx.core.bed import read_bed
from cellpredx.core.errors import UserError
from cellpredx.core.files import read_json, together
from cellpredx.core.whole import BGZF_END
from cellpredx.model.normalise import model_input, normalise
from cellpredx.samplesheet.headers import is_transposed
from tests.unit.test_fragments import write_bgzf

COUNTS = np.array([[1, 0, 3], [0, 2, 0], [5, 0, 0], [1, 1, 1]], np.float32)
IDS = ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003"]
NAMES = ["AAA", "BBB", "CCC"]
BARCODES = [f"AAACCCAAGAAAC{c}CA-1" for c in "ACGT"]
COMMAND = Path(__file__).parents[2] / "bin" / "cellpredx"
PEAKS = ["chr1:10-90", "chr1:95-120", "chr2:5-50"]

Refuse = Callable[..., tuple[str, str, str]]
Give = Callable[..., ad.AnnData]


def matrix_of(values: Any = COUNTS, names: list[str] = NAMES, barcodes: list[str] = BARCODES) -> ad.AnnData:
    return ad.AnnData(sp.csr_matrix(values), pd.DataFrame(index=pd.Index(barcodes)), pd.DataFrame(index=names))


def h5ad(path: Path, **options: Any) -> Path:
    matrix_of(**options).write_h5ad(path)
    return path


@pytest.fixture
def give(tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]) -> Give:
    """Standardise one file: the matrix, its warnings in `uns`."""

    def run(path: Path, modality: str = "rna", **options: Any) -> ad.AnnData:
        given = {key: options.pop(key) for key in ("barcodes", "gene_activity") if key in options}
        out = tmp_path / "given"
        shutil.rmtree(out, ignore_errors=True)
        run_verb("standardise", "--spec", spec_text({"matrix": path, **given}, modality=modality), "--outdir", out)
        summary = read_json(out / "sample.json")
        found = ad.read_h5ad(out / f"{summary['kind']}.h5ad")
        found.uns["warnings"] = summary["warnings"]
        return found

    return run


@pytest.fixture
def refuse(tmp_path: Path, spec_text: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Standardise one file in vain, as the command does: its message (what, where, remedy), and nothing left."""

    def run(path: Path, modality: str = "rna", **given: Path) -> tuple[str, str, str]:
        out = tmp_path / "refused"
        spec = spec_text({"matrix": path, **given}, modality=modality)
        assert main(["standardise", "--spec", spec, "--outdir", str(out)]) == 1
        said = capsys.readouterr().err
        assert "Traceback" not in said
        found = re.fullmatch(r"ERROR: (.+)\n  where:  (.+)\n  remedy: (.+)\n", said)
        assert found is not None, said
        assert not out.exists() or not list(out.iterdir())
        return found[1], found[2], found[3]

    return run


@pytest.fixture
def problems(tmp_path: Path, spec_text: Callable[..., str]) -> Callable[..., list[tuple[str, str, str]]]:
    """What `check` finds in a row: (what, where, remedy) of each."""

    def run(modality: str = "atac", **row: Path) -> list[tuple[str, str, str]]:
        out = tmp_path / "check.json"
        assert main(["check", "--spec", spec_text(row, modality=modality), "--out", str(out)]) == 0
        return [(p["what"], p["where"], p["remedy"]) for p in read_json(out)["problems"]]

    return run


def write_10x(
    path: Path, group: str = "matrix", names: list[str] = NAMES, version: int = 3, genomes: tuple[str, ...] = ("hg38",)
) -> Path:
    """Write COUNTS as Cell Ranger does: cells by column, so that the arrays are those of cells by row."""
    by_cell = sp.csr_matrix(COUNTS.astype("i4"))
    with h5py.File(path, "a") as handle:
        own = handle.create_group(group)
        own["barcodes"] = np.array(BARCODES, "S")
        own["data"], own["indices"], own["indptr"] = by_cell.data, by_cell.indices.astype("i8"), by_cell.indptr
        own["shape"] = np.array(COUNTS.shape[::-1], "i4")
        if version == 2:
            own["genes"], own["gene_names"] = np.array(IDS, "S"), np.array(names, "S")
        else:
            features = own.create_group("features")
            features["id"], features["name"] = np.array(IDS, "S"), np.array(names, "S")
            features["feature_type"] = np.array(["Gene Expression"] * 3, "S")
            features["genome"] = np.array([genomes[i % len(genomes)] for i in range(3)], "S")
    return path


def write_folder(
    folder: Path, prefix: str = "", features: str = "features.tsv.gz", counts: NDArray[np.float32] = COUNTS.T
) -> Path:
    folder.mkdir(exist_ok=True)
    rows = {
        "features": [f"{i}\t{n}\tGene Expression" for i, n in zip(IDS, NAMES, strict=True)],
        "genes": [f"{i}\t{n}" for i, n in zip(IDS, NAMES, strict=True)],
        "peaks": [re.sub("[:-]", "\t", peak) for peak in PEAKS],
    }[features.split(".")[0]]
    end = ".gz" if features.endswith(".gz") else ""
    scipy.io.mmwrite(folder / "plain.mtx", sp.coo_matrix(counts.astype(int)), field="integer")
    matrix = (folder / "plain.mtx").read_bytes()
    (folder / "plain.mtx").unlink()
    texts = {f"matrix.mtx{end}": matrix, f"barcodes.tsv{end}": "\n".join(BARCODES).encode() + b"\n"}
    texts[features] = "\n".join(rows).encode() + b"\n"
    for name, data in texts.items():
        (folder / f"{prefix}{name}").write_bytes(gzip.compress(data) if end else data)
    return folder


def same(found: ad.AnnData, names: list[str] = NAMES) -> None:
    np.testing.assert_array_equal(found.X.toarray(), COUNTS)
    assert list(found.obs_names) == BARCODES
    assert list(found.var_names) == names


def test_files_of_cell_ranger_2_and_3_give_the_same_matrix(tmp_path: Path, give: Give) -> None:
    for path in (write_10x(tmp_path / "2.h5", "GRCh38", version=2), write_10x(tmp_path / "3.h5")):
        found = give(path)
        same(found)
        assert found.var["gene_id"].tolist() == IDS
        assert found.uns["warnings"] == []


@pytest.mark.parametrize("features", ["features.tsv.gz", "features.tsv", "genes.tsv", "genes.tsv.gz"])
@pytest.mark.parametrize("prefix", ["", "GSM123_donor's 1_"])
def test_folders_are_read_gzipped_or_not_and_with_a_prefix(
    tmp_path: Path, give: Give, features: str, prefix: str
) -> None:
    folder = write_folder(tmp_path / "mtx", prefix, features)
    (folder / "GSM9_notes.txt").write_text("x")
    found = give(folder)
    same(found)
    assert found.var["gene_id"].tolist() == IDS


@pytest.mark.parametrize("features", ["peaks.bed", "peaks.bed.gz"])
def test_the_folder_of_cell_ranger_atac_is_read(tmp_path: Path, give: Give, features: str) -> None:
    found = give(write_folder(tmp_path / "filtered_peak_bc_matrix", features=features), modality="atac")
    same(found, PEAKS)
    assert found.uns["cellpredx"]["kind"] == "peaks"


def test_a_folder_is_refused_with_what_is_missing(tmp_path: Path, refuse: Refuse) -> None:
    folder = write_folder(tmp_path / "mtx", "a_")
    (folder / "a_barcodes.tsv.gz").rename(folder / "b_barcodes.tsv.gz")
    what, where, remedy = refuse(folder)
    assert what == "no 10x folder: barcodes.tsv (.gz or not, with one prefix) is missing"
    assert where == "mtx"
    assert remedy.startswith("it has a_features.tsv.gz, a_matrix.mtx.gz, b_barcodes.tsv.gz: ")
    write_folder(folder, "c_")
    write_folder(folder, "d_")
    what, _, remedy = refuse(folder)
    assert what == "the folder has 2 matrices: c_, d_"
    assert remedy == "give each a folder and a row of its own"


@pytest.mark.parametrize("features", ["features.tsv.gz", "features.tsv"])
def test_a_folder_that_was_cut_is_refused(tmp_path: Path, refuse: Refuse, features: str) -> None:
    folder = write_folder(tmp_path / "mtx", features=features)
    path = next(folder.glob("matrix.mtx*"))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.8)])
    assert refuse(folder)[0].startswith(("the matrix cannot be read", "no Matrix Market file"))
    path.write_text("1 2 3\n")
    assert refuse(folder) == ("no Matrix Market file", f"{path.name}, line 1", "give matrix.mtx of Cell Ranger")


def test_a_list_in_a_folder_that_was_cut_between_blocks_is_refused(tmp_path: Path, refuse: Refuse) -> None:
    folder = write_folder(tmp_path / "mtx")
    write_bgzf(folder / "barcodes.tsv.gz", "\n".join(BARCODES).encode())
    data = (folder / "barcodes.tsv.gz").read_bytes()
    (folder / "barcodes.tsv.gz").write_bytes(data[: -len(BGZF_END)])
    what, where, _ = refuse(folder)
    assert what == "the file is truncated: its BGZF end block is missing"
    assert where == "barcodes.tsv.gz"


def test_a_folder_whose_matrix_is_transposed_is_refused(tmp_path: Path, refuse: Refuse) -> None:
    folder = write_folder(tmp_path / "mtx", features="genes.tsv", counts=COUNTS)
    what, where, remedy = refuse(folder)
    assert what == "matrix.mtx has 4 rows and 3 columns for 3 features and 4 barcodes: it is transposed"
    assert where == "mtx, matrix.mtx"
    assert ".T" in remedy
    write_folder(folder, features="genes.tsv")
    (folder / "barcodes.tsv").write_text("x\n" + "\n".join(BARCODES) + "\n")
    what, _, remedy = refuse(folder)
    assert what == "matrix.mtx has 3 rows and 4 columns for 3 features and 5 barcodes"
    assert "without headers" in remedy


def test_several_genomes_are_refused_by_name(tmp_path: Path, refuse: Refuse) -> None:
    path = write_10x(tmp_path / "2.h5", "hg19", version=2)
    write_10x(path, "mm10", version=2)
    mixed = write_10x(tmp_path / "3.h5", genomes=("hg19", "mm10"))
    folder = write_folder(tmp_path / "mtx", features="genes.tsv")
    (folder / "genes.tsv").write_text("hg19_ENSG01\thg19_A\nmm10_ENSMUSG01\tmm10_A\nmm10_ENSMUSG02\tmm10_B\n")
    for given in (path, mixed, folder):
        what, where, remedy = refuse(given)
        assert what == "the file holds several genomes: hg19, mm10"
        assert where == given.name
        assert "one genome" in remedy


@pytest.mark.parametrize(
    ("groups", "hint"),
    [
        (["mod/rna", "mod/atac"], "it is a MuData file: write one modality of atac, rna as .h5ad"),
        (["barcode_idx"], "it is a molecule_info.h5: give filtered_feature_bc_matrix.h5"),
        (["assays", "tables"], "it has assays, tables at its top; give an .h5ad, a 10x .h5 (Cell Ranger 2 or newer)"),
    ],
)
def test_hdf5_of_another_layout_is_refused_with_what_is_read(
    tmp_path: Path, refuse: Refuse, groups: list[str], hint: str
) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as handle:
        for group in groups:
            handle.create_group(group)
    what, where, remedy = refuse(tmp_path / "m.h5")
    assert (what, where) == ("the layout of the HDF5 file is not known", "m.h5")
    assert remedy.startswith(hint)


def test_a_multiome_file_is_rna_too(tmp_path: Path, give: Give, problems: Callable[..., Any]) -> None:
    path = write_10x(tmp_path / "m.h5")
    with h5py.File(path, "a") as handle:
        features = handle["matrix/features"]
        for name, values in (
            ("feature_type", ["Gene Expression", "Peaks", "Peaks"]),
            ("name", ["AAA", "chr1:1-9", "chr1:20-30"]),
        ):
            del features[name]
            features[name] = np.array(values, "S")
    assert problems(modality="rna", matrix=path) == []
    np.testing.assert_array_equal(give(path).X.toarray(), COUNTS[:, :1])
    np.testing.assert_array_equal(give(path, modality="atac").X.toarray(), COUNTS[:, 1:])


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u2", "bool"])
@pytest.mark.parametrize("place", ["X", "layer", "raw"])
def test_counts_are_read_in_every_form(tmp_path: Path, give: Give, kind: str, dtype: str, place: str) -> None:
    values = COUNTS.astype(dtype)
    stored = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}[kind](values)
    data = matrix_of()
    data.X = stored
    if place == "layer":
        data.layers["counts"] = stored
    if place == "raw":
        data.raw = data.copy()
    if place != "X":
        data.X = sp.csr_matrix(np.log1p(COUNTS))
    data.write_h5ad(tmp_path / "m.h5ad")
    if place == "X":
        backed = ad.read_h5ad(tmp_path / "m.h5ad", backed="r+")
        backed.obs["n"] = 1
        backed.write()
        backed.file.close()
    found = give(tmp_path / "m.h5ad")
    np.testing.assert_array_equal(found.X.toarray(), values.astype(np.float32))
    assert found.X.dtype == np.float32


def test_dense_values_are_read_in_blocks(tmp_path: Path, give: Give, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellpredx.matrix.values._BLOCK", 30)
    data = matrix_of()
    data.X = COUNTS
    data.write_h5ad(tmp_path / "m.h5ad")
    same(give(tmp_path / "m.h5ad"))


def test_what_is_not_needed_of_an_h5ad_is_not_read(tmp_path: Path, give: Give) -> None:
    data = matrix_of()
    data.obs["odd"] = "x"
    data.obsm["X_pca"] = np.ones((4, 2))
    data.write_h5ad(tmp_path / "m.h5ad")
    with h5py.File(tmp_path / "m.h5ad", "a") as handle:
        for name in ("uns/bad", "obsm/X_bad", "varm/bad", "obs/odd"):
            if name in handle:
                del handle[name]
            handle[name] = np.void(b"\x80\x04 not for reading")
            handle[name].attrs["encoding-type"] = "something of tomorrow"
            handle[name].attrs["encoding-version"] = "9.9"
    with pytest.raises(Exception, match="something of tomorrow"):
        ad.read_h5ad(tmp_path / "m.h5ad")
    same(give(tmp_path / "m.h5ad"))


def test_an_h5ad_of_2020_is_read_and_an_older_one_refused(
    tmp_path: Path, refuse: Refuse, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    """anndata 0.7 kept categories apart from codes, and texts without a word of what they are."""
    path, by_cell = tmp_path / "m.h5ad", sp.csr_matrix(COUNTS)
    with h5py.File(path, "w") as handle:
        for name in ("X", "obs", "var", "obs/__categories"):
            handle.create_group(name)
        handle["X"].attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": COUNTS.shape})
        for name in ("data", "indices", "indptr"):
            handle["X"][name] = getattr(by_cell, name)
        for table, names in (("obs", BARCODES), ("var", NAMES)):
            handle[table]["_index"] = np.array(names, dtype=h5py.string_dtype())
            own = {"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": "_index"}
            handle[table].attrs.update({**own, "column-order": np.array([], dtype=h5py.string_dtype())})
        handle["obs/donor"] = np.array([0, 1, 1, 0], "i1")
        handle["obs/__categories/donor"] = np.array(["d1", "d2"], dtype=h5py.string_dtype())
        handle["obs/donor"].attrs["categories"] = handle["obs/__categories/donor"].ref
        handle["obs"].attrs["column-order"] = np.array(["donor"], dtype=h5py.string_dtype())
    spec = spec_text({"matrix": path}, modality="rna", batch="donor", labels="donor")
    run_verb("standardise", "--spec", spec, "--outdir", tmp_path / "out")
    found = ad.read_h5ad(tmp_path / "out" / "genes.h5ad")
    same(found)
    assert found.obs["batch"].tolist() == ["d1", "d2", "d2", "d1"]
    run_verb("labels", "--spec", spec, "--out", tmp_path / "labels.csv")
    assert (tmp_path / "labels.csv").read_text().splitlines()[1:3] == [f"{BARCODES[0]},d1", f"{BARCODES[1]},d2"]
    with h5py.File(path, "a") as handle:
        del handle["obs"]
        handle["obs"] = np.array([(b"c1", 1)], dtype=[("index", "S2"), ("n", "i4")])
    what, where, remedy = refuse(path)
    assert what == "the .h5ad was written by anndata before 0.7"
    assert (where, remedy) == ("m.h5ad, obs", "write it again: anndata.read_h5ad(path).write_h5ad(path)")


def test_an_h5ad_without_matching_parts_is_refused(tmp_path: Path, refuse: Refuse) -> None:
    path = h5ad(tmp_path / "m.h5ad")
    with h5py.File(path, "a") as handle:
        handle["X"].attrs["shape"] = (5, 3)
        del handle["X/indptr"]
        handle["X/indptr"] = np.array([0, 2, 3, 4, 7, 7])
    assert refuse(path)[0] == "the matrix cannot be read: 5 x 3 values for 4 cells and 3 features"
    path = h5ad(tmp_path / "m.h5ad")
    with h5py.File(path, "a") as handle:
        handle["X/indices"][0] = 99
    assert refuse(path)[0].startswith("the matrix cannot be read")
    path = h5ad(tmp_path / "m.h5ad")
    with h5py.File(path, "a") as handle:
        del handle["X"]
    assert refuse(path)[0] == "the .h5ad holds no values: neither X, layers['counts'] nor raw"
    os.truncate(h5ad(tmp_path / "m.h5ad"), 3000)
    what, where, remedy = refuse(path)
    assert what.startswith("the matrix cannot be read: ")
    assert "truncated" in what
    assert where == "m.h5ad"
    assert remedy.startswith("give an .h5ad, a 10x .h5 (Cell Ranger 2 or newer), or a 10x folder")


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
@pytest.mark.parametrize(("bad", "what"), [(np.nan, "NaN"), (np.inf, "infinite"), (-1, "negative")])
def test_bad_values_are_told_with_cell_and_feature(
    tmp_path: Path, refuse: Refuse, kind: str, bad: float, what: str
) -> None:
    values = COUNTS.copy()
    values[2, 1] = bad
    data = matrix_of()
    data.layers["counts"] = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}[kind](values)
    data.write_h5ad(tmp_path / "m.h5ad")
    found = refuse(tmp_path / "m.h5ad")
    assert found[0].startswith(f"the matrix has {what} values: 1 of ")
    assert found[1] == f"m.h5ad, layers['counts'], cell {BARCODES[2]!r}, feature 'BBB'"
    assert found[2].startswith("give counts")


def test_a_bad_value_in_a_cell_that_is_not_listed_does_no_harm(tmp_path: Path, give: Give, refuse: Refuse) -> None:
    values = COUNTS.copy()
    values[2, 1] = -1
    path = h5ad(tmp_path / "m.h5ad", values=values)
    listed = tmp_path / "cells.txt"
    listed.write_text("\n".join([BARCODES[3], BARCODES[0]]))
    np.testing.assert_array_equal(give(path, barcodes=listed).X.toarray(), COUNTS[[0, 3]])
    listed.write_text("\n".join(BARCODES[1:]))
    assert refuse(path, barcodes=listed)[1] == f"m.h5ad, X, cell {BARCODES[2]!r}, feature 'BBB'"


def test_values_that_are_no_counts_are_refused_for_atac(tmp_path: Path, refuse: Refuse) -> None:
    what, where, remedy = refuse(h5ad(tmp_path / "m.h5ad", values=np.log1p(COUNTS), names=PEAKS), modality="atac")
    assert what == "the matrix holds no whole-number counts (nor do layers['counts'] and raw)"
    assert where == "m.h5ad, X"
    assert remedy == "give raw counts in X, layers['counts'] or raw"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"values": 0 * COUNTS}, "every value of the matrix is 0"),
        ({"values": COUNTS[:0], "barcodes": []}, "the matrix has 0 cells and 3 features"),
        ({"values": COUNTS[:, :0], "names": []}, "the matrix has 4 cells and 0 features"),
    ],
)
def test_a_matrix_without_anything_in_it_is_refused(
    tmp_path: Path, refuse: Refuse, options: dict[str, Any], what: str
) -> None:
    assert refuse(h5ad(tmp_path / "m.h5ad", **options))[0] == what


@pytest.mark.parametrize("library", ["a", "ab"])
def test_log1p_values_reach_the_model_as_they_are(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None], library: str
) -> None:
    """From the file of a user to what the model reads, by the verbs: log1p is taken once, of counts alone."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(1.0, (4, 30)).astype(np.float32) + np.eye(4, 30, dtype=np.float32)
    names = [f"G{i}" for i in range(30)]
    logs = normalise(sp.csr_matrix(counts), 1e4).toarray()
    h5ad(tmp_path / "ref.h5ad", values=counts, names=names)
    h5ad(tmp_path / "log.h5ad", values=logs, names=names)
    for sample, path in (("ref", tmp_path / "ref.h5ad"), ("log", tmp_path / "log.h5ad")):
        rows = [{"library": name, "matrix": path} for name in (library if sample == "log" else "r")]
        run_verb("standardise", "--spec", spec_text(*rows, modality="rna"), "--outdir", tmp_path / sample)
        data = ad.read_h5ad(tmp_path / sample / "genes.h5ad")
        data.uns["cellpredx"]["sample"] = sample
        data.write_h5ad(tmp_path / sample / "genes.h5ad")
    warnings = read_json(tmp_path / "log" / "sample.json")["warnings"]
    assert warnings == [
        "log.h5ad: X is not counts; it was taken as log1p of normalised counts, and used as it is"
    ] * len(library)
    run_verb(
        "pair", "--transfer", "t", "--group", "g", "--references", tmp_path / "ref" / "genes.h5ad",
        "--queries", tmp_path / "log" / "genes.h5ad", "--outdir", tmp_path / "pair",
    )  # fmt: skip
    hyper = {"scale": 1e4, "binarize": False}
    query = ad.read_h5ad(tmp_path / "pair" / "queries" / "log.h5ad")
    reference = ad.read_h5ad(tmp_path / "pair" / "reference.h5ad")
    order = query.var_names.get_indexer(names)
    found = model_input(query.X, query.uns["cellpredx"], hyper).toarray()[:, order]
    np.testing.assert_array_equal(found, np.vstack([logs] * len(library)))
    found = model_input(reference.X, reference.uns["cellpredx"], hyper).toarray()[:, order]
    np.testing.assert_array_equal(found, logs)


@pytest.mark.parametrize("names", [PEAKS, IDS, ["ACTB", "GAPDH", "B2M"], ["x", "y", "z"]])
def test_a_transposed_matrix_is_refused(
    tmp_path: Path, refuse: Refuse, problems: Callable[..., Any], names: list[str]
) -> None:
    path = tmp_path / "m.h5ad"
    matrix_of(names=names).T.write_h5ad(path)
    what, where, remedy = refuse(path)
    assert what.startswith(f"the matrix is transposed: its cells are named as features, such as {names[0]!r}")
    assert where == "m.h5ad"
    assert remedy.endswith("anndata.read_h5ad(path).T.write_h5ad(path)")
    assert problems(modality="atac", matrix=path) == [(what, where, remedy)]


def test_names_of_other_kinds_are_no_sign_of_a_transposed_matrix() -> None:
    genes, antibodies = pd.Index(["ACTB", "GAPDH", "B2M", "CD3E"]), pd.Index(["HTO1-ACCCACCAGTAAGAC"] * 3)
    cells = {
        "sequence": BARCODES, "prefix": ["s1#AAACCCAAGAAACACA"], "combined": ["AACGTGATAAACATCG+AACGTGAT"],
        "plate": ["cell_1_2", "cell_1_3"], "well": ["P1_A01", "P1_A02"], "number": ["1", "2"],
    }  # fmt: skip
    for barcodes in cells.values():
        for var in (genes, pd.Index(PEAKS), pd.Index(IDS)):
            assert not is_transposed(pd.Index(barcodes), var)
    assert not is_transposed(pd.Index(BARCODES), antibodies)


def test_names_of_genes_that_repeat_are_made_unique_and_counted(tmp_path: Path, give: Give) -> None:
    found = give(write_10x(tmp_path / "m.h5", names=["AAA", "BBB", "AAA"]))
    same(found, ["AAA_ENSG00000000001", "BBB", "AAA_ENSG00000000003"])
    assert found.uns["warnings"] == [
        "m.h5: 2 of 3 genes share their name with another; they were told apart by their ids, as AAA_ENSG00000000003"
    ]


def test_a_gene_without_a_name_keeps_its_id(tmp_path: Path, give: Give) -> None:
    data = matrix_of(names=IDS)
    data.var["gene_name"] = ["AAA", None, ""]
    data.write_h5ad(tmp_path / "m.h5ad")
    assert list(give(tmp_path / "m.h5ad").var_names) == ["AAA", IDS[1], IDS[2]]


def test_a_matrix_of_all_barcodes_is_warned_of(tmp_path: Path, give: Give) -> None:
    values = COUNTS.copy()
    values[1:] = 0
    assert give(h5ad(tmp_path / "m.h5ad", values=values)).uns["warnings"] == [
        "m.h5ad: 3 of 4 cells have no count: is it the matrix of all barcodes, not of cells?"
    ]


def test_barcodes_that_repeat_are_refused_before_anything_runs(
    tmp_path: Path, refuse: Refuse, problems: Callable[..., Any]
) -> None:
    path = h5ad(tmp_path / "m.h5ad", barcodes=[*BARCODES[:3], BARCODES[0]])
    found = refuse(path)
    assert found[0] == f"1 barcodes stand more than once, the first is {BARCODES[0]!r}"
    assert problems(modality="rna", matrix=path) == [found]


def test_cells_that_gene_activity_lacks_are_refused(tmp_path: Path, refuse: Refuse) -> None:
    path = h5ad(tmp_path / "m.h5ad", names=PEAKS)
    activity = h5ad(tmp_path / "a.h5ad", values=COUNTS[1:], barcodes=BARCODES[1:])
    what, where, _ = refuse(path, modality="atac", gene_activity=activity)
    assert what == f"1 cells of the matrix are not in its gene_activity, the first is {BARCODES[0]!r}"
    assert where == "a.h5ad"


SEQUENCES = ["AAACCCAAGAAACACA", "AAACCCAAGAAACCCA", "AAACCCAAGAAACGCA", "TTTTTTTTTTTTTTTT"]


@pytest.mark.parametrize(
    ("form", "seen", "told"),
    [
        ("{}", "{}-1", "with `-1` after them, 3 of 4 would match"),
        ("{}-1", "{}", "without the `-1` after them, 3 of 4 would match"),
        ("{}-1", "{}-2", "with `-2` for the `-1` after them, 3 of 4 would match"),
        ("{}-1", "lib1#{}-1", "with `lib1#` before them, 3 of 4 would match"),
        ("donor_2_{}-1_4", "{}", "without the `donor_2_` before them and without the `-1_4` after them, 3 of 4"),
    ],
)
def test_a_list_that_fits_but_for_an_affix_is_told_so(
    tmp_path: Path, refuse: Refuse, problems: Callable[..., Any], form: str, seen: str, told: str
) -> None:
    listed = tmp_path / "cells.txt"
    listed.write_text("".join(form.format(name) + "\n" for name in SEQUENCES))
    names = [seen.format(name) for name in [*SEQUENCES[:3], "CCCCCCCCCCCCCCCC"]]
    path = h5ad(tmp_path / "m.h5ad", barcodes=names)
    what, where, remedy = refuse(path, barcodes=listed)
    assert what == "none of the 4 barcodes of the list is in the matrix m.h5ad"
    assert where == "cells.txt"
    assert remedy.startswith(f"the list has {form.format(SEQUENCES[0])}, ")
    assert f"; the matrix {names[0]}, {names[1]}, {names[2]}: write the list's barcodes alike: {told}" in remedy
    assert problems(modality="rna", matrix=path, barcodes=listed) == [(what, where, remedy)]


def test_a_list_that_fits_nothing_is_told_so(tmp_path: Path, refuse: Refuse) -> None:
    listed = tmp_path / "cells.txt"
    listed.write_text("GGGGGGGGGGGGGGGG-1\n")
    remedy = refuse(h5ad(tmp_path / "m.h5ad"), barcodes=listed)[2]
    assert remedy.endswith(": give the list of this library")
    assert near_match({"cell_1", "cell_2"}, ["cell-1", "cell-2"]) is None
    assert near_match({"AAACCC-1"}, ["AAACCC-1"]) is None


def test_barcodes_that_are_missing_are_counted() -> None:
    assert missing_text({"a", "b"}, ["b", "a", "c"], "l.txt", "the fragments") is None
    told = missing_text({"a", "b", "c"}, {"b"}, "l.txt", "the fragments")
    assert told == "l.txt: 2 of 3 barcodes are not in the fragments, such as a"


@pytest.mark.parametrize(
    "text",
    [
        "barcode,total,is__cell_barcode\nNO_BARCODE,9,0\nA-1,5,1\nB-1,4,0\nC-1,3,1\n",
        "barcode,total,is_hg19_cell_barcode,is_mm10_cell_barcode\nNO_BARCODE,9,0,0\nA-1,5,1,0\nB-1,4,0,0\nC-1,3,0,1\n",
        "barcode,gex_barcode,is_cell\nA-1,X-1,1\nB-1,Y-1,0\nC-1,Z-1,1\n",
        "total\tbarcode\tis_cell\n1\tA-1\tTrue\n2\tB-1\tFalse\n3\tC-1\tTrue\n",
        '"","barcode"\r\n"1","A-1"\r\n"2","C-1"\r\n',
        "A-1\nC-1",
        "\ufeffBarcodes\nA-1\n\nC-1\n",
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_cells_of_lists_and_of_tables_of_cell_ranger(tmp_path: Path, text: str, zipped: bool) -> None:
    path = tmp_path / "singlecell.csv"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    assert read_barcodes(path) == {"A-1", "C-1"}


def test_a_list_without_cells_is_refused(tmp_path: Path, refuse: Refuse, problems: Callable[..., Any]) -> None:
    path, listed = h5ad(tmp_path / "m.h5ad"), tmp_path / "cells.csv"
    for text, what in (
        ("", "the list of barcodes is empty"),
        ("barcode\n\n", "the list of barcodes is empty"),
        ("barcode,is__cell_barcode\nA-1,0\n", "no row of the table has 1 in 'is__cell_barcode'"),
    ):
        listed.write_text(text)
        found = (what, "cells.csv", "give one barcode a line")
        assert refuse(path, barcodes=listed) == found
        assert problems(modality="rna", matrix=path, barcodes=listed) == [found]
    listed.write_bytes("barcode\nA-1\n".encode("utf-16"))
    assert refuse(path, barcodes=listed)[0].startswith("the list of barcodes is no UTF-8 text")


@pytest.mark.parametrize(
    "text",
    [
        "chr2\t5\t9\nchr1\t7\t20\nchr1\t7\t9\nchr2\t5\t9\n",
        "#chrom\tstart\tend\r\nchr1\t7\t9\r\nchr1\t7\t20\r\n\r\nchr2\t5\t9",
        "chrom\tstart\tend\nchr1\t7\t9\tp\t0\t.\t1\t2\t3\t4\nchr1\t7\t20\nchr2\t5\t9\n",
        'track name="x"\nbrowser position chr1\n# c\nchr1\t7\t20\nchr1\t7\t9\nchr2\t5\t9\n',
    ],
)
def test_regions_in_any_order_overlapping_and_repeated_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.narrowPeak"
    path.write_bytes(text.encode())
    assert read_bed(path).values.tolist() == [["chr1", 7, 9], ["chr1", 7, 20], ["chr2", 5, 9]]


BAD_REGIONS = {
    "chr1 1 9": "columns are separated by spaces",
    "chr1\t5": "fewer than 3 columns",
    "chr1\t9\t9": "start is not before end",
    "chr1\t10\t9": "start is not before end",
    "chr1\t-1\t9": "start and end must be whole numbers from 0 to 2147483646",
    "chr1\tx\t9": "start and end must be whole numbers from 0 to 2147483646",
    "chr1\t1e+05\t200000": "start and end must be whole numbers from 0 to 2147483646",
    "chr1\t\u00b2\t9": "start and end must be whole numbers from 0 to 2147483646",
    "chr1\t1\t99999999999999999999": "start and end must be whole numbers from 0 to 2147483646",
    "chrom\tstart\tend": "start and end must be whole numbers from 0 to 2147483646",
}


@pytest.mark.parametrize("bad", BAD_REGIONS)
def test_a_bad_region_is_refused_with_its_line(tmp_path: Path, problems: Callable[..., Any], bad: str) -> None:
    fragments, path = tmp_path / "f.tsv", tmp_path / "p.bed"
    fragments.write_text("chr1\t1\t5\tA\t1\n")
    path.write_text(f"# peaks\r\nchr1\t1\t2\r\n{bad}\r\n", encoding="utf-8", newline="")
    what, where, remedy = problems(fragments=fragments, peaks=path)[0]
    assert what == f"not a region: {bad.replace(chr(9), ' ')!r}: {BAD_REGIONS[bad]}"
    assert where == "p.bed, line 3"
    assert remedy == "write: chrom, start, end, separated by tabs, with start < end"


def test_a_file_of_regions_without_any_or_that_was_cut_is_refused(tmp_path: Path, problems: Callable[..., Any]) -> None:
    fragments, path = tmp_path / "f.tsv", tmp_path / "p.bed.gz"
    fragments.write_text("chr1\t1\t5\tA\t1\n")
    for text in ("", "# peaks\n", "chrom\tstart\tend\n", "track name=x\n\n"):
        path.write_text(text)
        assert problems(fragments=fragments, peaks=path) == [
            ("the file has no region", "p.bed.gz", "give a BED of peaks")
        ]
    lines = "".join(f"chr1\t{7 * i}\t{7 * i + 9}\n" for i in range(9000)).encode()
    path.write_bytes(gzip.compress(lines)[:-2000])
    ((what, where, remedy),) = problems(fragments=fragments, peaks=path)
    assert what.startswith("the file of regions cannot be read: Compressed file ended")
    assert (where, remedy) == ("p.bed.gz", "copy the file again")
    write_bgzf(path, lines)
    path.write_bytes(path.read_bytes()[: -len(BGZF_END)])
    ((what, where, remedy),) = problems(fragments=fragments, peaks=path)
    assert what == "the file is truncated: its BGZF end block is missing"
    assert (where, remedy) == ("p.bed.gz", "copy the file again")


def test_the_check_of_fragments_imports_nothing_for_matrices(tmp_path: Path, spec_text: Callable[..., str]) -> None:
    for name, text in (("f.tsv", "chr1\t1\t5\tA\t1\n"), ("p.bed", "chr1\t1\t5\n"), ("c.txt", "A\n")):
        (tmp_path / name).write_text(text)
    spec = spec_text({"fragments": tmp_path / "f.tsv", "peaks": tmp_path / "p.bed", "barcodes": tmp_path / "c.txt"})
    code = (
        "import sys; from cellpredx.cli import main; main(sys.argv[1:]); "
        "print({'numpy', 'pandas', 'anndata', 'h5py', 'numba', 'scipy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, "check", "--spec", spec, "--out", str(tmp_path / "check.json")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "set()"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small disk cannot be mounted here: it needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(("verb", "free"), [("standardise", 60), ("standardise", 4), ("count", 60), ("ingest", 60)])
def test_a_disk_that_fills_up_is_one_message_and_leaves_nothing(
    tmp_path: Path,
    tiny_disk: Path,
    spec_text: Callable[..., str],
    run_verb: Callable[..., None],
    verb: str,
    free: int,
) -> None:
    rng = np.random.default_rng(1)
    ingest = ["ingest-fragments", "--min-fragments", "1"]
    if verb == "standardise":
        values = rng.integers(0, 1000, (200, 2000))
        cells, names = [f"c{i}" for i in range(200)], [f"G{i}" for i in range(2000)]
        h5ad(tmp_path / "m.h5ad", values=values, names=names, barcodes=cells)
        spec = spec_text({"matrix": tmp_path / "m.h5ad"}, modality="rna")
        arguments = ["standardise", "--spec", spec, "--outdir", str(tiny_disk)]
    else:
        starts = np.sort(rng.integers(0, 10_000_000, 40_000))
        lines = (f"chr1\t{s}\t{s + 200}\tB{s % 50}\t1\n" for s in starts)
        (tmp_path / "f.tsv").write_text("".join(lines))
        spec = spec_text({"fragments": tmp_path / "f.tsv"})
        arguments = [*ingest, "--spec", spec, "--store", str(tiny_disk / "store"), "--outdir", str(tiny_disk)]
    if verb == "count":
        run_verb(*ingest, "--spec", spec, "--store", tmp_path / "store", "--outdir", tmp_path)
        out = tiny_disk / "windows.h5ad"
        arguments = ["count", "--store", str(tmp_path / "store"), "--kind", "windows", "--out", str(out)]
    (tiny_disk / "other").write_bytes(b"x" * (64 - free) * 1024)
    done = subprocess.run(
        [sys.executable, str(COMMAND), *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("ERROR") == 1, done.stderr
    assert "ERROR: No space left on device\n  where:  " in done.stderr
    assert f"  remedy: make room in {tiny_disk}, or work on another disk\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.rstrip().endswith("work on another disk")
    assert [path.name for path in tiny_disk.iterdir()] == ["other"]


def test_a_users_mistake_inside_a_write_stays_what_it_is(tmp_path: Path) -> None:
    def fail() -> None:
        with together(tmp_path / "out") as part:
            (part / "a.json").write_text("{}")
            raise UserError("mistake")

    with pytest.raises(UserError, match=r"^ERROR: mistake$"):
        fail()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_fragment_file_whose_header_names_many_contigs_is_checked(
    tmp_path: Path, spec_text: Callable[..., str]
) -> None:
    header = "".join(f"# primary_contig=scaffold_{i}\n" for i in range(30_000))
    (tmp_path / "f.tsv").write_text(f"{header}scaffold_7\t5\t90\tAAAC-1\t1\n")
    out = tmp_path / "check.json"
    assert main(["check", "--spec", spec_text({"fragments": tmp_path / "f.tsv"}), "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert (found["problems"], found["chromosomes"]) == ([], ["scaffold_7"])


def test_peaks_that_a_tool_called_gene_expression_are_peaks(
    tmp_path: Path, problems: Callable[..., list[tuple[str, str, str]]]
) -> None:
    assert problems(matrix=write_10x(tmp_path / "peaks.h5", names=PEAKS)) == []
    ((what, _, _),) = problems(matrix=write_10x(tmp_path / "genes.h5"))
    assert what == "modality is atac, but the features are of type Gene Expression"


def test_the_last_tile_of_a_chromosome_may_reach_over_its_end(tmp_path: Path, spec_text: Callable[..., str]) -> None:
    tiles = [f"chr1:{start}-{start + 500}" for start in (248_955_500, 248_956_000, 248_956_500)]
    out, found = tmp_path / "check.json", []
    for last in (2, 3):
        names = [*tiles[:last], *PEAKS[last:]]
        spec = spec_text({"matrix": h5ad(tmp_path / f"{last}.h5ad", names=names)})
        assert main(["check", "--spec", spec, "--genome", "hg38", "--out", str(out)]) == 0
        found.append([problem["where"] for problem in read_json(out)["problems"]])
    assert found == [[], [f"3.h5ad, peak {tiles[2]}"]]


def test_ready_gene_activity_may_call_its_features_gene_expression(
    tmp_path: Path, give: Give, refuse: Refuse, problems: Callable[..., list[tuple[str, str, str]]]
) -> None:
    """Tools that write Cell Ranger's files have no other name for genes; peaks and a multiome's RNA are refused."""
    peaks = h5ad(tmp_path / "peaks.h5ad", names=PEAKS)
    ready = write_10x(tmp_path / "ready.h5")
    placed = matrix_of()
    placed.var = placed.var.assign(chrom="chr1", start=[1, 5, 9], end=[4, 8, 12])
    placed.write_h5ad(tmp_path / "placed.h5ad")
    for path in (ready, tmp_path / "placed.h5ad"):
        assert problems(matrix=peaks, gene_activity=path) == []
        give(peaks, modality="atac", gene_activity=path)
        found = ad.read_h5ad(tmp_path / "given" / "gene_activity.h5ad")
        assert found.uns["cellpredx"]["kind"] == "gene_activity"
        assert found.var["gene_name"].tolist() == NAMES
        np.testing.assert_array_equal(found.X.toarray(), COUNTS)
    multiome = write_10x(tmp_path / "multiome.h5")
    with h5py.File(multiome, "a") as handle:
        handle["matrix/features/feature_type"][2] = b"Peaks"
    for path, held in ((peaks, "regions"), (multiome, "features of type Gene Expression, Peaks")):
        what = f"gene activity is a matrix of genes, and the file has {held}"
        assert problems(matrix=peaks, gene_activity=path)[0][0] == refuse(peaks, "atac", gene_activity=path)[0] == what


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_matrix])
def test_attributes_of_a_fixed_length_are_read(
    tmp_path: Path, problems: Callable[..., list[tuple[str, str, str]]], kind: Any
) -> None:
    path = tmp_path / "m.h5ad"
    ad.AnnData(kind(COUNTS), obs=pd.DataFrame(index=BARCODES), var=pd.DataFrame(index=PEAKS)).write_h5ad(path)
    with h5py.File(path, "a") as handle:
        handle["X"].attrs["encoding-type"] = np.bytes_(handle["X"].attrs["encoding-type"])
    assert problems(matrix=path) == []


def test_libraries_of_two_species_are_no_sample(tmp_path: Path, spec_text: Callable[..., str]) -> None:
    for library, names in (("1", ["ACTB", "GAPDH", "B2M"]), ("2", ["Actb", "Gapdh", "B2m"])):
        data = ad.AnnData(sp.csr_matrix(COUNTS), obs=pd.DataFrame(index=BARCODES), var=pd.DataFrame(index=names))
        data.write_h5ad(tmp_path / f"{library}.h5ad")
    rows = [{"library": library, "matrix": tmp_path / f"{library}.h5ad"} for library in "12"]
    out = tmp_path / "check.json"
    assert main(["check", "--spec", spec_text(*rows, modality="rna"), "--out", str(out)]) == 0
    (problem,) = read_json(out)["problems"]
    assert "are of two species: human and mouse" in problem["what"]
