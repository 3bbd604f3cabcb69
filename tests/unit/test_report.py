"""The report: its tables, MultiQC's page made from them, and that page in a browser."""

import argparse
import base64
import gzip
import html
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from cellpredx.report import commands, figures
from cellpredx.report.content import PARTS, html_table
from cellpredx.report.run import Run
from cellpredx.report.status import judge, level
from tests.browser import opened

Json = dict[str, Any]
# Plots with an axis that says nothing of itself; bars name their samples along one.
UNLABELLED = """[...document.querySelectorAll('.js-plotly-plot')].filter(plot => {
  const bars = plot.data.some(trace => trace.type === 'bar'), layout = plot.layout;
  return !(bars || layout.yaxis.title?.text) || !layout.xaxis.title?.text;
}).map(plot => plot.id)"""
STICKING_OUT = """[...document.querySelectorAll('.mqc-section *')].filter(e => {
  const box = e.getBoundingClientRect();
  if (!box.width || box.right <= innerWidth + 1) return false;
  for (let p = e; p; p = p.parentElement) if (/auto|scroll/.test(getComputedStyle(p).overflowX)) return false;
  return true;
}).map(e => e.outerHTML.slice(0, 120))"""
# Texts with a contrast under 4.5 to what is behind them.
FAINT = """(() => {
  const parse = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const over = (top, under) => { const a = top[3] ?? 1; return [0, 1, 2].map(i => a * top[i] + (1 - a) * under[i]); };
  const ground = e => e ? over(parse(getComputedStyle(e).backgroundColor), ground(e.parentElement)) : [255, 255, 255];
  const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  return [...document.querySelectorAll('.mqc-section *')].filter(e => {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.offsetParent || e.closest('svg, button, .created-with-multiqc, .mqc-table-expand')) return false;
    const behind = ground(e), [a, b] = [light(over(parse(getComputedStyle(e).color), behind)), light(behind)];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5;
  }).map(e => e.outerHTML.slice(0, 120));
})()"""
MODULE = Path(__file__).parents[2] / "modules" / "local" / "multiqc" / "main.nf"
FITS = "cell => cell.scrollHeight <= cell.offsetHeight + 1"
CONFIG = Path(__file__).parents[2] / "assets" / "multiqc_config.yml"
TYPES = ("B cell", "CD4 T cell", "Monocyte")
FORMULA = '=1+1,"x"'
HOSTILE = "<b>x</b> & \"y\" <script>document.title='taken'</script>"


def fragments_sample(name: str) -> Json:
    """Return a sample.json of a fragment file."""
    ranks = [round(10 ** (i / 40)) for i in range(180)]
    knee = [[rank, max(1, round(20000 / (1 + (rank / 1500) ** 4)) + 30000 // rank)] for rank in dict.fromkeys(ranks)]
    sizes = [
        round(9000 * math.exp(-(((s - 60) / 35) ** 2)) + 2500 * math.exp(-(((s - 200) / 40) ** 2))) for s in range(1001)
    ]
    return {
        **{"sample": name, "modality": "atac", "kind": "fragments", "libraries": [name], "cells": 1450},
        **{"barcodes": 28000, "features": None, "median_counts": 8120.0, "median_features": None, "warnings": []},
        "fragments": {
            **{"total": 21345678, "in_cells": 17123456, "duplicate_fraction": 0.31, "mitochondrial_fraction": 0.012},
            **{"tss_enrichment": 12.3, "nucleosome_signal": 0.81, "blacklist_fraction": 0.004, "doublets": 17},
            "thresholds": {"min_fragments": 1000, "min_tss": 4.0},
            "knee": knee,
            "sizes": sizes,
            "tss_profile": [1 + 11 * math.exp(-((x / 150) ** 2)) for x in range(-2000, 2001, 10)],
        },
    }


def counted(sample: str, kind: str) -> Json:
    """Return a counted.json."""
    return {
        **{"sample": sample, "name": kind, "kind": kind, "counting": "fragment", "features": 98765},
        **{"median_counts": 4321.0, "median_features": 2109.0, "frip": 0.437 if kind == "peaks" else None},
    }


def matrix_sample(name: str) -> Json:
    """Return a sample.json of a labelled RNA reference."""
    return {
        **{"sample": name, "modality": "rna", "kind": "genes", "libraries": [name], "cells": 4210, "barcodes": 4210},
        **{"features": 23456, "median_counts": 3120.0, "median_features": 1402.0, "warnings": [], "fragments": None},
    }


def pair(transfer: str, queries: list[str]) -> Json:
    """Return a pair.json."""
    return {
        **{"transfer": transfer, "group": transfer, "scenario": "unmatched", "chosen": "auto", "barcode_overlap": 0.0},
        **{"reference_modality": "rna", "query_modality": "atac", "references": ["reference"], "queries": queries},
        **{"features": "genes", "shared_features": 16234, "reference_features": 23456, "query_features": 18456},
        **{"proteins": 0, "joined_by": "gene_name", "peak_source": "called", "warnings": []},
    }


def training(transfer: str, types: tuple[str, ...] = TYPES) -> Json:
    """Return a training.json."""
    steps = list(range(0, 1000, 10))
    terms = ("cross_entropy", "projection", "contrastive", "alignment", "sparse_centre")
    losses = {term: [(i + 1) * math.exp(-s / 200) + 0.1 for s in steps] for i, term in enumerate(terms)}
    return {
        **{"transfer": transfer, "group": transfer, "preset": "paper", "hyperparameters": {"lr": 0.001}},
        **{"labels": {name: 400 for name in types}, "iterations": 1000, "stopped": "early", "device": "cpu"},
        **{"seconds": 62.3, "temperature": 1.3, "threshold": 0.81, "target_error": 0.05, "held_out_cells": 150},
        **{"held_out_accuracy": 0.97, "held_out_coverage": 0.9, "held_out_by_batch": False, "warnings": []},
        "threshold_on": "confidence",
        "losses": {"iteration": steps, "total": [sum(v) for v in zip(*losses.values(), strict=True)], **losses},
    }


def beside(accuracy: float, p: float) -> Json:
    """Return what an evaluation.json says of a plain classifier."""
    return {
        **{"accuracy": accuracy, "macro_f1": 0.9, "model_alone_right": 21, "baseline_alone_right": 57, "p": p},
        "per_type": {t: {"precision": 1.0, "recall": 0.8, "f1": 0.889, "cells": 439} for t in TYPES},
    }


def baselines(transfer: str) -> Json:
    """Return a baselines.json of a run without CellTypist."""
    return {
        **{"transfer": transfer, "group": transfer, "reference_cells": 1200, "features": 16234},
        "methods": {"logistic_regression": {"seconds": 3.1}, "nearest_neighbours": {"seconds": 1.2}},
        "left_out": {"celltypist": "CellTypist is not on PATH: `make celltypist-env`"},
    }


def evaluation(group: str, query: str, types: tuple[str, ...] = TYPES) -> Json:
    """Return an evaluation.json with one novel type."""
    truth, predicted = [*types, "NK cell"], [*types, "Unknown"]
    counts = [[400 if t == p else 13 for p in predicted] for t in types] + [[10] * len(types) + [70]]
    return {
        **{"group": group, "query": query, "truth_cells": 1460, "evaluated_cells": 1450, "lost_cells": 10},
        **{"shared_type_cells": 1350, "accuracy": 0.9123, "accuracy_all_truth": 0.9051, "macro_f1": 0.8912},
        **{"coverage": 0.9, "selective_accuracy": 0.96, "macro_f1_unknown": 0.83, "novel_types": ["NK cell"]},
        **{"novelty_auroc": 0.871, "novelty_average_precision": 0.42, "novelty_base_rate": 0.069, "oscr": None},
        **{"ece": 0.0412, "brier": 0.11, "nll": 0.41, "unmatched_labels": []},
        "per_type": {t: {"precision": 1.0, "recall": 0.9, "f1": 0.947, "cells": 439} for t in types},
        "confusion": {"truth": truth, "predicted": predicted, "counts": counts},
    }


def result(group: str, query: str, types: tuple[str, ...] = TYPES, labelled: bool = True) -> Json:
    """Return a result.json."""
    counts = [0] * 6 + [2, 3, 5, 8, 12, 15, 20, 30, 40, 60, 100, 180, 325, 650]
    markers = [f"GENE{i}" for i in range(1, 9)]
    features = [{"feature": g, "mean_attribution": 0.02 / (i + 1), "frequency": 0.9} for i, g in enumerate(markers)]
    return {
        **{"group": group, "query": query, "transfer": group, "cells": 1450, "cells_lost": 10, "unknown_cells": 145},
        **{"coverage": 0.9, "unknown_paper_cells": 300, "mean_confidence": 0.883, "types": list(types)},
        "composition": {**{name: 1305 // len(types) for name in types}, "Unknown": 145},
        "confidence_histogram": {"edges": [i / 20 for i in range(21)], "counts": counts},
        "domain_gap": {
            **{"auc": 0.93, "level": "pass", "reason": "", "threshold": 0.81, "threshold_on": "confidence"},
            **{"mean_confidence": 0.883, "held_out_confidence": 0.94},
        },
        "determinants": {name: features for name in types},
        "evaluation": evaluation(group, query, types) if labelled else None,
        "warnings": [],
    }


PARAMETERS = {
    **{"version": "0.1.0", "nextflow": "25.04.4", "engine": "docker", "profile": "standard"},
    **{"preset": "paper", "min_tss": 4, "label_map": None},
}


def run_inputs(queries: int = 1, types: tuple[str, ...] = TYPES) -> dict[str, list[Json]]:
    """Return every stage's files of a run of one group."""
    names = [f"query_{i}" for i in range(1, queries + 1)]
    return {
        "samples": [matrix_sample("reference"), *(fragments_sample(name) for name in names)],
        "counted": [counted(name, kind) for name in names for kind in ("peaks", "gene_activity")],
        "pairs": [pair("pbmc", names)],
        "training": [training("pbmc", types)],
        "results": [result("pbmc", name, types) for name in names],
    }


FIGURES = {"umap_own": "embedding", "umap_model": "embedding", "dot_plot": "determinants"}


def explained(types: tuple[str, ...], stability: float = 0.8, significant: int = 31) -> Json:
    """Return an explain.json of three seeds and twenty shuffles."""
    one = {
        **{"cells": 435, "stability": stability, "significant": significant, "residual": None},
        "decision_share": {"10": 0.41, "50": 0.78, "100": 0.91},
        "hit_rate": {"markers": {"hits": 8, "of": 10, "rate": 0.8, "p": 1e-6}, "reference": None},
    }
    return {"types": {name: one for name in types}, "seeds": 3, "permutations": 20}


def reliability() -> list[Json]:
    """Return the bins of a confidence that promises a little too much."""
    means = [0.3 + 0.045 * i for i in range(15)]
    return [
        {"confidence": m, "accuracy": m**1.2, "cells": 90, "low": m**1.2 - 0.05, "high": m**1.2 + 0.05} for m in means
    ]


def complete(values: Json, types: tuple[str, ...]) -> Json:
    """Return a result.json with everything that a run can know."""
    features = [
        {**one, "stability": 1.0, "q": 0.01, "is_marker": True, "nearest_gene": "MS4A1", "distance": 1200}
        for one in values["determinants"][types[0]]
    ]
    values |= {
        **{"explain": explained(types), "threshold": 0.81, "cells_without_counts": 3},
        "margin_histogram": values["confidence_histogram"],
        "determinants": {name: features for name in types},
    }
    if values["evaluation"]:
        strange = {
            "NK cell": {"cells": 100, "auroc": 0.87, "average_precision": 0.42, "base_rate": 0.07, "accepted": 0.3}
        }
        values["evaluation"] |= {
            **{"intervals": {"accuracy": [0.897, 0.927], "macro_f1": [0.87, 0.91]}, "reliability": reliability()},
            **{"novelty": strange, "confusion_forced": values["evaluation"]["confusion"]},
            **{"baselines": {name: beside(0.88, 0.3) for name in ("logistic_regression", "nearest_neighbours")}},
            "unmatched_labels": ["NK cell"],
            "label_names": {"matched": list(types), "only_in_query": ["NK cell"], "only_in_reference": ["pDC"]},
        }
    return values


def draw(folder: Path) -> None:
    """Draw images as FIGURES does: small, one a kind."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    import numpy as np

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in FIGURES:
        figure, axes = plt.subplots(figsize=(7, 4), dpi=60)
        axes.scatter(rng.normal(size=300), rng.normal(size=300), s=4, c=rng.integers(8, size=300), cmap="tab10")
        axes.set(xlabel="dimension 1", ylabel="dimension 2")
        figure.savefig(folder / f"{name}.png", pil_kwargs={"optimize": True})
        plt.close(figure)


def figures_of(query: str, folder: Path, images: Path) -> Path:
    """Return the folder that FIGURES leaves for a query."""
    folder.mkdir()
    listed = []
    for name, part in FIGURES.items():
        (folder / f"{name}.png").hardlink_to(images / f"{name}.png")
        named = {"name": name, "part": part, "title": f"Figure {name}", "description": f"What {name} shows."}
        alt = f'{name} of "{query}" <cells>'
        listed.append({**named, "alt": alt, "png": f"{name}.png", "width": 420, "height": 240})
    content = {"transfer": "pbmc", "group": "pbmc", "query": query, "figures": listed}
    (folder / "figures.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def full_inputs(folder: Path, queries: int = 1, types: tuple[str, ...] = TYPES) -> dict[str, list[Any]]:
    """Return every stage's files of a run with everything that a run can know; a few of many queries go badly."""
    inputs: dict[str, list[Any]] = run_inputs(queries, types)
    inputs["baselines"] = [baselines("pbmc")]
    for i, values in enumerate(inputs["results"]):
        complete(values, types)
        values["domain_gap"] |= {"auc": 0.6 + 0.02 * (i % 15), "mean_confidence": 0.9 - 0.01 * (i % 12)}
        values["evaluation"]["accuracy"] -= 0.01 * (i % 7)
        shifted = values["confidence_histogram"]["counts"]
        values["confidence_histogram"]["counts"] = shifted[i % 5 :] + shifted[: i % 5]
        if sizes := inputs["samples"][i + 1]["fragments"]["sizes"]:
            inputs["samples"][i + 1]["fragments"]["sizes"] = [0] * (i % 20) + sizes[: 1001 - i % 20]
        if i % 10 == 3:
            reason = "after alignment reference and query can still be told apart (AUC 0.98)"
            values["domain_gap"] |= {"auc": 0.98, "level": "warn", "reason": reason}
        if i % 20 == 7:
            values |= {"coverage": 0.08, "unknown_cells": 1334}
    draw(folder / "images")
    names = [f"query_{i}" for i in range(1, queries + 1)]
    inputs["figures"] = [figures_of(name, folder / f"figures_{name}", folder / "images") for name in names]
    return inputs


def report(folder: Path, inputs: dict[str, list[Any]], parameters: Json | None = None) -> tuple[Path, pd.DataFrame]:
    """Run the verb on `inputs`; return the folder for MultiQC and the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    top = argparse.ArgumentParser()
    commands.register(top.add_subparsers())
    argv: list[str] = ["report", "--outdir", str(folder / "multiqc_input"), "--tables", str(folder)]
    for option, values in inputs.items():
        argv.append(f"--{option}")
        if option == "figures":
            argv += [str(value) for value in values]
            continue
        for i, value in enumerate(values):
            path = folder / f"{option}_{i}.json"
            path.write_text(json.dumps(value), encoding="utf-8")
            argv.append(str(path))
    (folder / "parameters.json").write_text(json.dumps(parameters or PARAMETERS), encoding="utf-8")
    args = top.parse_args([*argv, "--parameters", str(folder / "parameters.json")])
    args.run(args)
    return folder / "multiqc_input", pd.read_csv(folder / "summary.csv")


def multiqc(folder: Path) -> str:
    """Make the page from `folder`/multiqc_input with the pipeline's command; return its HTML."""
    command = [str(Path(sys.executable).with_name("multiqc")), "--config", str(CONFIG)]
    command += ["--no-version-check", "--no-ai", "--no-megaqc-upload", "--strict", "--force"]
    command += ["--filename", "multiqc_report.html", "--outdir", ".", "multiqc_input"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stderr, done.stderr
    edit = re.search(r"sed [^\n]+", MODULE.read_text(encoding="utf-8"))
    assert edit
    subprocess.run(["bash", "-c", edit[0]], cwd=folder, check=True)
    return (folder / "multiqc_report.html").read_text(encoding="utf-8")


def plots(page: str) -> Json:
    """Return the data of the page's plots by their id; tables are left out."""
    packed = re.search(r'id="mqc_compressed_plotdata">([^<]+)<', page)
    assert packed
    data: Json = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    return {plot["id"]: plot for plot in data.values() if plot["plot_type"] != "violin plot"}


def words(page: str) -> str:
    """Return the page's HTML as text: entities resolved, tags gone, blanks single."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a report of one query."""
    folder = tmp_path_factory.mktemp("one")
    report(folder, full_inputs(folder))
    multiqc(folder)
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a report whose names hold markup."""
    folder = tmp_path_factory.mktemp("hostile")
    inputs = full_inputs(folder, types=(HOSTILE, FORMULA))
    values = inputs["results"][0]
    values["determinants"][HOSTILE][0]["feature"] = HOSTILE
    values["domain_gap"] |= {"auc": 0.99, "level": "warn", "reason": HOSTILE}
    values["determinants"][FORMULA] = [
        values["determinants"][HOSTILE][0] | {"feature": FORMULA, "nearest_gene": HOSTILE}
    ]
    values["evaluation"]["novel_types"] = [HOSTILE]
    values["evaluation"]["confusion"]["truth"][-1] = HOSTILE + "2"
    report(folder, inputs)
    multiqc(folder)
    return folder


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a report of forty queries and twelve types."""
    folder = tmp_path_factory.mktemp("forty")
    types = tuple(f"{name} {i}" for name in TYPES for i in range(1, 5))
    report(folder, full_inputs(folder, 40, types))
    multiqc(folder)
    return folder


def test_the_config_knows_every_part() -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    assert config["custom_content"]["order"] == list(PARTS)


def test_every_section_is_on_the_page(one: Path) -> None:
    page = (one / "multiqc_report.html").read_text(encoding="utf-8")
    headings = re.findall(r"<h2[^>]*>([^<]+)</h2>", page)
    assert headings[: len(PARTS)] == [name for name, _ in PARTS.values()]
    text = words(page)
    for expected in (
        *("Nothing noteworthy.", "1 query and 1 reference were read; 1,450 cells of the queries were annotated."),
        *("unmatched RNA → ATAC", "16,234", "gene name", "settled", "GENE1", "GENE5", "90.0 %"),
        *("--min_tss", "not set", "25.04.4", "10.1371/journal.pcbi.1013824", "Liu et al."),
        "trained on 1,200 cells of 3 types with the preset paper",
    ):
        assert expected in text, expected
    assert "GENE6" not in text
    drawn = plots(page)
    assert {"fragments_knee", "fragments_sizes", "fragments_tss", "training_losses"} <= drawn.keys()
    assert {"predictions_composition", "predictions_confidence"} <= drawn.keys()


def test_numbers_reach_the_tables(one: Path) -> None:
    data = one / "multiqc_report_data"
    accuracy = pd.read_csv(data / "multiqc_accuracy_table.txt", sep="\t", index_col="Sample")
    assert accuracy.loc["query_1", "accuracy"] == pytest.approx(91.23)
    coverage = pd.read_csv(data / "multiqc_predictions_coverage.txt", sep="\t", index_col="Sample")
    assert coverage.loc["query_1", "unknown_cells"] == 145
    gap = pd.read_csv(data / "multiqc_gap_table.txt", sep="\t", index_col="Sample")
    assert gap.loc["query_1", "auc"] == pytest.approx(0.6)
    novelty = pd.read_csv(data / "multiqc_accuracy_novelty.txt", sep="\t", index_col="Sample")
    assert novelty.loc["query_1", "types"] == "NK cell"
    fragments = pd.read_csv(data / "multiqc_fragments_table.txt", sep="\t", index_col="Sample")
    for name, value in (("frip", 43.7), ("blacklist_fraction", 0.4), ("doublets", 17)):
        assert fragments[name].tolist() == pytest.approx([value]), name
    matrices = pd.read_csv(data / "multiqc_samples_matrices.txt", sep="\t", index_col="Sample")
    assert matrices.loc["query_1: peaks", "features"] == 98765


def test_summary_has_a_line_a_query(tmp_path: Path) -> None:
    inputs = run_inputs(queries=2)
    inputs["results"][1] |= {"evaluation": None, "coverage": 0.3, "domain_gap": None}
    _, table = report(tmp_path, inputs)
    assert ",".join(table.columns) == (
        "group,query,status,reason,cells,cells_lost,coverage,unknown_cells,mean_confidence,domain_gap_auc,scenario,"
        "accuracy,accuracy_all_truth,macro_f1,novelty_auroc,ece,evaluated_cells,barcodes,preset,target_error,threshold,"
        "best_baseline,best_baseline_accuracy,determinant_stability,hit_rate_markers,hit_rate_reference"
    )
    first, second = table.to_dict("records")
    assert (first["status"], first["cells"], first["scenario"]) == ("pass", 1450, "unmatched")
    assert first["accuracy"] == 0.9123
    assert second["status"] == "warn"
    assert second["reason"] == "Only 30.0 % of the cells got a type; the rest is Unknown"
    assert math.isnan(second["accuracy"])
    assert math.isnan(second["domain_gap_auc"])
    assert ",1450," in (tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines()[1]


def test_composition_and_cells_at_each_step(tmp_path: Path) -> None:
    inputs = full_inputs(tmp_path)
    inputs["samples"][1]["fragments"]["doublets"] = 50
    parameters = PARAMETERS | {"remove_doublets": True}
    report(tmp_path, inputs, parameters)
    composition = pd.read_csv(tmp_path / "composition.csv")
    assert list(composition.columns) == ["group", "query", "cell_type", "cells", "share"]
    assert dict(zip(composition["cell_type"], composition["cells"], strict=True)) == {
        **dict.fromkeys(TYPES, 435),
        "Unknown": 145,
    }
    assert composition["share"].tolist() == pytest.approx([0.3, 0.3, 0.3, 0.1])
    lost = pd.read_csv(tmp_path / "cells_lost.csv")
    query, reference = lost.to_dict("records")
    assert [query[step] for step in lost.columns] == [
        *("query_1", "query", "pbmc", 28000, 1500, 1450, 1450, 1447, 1305, 1460, 10),
    ]
    assert (reference["sample"], reference["role"], reference["called"]) == ("reference", "reference", 4210)
    assert math.isnan(reference["annotated"])


def test_texts_of_a_user_are_safe_in_the_tables(hostile: Path) -> None:
    text = (hostile / "composition.csv").read_text(encoding="utf-8")
    assert '"\'=1+1,""x"""' in text
    assert not re.search(r'(^|,)"?[=+@]', text, flags=re.MULTILINE)
    types = pd.read_csv(hostile / "composition.csv")["cell_type"]
    assert types.tolist() == [HOSTILE, "'" + FORMULA, "Unknown"]


def test_summary_tells_what_was_beside_the_model_and_how_far_features_are_to_be_trusted(tmp_path: Path) -> None:
    inputs = full_inputs(tmp_path)
    inputs["results"][0]["evaluation"]["baselines"]["nearest_neighbours"]["accuracy"] = 0.9
    _, table = report(tmp_path, inputs)
    line = table.iloc[0]
    assert (line["best_baseline"], line["best_baseline_accuracy"]) == ("nearest_neighbours", 0.9)
    assert (line["preset"], line["target_error"], line["threshold"], line["barcodes"]) == ("paper", 0.05, 0.81, 28000)
    assert (line["determinant_stability"], line["hit_rate_markers"]) == (0.8, 0.8)
    assert math.isnan(line["hit_rate_reference"])


def test_images_beyond_the_size_of_the_page_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = full_inputs(tmp_path, queries=3)
    size = 4 * (tmp_path / "images" / "umap_own.png").stat().st_size // 3
    monkeypatch.setattr(figures, "PAGE_BYTES", int(2.5 * size) * len(FIGURES))
    folder, _ = report(tmp_path, inputs)
    first = json.loads((folder / "embedding_figure_umap_own_mqc.json").read_text(encoding="utf-8"))["data"]
    assert first.count("<img") == 2
    assert "Not on this page, for its size, but in groups/<group>/<query>/figures: query_3." in words(first)


@pytest.mark.parametrize(
    ("change", "topic"),
    [
        ({"cells": 12, "cells_lost": 0}, "Few cells"),
        ({"cells_lost": 2000}, "Cells lost"),
        ({"coverage": 0.3}, "Low coverage"),
        ({"domain_gap": {"auc": 0.99, "level": "warn", "reason": "apart"}}, "Domain gap"),
        ({"explain": explained(TYPES, stability=0.3)}, "Unstable features"),
        ({"explain": explained(TYPES, significant=0)}, "Features within chance"),
        ({"explain": explained(TYPES, stability=0.6)}, None),
        ({"evaluation": {"unmatched_labels": ["b cell"]}}, "Label names"),
        ({"evaluation": {"ece": 0.2}}, "Confidence misleads"),
        ({"training": {"held_out_accuracy": 0.7}}, "Low accuracy on the reference"),
    ],
)
def test_each_finding_has_its_reason_and_its_remedy(change: Json, topic: str | None) -> None:
    values, trained = result("g", "q"), training("g")
    trained |= change.pop("training", {})
    values["evaluation"] |= change.pop("evaluation", {})
    found = judge(values | change, pair("g", ["q"]), trained, [])
    assert [finding.topic for finding in found] == ([topic] if topic else [])
    assert all(finding.reason and finding.remedy for finding in found)


@pytest.mark.parametrize(("others", "told"), [(["x"], False), (["x", "y"], True)])
def test_a_list_of_markers_is_strange_where_no_model_has_one_of_its_types(others: list[str], told: bool) -> None:
    """Whether any of its genes is a feature, or any cell was given one of its types, does not matter."""
    about = {"types": {}, "seeds": 0, "permutations": 0, "marker_types": 2, "markers_of_other_types": others}
    results = [result("g", "q") | {"explain": about}]
    run = Run([], [], [pair("g", ["q"])], [training("g")], [], results, {})
    assert ("Marker list" in [finding.topic for finding in run.findings(results[0])]) == told


def test_a_query_of_two_groups_is_one_query_that_is_annotated_twice(tmp_path: Path) -> None:
    inputs = run_inputs()
    second = result("other", inputs["results"][0]["query"])
    inputs["results"].append(second | {"evaluation": second["evaluation"] | {"accuracy": 0.8}})
    inputs["pairs"].append(pair("other", [second["query"]]))
    folder, _ = report(tmp_path, inputs)
    text = words(json.loads((folder / "summary_overview_mqc.json").read_text(encoding="utf-8"))["data"])
    assert "1 query in 2 transfers" in text
    assert "The query agrees with its labels in between 80.0 % and 91.2 %" in text


def test_the_paragraph_names_what_was_run(tmp_path: Path) -> None:
    inputs = full_inputs(tmp_path)
    inputs["baselines"][0]["methods"]["celltypist"] = {"seconds": 2.0}
    tasks = {"TRAIN": "cellpredx 0.1.0, torch 2.15.0", "BASELINES": "cellpredx 0.1.0, celltypist 1.7.1"}
    folder, _ = report(tmp_path, inputs, PARAMETERS | {"packages": tasks})
    text = words(json.loads((folder / "methods_paragraph_mqc.json").read_text(encoding="utf-8"))["data"])
    for expected in (
        *("at least 1,000 fragments and a TSS enrichment of at least 4 were called cells", "preset paper"),
        *("unmatched RNA → ATAC, chosen by the data", "under 0.81 were left Unknown, for a target error of 5.0 %"),
        *(
            "1,450 cells of 1 sample were annotated; 145 of them (10.0 %)",
            "over 3 trainings",
            "20 trainings on shuffled",
        ),
        "(CellTypist 1.7.1)",
    ):
        assert expected in text, expected
    assert "Its logits" not in text
    versions = words(json.loads((folder / "methods_versions_mqc.json").read_text(encoding="utf-8"))["data"])
    assert "celltypist 1.7.1" in versions
    assert "torch 2.15.0" in versions


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"graph_components": [10]}, "smoothed over the nearest neighbours of each cell in a spectral embedding"),
        ({"graph_components": [], "joint_components": 30}, "features, of joint principal components and of a joint"),
        ({"graph_components": [], "joint_components": 0}, "log-normalised features and of a joint spectral embedding"),
    ],
)
def test_the_paragraph_tells_what_tuned_averages(tmp_path: Path, numbers: dict[str, Any], said: str) -> None:
    inputs = full_inputs(tmp_path)
    for model in inputs["training"]:
        model |= {"preset": "tuned", "network_share": 0.1, "hyperparameters": numbers}
    folder, _ = report(tmp_path, inputs)
    text = words(json.loads((folder / "methods_paragraph_mqc.json").read_text(encoding="utf-8"))["data"])
    assert "the weighted mean of the network's (weight 0.1) and of" in text
    assert said in text


def test_a_run_with_a_ready_bundle_and_no_labels_has_no_empty_sections(tmp_path: Path) -> None:
    inputs = {
        "pairs": [pair("pbmc", ["query_1"]) | {"proteins": 12}],
        "results": [result("pbmc", "query_1", labelled=False)],
    }
    folder, _ = report(tmp_path, inputs)
    parts = {path.name.split("_")[0] for path in folder.iterdir()}
    assert parts == {"summary", "samples", "pairing", "predictions", "gap", "determinants", "methods"}
    page = multiqc(tmp_path)
    assert "shared features (genes) and 12 surface proteins." in page
    assert PARTS["training"][0] not in re.findall(r"<h2[^>]*>([^<]+)</h2>", page)


def test_a_query_without_cells_fails_and_is_reported(tmp_path: Path) -> None:
    inputs = run_inputs(queries=2)
    inputs["results"][0] |= {
        **{"cells": 0, "coverage": None, "unknown_cells": 0, "mean_confidence": None, "evaluation": None},
        **{"composition": {}, "determinants": {}, "domain_gap": None},
        "confidence_histogram": {"edges": [0, 1], "counts": [0]},
    }
    _, table = report(tmp_path, inputs)
    assert list(table["status"]) == ["fail", "pass"]
    assert "No cell was left to annotate." in words(multiqc(tmp_path))


def test_warnings_of_a_reference_are_told_with_its_name() -> None:
    reference = matrix_sample("reference") | {"warnings": ["counts look log-transformed"]}
    findings = judge(result("g", "q"), pair("g", ["q"]), training("g"), [reference])
    assert [(f.level, f.reason) for f in findings] == [("warn", "reference: counts look log-transformed")]


@pytest.mark.parametrize(("wrong", "verdict"), [(0.05, "pass"), (0.06, "pass"), (0.12, "warn")])
def test_labels_that_disagree_more_than_the_target_warn(wrong: float, verdict: str) -> None:
    values = result("g", "q")
    values["evaluation"]["selective_accuracy"] = 1 - wrong
    assert level(judge(values, pair("g", ["q"]), training("g"), [])) == verdict


def test_cells_of_novel_types_do_not_narrow_the_chance_of_errors_among_the_others() -> None:
    values = result("g", "q")
    values["evaluation"] |= {"selective_accuracy": 0.9, "evaluated_cells": 5000, "shared_type_cells": 60}
    assert "More errors than aimed at" not in {
        finding.topic for finding in judge(values, pair("g", ["q"]), training("g"), [])
    }


@pytest.mark.parametrize(
    ("linear", "p", "told"), [(0.95, 0.001, True), (0.95, 0.2, False), (0.88, 0.001, False), (0.9123, 1.0, False)]
)
def test_a_plain_classifier_that_is_better_by_more_than_noise_is_told_in_words(
    tmp_path: Path, linear: float, p: float, told: bool
) -> None:
    inputs = run_inputs() | {"baselines": [baselines("pbmc")]}
    values = inputs["results"][0]
    values["baselines"] = {"logistic_regression": {"agreement": 0.934}, "nearest_neighbours": {"agreement": 0.871}}
    values["evaluation"]["baselines"] = {
        "logistic_regression": beside(linear, p),
        "nearest_neighbours": beside(0.8, 0.001),
    }
    folder, table = report(tmp_path, inputs)
    section = words(json.loads((folder / "accuracy_baselines_mqc.json").read_text(encoding="utf-8"))["data"])
    reason = "Logistic regression, a linear model, does better than CellPredX here: 95.0 % of the cells agree"
    assert (table["status"][0] == "warn") == told
    assert (reason in str(table["reason"][0])) == told
    assert ("CellPredX does not reach logistic regression, a linear model, (91.2 % against 95.0 %" in section) == told
    assert ("query_1: no plain classifier is better than CellPredX by more than chance." in section) != told
    assert f"query_1 Logistic regression {100 * linear:.1f} % 0.9 - 21 57" in section
    if not told:
        return
    page = words(multiqc(tmp_path))
    assert "Beside plain classifiers" in page
    assert "93.4 % 87.1 % -" in page
    assert "CellTypist was left out: CellTypist is not on PATH" in page
    assert "logistic regression (L2, C by cross-validation on the reference) and the 15 nearest" in page


def test_without_labels_the_report_tells_agreement_alone(tmp_path: Path) -> None:
    inputs = run_inputs() | {"baselines": [baselines("pbmc")]}
    inputs["results"][0] |= {"evaluation": None, "baselines": {"logistic_regression": {"agreement": 0.412}}}
    folder, table = report(tmp_path, inputs)
    content = json.loads((folder / "predictions_agreement_mqc.json").read_text(encoding="utf-8"))
    assert "query_1 41.2 % - -" in words(content["data"])
    assert not (folder / "accuracy_baselines_mqc.json").exists()
    assert table["status"][0] == "pass"


def test_the_same_query_in_two_groups_is_told_apart(tmp_path: Path) -> None:
    inputs = run_inputs()
    inputs["results"].append(result("second", "query_1"))
    folder, table = report(tmp_path, inputs)
    assert list(table["group"]) == ["pbmc", "second"]
    composition = json.loads((folder / "predictions_composition_mqc.json").read_text(encoding="utf-8"))
    assert list(composition["data"]) == ["pbmc: query_1", "second: query_1"]


def test_cells_of_tables_are_escaped() -> None:
    assert "&lt;b&gt;x&lt;/b&gt; &amp;" in html_table(["type"], [["<b>x</b> & y"]])


def test_names_with_markup_are_text_everywhere(hostile: Path) -> None:
    page = (hostile / "multiqc_report.html").read_text(encoding="utf-8")
    assert "<b>x</b>" not in page
    assert "document.title='taken'</script>" not in page
    assert page.count("&lt;b&gt;x&lt;/b&gt;") >= 5
    drawn = plots(page)
    labels = json.dumps(drawn["predictions_composition"])
    assert "<b>x" not in labels
    assert "&lt;b&gt;x&lt;/b&gt;" in labels


def test_every_section_renders_and_nothing_is_fetched(one: Path, tmp_path: Path) -> None:
    page = one / "multiqc_report.html"
    text = page.read_text(encoding="utf-8")
    expected = plots(text)
    assert len(expected) > 9
    with opened(page, tmp_path) as browser:
        document = browser.value("document.documentElement.outerHTML")
        assert browser.value("document.querySelectorAll('.plot-container.plotly').length") >= len(expected)
        shown = browser.value("[...document.querySelectorAll('.mqc-section')].map(s => [s.id, s.offsetHeight])")
        unlabelled = browser.value(UNLABELLED)
        images = browser.value("[...document.querySelectorAll('.cellpredx-figure')].map(i => [i.alt, i.naturalWidth])")
        assert not browser.complaints
        assert browser.requests[0] == page.as_uri()
        assert all(address.startswith("data:") for address in browser.requests[1:])
    sections = {path.name.removesuffix("_mqc.json") for path in (one / "multiqc_input").iterdir()}
    assert {name.removeprefix("mqc-section-wrapper-") for name, _ in shown} >= sections
    assert all(height > 30 for _, height in shown)
    assert not unlabelled
    assert images == [[f'{name} of "query_1" <cells>', 420] for name in ("umap_model", "umap_own", "dot_plot")]
    for label in ("Distance from the start site (bp)", "Calibrated confidence", "Share of right types", "Total loss"):
        assert label in document, label
    elements = re.sub(r"(<script\b[^>]*>).*?</script>", r"\1", document, flags=re.DOTALL)
    assert not re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", elements)


@pytest.mark.parametrize(("queries", "theme"), [("one", "light"), ("one", "dark"), ("forty", "dark")])
def test_a_narrow_page_shows_all_of_its_text_in_both_themes(
    queries: str, theme: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    page = request.getfixturevalue(queries) / "multiqc_report.html"
    with opened(page, tmp_path, width=400, theme=theme) as browser:
        assert not browser.complaints
        assert browser.value("document.documentElement.scrollWidth") <= 400
        assert browser.value("document.documentElement.dataset.bsTheme") == theme
        # What sticks out of the page and cannot be reached by scrolling its own box.
        assert browser.value(STICKING_OUT) == []
        assert browser.value(FAINT) == []
        # Verdicts lie under each other, none on the next.
        assert browser.value("[...document.querySelectorAll('.cellpredx-stack td')].every(fits)".replace("fits", FITS))


def test_forty_queries_are_under_ten_megabytes(forty: Path) -> None:
    assert (forty / "multiqc_report.html").stat().st_size < 10_000_000
    page = (forty / "multiqc_report.html").read_text(encoding="utf-8")
    text = words(page)
    assert "40 queries and 1 reference were read; 58,000 cells of the queries were annotated." in text
    assert "warn Domain gap (query_4, query_14, query_24, query_34)." in text
    assert "fail Low coverage (query_8, query_28). For instance query_8: Only 8.0 % of the cells got a type" in text
    assert page.count('class="cellpredx-figure"') == 120


def test_a_browser_shows_markup_and_formulas_in_names_as_text(hostile: Path, tmp_path: Path) -> None:
    with opened(hostile / "multiqc_report.html", tmp_path) as browser:
        assert browser.value("document.title") != "taken"
        document = browser.value("document.documentElement.outerHTML")
        shown = browser.value("document.body.innerText")
        labels = browser.value("[...document.querySelectorAll('.cellpredx-key')].map(key => key.textContent)")
        assert not browser.complaints
    assert "<b>x</b>" not in document
    assert shown.count(HOSTILE) > 5
    assert shown.count(FORMULA) > 5
    assert {HOSTILE, FORMULA} <= set(labels)
