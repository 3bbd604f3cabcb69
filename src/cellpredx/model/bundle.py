"""The model bundle: one folder with everything that prediction needs, every file with its checksum."""

import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cellpredx import __version__
from cellpredx.core.bundle_info import read_info, write_info
from cellpredx.core.errors import UserError
from cellpredx.core.features import read_features
from cellpredx.core.files import atomic
from cellpredx.model.calibration import Calibration
from cellpredx.model.members import Ensemble
from cellpredx.model.presets import Hyperparameters
from cellpredx.model.weights import LOSSES, Fit


@dataclass(frozen=True)
class Bundle:
    """What prediction and explanation need of a trained model.

    encoder (m, G) and (m,): z = x encoder^T + b; ensemble: logits = x folded^T + b, folded (K, G), and what a preset
    has beside that; `features`: G rows, index name; `info`: bundle.json. reference_labels: numbers of the types of the
    cells of reference_embedding, none in older bundles.
    """

    encoder_weight: NDArray[np.float32]
    encoder_bias: NDArray[np.float32]
    ensemble: Ensemble
    reference_embedding: NDArray[np.float32]
    reference_labels: NDArray[np.int64] | None
    features: pd.DataFrame
    labels: list[str]
    calibration: Calibration
    info: dict[str, Any]

    @property
    def folded_weight(self) -> NDArray[np.float32]:
        """All that is linear in a cell's features, (K, G)."""
        return self.ensemble.weight

    @property
    def folded_bias(self) -> NDArray[np.float32]:
        """The bias beside it, (K,)."""
        return self.ensemble.bias


def _versions() -> dict[str, str]:
    """Return the versions of what makes the numbers of a bundle."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("numpy", "scipy", "torch")},
    }


def write(
    folder: str | Path, fit: Fit, features: pd.DataFrame, labels: list[str], h: Hyperparameters, info: dict[str, Any]
) -> None:
    """Write a bundle; `info` adds where it comes from (scenario, modalities, preset, recipe, references, seed)."""
    weights = fit.training.weights
    calibration = {k: v for k, v in vars(fit.calibration).items() if k not in ("confidence", "correct")}
    with atomic(folder) as part:
        part.mkdir()
        tensors = {
            "encoder.weight": weights.encoder_weight,
            "encoder.bias": weights.encoder_bias,
            "classifier.weight": weights.classifier_weight,
            "classifier.bias": weights.classifier_bias,
            **fit.ensemble.tensors(),
            "centres": weights.centres,
            "reference_embedding": fit.reference_embedding,
            "reference_labels": fit.reference_labels,
            "held_out.confidence": fit.calibration.confidence,
            "held_out.correct": fit.calibration.correct,
        }
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, part / "weights.safetensors")
        features.rename_axis("name").to_csv(part / "features.csv", lineterminator="\n")
        log = pd.DataFrame(fit.training.log)[["iteration", *LOSSES]].astype({"iteration": int})
        log.to_csv(part / "training_log.csv", index=False, float_format="%.6g", lineterminator="\n")
        write_info(
            {
                "version": __version__,
                "made_with": _versions(),
                **info,
                "labels": labels,
                "hyperparameters": asdict(h),
                "calibration": calibration,
                "network_share": fit.ensemble.network_share,
                "iterations": fit.training.iterations,
                "stopped": fit.training.stopped,
            },
            part,
        )


def read(folder: str | Path) -> Bundle:
    """Read a bundle. Raises UserError for a folder that is none, a newer format, and a file that was changed."""
    folder = Path(folder)
    info = read_info(folder)
    try:
        tensors = load_file(folder / "weights.safetensors")
    except SafetensorError as error:
        raise UserError(f"the weights cannot be read: {error}", folder.name, "copy the bundle again") from error
    features = read_features(folder / "features.csv")
    return Bundle(
        tensors["encoder.weight"],
        tensors["encoder.bias"],
        Ensemble.read(tensors),
        tensors["reference_embedding"],
        tensors.get("reference_labels"),
        features,
        list(info["labels"]),
        Calibration(
            confidence=tensors["held_out.confidence"], correct=tensors["held_out.correct"], **info["calibration"]
        ),
        info,
    )
