"""Which device training runs on."""

import torch

from cellpredx.core.errors import UserError


def choose(device: str) -> torch.device:
    """Return the device for auto, cpu or cuda; `auto` takes a GPU where there is one.

    Raises UserError where a GPU is asked for and none is there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda was asked for, and there is no GPU here",
            None,
            "run with -profile gpu on a node with an NVIDIA GPU and driver, or with --device auto or cpu",
        )
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
