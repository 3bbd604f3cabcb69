"""What `-resume` runs again after a change, read in the trace.

Stubs take the tasks' place: which run again follows from their inputs alone. `--real-tasks` runs the tasks themselves.
"""

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anndata as ad
import pytest

from tests.pipeline.conftest import Run, run_pipeline, simulate

COLUMNS = ["sample", "role", "modality", "fragments", "matrix", "proteins", "peaks", "barcodes", "labels", "group"]
# The query `donor` is annotated by genes (group rna) and by peaks (group atac).
SHEET = [
    "reference,reference,rna,,reference_rna.h5ad,reference_rna_proteins.h5ad,,,cell_type,rna",
    "donor,query,atac,query_fragments.tsv.gz,,query_proteins.h5ad,peaks.bed,donor.txt,donor_labels.csv,rna;atac",
    "atlas,reference,atac,query_fragments.tsv.gz,,,,atlas.txt,atlas_labels.csv,atac",
]
GROUPS = ("rna", "atac")
END = {"REPORT", "MULTIQC"}


def of_query(group: str, *processes: str) -> set[str]:
    return {f"{process} ({group}: donor)" for process in processes}


def annotated(group: str) -> set[str]:
    """What depends on a model."""
    predicted = of_query(group, "FIT_QUERY", "ANNOTATE", "EMBED", "EXPLAIN", "EVALUATE", "FIGURES")
    return predicted | {f"PREDICT ({group}: donor, from cell 0)"} | END


def trained(group: str, again: int = 2) -> set[str]:
    """A model, its trainings by other seeds, and what depends on them."""
    retrained = {f"RETRAIN ({group}: {name}_{again})" for name in ("seed", "shuffled")}
    return {f"TRAIN ({group})"} | retrained | annotated(group)


def labelled(group: str) -> set[str]:
    """What depends on a reference's labels."""
    return {f"BASELINES ({group})", f"REFERENCE_MARKERS ({group})"} | trained(group)


def paired(group: str) -> set[str]:
    """What depends on a matrix of a group."""
    return {f"PAIR ({group})"} | labelled(group)


def ingested(sample: str) -> set[str]:
    """What depends on a sample's fragments."""
    counted = {f"INGEST_FRAGMENTS ({sample})", f"COUNT_FEATURES ({sample}: peaks)"} | paired("atac")
    if sample == "donor":
        counted |= {"COUNT_FEATURES (donor: gene_activity)", "PROTEINS (donor)"} | paired("rna")
    return counted


def both(of_group: Callable[[str], set[str]]) -> set[str]:
    return set().union(*(of_group(group) for group in GROUPS))


@dataclass(frozen=True)
class Change:
    """Parameters and fields of the sheet that differ, and the tasks that depend on them."""

    name: str
    runs: set[str]
    parameters: dict[str, str] = field(default_factory=dict)
    fields: dict[tuple[str, str], str] = field(default_factory=dict)  # (sample, column)
    backwards: bool = False  # the rows of the sheet
    slow: bool = False  # stands for what others show too: run with --real-tasks alone


CHANGES = [
    Change("hyper-parameter", both(trained), {"--hyperparameters": "iterations=40"}),
    Change("preset", both(trained), {"--preset": "tuned"}, slow=True),
    Change(
        "seed",
        both(lambda group: trained(group, again=8) | {f"BASELINES ({group})"}),
        {"--seed": "7"},
        slow=True,
    ),
    Change(
        "target error",
        both(lambda group: {f"TRAIN ({group})"} | annotated(group)),
        {"--target_error": "0.1"},
        slow=True,
    ),
    Change("annotation", ingested("donor") | ingested("atlas"), {"--annotation": "data/other.gtf.gz"}),
    Change("min_tss", ingested("donor") | ingested("atlas"), {"--min_tss": "3"}, slow=True),
    Change(
        "whitelist, and labels in another column",
        {"CHECK_INPUTS (atlas)", "CHECK_INPUTS (reference)", "LABELS (reference)"}
        | ingested("atlas")
        | labelled("rna"),
        fields={("atlas", "barcodes"): "fewer.txt", ("reference", "labels"): "finer"},
    ),
    Change(
        "peaks",
        {"CHECK_INPUTS (donor)", "COUNT_FEATURES (donor: peaks)", "COUNT_FEATURES (atlas: peaks)"} | both(paired),
        fields={("donor", "peaks"): "other.bed"},
        slow=True,
    ),
    Change(
        "proteins",
        # PAIR tells why it leaves them out where the reference has none.
        {"CHECK_INPUTS (donor)", "PROTEINS (donor)"} | both(paired),
        fields={("donor", "proteins"): "other_proteins.h5ad"},
        slow=True,
    ),
    Change(
        "labels of a query",
        {"CHECK_INPUTS (donor)", "LABELS (donor)"} | both(lambda group: of_query(group, "EVALUATE", "FIGURES")) | END,
        fields={("donor", "labels"): "other_labels.csv"},
    ),
    Change(
        "labels of a reference",
        {"CHECK_INPUTS (atlas)", "LABELS (atlas)"} | labelled("atac"),
        fields={("atlas", "labels"): "other_labels.csv"},
        slow=True,
    ),
    Change(
        "markers, and the order of the sheet's rows",
        both(lambda group: of_query(group, "EXPLAIN", "EVALUATE", "FIGURES")) | END,
        {"--markers": "data/other_markers.csv"},
        backwards=True,
    ),
    Change(
        "cells of the maps",
        both(lambda group: of_query(group, "EMBED", "FIGURES")) | END,
        {"--umap_cells": "100"},
        slow=True,
    ),
]


def write_sheet(data: Path, change: Change | None = None) -> None:
    rows = [dict(zip(COLUMNS, line.split(","), strict=True)) for line in SHEET]
    if change:
        for (sample, column), value in change.fields.items():
            next(row for row in rows if row["sample"] == sample)[column] = value
        rows = rows[::-1] if change.backwards else rows
    with open(data / "sheet.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def write_data(folder: Path) -> None:
    """Simulate the samples, and beside each file another that a change may name."""
    data = simulate("citeseq", folder / "data", cells=160)
    header, *lines = (data / "query_labels.csv").read_text().splitlines(keepends=True)
    for name, some in (("donor", lines[::2]), ("atlas", lines[1::2])):
        (data / f"{name}_labels.csv").write_text(header + "".join(some))
        (data / f"{name}.txt").write_text("".join(line.split(",")[0] + "\n" for line in some))
    (data / "other_labels.csv").write_text(header + "".join(sorted(lines)))
    (data / "fewer.txt").write_text("".join((data / "atlas.txt").read_text().splitlines(keepends=True)[2:]))
    (data / "other.bed").write_text("".join((data / "peaks.bed").read_text().splitlines(keepends=True)[5:]))
    for name, other in (
        ("genes.gtf.gz", "other.gtf.gz"),
        ("markers.csv", "other_markers.csv"),
        ("query_proteins.h5ad", "other_proteins.h5ad"),
    ):
        shutil.copyfile(data / name, data / other)
    reference = ad.read_h5ad(data / "reference_rna.h5ad")
    reference.obs["finer"] = reference.obs["cell_type"]
    reference.write_h5ad(data / "reference_rna.h5ad")


@pytest.fixture(scope="module")
def rerun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Change], set[str]]:
    """The tasks that run when the pipeline, which ran once, is resumed after a change."""
    folder = tmp_path_factory.mktemp("resume")
    write_data(folder)
    stub = [] if request.config.getoption("--real-tasks") else ["-stub-run"]
    usual = {
        "--annotation": "data/genes.gtf.gz",
        "--chrom_sizes": "data/genome.sizes",
        "--markers": "data/markers.csv",
        "--hyperparameters": "iterations=30",
        "--baselines": "logistic_regression",
        "--explain_seeds": "2",
        "--null_permutations": "1",
        "--umap_cells": "90",
    }

    def run(parameters: dict[str, str], *more: str) -> set[str]:
        given = [text for pair in (usual | parameters).items() for text in pair]
        done: Run = run_pipeline(folder, "--input", "data/sheet.csv", *given, *stub, *more)
        assert done.code == 0, done.said
        tasks = [task for task in done.tasks() if task["status"] != "CACHED"]
        assert {task["status"] for task in tasks} <= {"COMPLETED"}
        # A preflight is never taken from an earlier run.
        names = {task["name"].split(":", 1)[1].removesuffix(" (1)") for task in tasks}
        return {name for name in names if not name.startswith("PREFLIGHT")}

    write_sheet(folder / "data")
    first = run({})
    assert first == {f"CHECK_INPUTS ({name})" for name in ("reference", "donor", "atlas")} | {
        *(f"LABELS ({name})" for name in ("reference", "donor", "atlas")),
        "STANDARDISE (reference)",
    } | ingested("donor") | ingested("atlas")

    def run_again(change: Change) -> set[str]:
        write_sheet(folder / "data", change)
        return run(change.parameters, "-resume")

    return run_again


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change_runs_again_what_depends_on_it_and_nothing_else(
    change: Change, rerun: Callable[[Change], set[str]], request: pytest.FixtureRequest
) -> None:
    if change.slow and not request.config.getoption("--real-tasks"):
        pytest.skip("others show it with stubs: --real-tasks runs it")
    assert rerun(change) == change.runs
