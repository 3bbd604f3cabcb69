"""RNA to RNA on simulated data, and what is compared with that run: bundle, groups, baselines, labels, repetitions."""

import csv
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from tests import pages
from tests.pipeline.conftest import FAST, Run, run_pipeline, simulate, succeeded


@pytest.fixture(scope="module")
def rna(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rna")
    simulate("rna", folder / "data", cells=240)
    return folder


@pytest.fixture(scope="module")
def rna_run(rna: Path) -> Run:
    return succeeded(run_pipeline(rna, "--input", "data/sheet.csv", *FAST))


def test_rna_to_rna(rna_run: Run) -> None:
    assert "scenario rna" in rna_run.said
    assert rna_run.json("groups/all/query/evaluation.json")["accuracy"] >= 0.85


def test_a_bundle_annotates_a_query_only_sheet_alike(rna: Path, rna_run: Run) -> None:
    (rna / "data" / "query_only.csv").write_text("sample,role,modality,matrix\nquery,query,rna,query.h5ad\n")
    run = succeeded(
        run_pipeline(rna, "--input", "data/query_only.csv", "--model", "results/groups/all/model", outdir="with_model")
    )
    assert "TRAIN" not in " ".join(task["name"] for task in run.tasks())
    path = "groups/all/query/predictions.csv"
    assert (run.outdir / path).read_bytes() == (rna_run.outdir / path).read_bytes()


def test_determinant_features_are_tested_by_models_trained_again(rna: Path, rna_run: Run) -> None:
    plain = rna_run.table("groups/all/query/determinants.csv")
    assert {row["stability"] + row["q"] + row["is_marker"] for row in plain} == {""}
    best = [row["feature"] for row in plain if row["cell_type"] == "B"]
    rows = [f"B,{gene}" for gene in (best[0], best[1].lower(), "NOWHERE")]
    (rna / "data" / "markers.csv").write_text("\n".join(["cell_type,gene", *rows, "Platelet,PF4"]) + "\n")
    again = ("--explain_seeds", "2", "--null_permutations", "2", "--markers", "data/markers.csv")
    run = succeeded(run_pipeline(rna, "--input", "data/sheet.csv", *FAST, *again, outdir="tested"))
    names = sorted(task["name"] for task in run.tasks() if "RETRAIN" in task["name"])
    assert [name.split("(")[1] for name in names] == ["all: seed_2)", "all: shuffled_2)", "all: shuffled_3)"]
    assert [path.name for path in sorted((run.outdir / "groups/all/model").iterdir())] == [
        path.name for path in sorted((rna_run.outdir / "groups/all/model").iterdir())
    ]
    table = run.table("groups/all/query/determinants.csv")
    assert [{**row, **dict.fromkeys(("stability", "q", "is_marker"), "")} for row in table] == plain
    assert {row["stability"] for row in table} == {"0.5", "1"}
    assert all(0 < float(row["q"]) <= 1 for row in table)
    assert [row["feature"] for row in table if row["is_marker"] == "True"] == best[:2]
    told = run.json("groups/all/query/explain.json")
    assert (told["seeds"], told["permutations"]) == (2, 2)
    rates = told["types"]["B"]["hit_rate"]
    assert {key: rates["markers"][key] for key in ("hits", "of", "not_in_model")} == {
        "hits": 2,
        "of": 2,
        "not_in_model": 1,
    }
    assert rates["reference"]["rate"] > 0.2
    assert told["types"]["B"]["significant"] == sum(float(row["q"]) < 0.05 for row in table if row["cell_type"] == "B")
    assert told["markers_of_other_types"] == ["Platelet"]
    (line,) = run.table("summary.csv")
    assert (float(line["determinant_stability"]) > 0.4, line["hit_rate_markers"]) == (True, "1")

    (rna / "data" / "query_only.csv").write_text("sample,role,modality,matrix\nquery,query,rna,query.h5ad\n")
    given = ("--input", "data/query_only.csv", "--model", "tested/groups/all/model", *again)
    run = succeeded(run_pipeline(rna, *given, outdir="tested_with_model"))
    assert "with --model nothing is trained again" in run.said
    alone = run.table("groups/all/query/determinants.csv")
    assert [{**row, "is_marker": ""} for row in alone] == plain
    assert run.json("groups/all/query/explain.json")["types"]["B"]["hit_rate"]["reference"] is None


def test_plain_classifiers_beside_the_model_from_sheet_to_report(rna: Path, rna_run: Run) -> None:
    methods = "logistic_regression,nearest_neighbours" + (",celltypist" if shutil.which("celltypist") else "")
    # And by other names: those of references and queries are changed alike.
    (rna / "data" / "map.csv").write_text("from,to\nNK,NK cell\nT_CD4,T\nT_CD8,T\nb,B cell\nnk,NK cell\n")
    names = {"NK": "NK cell", "T_CD4": "T", "T_CD8": "T"}
    arguments = ("--input", "data/sheet.csv", "--baselines", methods, "--label_map", "data/map.csv")
    run = succeeded(run_pipeline(rna, *arguments, *FAST, outdir="compared"))
    assert "--label_map: 'b' is a label of no sample (near: 'B')" in run.said
    assert "--label_map: 'nk' is a label of no sample (near: 'NK')" in run.said
    assert run.said.count("is a label of no sample") == 2
    assert sum("BASELINES" in task["name"] for task in run.tasks()) == 1
    table = {row["barcode"]: row for row in run.table("groups/all/query/baselines.csv")}
    predicted = {row["barcode"]: row["predicted"] for row in run.table("groups/all/query/predictions.csv")}
    assert table.keys() == predicted.keys()
    query = ad.read_h5ad(rna / "data" / "query.h5ad").obs["author_label"].astype(str)
    query = query.replace(names)
    evaluation = run.json("groups/all/query/evaluation.json")
    assert evaluation["label_names"]["matched"] == sorted(set(query))
    found = evaluation["baselines"]
    assert list(found) == methods.split(",")
    for method, values in found.items():
        right = [table[barcode][method] == label for barcode, label in query.items()]
        assert values["accuracy"] == pytest.approx(np.mean(right), abs=1e-12)
        assert values["accuracy"] >= 0.8
    page = (run.outdir / "multiqc/multiqc_report.html").read_text()
    assert "Beside plain classifiers" in page
    assert "Beside plain classifiers" not in (rna_run.outdir / "multiqc/multiqc_report.html").read_text()


def test_maps_and_figures_of_a_query_are_published(rna: Path, rna_run: Run) -> None:
    without = rna_run.json("groups/all/query/figures/figures.json")["figures"]
    assert not any(figure["part"] == "embedding" for figure in without)
    run = succeeded(run_pipeline(rna, "--input", "data/sheet.csv", *FAST, "--umap_cells", "100", outdir="mapped"))
    rows = run.table("groups/all/query/embedding.csv")
    query = [row for row in rows if row["side"] == "query"]
    assert 100 <= len(query) < len(run.table("groups/all/query/predictions.csv"))
    assert all(row[name] for row in query for name in ("barcode", "confidence", "own_1", "own_2", "model_1", "model_2"))
    # The bundle keeps the labels of the reference cells that it holds.
    labels = set(ad.read_h5ad(rna / "data" / "reference_rna.h5ad").obs["cell_type"].astype(str))
    assert {row["cell_type"] for row in rows if row["side"] == "reference"} == labels
    found = run.json("groups/all/query/figures/figures.json")["figures"]
    names = [figure["name"] for figure in found]
    assert names[:5] == ["umap_own", "umap_model", "composition", "dot_plot", "violins"]
    assert {"river", "confusion"} <= set(names)
    for name in names:
        for kind in ("svg", "png", "csv", "page.png"):
            assert (run.outdir / "groups/all/query/figures" / f"{name}.{kind}").is_file()


@pytest.fixture
def split(rna: Path) -> tuple[Path, str, str]:
    """Lists of barcodes that make two references and three queries of the two simulated samples."""
    data = rna / "data"
    names = {sample: list(ad.read_h5ad(data / f"{sample}.h5ad").obs_names) for sample in ("reference_rna", "query")}
    for i in range(2):
        (data / f"r{i}.txt").write_text("\n".join(names["reference_rna"][i::2]) + "\n")
    for i in range(3):
        (data / f"q{i}.txt").write_text("\n".join(names["query"][i::3]) + "\n")
    return data, "reference_rna.h5ad", "query.h5ad"


def test_groups_with_several_references_and_queries_and_both_directions(
    rna: Path, split: tuple[Path, str, str]
) -> None:
    data, first, second = split
    rows = [
        *(f"r{i},reference,rna,{first},r{i}.txt,cell_type,many" for i in range(2)),
        *(f"q{i},query,rna,{second},q{i}.txt,author_label,many" for i in range(3)),
        f"r0,query,rna,{first},r0.txt,cell_type,back",
        f"q0,reference,rna,{second},q0.txt,author_label,back",
    ]
    sheet = data / "groups.csv"
    sheet.write_text("\n".join(["sample,role,modality,matrix,barcodes,labels,group", *rows]) + "\n")
    arguments = ("--input", "data/groups.csv", "--hyperparameters", "iterations=60")
    run = succeeded(run_pipeline(rna, *arguments, outdir="groups"))
    found = {(row["group"], row["query"]) for row in run.table("summary.csv")}
    assert found == {("many", "q0"), ("many", "q1"), ("many", "q2"), ("back", "r0")}
    assert run.json("groups/many/model/bundle.json")["references"] == ["r0", "r1"]
    assert run.json("groups/back/model/bundle.json")["references"] == ["q0"]
    # A sample in both roles is read once.
    assert sum("STANDARDISE (r0)" in task["name"] for task in run.tasks()) == 1
    assert all(float(row["accuracy"]) > 0.6 for row in run.table("summary.csv"))

    apart = succeeded(run_pipeline(rna, *arguments, "--train_queries", "apart", "-resume", outdir="apart"))
    assert {path.parent.name for path in (apart.outdir / "groups/many").glob("*/model")} == {"q0", "q1", "q2"}


def test_labels_of_a_query_change_nothing_but_its_evaluation(rna: Path, rna_run: Run) -> None:
    data = rna / "data"
    query = ad.read_h5ad(data / "query.h5ad")
    labels = query.obs["author_label"].astype(str).to_numpy()
    permuted, deleted, corrupt = (query.copy() for _ in range(3))
    permuted.obs["author_label"] = np.random.default_rng(0).permutation(labels)
    del deleted.obs["author_label"]
    # Labels wherever an .h5ad has room for them.
    corrupt.obs["author_label"] = "=1+1"
    corrupt.obs["cell_type"] = np.roll(labels, 7)
    corrupt.obsm["X_truth"] = np.unique(labels, return_inverse=True)[1][:, None].astype(float)
    corrupt.uns["labels"] = labels
    corrupt.layers["truth"] = sp.csr_matrix(corrupt.X.multiply(1 + corrupt.obsm["X_truth"]))
    results = ["query/predictions.csv", "query/domain_gap.json"]
    results += [f"model/{path.name}" for path in (rna_run.outdir / "groups/all/model").iterdir()]
    for name, changed in (("permuted", permuted), ("deleted", deleted), ("corrupt", corrupt)):
        changed.write_h5ad(data / f"{name}.h5ad")
        column = "" if name == "deleted" else "author_label"
        with open(data / f"{name}.csv", "w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["sample", "role", "modality", "matrix", "labels"])
            writer.writerow(["reference_rna", "reference", "rna", "reference_rna.h5ad", "cell_type"])
            writer.writerow(["query", "query", "rna", f"{name}.h5ad", column])
        run = succeeded(run_pipeline(rna, "--input", f"data/{name}.csv", *FAST, outdir=name))
        for path in results:
            given = [(outdir / "groups/all" / path).read_bytes() for outdir in (run.outdir, rna_run.outdir)]
            assert given[0] == given[1], (name, path)
        evaluated = run.outdir / "groups/all/query/evaluation.json"
        assert evaluated.is_file() == bool(column)
    accuracy = Run(0, "", rna / "permuted").json("groups/all/query/evaluation.json")["accuracy"]
    assert accuracy < 0.5


def test_the_page_of_the_outputs_names_every_file_and_column(rna_run: Run) -> None:
    """Of all runs that the tests above left in this folder."""
    for summary in sorted(rna_run.outdir.parent.glob("*/summary.csv")):
        assert pages.unexplained(summary.parent) == [], summary.parent.name
