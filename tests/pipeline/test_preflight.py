"""What a run tells of its site in the first minute, and what its tasks ask for: the real engine."""

import csv
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.pipeline.conftest import CHECKS, ENGINE, ROOT, run_pipeline, simulate

pytestmark = pytest.mark.skipif(ENGINE is None, reason="no `nextflow` on PATH, and the variable NEXTFLOW names none")


def told(said: str) -> dict[str, str]:
    """What each mistake is, by where it is."""
    blocks = [block.splitlines() for block in said.split("ERROR: ")[1:]]
    return {lines[1].removeprefix("  where:  "): lines[0] for lines in blocks}


def test_a_site_that_lacks_something_is_told_with_the_mistakes_of_the_sheet(tmp_path: Path) -> None:
    data = simulate("rna", tmp_path / "data")
    (data / "black.bed").write_text("chr1\t90\t80\n")
    sheet = data / "sheet.csv"
    sheet.write_text(sheet.read_text().replace(",cell_type", ",celltype"))
    run = run_pipeline(tmp_path, "--input", "data/sheet.csv", "--device", "cuda", "--blacklist", "data/black.bed")
    assert run.code != 0
    found = told(run.said)
    assert len(found) == 3, run.said
    assert any(what.startswith("not a region") and "black.bed, line 1" in where for where, what in found.items())
    assert any("--device cuda was asked for" in what for where, what in found.items() if where.startswith("node "))
    assert any("no column 'celltype'" in what for what in found.values())
    assert "3 mistakes: nothing was run" in run.said
    assert {task["name"].split(" ")[0].split(":")[-1] for task in run.tasks()} == CHECKS
    tasks = run.json("pipeline_info/preflight.json")["tasks"]
    assert [task["images"] for task in tasks] == [["core", "report"], ["torch"]]
    assert tasks[1]["problems"]


def test_missing_images_and_a_small_machine_stop_a_run_before_any_task(tmp_path: Path) -> None:
    data = simulate("rna", tmp_path / "data")
    (tmp_path / "small.config").write_text(
        f"includeConfig '{ROOT}/nextflow.config'\nexecutor.memory = 4.GB\nexecutor.cpus = 1\n"
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cellpredx-core-0.1.0.sif").touch()
    # A file without content takes no room, and is as large as it says.
    with open(data / "large.h5ad", "wb") as handle:
        handle.truncate(2**43)
    sheet = data / "sheet.csv"
    sheet.write_text(sheet.read_text() + "large,query,rna,large.h5ad,\n")
    given = ("--input", "data/sheet.csv", "--image_dir", "images", "-c", "small.config")
    run = run_pipeline(tmp_path, *given, profile="test,singularity", parser="v2")
    assert run.code != 0
    lines = [line.removeprefix("ERROR: ") for line in run.said.splitlines() if line.startswith("ERROR: ")]
    assert lines[:2] == [f"the folder has no cellpredx-{image}-0.1.0.sif" for image in ("report", "torch")]
    assert lines[2] == "it has 4 GB of memory, and a training asks for 6 GB at least; 1 CPU, and a task asks for 2"
    # Both folders lie on one disk: 48 TB of work and 19 of results.
    assert len(lines) == 4
    assert re.fullmatch(r".* are free, and about 67(\.\d)? TB will be written", lines[3]), lines[3]
    assert f"where:  -work-dir {tmp_path / 'work'}, --outdir {run.outdir}" in run.said
    assert "process.resourceLimits = [memory: 4096.MB, cpus: 1]" in run.said
    assert f"make images sifs IMAGE_DIR={tmp_path / 'images'}" in run.said
    assert "4 mistakes: nothing was run" in run.said
    assert not run.outdir.exists()


def test_images_without_what_runs_them_are_refused(tmp_path: Path) -> None:
    simulate("rna", tmp_path / "data")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cellpredx-core-0.1.0.sif").touch()
    run = run_pipeline(tmp_path, "--input", "data/sheet.csv", "--image_dir", "images")
    assert told(run.said) == {"parameter --image_dir": "images are given, and -profile names nothing that runs them"}


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_memory_follows_the_need_and_the_attempt_up_to_the_limit(tmp_path: Path, parser: str) -> None:
    (tmp_path / "site.config").write_text(
        f"params.threads = 1\nincludeConfig '{ROOT}/conf/base.config'\n"
        "process.resourceLimits = [memory: 15.GB]\nexecutor.memory = 20.GB\n"
        "trace { enabled = true; file = 'trace.txt'; fields = 'name,exit,memory' }\n"
    )
    subprocess.run(
        [
            str(ENGINE),
            "-C",
            "site.config",
            "run",
            str(ROOT / "tests" / "support" / "resources.nf"),
            "-ansi-log",
            "false",
        ],
        cwd=tmp_path,
        env={**os.environ, "NXF_SYNTAX_PARSER": parser, "NXF_OFFLINE": "true"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    with open(tmp_path / "trace.txt", newline="") as handle:
        asked = sorted((row["name"], row["exit"], row["memory"]) for row in csv.DictReader(handle, delimiter="\t"))
    assert asked == [
        ("ASKING (0 GB)", "0", "12 GB"),
        ("ASKING (0 GB)", "137", "6 GB"),
        ("ASKING (9 GB)", "0", "15 GB"),
        ("ASKING (9 GB)", "137", "9 GB"),
        ("ASKING (900 GB)", "0", "15 GB"),
        ("ASKING (900 GB)", "137", "15 GB"),
    ]
