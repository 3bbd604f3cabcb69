"""Proteins beside genes: read, checked, joined, normalised apart."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from cellpredx.core.bundle_info import write_info
from cellpredx.core.errors import UserError
from cellpredx.core.files import read_json
from cellpredx.fragments.store import StoreWriter
from cellpredx.matrix.sample_matrix import sample_matrix, write_h5ad
from cellpredx.model import presets
from cellpredx.model.fit import Query, Reference, fit, query_neighbours, thin
from cellpredx.model.normalise import model_input, prepare

BARCODES = [f"AAACCCAAGAAAC{c}CA-1" for c in "ACGT"]
GENES = np.array([[1, 0, 3], [0, 2, 0], [5, 0, 0], [1, 1, 1]], np.float32)
TAGS = np.array([[9, 0], [4, 8], [0, 0], [1, 3]], np.float32)


def write(path: Path, values: Any, names: list[str], barcodes: list[str] = BARCODES) -> Path:
    ad.AnnData(sp.csr_matrix(values), pd.DataFrame(index=barcodes), pd.DataFrame(index=names)).write_h5ad(path)
    return path


def write_10x(path: Path) -> Path:
    """Write GENES and TAGS as one feature-barcode matrix of Cell Ranger, the tags between the genes."""
    values = sp.csr_matrix(np.column_stack([GENES[:, :1], TAGS, GENES[:, 1:]]).astype("i4"))
    with h5py.File(path, "w") as handle:
        own = handle.create_group("matrix")
        own["barcodes"] = np.array(BARCODES, "S")
        own["data"], own["indices"], own["indptr"] = values.data, values.indices.astype("i8"), values.indptr
        own["shape"] = np.array(values.shape[::-1], "i4")
        features = own.create_group("features")
        features["id"] = np.array(["ENSG1", "cd3", "cd19", "ENSG2", "ENSG3"], "S")
        features["name"] = np.array(["AAA", "CD3", "CD19", "BBB", "CCC"], "S")
        kinds = ["Gene Expression", "Antibody Capture", "Antibody Capture", "Gene Expression", "Gene Expression"]
        features["feature_type"] = np.array(kinds, "S")
        features["genome"] = np.array(["hg38", "", "", "hg38", "hg38"], "S")
    return path


@pytest.fixture
def standardised(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> Callable[..., tuple[ad.AnnData, ad.AnnData]]:
    """Standardise an RNA sample of rows: its genes and its proteins."""

    def run(*rows: dict[str, Any]) -> tuple[ad.AnnData, ad.AnnData]:
        out = tmp_path / "out"
        run_verb("standardise", "--spec", spec_text(*rows, modality="rna"), "--outdir", out)
        return ad.read_h5ad(out / "genes.h5ad"), ad.read_h5ad(out / "proteins.h5ad")

    return run


def test_proteins_given_stand_in_the_order_of_the_cells(
    tmp_path: Path, standardised: Callable[..., tuple[ad.AnnData, ad.AnnData]]
) -> None:
    matrix = write(tmp_path / "rna.h5ad", GENES, ["A", "B", "C"])
    others = [BARCODES[3], "TTTTTTTTTTTTTTTT-1", BARCODES[0]]
    tags = write(tmp_path / "adt.h5ad", [[1, 2], [3, 4], [5, 6]], ["CD3", "adt:CD19"], others)
    genes, proteins = standardised({"matrix": matrix, "proteins": tags})
    assert list(proteins.var_names) == ["adt:CD3", "adt:CD19"]
    assert list(proteins.obs_names) == list(genes.obs_names) == BARCODES
    assert proteins.X.toarray().tolist() == [[5, 6], [0, 0], [0, 0], [1, 2]]
    assert proteins.uns["cellpredx"]["kind"] == "proteins"


def test_proteins_of_a_10x_matrix_are_found(
    tmp_path: Path, standardised: Callable[..., tuple[ad.AnnData, ad.AnnData]], spec_text: Callable[..., str],
    run_verb: Callable[..., None],
) -> None:  # fmt: skip
    path = write_10x(tmp_path / "both.h5")
    genes, proteins = standardised({"matrix": path})
    np.testing.assert_array_equal(genes.X.toarray(), GENES)
    np.testing.assert_array_equal(proteins.X.toarray(), TAGS)
    assert list(proteins.var_names) == ["adt:CD3", "adt:CD19"]
    for given, expected in (({"matrix": path}, True), ({"matrix": path, "proteins": path}, True)):
        run_verb("check", "--spec", spec_text(given, modality="rna"), "--out", tmp_path / "check.json")
        check = read_json(tmp_path / "check.json")
        assert (check["proteins"], check["problems"]) == (expected, [])


def test_libraries_join_in_the_union_of_their_proteins(
    tmp_path: Path, standardised: Callable[..., tuple[ad.AnnData, ad.AnnData]]
) -> None:
    matrix = write(tmp_path / "rna.h5ad", GENES, ["A", "B", "C"])
    rows = [
        {"library": "a", "matrix": matrix, "proteins": write(tmp_path / "1.h5ad", TAGS, ["CD3", "CD19"])},
        {"library": "b", "matrix": matrix, "proteins": write(tmp_path / "2.h5ad", TAGS, ["CD4", "CD3"])},
        {"library": "c", "matrix": matrix},
    ]
    _, proteins = standardised(*rows)
    assert list(proteins.var_names) == ["adt:CD3", "adt:CD19", "adt:CD4"]
    none = np.zeros((4, 1))
    np.testing.assert_array_equal(proteins.X[:4].toarray(), np.hstack([TAGS, none]))
    np.testing.assert_array_equal(proteins.X[4:8].toarray(), np.hstack([TAGS[:, 1:], none, TAGS[:, :1]]))
    assert proteins.X[8:].nnz == 0
    assert proteins.obs_names[4] == f"b#{BARCODES[0]}"


def test_proteins_of_the_cells_of_fragments(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    cells = [BARCODES[2], BARCODES[1]]
    writer = StoreWriter(tmp_path / "store")
    writer.close("s1", "s1", cells, ["s1"] * 2, np.array([1, 0], np.int32), np.array([5, 5]))
    tags = write(tmp_path / "adt.h5ad", TAGS + 1, ["CD3", "CD19"])
    run_verb(
        "proteins", "--spec", spec_text({"proteins": tags}), "--store", tmp_path / "store", "--out", tmp_path / "p.h5ad"
    )
    found = ad.read_h5ad(tmp_path / "p.h5ad")
    assert list(found.obs_names) == cells
    assert found.X.toarray().tolist() == [[1, 1], [5, 9]]
    tags = write(tmp_path / "other.h5ad", TAGS, ["CD3", "CD19"], [b.removesuffix("-1") for b in BARCODES])
    with pytest.raises(UserError, match="none of the 4 barcodes of the proteins is among the cells of sample s1") as e:
        run_verb("proteins", "--spec", spec_text({"proteins": tags}), "--store", tmp_path / "store")
    assert "with `-1` after them, 2 of 4 would match" in str(e.value.remedy)


def test_hashtags_are_no_proteins(tmp_path: Path, standardised: Callable[..., tuple[ad.AnnData, ad.AnnData]]) -> None:
    matrix = write(tmp_path / "rna.h5ad", GENES, ["A", "B", "C"])
    names = ["HTO_1", "CD3", "TotalSeqB_Hashtag2"]
    _, proteins = standardised({"matrix": matrix, "proteins": write(tmp_path / "adt.h5ad", GENES, names)})
    assert list(proteins.var_names) == ["adt:CD3"]
    np.testing.assert_array_equal(proteins.X.toarray(), GENES[:, 1:2])
    _, none = standardised({"matrix": matrix, "proteins": write(tmp_path / "h.h5ad", TAGS, ["hto1", "Hashtag-2"])})
    assert none.shape == (4, 0)


def test_values_that_are_no_counts_are_refused(
    tmp_path: Path, standardised: Callable[..., tuple[ad.AnnData, ad.AnnData]]
) -> None:
    matrix = write(tmp_path / "rna.h5ad", GENES, ["A", "B", "C"])
    for values, what in ((TAGS - 1, "negative values"), (np.log1p(TAGS), "no whole-number counts")):
        with pytest.raises(UserError, match=what) as caught:
            standardised({"matrix": matrix, "proteins": write(tmp_path / "adt.h5ad", values, ["CD3", "CD19"])})
        assert str(caught.value.where).startswith("adt.h5ad")


def test_a_mistaken_file_of_proteins_is_told_from_its_header(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    bare = [b.removesuffix("-1") for b in BARCODES]
    matrix = write(tmp_path / "rna.h5ad", GENES, ["A", "B", "C"])
    (tmp_path / "none.h5ad").write_text("no HDF5")
    (tmp_path / "f.tsv").write_text("".join(f"chr1\t{i}\t{i + 9}\t{b}\t1\n" for i, b in enumerate(BARCODES)))
    (tmp_path / "cells.txt").write_text("\n".join(BARCODES[:2]) + "\n")
    tags, alike = (write(tmp_path / f"{n}.h5ad", TAGS, ["CD3", "CD19"], b) for n, b in (("x", bare), ("y", BARCODES)))
    strangers = write(tmp_path / "z.h5ad", TAGS[:1], ["CD3", "CD19"], ["GGGGGGGGGGGGGGGG-1"])

    def problems(modality: str, **row: Path) -> list[tuple[str, str]]:
        run_verb("check", "--spec", spec_text(row, modality=modality), "--out", tmp_path / "check.json")
        return [(p["what"], p["remedy"]) for p in read_json(tmp_path / "check.json")["problems"]]

    assert problems("rna", matrix=matrix, proteins=alike) == []
    assert problems("atac", fragments=tmp_path / "f.tsv", proteins=alike) == []
    # The first lines of a fragment file are not all of it.
    assert problems("atac", fragments=tmp_path / "f.tsv", proteins=strangers) == []
    listed = {"fragments": tmp_path / "f.tsv", "barcodes": tmp_path / "cells.txt"}
    for row, holder in (
        ({"matrix": matrix, "proteins": tags}, "the barcodes of the matrix"),
        ({"fragments": tmp_path / "f.tsv", "proteins": tags}, "the fragments' barcodes"),
        ({**listed, "proteins": tags}, "the listed barcodes"),
    ):
        ((what, remedy),) = problems("rna" if "matrix" in row else "atac", **row)
        assert what == f"none of the 4 barcodes of the proteins is among {holder}"
        assert "write its barcodes alike: with `-1` after them" in remedy
    ((what, _),) = problems("atac", **listed, proteins=strangers)
    assert what == "none of the 1 barcodes of the proteins is among the listed barcodes"
    ((what, _),) = problems("rna", matrix=matrix, proteins=tmp_path / "none.h5ad")
    assert "no HDF5 file" in what
    ((what, _),) = problems("rna", matrix=matrix, proteins=matrix)
    assert what == "the file of proteins holds the matrix itself, without features of type Antibody Capture"
    regions = write(tmp_path / "peaks.h5ad", TAGS, ["chr1:1-9", "chr1:20-30"])
    ((what, _),) = problems("rna", matrix=matrix, proteins=regions)
    assert what == "the file of proteins holds regions"


def made(sample: str, values: Any, names: list[str], kind: str, modality: str = "rna", **recipe: Any) -> ad.AnnData:
    cells = [f"{sample}{i}" for i in range(len(values))]
    table = pd.DataFrame({"gene_id": names, "gene_name": names}, index=names) if kind != "proteins" else None
    return sample_matrix(
        sp.csr_matrix(values), cells, [sample] * len(cells), [sample] * len(cells),
        pd.DataFrame(index=names) if table is None else table, sample=sample, modality=modality, kind=kind,
        recipe=recipe,
    )  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path, run_verb: Callable[..., None]) -> Callable[..., tuple[dict[str, Any], Path]]:
    """Pair a reference `r` (or a bundle) with a query `q`, and what there is of proteins: pair.json and the folder."""

    def run(
        tags: dict[str, list[str]], query_modality: str = "atac", modality: str = "rna", bundle: Path | None = None
    ) -> tuple[dict[str, Any], Path]:
        kinds = {"r": ("genes" if modality == "rna" else "gene_activity", modality)}
        kinds["q"] = ("genes" if query_modality == "rna" else "gene_activity", query_modality)
        for sample, (kind, own) in kinds.items():
            write_h5ad(made(sample, GENES, ["A", "B", "C"], kind, own), tmp_path / f"{sample}.h5ad")
            if sample in tags:
                proteins = made(sample, TAGS, tags[sample], "proteins", own)
                write_h5ad(proteins, tmp_path / f"{sample}.proteins.h5ad")
        source = ["--bundle", bundle] if bundle else ["--references", tmp_path / "r.h5ad"]
        given = ["--proteins", *(tmp_path / f"{sample}.proteins.h5ad" for sample in tags)] if tags else []
        run_verb(
            "pair", "--transfer", "t", "--group", "t", *source, "--queries", tmp_path / "q.h5ad", *given,
            "--outdir", tmp_path / "pair",
        )  # fmt: skip
        return json.loads((tmp_path / "pair" / "pair.json").read_text()), tmp_path / "pair"

    return run


def test_shared_proteins_follow_the_genes_whatever_their_case(pair: Callable[..., tuple[dict[str, Any], Path]]) -> None:
    described, folder = pair({"r": ["adt:CD3", "adt:Cd19"], "q": ["adt:CD19", "adt:CD20"]})
    assert (described["proteins"], described["shared_features"]) == (1, 3)
    assert described["warnings"] == [
        f"1 of 4 cells of {sample} have no proteins: zeros stand for them" for sample in "rq"
    ]
    for path, column in (("reference.h5ad", 1), ("queries/q.h5ad", 0)):
        found = ad.read_h5ad(folder / path)
        assert list(found.var_names) == ["A", "B", "C", "adt:Cd19"]
        assert list(found.var["feature_type"]) == ["gene"] * 3 + ["protein"]
        np.testing.assert_array_equal(found.X.toarray(), np.column_stack([GENES, TAGS[:, column]]))
        assert found.uns["cellpredx"]["proteins"] == 1


@pytest.mark.parametrize(
    ("tags", "modality", "why"),
    [
        ({"r": ["adt:CD3", "adt:CD19"]}, "rna", "q has none, and all samples of a transfer need them"),
        ({"q": ["adt:CD3", "adt:CD19"]}, "rna", "r has none, and all samples of a transfer need them"),
        ({"r": ["adt:a", "adt:b"], "q": ["adt:c", "adt:d"]}, "rna", "they share no name: r has adt:a, adt:b; q has"),
        ({"r": ["adt:a", "adt:b"], "q": ["adt:a", "adt:b"]}, "atac", "they go beside the genes of an RNA reference"),
    ],
)  # fmt: skip
def test_proteins_that_cannot_be_used_are_told(
    pair: Callable[..., tuple[dict[str, Any], Path]], tags: dict[str, list[str]], modality: str, why: str
) -> None:
    described, folder = pair(tags, modality=modality)
    assert described["proteins"] == 0
    assert described["warnings"][0].startswith(f"proteins of {', '.join(tags)} were not used: {why}")
    query = ad.read_h5ad(folder / "queries" / "q.h5ad")
    assert query.var.columns.tolist() == ["gene_id", "gene_name"]
    assert "proteins" not in query.uns["cellpredx"]


def test_a_bundle_finds_its_proteins_or_takes_zeros(
    tmp_path: Path, pair: Callable[..., tuple[dict[str, Any], Path]]
) -> None:
    def bundle(proteins: list[str]) -> Path:
        folder = tmp_path / f"model{len(proteins)}"
        folder.mkdir()
        names = ["A", "B", "C"]
        table = pd.DataFrame(
            {"gene_id": [*names, *("" for _ in proteins)], "gene_name": [*names, *("" for _ in proteins)]}
        )
        if proteins:
            table["feature_type"] = ["gene"] * 3 + ["protein"] * len(proteins)
        table.set_index(pd.Index([*names, *proteins], name="name")).to_csv(folder / "features.csv")
        info = {"recipe": {}, "scenario": "unmatched", "reference_modality": "rna", "references": ["r"]}
        for name in ("weights.safetensors", "training_log.csv"):
            (folder / name).touch()
        write_info({**info, "labels": [], "hyperparameters": {}, "calibration": {}}, folder)
        return folder

    knowing = bundle(["adt:CD3", "adt:CD19"])
    described, folder = pair({"q": ["adt:cd19", "adt:cd3"]}, bundle=knowing)
    assert described["warnings"] == ["1 of 4 cells of q have no proteins: zeros stand for them"]
    query = ad.read_h5ad(folder / "queries" / "q.h5ad")
    np.testing.assert_array_equal(query.X.toarray(), np.column_stack([GENES, TAGS[:, ::-1]]))
    described, folder = pair({}, bundle=knowing)
    assert described["warnings"] == ["q lacks 2 of the model's 2 proteins: zeros stand for them"]
    query = ad.read_h5ad(folder / "queries" / "q.h5ad")
    np.testing.assert_array_equal(query.X.toarray(), np.column_stack([GENES, 0 * TAGS]))
    assert list(query.var_names) == ["A", "B", "C", "adt:CD3", "adt:CD19"]
    assert query.uns["cellpredx"]["proteins"] == 2
    described, folder = pair({"q": ["adt:cd19", "adt:cd3"]}, bundle=bundle([]))
    assert described["warnings"] == ["proteins of q were not used: the model knows none"]
    assert ad.read_h5ad(folder / "queries" / "q.h5ad").n_vars == 3


def log_scaled(values: NDArray[np.float32]) -> NDArray[np.float32]:
    totals = np.maximum(values.sum(axis=1, keepdims=True), 1)
    return np.log1p(1e4 * values / totals)


def test_genes_and_proteins_are_normalised_apart() -> None:
    both = sp.csr_matrix(np.hstack([GENES, TAGS]))
    expected = np.hstack([log_scaled(GENES), log_scaled(TAGS)])
    np.testing.assert_allclose(prepare(both, False, 1e4, proteins=2).toarray(), expected, rtol=1e-6)
    assert (prepare(both, False, 1e4, proteins=2).toarray()[2, 3:] == 0).all()
    hyperparameters = {"scale": 1e4, "binarize": False}
    found = model_input(both, {"proteins": np.int64(2)}, hyperparameters)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-6)
    # Genes that are log values already stay as they are, beside counts of proteins.
    logs = model_input(both, {"proteins": 2, "normalised": "log1p"}, hyperparameters)
    np.testing.assert_allclose(logs.toarray(), np.hstack([GENES, log_scaled(TAGS)]), rtol=1e-6)


def test_thinning_and_the_neighbours_of_atac_leave_proteins_alone() -> None:
    rng = np.random.default_rng(1)
    genes, tags = rng.poisson(2.0, (80, 30)), rng.poisson(50.0, (80, 4))
    both = sp.csr_matrix(np.hstack([genes, tags]), dtype=np.float32)
    depth = np.array([20.0])
    found = thin(both, depth, seed=3, proteins=4).toarray()
    np.testing.assert_array_equal(found[:, :30], thin(sp.csr_matrix(genes, dtype=np.float32), depth, 3).toarray())
    np.testing.assert_array_equal(found[:, 30:], tags)
    h = presets.load("paper", "unmatched")
    alone = query_neighbours([Query(both[:, :30])], "atac", h)
    np.testing.assert_array_equal(query_neighbours([Query(both, proteins=4)], "atac", h), alone)


def test_a_fit_learns_from_proteins_and_calibrates_with_them() -> None:
    # The genes say nothing of the types, the proteins all.
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 480)
    genes = rng.poisson(1.0, (480, 40))
    tags = rng.poisson(np.where(np.arange(3) == y[:, None], 60, 4))
    both = sp.csr_matrix(np.hstack([genes, tags]), dtype=np.float32)
    torch.set_num_threads(1)
    h = presets.override(presets.load("paper", "unmatched"), "iterations=150,batch_size=64")

    def accuracy(x: sp.csr_matrix, proteins: int) -> tuple[float, float]:
        reference = Reference(x[:320], y[:320], 3, np.zeros(320, np.int64), proteins=proteins)
        query = Query(x[320:], proteins=proteins)
        fitted = fit(reference, [query], ("rna", "atac"), h, target_error=0.05, threshold=None, seed=1)
        weight, bias = fitted.training.weights.folded()
        scores = prepare(x[320:], False, h.scale, h.binarize, proteins) @ weight.T + bias
        return float((scores.argmax(axis=1) == y[320:]).mean()), fitted.calibration.held_out_accuracy

    assert min(accuracy(both, 3)) > 0.9
    assert max(accuracy(both[:, :40], 0)) < 0.6
