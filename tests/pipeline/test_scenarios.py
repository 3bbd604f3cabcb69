"""The four scenarios and the shapes of sheets, on simulated data, through main.nf on the real engine."""

import csv
import gzip
import re
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from tests import pages
from tests.pipeline.conftest import FAST, PREFLIGHT, Run, run_pipeline, simulate, succeeded


def genome(data: Path) -> list[str]:
    return ["--annotation", str(data / "genes.gtf.gz"), "--chrom_sizes", str(data / "genome.sizes")]


@pytest.fixture(scope="module")
def unmatched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("unmatched")
    data = simulate("demo", folder / "data", cells=200)
    return folder, ["--input", str(data / "sheet.csv"), *genome(data), *FAST]


@pytest.fixture(scope="module")
def unmatched_run(unmatched: tuple[Path, list[str]]) -> Run:
    folder, arguments = unmatched
    return succeeded(run_pipeline(folder, *arguments))


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


def test_the_page_of_the_outputs_names_every_file_and_column(unmatched_run: Run) -> None:
    """Of all runs that the tests above left in this folder."""
    for summary in sorted(unmatched_run.outdir.parent.glob("*/summary.csv")):
        assert pages.unexplained(summary.parent) == [], summary.parent.name
