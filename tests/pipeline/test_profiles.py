"""Where the profiles put a task, and what they give its container."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.pipeline.conftest import ENGINE, ROOT

SITE = f"""
params.image_dir = params.image_dir ?: '/images'

includeConfig '{ROOT}/nextflow.config'

process {{
    queue          = {{ task.accelerator ? 'cards' : 'normal' }}
    clusterOptions = {{ "--account=lab${{task.accelerator ? " --gres=gpu:a100:${{task.accelerator.request}}" : ''}}" }}
}}
"""
CLOUDS = ("awsbatch", "google_batch", "azurebatch", "kubernetes", "lsf")


def nextflow(parser: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    if ENGINE is None:
        pytest.skip("no `nextflow` on PATH, and the variable NEXTFLOW names none")
    environment = {**os.environ, "NXF_SYNTAX_PARSER": parser, "NXF_OFFLINE": "true"}
    return subprocess.Popen(
        [ENGINE, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wrappers(parser: str, profile: str, folder: Path) -> dict[str, str]:
    """Of each process of placement.nf, the script that the engine starts or submits, able to run or not."""
    (folder / "site.config").write_text(SITE)
    script = str(ROOT / "tests" / "support" / "placement.nf")
    found: dict[str, str] = {}
    with nextflow(parser, folder, "run", script, "-ansi-log", "false", "-c", "site.config", "-profile", profile) as run:
        ended = False
        while len(found) < 2 and not ended:
            ended = run.poll() is not None
            for path in folder.glob("work/*/*/.command.run"):
                text = path.read_text()
                if text.endswith("$NXF_ENTRY\n"):
                    found[text.split("### name: '")[1].split("'")[0]] = text
            time.sleep(0.2)
        run.terminate()
        said = run.communicate()[0]
    assert set(found) == {"TRAIN", "INGEST_FRAGMENTS"}, said
    return found


@pytest.mark.parametrize(
    ("parser", "profile", "run", "option"),
    [
        ("v1", "gpu,docker", "docker run", "--gpus all"),
        ("v2", "podman,gpu", "podman run", "--device nvidia.com/gpu=all"),
        ("v2", "singularity,gpu", "singularity exec", "--nv"),
        ("v1", "slurm,apptainer,gpu", "apptainer exec", "--nv"),
        ("v2", "gpu,slurm,apptainer", "apptainer exec", "--nv"),
    ],
)
def test_gpu_tasks_alone_get_a_gpu(parser: str, profile: str, run: str, option: str, tmp_path: Path) -> None:
    found = wrappers(parser, profile, tmp_path)
    for name, text in found.items():
        command = next(line for line in text.splitlines() if f"{run} " in line)
        image = "torch" if name == "TRAIN" else "core"
        assert f"/images/cellpredx-{image}-" in command
        assert (f" {option} " in command) == (name == "TRAIN"), command
    if "slurm" in profile:
        for name, partition, resources in (
            ("TRAIN", "cards", "--account=lab --gres=gpu:a100:1"),
            ("INGEST_FRAGMENTS", "normal", "--account=lab"),
        ):
            header = [line.removeprefix("#SBATCH ") for line in found[name].splitlines() if line.startswith("#SBATCH")]
            assert f"-p {partition}" in header
            assert resources in header


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_examples_of_sites_resolve(parser: str, tmp_path: Path) -> None:
    arguments = [part for name in CLOUDS for part in ("-c", str(ROOT / "conf" / "sites" / f"{name}.config"))]
    with nextflow(parser, tmp_path, *arguments, "config", str(ROOT), "-profile", "gpu,test_full") as run:
        said = run.communicate()[0]
    assert run.returncode == 0, said
    for word in ("executor = 'lsf'", "cliPath", "installGpuDrivers", "allowPoolCreation", "storageClaimName"):
        assert word in said, word
    assert "container = '/path/to/images/cellpredx-core-" in said
