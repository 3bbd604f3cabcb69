"""The four scenarios and the shapes of sheets, on simulated data, through main.nf on the real engine."""

import csv
import gzip
import re
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from tests import pages
from tests.pipeline.conftest import PREFLIGHT, Run, run_pipeline, simulate

FAST = ("--hyperparameters", "iterations=150")


def genome(data: Path) -> list[str]:
    return ["--annotation", str(data / "genes.gtf.gz"), "--chrom_sizes", str(data / "genome.sizes")]


def succeeded(run: Run) -> Run:
    assert run.code == 0, run.said
    return run


@pytest.fixture(scope="module")
def unmatched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("unmatched")
    data = simulate("demo", folder / "data", cells=200)
    return folder, ["--input", str(data / "sheet.csv"), *genome(data), *FAST]


@pytest.fixture(scope="module")
def unmatched_run(unmatched: tuple[Path, list[str]]) -> Run:
    folder, arguments = unmatched
    return succeeded(run_pipeline(folder, *arguments))


@pytest.fixture(scope="module")
def rna(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rna")
    simulate("rna", folder / "data", cells=240)
    return folder


@pytest.fixture(scope="module")
def rna_run(rna: Path) -> Run:
    return succeeded(run_pipeline(rna, "--input", "data/sheet.csv", *FAST))


def test_unmatched_rna_to_atac_leaves_every_result(unmatched_run: Run) -> None:
    out = unmatched_run.outdir
    for path in (
        "summary.csv",
        "composition.csv",
        "cells_lost.csv",
        "samples/query/fragments/barcodes.csv",
        "samples/query/matrix/gene_activity.h5ad",
        "samples/query/matrix/peaks.h5ad",
        "groups/all/model/bundle.json",
        "groups/all/query/determinants.csv",
        "groups/all/query/domain_gap.json",
        "multiqc/multiqc_report.html",
        "pipeline_info/versions.yml",
        "pipeline_info/preflight.json",
        "pipeline_info/report.html",
    ):
        assert (out / path).is_file(), path
    assert "scenario unmatched (auto" in unmatched_run.said
    predictions = unmatched_run.table("groups/all/query/predictions.csv")
    assert list(predictions[0])[:8] == [
        "barcode",
        "predicted",
        "predicted_or_unknown",
        "confidence",
        "margin",
        "novelty",
        "unknown_paper",
        "warning",
    ]
    types = [name for name in predictions[0] if name.startswith("p_")]
    assert types == ["p_B", "p_Monocyte", "p_T_CD4", "p_T_CD8"]
    for row in predictions:
        p = np.array([float(row[name]) for name in types])
        assert p.sum() == pytest.approx(1, abs=1e-6)
        assert row["predicted"] == types[int(p.argmax())].removeprefix("p_")
        assert float(row["confidence"]) == pytest.approx(p.max(), abs=1e-8)
    evaluation = unmatched_run.json("groups/all/query/evaluation.json")
    assert evaluation["accuracy"] >= 0.8
    assert evaluation["novel_types"] == ["NK"]
    assert evaluation["novelty_auroc"] >= 0.7


def test_annotated_query_opens_in_scanpy(unmatched_run: Run) -> None:
    import scanpy as sc

    data = sc.read_h5ad(unmatched_run.outdir / "groups/all/query/annotated.h5ad")
    predictions = unmatched_run.table("groups/all/query/predictions.csv")
    assert list(data.obs_names) == [row["barcode"] for row in predictions]
    assert list(data.obs["predicted"].astype(str)) == [row["predicted"] for row in predictions]
    assert data.obsm["X_cellpredx"].shape == (len(predictions), 64)
    bundle = unmatched_run.json("groups/all/model/bundle.json")
    about = data.uns["cellpredx"]
    assert about["scenario"] == "unmatched"
    assert about["preset"] == "paper"
    assert list(about["references"]) == bundle["references"]
    assert about["bundle_sha256"] == bundle["files"]["weights.safetensors"]
    assert about["bundle_made_with"] == bundle["made_with"]
    assert (about["threshold"], about["threshold_on"]) == (bundle["unknown"]["below"], bundle["unknown"]["on"])
    assert about["annotated_by"] == bundle["version"] == about["bundle_version"]
    assert "cell_type" not in data.obs
    panels = sc.pl.embedding(data, basis="X_cellpredx", color=["predicted", "confidence"], show=False)
    assert [panel.get_title() for panel in panels] == ["predicted", "confidence"]


def test_report_has_its_sections(unmatched_run: Run) -> None:
    page = (unmatched_run.outdir / "multiqc/multiqc_report.html").read_text()
    for section in (
        "At a glance",
        "Knee plot",
        "Loss",
        "Composition",
        "Domain gap",
        "Confusion",
        "Top features",
        "parameters",
    ):
        assert section in page, section


def test_resume_runs_nothing_again(unmatched: tuple[Path, list[str]], unmatched_run: Run) -> None:
    folder, arguments = unmatched
    again = succeeded(run_pipeline(folder, *arguments, "-resume"))
    ran = {task["name"].split(" ")[0].split(":")[-1] for task in again.tasks() if task["status"] != "CACHED"}
    assert ran == PREFLIGHT


def test_matched_scenario_under_the_strict_parser(tmp_path: Path) -> None:
    data = simulate("matched", tmp_path / "data")
    run = succeeded(run_pipeline(tmp_path, "--input", "data/sheet.csv", *genome(data), *FAST, parser="v2"))
    assert "scenario matched (auto, 100 %" in run.said
    assert run.json("groups/all/query/evaluation.json")["accuracy"] >= 0.6


def test_proteins_of_both_sides_are_used_and_help(tmp_path: Path) -> None:
    data = simulate("citeseq", tmp_path / "data", cells=100)
    known, given = genome(data), [*genome(data), *FAST]
    run = succeeded(run_pipeline(tmp_path, "--input", "data/sheet.csv", *given))
    features = run.table("groups/all/model/features.csv")
    proteins = [row["name"] for row in features if row["feature_type"] == "protein"]
    # The reference writes CD8a, the query CD8A.
    assert len(proteins) == 12
    assert "adt:CD8a" in proteins
    assert list(ad.read_h5ad(run.outdir / "samples/query/matrix/proteins.h5ad").var_names)[2] == "adt:CD8A"
    assert any(row["feature"].startswith("adt:") for row in run.table("groups/all/query/determinants.csv"))

    rows = [row.split(",") for row in (data / "sheet.csv").read_text().splitlines()]
    at = rows[0].index("proteins")

    def without(sheet: str, samples: tuple[str, ...], kept: tuple[str, ...]) -> str:
        lines = [[*row[:at], row[at] if row[0] in (*samples, "sample") else "", *row[at + 1 :]] for row in rows]
        text = "\n".join(",".join(line) for line in lines if line[0] in (*kept, "sample"))
        (data / sheet).write_text(text + "\n")
        return f"data/{sheet}"

    both = ("reference_rna", "query")
    sheet = without("one_side.csv", ("reference_rna",), both)
    genes = succeeded(run_pipeline(tmp_path, "--input", sheet, *given, "-resume", outdir="one_side"))
    assert (
        "proteins of reference_rna were not used: query has none"
        in (genes.outdir / "multiqc/multiqc_report.html").read_text()
    )
    assert "feature_type" not in genes.table("groups/all/model/features.csv")[0]
    path = "groups/all/query/evaluation.json"
    assert run.json(path)["accuracy"] >= max(0.95, genes.json(path)["accuracy"])

    bundle = ["--model", "results/groups/all/model"]
    sheet = without("query_only.csv", both, ("query",))
    alone = succeeded(run_pipeline(tmp_path, "--input", sheet, *known, *bundle, "-resume", outdir="with_model"))
    path = "groups/all/query/predictions.csv"
    assert (alone.outdir / path).read_bytes() == (run.outdir / path).read_bytes()


def test_a_bundle_has_its_query_counted_as_its_features_were(tmp_path: Path) -> None:
    data = simulate("unmatched", tmp_path / "data", cells=60)
    known = genome(data)
    run = succeeded(run_pipeline(tmp_path, "--input", "data/sheet.csv", *known, *FAST, "--gene_model", "archr"))
    assert run.json("groups/all/model/bundle.json")["recipe"]["gene_model"] == "archr"
    rows = (data / "sheet.csv").read_text().splitlines()
    (data / "query_only.csv").write_text("\n".join(row for row in rows if ",reference," not in row) + "\n")
    bundle = ["--model", "results/groups/all/model"]
    alone = succeeded(run_pipeline(tmp_path, "--input", "data/query_only.csv", *known, *bundle, outdir="with_model"))
    assert (alone.outdir / "samples/query/matrix/gene_activity_archr_insertion.h5ad").is_file()
    path = "groups/all/query/predictions.csv"
    assert (alone.outdir / path).read_bytes() == (run.outdir / path).read_bytes()


def test_atac_to_atac_on_peaks_with_lanes_and_libraries(tmp_path: Path) -> None:
    data = simulate("atac", tmp_path / "data")
    run = succeeded(run_pipeline(tmp_path, "--input", "data/sheet.csv", *genome(data), *FAST))
    assert "scenario atac" in run.said
    barcodes = run.table("samples/reference_atac/fragments/barcodes.csv")
    cells = [row["barcode"] for row in barcodes if row["is_cell"] == "True"]
    assert {cell.split("#")[0] for cell in cells} == {"lib1", "lib2"}
    # Lanes of a library share its barcodes: a cell stands once.
    assert len(cells) == len(set(cells))
    assert run.json("groups/all/query/evaluation.json")["accuracy"] >= 0.9
    assert run.json("groups/all/model/bundle.json")["recipe"]["kind"] == "peaks"
    peaks = (data / "peaks.bed").read_text().splitlines()
    assert len(run.table("groups/all/model/features.csv")) == len(peaks)
    table = run.table("groups/all/query/determinants.csv")
    annotation = gzip.decompress((data / "genes.gtf.gz").read_bytes()).decode()
    assert {row["nearest_gene"] for row in table} <= set(re.findall('gene_name "([^"]+)"', annotation))
    assert any(row["distance"] == "0" for row in table)
    for name in {row["cell_type"] for row in table}:
        bed = (run.outdir / f"groups/all/query/determinants_bed/{name}.bed").read_text().splitlines()
        own = {row["feature"]: row["nearest_gene"] for row in table if row["cell_type"] == name}
        lines = [line.split("\t") for line in bed]
        assert {f"{chrom}:{start}-{end}": gene for chrom, start, end, gene, _, _ in lines} == own
        assert max(int(line[4]) for line in lines) == 1000


@pytest.mark.parametrize("scenario", ["unmatched", "atac"])
def test_tuned_is_one_word_and_its_bundle_annotates_alike(tmp_path: Path, scenario: str) -> None:
    data = simulate(scenario, tmp_path / "data", cells=100)
    given = [*genome(data), "--preset", "tuned"]
    run = succeeded(run_pipeline(tmp_path, "--input", "data/sheet.csv", *given, *FAST))
    assert run.json("groups/all/model/bundle.json")["preset"] == "tuned"
    assert run.json("groups/all/query/evaluation.json")["accuracy"] >= 0.8
    rows = (data / "sheet.csv").read_text().splitlines()
    (data / "query_only.csv").write_text("\n".join(row for row in rows if ",reference," not in row) + "\n")
    bundle = ["--model", "results/groups/all/model"]
    alone = succeeded(run_pipeline(tmp_path, "--input", "data/query_only.csv", *given, *bundle, outdir="with_model"))
    path = "groups/all/query/predictions.csv"
    assert (alone.outdir / path).read_bytes() == (run.outdir / path).read_bytes()


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


def test_names_of_matched_cells_change_nothing_but_the_scenario(tmp_path: Path) -> None:
    data = simulate("matched", tmp_path / "data", cells=150)
    arguments = (*genome(data), "--hyperparameters", "iterations=60")
    run = succeeded(run_pipeline(tmp_path, "--input", str(data / "sheet.csv"), *arguments))
    with open(data / "sheet.csv", newline="") as handle:
        reference = next(row for row in csv.DictReader(handle) if row["role"] == "reference")
    matrices = run.outdir / "samples/query/matrix"
    found = {}
    for name in ("kept", "renamed"):
        for kind in ("gene_activity", "peaks"):
            matrix = ad.read_h5ad(matrices / f"{kind}.h5ad")
            if name == "renamed":
                # The order of the names is another one too.
                matrix.obs_names = [f"cell{matrix.n_obs - i:05}" for i in range(matrix.n_obs)]
            matrix.write_h5ad(data / f"{name}_{kind}.h5ad")
        (data / f"{name}.csv").write_text(
            "sample,role,modality,matrix,gene_activity,labels\n"
            f"r,reference,rna,{data / reference['matrix']},,{reference['labels']}\n"
            f"q,query,atac,{name}_peaks.h5ad,{name}_gene_activity.h5ad,\n"
        )
        given = ("--input", f"data/{name}.csv", *arguments, "--scenario", "matched")
        found[name] = succeeded(run_pipeline(tmp_path, *given, outdir=name))
    rows = {name: run.table("groups/all/q/predictions.csv") for name, run in found.items()}
    assert [row.pop("barcode") for row in rows["kept"]] != [row.pop("barcode") for row in rows["renamed"]]
    assert rows["kept"] == rows["renamed"]
    for path in sorted((found["kept"].outdir / "groups/all/model").iterdir()):
        assert path.read_bytes() == (found["renamed"].outdir / "groups/all/model" / path.name).read_bytes()


def test_the_page_of_the_outputs_names_every_file_and_column(unmatched_run: Run, rna_run: Run) -> None:
    """Of all runs that the tests above left in these folders."""
    for run in (unmatched_run, rna_run):
        for summary in sorted(run.outdir.parent.glob("*/summary.csv")):
            assert pages.unexplained(summary.parent) == [], summary.parent.name
