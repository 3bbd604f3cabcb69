"""What is told of a node and an image before the work begins."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cellpredx.core.errors import UserError
from cellpredx.preflight.gpu import look_for_gpu
from cellpredx.preflight.tools import look_for_tools

ROOT = Path(__file__).parents[2]
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


def test_tools_are_told_with_what_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found, missing = look_for_tools(["core", "torch", "peaks", "report"])
    assert set(found) == {"scanpy", "torch"}
    assert [error.what for error in missing] == [
        "macs3 is missing, which tasks of the image peaks need",
        "multiqc is missing, which tasks of the image report need",
    ]
    assert all("make images" in str(error) for error in missing)


@pytest.mark.parametrize(("device", "accelerator"), [("auto", False), ("cpu", False), ("cpu", True)])
def test_without_a_wish_for_a_gpu_none_is_looked_for(device: str, accelerator: bool) -> None:
    assert look_for_gpu(device, accelerator) is None


def test_cuda_needs_a_request_for_a_gpu() -> None:
    with pytest.raises(UserError, match="the tasks that train request no GPU") as caught:
        look_for_gpu("cuda", False)
    assert "add gpu to -profile" in str(caught.value)


@no_gpu
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_that_was_requested_must_be_there(device: str) -> None:
    with pytest.raises(UserError, match="a GPU was requested") as caught:
        look_for_gpu(device, True)
    assert "--device cpu" in str(caught.value)


@no_gpu
def test_a_card_that_torch_cannot_use_is_named_with_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.version.cuda is None:
        pytest.skip("torch was built for the CPU alone")
    command = tmp_path / "nvidia-smi"
    command.write_text('#!/bin/sh\ncase "$1" in *=name) echo "Tesla K80";; *) echo 390.10;; esac\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(
        UserError, match=f"torch for CUDA {torch.version.cuda} cannot use Tesla K80 with the driver 390.10"
    ):
        look_for_gpu("auto", True)


def test_the_verb_writes_what_it_finds(tmp_path: Path, run_verb: Callable[..., Any]) -> None:
    out = tmp_path / "preflight.json"
    run_verb("preflight", "--images", "core", "torch", "--device", "cuda", "--out", out)
    found = json.loads(out.read_text())
    assert found["tools"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["free_gb"] > 0
    assert [one["what"] for one in found["problems"]] == [
        "--device cuda was asked for, and the tasks that train request no GPU"
    ]


@pytest.mark.parametrize("version", ["0.0.9", None])
def test_an_image_of_another_version_is_told_by_its_preflight_and_refused_elsewhere(
    tmp_path: Path, version: str | None
) -> None:
    # The package of the image: another version, or none.
    if version:
        (tmp_path / "cellpredx").mkdir()
        (tmp_path / "cellpredx" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    command = [sys.executable, "-S", str(ROOT / "bin" / "cellpredx")]
    environment = {"PYTHONPATH": str(tmp_path)}

    def run(verb: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, verb], cwd=tmp_path, env=environment, capture_output=True, text=True)

    looked = run("preflight")
    assert (looked.returncode, looked.stderr) == (0, "")
    problem = json.loads((tmp_path / "preflight.json").read_text())["problems"][0]
    assert (version or "has no package cellpredx") in problem["what"]
    assert "make images" in problem["remedy"]
    refused = run("train")
    assert refused.returncode == 1
    assert f"ERROR: {problem['what']}\n" in refused.stderr
