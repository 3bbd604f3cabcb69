"""A small run on each container engine and on Slurm, equal to a run without them."""

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from cellpredx import __version__
from tests.pipeline.conftest import ROOT, Run, run_pipeline, simulate

TARGETS = ("core", "torch", "report")
FAST = ("--hyperparameters", "iterations=150")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate("rna", tmp_path_factory.mktemp("sites") / "data")


@pytest.fixture(scope="module")
def local(data: Path) -> Run:
    return succeeded(run_pipeline(data.parent, "--input", "data/sheet.csv", *FAST))


def succeeded(run: Run) -> Run:
    assert run.code == 0, run.said
    return run


def images(engine: str, request: pytest.FixtureRequest) -> list[str]:
    """The arguments that name the engine's images; a skip that says why where there is no engine or no image."""
    command = {"charliecloud": "ch-run"}.get(engine, engine)
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not on PATH")
    if engine == "charliecloud":
        folder = os.environ.get("NXF_CHARLIECLOUD_CACHEDIR")
        for target in TARGETS:
            if not (folder and Path(folder, "img", f"cellpredx-{target}+{__version__}").is_dir()):
                pytest.skip(f"NXF_CHARLIECLOUD_CACHEDIR has no image {target}: docs/sites.md puts it there")
        return []
    if engine in ("docker", "podman"):
        for target in TARGETS:
            image = f"cellpredx-{target}:{__version__}"
            if subprocess.run([engine, "image", "inspect", image], capture_output=True).returncode:
                pytest.skip(f"{engine} has no image {image}: `make images` builds it for Docker")
        return []
    sifs = ROOT / request.config.getoption("--image-dir")
    for target in TARGETS:
        if not (sifs / f"cellpredx-{target}-{__version__}.sif").is_file():
            pytest.skip(f"{sifs} has no .sif of {target}: `make sifs` builds it")
    return ["--image_dir", str(sifs)]


def equal(ours: Run, theirs: Run) -> None:
    """The same labels but for one cell in a thousand, and probabilities within 1e-4."""
    a, b = (run.table("groups/all/query/predictions.csv") for run in (ours, theirs))
    assert [row["barcode"] for row in a] == [row["barcode"] for row in b]
    assert sum(x["predicted"] != y["predicted"] for x, y in zip(a, b, strict=True)) <= 0.001 * len(a)
    for name in a[0]:
        if name.startswith("p_"):
            assert max(abs(float(x[name]) - float(y[name])) for x, y in zip(a, b, strict=True)) <= 1e-4, name


@pytest.mark.parametrize("engine", ["docker", "podman", "singularity", "apptainer", "charliecloud"])
def test_engine(engine: str, data: Path, local: Run, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    where = images(engine, request)
    run = run_pipeline(tmp_path, "--input", str(data / "sheet.csv"), *FAST, *where, profile=f"{engine},test")
    equal(local, succeeded(run))
    mine = [path for path in run.outdir.rglob("*") if path.stat().st_uid != os.getuid()]
    assert not mine, "files of another user"


class Jobs(threading.Thread):
    """What Slurm tells of its jobs while a run goes on, by name."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.told: dict[str, str] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(1):
            done = subprocess.run(["scontrol", "-o", "show", "job"], capture_output=True, text=True)
            for line in done.stdout.splitlines():
                name = re.search(r"JobName=(\S+)", line)
                if name:
                    self.told[name.group(1)] = line


@pytest.mark.parametrize("engine", [None, "apptainer"])
def test_slurm_sends_trainings_alone_to_gpus(
    engine: str | None, data: Path, local: Run, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if shutil.which("sinfo") is None:
        pytest.skip("Slurm is not on PATH")
    partitions = subprocess.run(["sinfo", "-h", "-o", "%R"], capture_output=True, text=True).stdout.split()
    if not {"batch", "gpu"} <= set(partitions):
        pytest.skip("no Slurm with the partitions batch and gpu")
    where = images(engine, request) if engine else []
    jobs = Jobs()
    jobs.start()
    profile = ",".join(["slurm", "gpu", "test", *([engine] if engine else [])])
    arguments = ["--input", str(data / "sheet.csv"), "--device", "cpu", *FAST, *where]
    run = run_pipeline(tmp_path, *arguments, profile=profile)
    jobs.ended.set()
    jobs.join()
    equal(local, succeeded(run))
    own = {name: line for name, line in jobs.told.items() if "CELLPREDX" in name and str(tmp_path) in line}
    assert any("TRAIN" in name for name in own)
    assert len(own) > 5
    for name, line in own.items():
        training = "TRAIN" in name
        assert ("Partition=gpu " in line) == training, line
        assert ("TresPerNode=gres/gpu:1" in line or "TresPerNode=gres:gpu:1" in line) == training, line
