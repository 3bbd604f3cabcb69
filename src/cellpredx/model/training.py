"""Training of a CellPredX model: linear encoder and classifier, five losses, last weights."""

import math
from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cellpredx.core.errors import UserError
from cellpredx.core.progress import Progress
from cellpredx.model import losses
from cellpredx.model.features import Cells
from cellpredx.model.presets import Hyperparameters
from cellpredx.model.weights import LOSSES, Training, Weights


def _batches(cells: int, size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Yield batches of `size` distinct cells without end: a new order whenever too few are left."""
    order = torch.randperm(cells, generator=generator)
    at = 0
    while True:
        if at + size > cells:
            order = torch.randperm(cells, generator=generator)
            at = 0
        yield order[at : at + size]
        at += size


class _Flat:
    """Early stop: the moving average of the sparse centre loss is flat, `patience` times in a row."""

    def __init__(self, patience: int, flat: float) -> None:
        self.window: deque[float] = deque(maxlen=patience)
        self.patience, self.flat = patience, flat
        self.previous = math.nan
        self.calm = 0

    def reached(self, loss: float) -> bool:
        self.window.append(loss)
        if len(self.window) < self.patience:
            return False
        average = sum(self.window) / len(self.window)
        change = abs(average - self.previous) / max(abs(self.previous), 1e-12)
        self.previous = average
        self.calm = self.calm + 1 if change < self.flat else 0
        return self.calm >= self.patience


def train(
    reference: Cells,
    labels: NDArray[np.int64],
    types: int,
    query: Cells,
    neighbours: NDArray[np.int64],
    h: Hyperparameters,
    seed: int,
    what: str = "training",
) -> Training:
    """Train on labelled reference cells and unlabelled query cells.

    reference, query: normalised features, the same G; labels: (N_R,) numbers below `types`; neighbours: (N_Q, k)
    from the query's own graph. The batch is min(B, N_R, N_Q). Raises UserError where the loss stops being a number.
    """

    def array(tensor: torch.Tensor) -> NDArray[np.float32]:
        return tensor.detach().cpu().numpy().copy()

    device = reference.device
    features = reference.sparse.shape[1]
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = nn.Linear(features, h.dimensions)
        classifier = nn.Linear(h.dimensions, types)
        attention = losses.Attention(h.dimensions, h.attention_width)
    # The encoder's weights lie with a feature a row, as the sparse products read and write them.
    encoder = nn.Module()
    encoder.weight = nn.Parameter(start.weight.detach().T.contiguous())
    encoder.bias = start.bias
    modules = nn.ModuleList([encoder, classifier, attention]).to(device)
    optimiser = torch.optim.SGD(
        modules.parameters(), lr=h.learning_rate, momentum=h.momentum, weight_decay=h.weight_decay
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=max(1, h.iterations // 2), gamma=0.1)

    y = torch.from_numpy(labels).to(device)
    first = reference.embed(array(encoder.weight), array(encoder.bias))
    means = np.stack([first[labels == k].mean(axis=0) for k in range(types)])
    centres = torch.from_numpy(means).to(device)
    near = torch.from_numpy(neighbours)
    size = min(h.batch_size, len(reference), len(query))
    reference_batches = _batches(len(reference), size, generator)
    query_batches = _batches(len(query), size, generator)
    confident = max(1, int(h.confident_share * size))
    flat = _Flat(h.patience, h.flat)
    log: dict[str, list[float]] = {name: [] for name in ("iteration", *LOSSES)}
    progress = Progress(what, h.iterations, "iterations")
    stopped, iteration = "iterations", 0

    for iteration in range(1, h.iterations + 1):
        rows_r, rows_q = next(reference_batches), next(query_batches)
        pick = torch.randint(near.shape[1], (size,), generator=generator)
        z_r = reference.encode(rows_r, encoder.weight, encoder.bias)
        rows_n = near[rows_q, pick] if h.alpha > 0 else rows_q[:0]
        z_q, z_n = query.encode(torch.cat([rows_q, rows_n]), encoder.weight, encoder.bias).tensor_split([size])
        y_r = y[rows_r.to(device)]

        loss_ce = losses.cross_entropy(classifier(z_r), y_r)
        loss_pr = losses.projection(z_r, z_q)
        loss_cl = loss_fa = torch.zeros((), device=device)
        if h.alpha > 0:
            loss_cl = losses.contrastive(z_q, z_n, h.tau)
        if h.beta > 0:
            loss_fa = losses.alignment(z_r, z_q, h.aligned_share)
        with torch.no_grad():
            best, pseudo = classifier(z_q).softmax(dim=1).max(dim=1)
            sure = best.topk(confident).indices
        z = torch.cat([z_r, z_q[sure]])
        y_all = torch.cat([y_r, pseudo[sure]])
        weights = attention(z)
        loss_sc = losses.sparse_centre(z, y_all, weights, centres)
        theta = torch.cat([encoder.weight.flatten(), classifier.weight.flatten()])
        terms = [loss_ce, h.projection_weight * loss_pr, h.alpha * loss_cl, h.beta * loss_fa, h.gamma * loss_sc]
        total = sum(terms) + h.l1_weight * theta.abs().mean()
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses.update_centres(centres, z.detach(), y_all, weights.detach(), h.centre_rate)

        if iteration % h.evaluate_every == 0 or iteration == 1:
            values = [float(v.detach()) for v in (total, *terms)]
            if not all(map(math.isfinite, values)):
                raise UserError(
                    f"the loss is no number any more at iteration {iteration}: "
                    + ", ".join(f"{n} {v:.3g}" for n, v in zip(LOSSES, values, strict=True)),
                    what,
                    f"lower the learning rate: --hyperparameters learning_rate={h.learning_rate / 10:g}",
                )
            for name, value in zip(log, [iteration, *values], strict=True):
                log[name].append(value)
            progress.update(iteration, f"loss {values[0]:.4f}")
            if h.gamma > 0 and flat.reached(values[-1]):
                stopped = "early"
                break
    progress.close(iteration, f"stopped: {stopped}")
    result = Weights(
        np.ascontiguousarray(array(encoder.weight).T),
        array(encoder.bias),
        array(classifier.weight),
        array(classifier.bias),
        array(centres),
    )
    return Training(result, iteration, stopped, log)
