"""Whether the GPU that a run asks for is there, and which it is."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cellpredx.core.errors import UserError

DRIVER = Path("/proc/driver/nvidia/version")
WITHOUT = "to train on the CPU, leave gpu out of -profile, or give --device cpu"


def _nvidia_smi(field: str) -> list[str]:
    """Return a field of every card that nvidia-smi shows; none where there is no such command."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def driver_version() -> str | None:
    """Return the version of the node's NVIDIA driver, None where none is seen.

    The kernel tells it inside containers too; where it does not, nvidia-smi may.
    """
    if DRIVER.is_file():
        found = re.search(r"\b\d+\.\d+(?:\.\d+)*\b", DRIVER.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[0]
    return next(iter(_nvidia_smi("driver_version")), None)


def look_for_gpu(device: str, accelerator: bool) -> dict[str, Any] | None:
    """Return the GPU that training will run on (name, memory in GB, driver, torch's CUDA); None for the CPU.

    Training runs on a GPU where the task was given one and `device` is not cpu: it must then be usable, for auto too,
    as nobody asks for a GPU in order to wait for the CPU. Raises UserError where it is not, and where `device` is cuda
    and the task was given none.
    """
    if device == "cuda" and not accelerator:
        raise UserError(
            "--device cuda was asked for, and the tasks that train request no GPU",
            None,
            "add gpu to -profile, or set `accelerator` for the label process_gpu; --device auto trains on the CPU",
        )
    if device == "cpu" or not accelerator:
        return None
    import torch

    try:
        # What a card cannot do is told by its first computation.
        torch.ones(2, device="cuda").sum().item()
    except (RuntimeError, AssertionError) as error:
        raise _unusable(str(error), torch.version.cuda) from None
    about = torch.cuda.get_device_properties(0)
    memory = round(about.total_memory / 1e9, 1)
    return {"name": about.name, "memory_gb": memory, "driver": driver_version(), "cuda": torch.version.cuda}


def _unusable(said: str, cuda: str | None) -> UserError:
    """Return the error for a GPU that was requested and that torch cannot use, from what torch said."""
    driver, cards = driver_version(), _nvidia_smi("name")
    said = said.strip().partition("\n")[0]
    if cuda is None:
        what = "a GPU was requested, and torch was built for the CPU alone"
        remedy = "build the image torch with the usual index of packages"
    elif driver is None:
        what = "a GPU was requested, and there is no NVIDIA driver where the task runs"
        remedy = "run on a node with an NVIDIA GPU and driver: on a cluster, in its queue"
    elif cards:
        what = f"torch for CUDA {cuda} cannot use {', '.join(cards)} with the driver {driver} ({said})"
        remedy = (
            f"update the driver to one for CUDA {cuda}, or build the image torch for the CUDA that the driver knows"
        )
    else:
        what = f"a GPU was requested, and the task sees no card; the driver is {driver} ({said})"
        remedy = (
            "on a cluster, ask for a card (Slurm: --gres=gpu:1); containers see it by the NVIDIA Container Toolkit "
            "(docker), a CDI specification (podman) or --nv (singularity, apptainer), which -profile gpu gives"
        )
    return UserError(what, None, f"{remedy}; {WITHOUT}")
