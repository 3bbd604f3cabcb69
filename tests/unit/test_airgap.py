"""What starts the pipeline of an air gap's folder."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("profile", "sifs"),
    [
        ("apptainer", True),
        ("test,singularity", True),
        ("gpu,docker,test", False),
        ("podman", False),
    ],
)
def test_sif_images_go_to_the_engines_that_run_them(tmp_path: Path, profile: str, sifs: bool) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cellpredx-core-0.1.0.sif").touch()
    shutil.copy(ROOT / "engine" / "cellpredx", tmp_path / "engine")
    for command in ("engine/nextflow", "java"):
        (tmp_path / command).write_text('#!/bin/bash\necho "$@"\n')
        (tmp_path / command).chmod(0o755)
    started = [str(tmp_path / "engine" / "cellpredx"), "-profile", profile, "--input", "sheet.csv"]
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    said = subprocess.run(started, env=path, capture_output=True, text=True, check=True).stdout
    images = f"--image_dir {tmp_path}/images " if sifs else ""
    assert said.strip() == f"run {tmp_path} {images}-profile {profile} --input sheet.csv"
