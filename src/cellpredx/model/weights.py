"""What a fit leaves: weights, the course of the training, and its calibration. No torch is needed to read them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cellpredx.model.calibration import Calibration
from cellpredx.model.members import Ensemble

LOSSES = ("total", "cross_entropy", "projection", "contrastive", "alignment", "sparse_centre")


@dataclass
class Weights:
    """A trained model: z = W_e x + b_e, l = W_c z + b_c. Shapes (m, G), (m,), (K, m), (K,), centres (K, m)."""

    encoder_weight: NDArray[np.float32]
    encoder_bias: NDArray[np.float32]
    classifier_weight: NDArray[np.float32]
    classifier_bias: NDArray[np.float32]
    centres: NDArray[np.float32]

    def folded(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return M = W_c W_e, (K, G), and its bias: the two layers as one product."""
        weight = self.classifier_weight.astype(np.float64) @ self.encoder_weight.astype(np.float64)
        bias = self.classifier_weight.astype(np.float64) @ self.encoder_bias + self.classifier_bias
        return weight.astype(np.float32), bias.astype(np.float32)


@dataclass
class Training:
    """The result of a training and its course."""

    weights: Weights
    iterations: int
    stopped: str
    log: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class Fit:
    """A trained model, its calibration (on whole batches held out, or not), and some reference cells: embeddings (n, m)
    and numbers of their types (n,).

    `ensemble`: what predicts, the network and what a preset has beside it.
    """

    training: Training
    calibration: Calibration
    reference_embedding: NDArray[np.float32]
    reference_labels: NDArray[np.int64]
    held_out_by_batch: bool
    ensemble: Ensemble
