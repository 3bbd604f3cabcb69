"""Runs of the pipeline on the real engine."""

import csv
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# What looks at every run's site anew.
PREFLIGHT = {"PREFLIGHT", "PREFLIGHT_TRAINING"}
CHECKS = {"CHECK_INPUTS", "CHECK_SETTINGS", *PREFLIGHT}
ENGINE = os.environ.get("NEXTFLOW") or shutil.which("nextflow")

FAST = ("--hyperparameters", "iterations=150")


@dataclass
class Run:
    """What a run of the pipeline left: its exit code, what it said, its output folder and its trace."""

    code: int
    said: str
    outdir: Path

    def tasks(self) -> list[dict[str, str]]:
        """The rows of the trace."""
        with open(self.outdir / "pipeline_info" / "trace.txt", newline="") as handle:
            return list(csv.DictReader(handle, delimiter="\t"))

    def json(self, path: str) -> Any:
        """A JSON file of the output."""
        return json.loads((self.outdir / path).read_text())

    def table(self, path: str) -> list[dict[str, str]]:
        """The rows of a CSV file of the output."""
        with open(self.outdir / path, newline="") as handle:
            return list(csv.DictReader(handle))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--real-tasks", action="store_true", help="in test_resume: run tasks, not their stubs")


def run_pipeline(
    folder: Path, *arguments: str, outdir: str = "results", parser: str = "v1", profile: str = "test"
) -> Run:
    """Run main.nf in `folder`, as a user would."""
    if ENGINE is None:
        pytest.skip("no `nextflow` on PATH, and the variable NEXTFLOW names none")
    done = subprocess.run(
        [ENGINE, "run", str(ROOT), "-ansi-log", "false", "-profile", profile, *arguments, "--outdir", outdir],
        cwd=folder,
        env={**os.environ, "NXF_SYNTAX_PARSER": parser, "NXF_OFFLINE": "true"},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    return Run(done.returncode, done.stdout + done.stderr, folder / outdir)


def succeeded(run: Run) -> Run:
    """The run, which must have ended well."""
    assert run.code == 0, run.said
    return run


def simulate(scenario: str, folder: Path, cells: int = 120, seed: int = 2) -> Path:
    """Write simulated data into `folder`; return it."""
    command = ["cellpredx", "simulate", "--scenario", scenario, "--outdir", str(folder)]
    subprocess.run([*command, "--cells", str(cells), "--seed", str(seed)], check=True)
    return folder
