"""Where training runs, and what happens when the memory there is too small."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from cellpredx.core.errors import UserError

OUT_OF_MEMORY = 175
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A device, and whether the cells' features are resident on it or streamed to it, a batch at a time."""

    device: torch.device
    resident: bool = True

    def __str__(self) -> str:
        if self.device.type == "cpu":
            return "the CPU"
        return f"the GPU, features {'resident' if self.resident else 'streamed'}"


CPU = Place(torch.device("cpu"))


def places(device: str) -> list[Place]:
    """Return where training may run for auto, cpu or cuda, the first choice first.

    A GPU with the features resident on it, then streamed to it, and for `auto` then the CPU. Raises UserError where a
    GPU is asked for and none is there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda was asked for, and there is no GPU here",
            None,
            "run with -profile gpu on a node with an NVIDIA GPU and driver, or with --device auto or cpu",
        )
    if device == "cpu" or not torch.cuda.is_available():
        return [CPU]
    gpu = torch.device("cuda")
    return [Place(gpu), Place(gpu, resident=False), *([CPU] if device == "auto" else [])]


def _is_out_of_memory(error: BaseException) -> bool:
    """Tell errors of too little memory: torch's own, and those of the GPU's libraries, which have no class."""
    words = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)


def first_that_fits(candidates: list[Place], run: Callable[[Place], T]) -> tuple[T, Place, list[str]]:
    """Return what `run` gives at the first place whose memory suffices, that place, and a warning for each before it.

    Each try starts from the beginning, so that the result is that of its place. Raises UserError with exit code 175,
    which the workflow retries, where none suffices.
    """
    warnings: list[str] = []
    for place in candidates:
        try:
            return run(place), place, warnings
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            warnings.append(f"the memory was too small on {place}")
        if place.device.type == "cuda":
            torch.cuda.empty_cache()
    raise UserError(
        "; ".join(warnings),
        None,
        "give the task more memory, on a GPU too, or fewer cells by --max_train_cells, or train with --device auto",
        code=OUT_OF_MEMORY,
    )
