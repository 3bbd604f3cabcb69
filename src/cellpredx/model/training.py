"""Training of a CellPredX model: linear encoder and classifier, five losses, last weights."""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellpredx.core.errors import UserError
from cellpredx.core.progress import Progress
from cellpredx.model import losses
from cellpredx.model.features import Cells
from cellpredx.model.presets import Hyperparameters
from cellpredx.model.weights import LOSSES, Training, Weights


def _orders(cells: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
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


class Network(nn.Module):
    """Encoder z = W_e x + b_e, classifier l = W_c z + b_c, and the attention over the dimensions of z.

    W_e lies with a feature a row, (G, m), as the sparse products read and write it.
    """

    def __init__(self, features: int, types: int, h: Hyperparameters) -> None:
        super().__init__()
        encoder = nn.Linear(features, h.dimensions)
        self.weight = nn.Parameter(encoder.weight.detach().T.contiguous())
        self.bias = nn.Parameter(encoder.bias.detach())
        self.classifier = nn.Linear(h.dimensions, types)
        self.attention = losses.Attention(h.dimensions, h.attention_width)

    def penalised(self) -> list[Tensor]:
        """Return the weights that L1 shrinks: those of encoder and classifier."""
        return [self.weight, self.classifier.weight]


@dataclass
class Objective:
    """The weighted terms of an iteration, CE, PR, CL, FA and SC, and what moves the centres."""

    terms: list[Tensor]
    z: Tensor
    labels: Tensor
    attention: Tensor


def objective(
    network: Network, z_r: Tensor, z_q: Tensor, z_n: Tensor, y_r: Tensor, centres: Tensor, h: Hyperparameters
) -> Objective:
    """Return the terms for embeddings of B reference cells, B query cells and a neighbour of each of these.

    z_r, z_q, z_n (B, m); y_r (B,) labels of the reference cells; centres (K, m). L1 is not among the terms: its
    gradient is added by itself.
    """
    loss_cl = loss_fa = torch.zeros((), dtype=z_r.dtype, device=z_r.device)
    loss_ce = losses.cross_entropy(network.classifier(z_r), y_r)
    loss_pr = losses.projection(z_r, z_q)
    if h.alpha > 0:
        loss_cl = losses.contrastive(z_q, z_n, h.tau)
    if h.beta > 0:
        loss_fa = losses.alignment(z_r, z_q, h.aligned_share)
    with torch.no_grad():
        best, pseudo = network.classifier(z_q).softmax(dim=1).max(dim=1)
        sure = best.topk(max(1, int(h.confident_share * len(z_q)))).indices
    z = torch.cat([z_r, z_q[sure]])
    y = torch.cat([y_r, pseudo[sure]])
    attention = network.attention(z)
    loss_sc = losses.sparse_centre(z, y, attention, centres)
    terms = [loss_ce, h.projection_weight * loss_pr, h.alpha * loss_cl, h.beta * loss_fa, h.gamma * loss_sc]
    return Objective(terms, z.detach(), y, attention.detach())


class Batches:
    """The cells of every iteration, drawn in advance, their features gathered beside the arithmetic."""

    def __init__(self, cells: Cells, references: int, neighbours: NDArray[np.int64], h: Hyperparameters, seed: int):
        self.cells, self.references, self.alpha = cells, references, h.alpha
        self.near = torch.from_numpy(neighbours)
        self.size = min(h.batch_size, references, len(cells) - references)
        self.generator = torch.Generator().manual_seed(seed)
        self.orders = (
            _orders(references, self.size, self.generator),
            _orders(len(cells) - references, self.size, self.generator),
        )

    def _draw(self) -> tuple[Tensor, Tensor]:
        """Return B rows of the reference, and B rows of the query with a neighbour of each."""
        rows_r, rows_q = (next(order) for order in self.orders)
        pick = torch.randint(self.near.shape[1], (self.size,), generator=self.generator)
        rows_n = self.near[rows_q, pick] if self.alpha > 0 else rows_q[:0]
        return rows_r, torch.cat([rows_q, rows_n])

    def __iter__(self) -> Iterator[tuple[Tensor, Any]]:
        """Yield (rows of the reference, features of reference, query and neighbours) without end."""

        def gather(rows_r: Tensor, rows_q: Tensor) -> tuple[Tensor, Any]:
            return rows_r, self.cells.batch(torch.cat([rows_r, rows_q + self.references]))

        with ThreadPoolExecutor(1) as beside:
            following = beside.submit(gather, *self._draw())
            while True:
                current = following.result()
                following = beside.submit(gather, *self._draw())
                yield current


def train(
    cells: Cells,
    references: int,
    labels: NDArray[np.int64],
    types: int,
    neighbours: NDArray[np.int64],
    h: Hyperparameters,
    seed: int,
    what: str = "training",
) -> Training:
    """Train on labelled reference cells and unlabelled query cells.

    cells: normalised features, the reference in the first `references` rows, the query below; labels: (references,)
    numbers below `types`; neighbours: (N_Q, k) from the query's own graph. The batch is min(B, N_R, N_Q). Raises
    UserError where the loss stops being a number.
    """

    def array(tensor: Tensor) -> NDArray[np.float32]:
        return tensor.detach().cpu().numpy().copy()

    device = cells.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(cells.sparse.shape[1], types, h).to(device)
    optimiser = torch.optim.SGD(
        network.parameters(), lr=h.learning_rate, momentum=h.momentum, weight_decay=h.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=max(1, h.iterations // 2), gamma=0.1)

    y = torch.from_numpy(labels).to(device)
    centres = torch.from_numpy(_class_means(cells, references, labels, types, network)).to(device)
    batches = Batches(cells, references, neighbours, h, seed)
    flat = _Flat(h.patience, h.flat)
    log: dict[str, list[float]] = {name: [] for name in ("iteration", *LOSSES)}
    progress = Progress(what, h.iterations, "iterations")
    stopped, iteration = "iterations", 0

    for iteration, (rows_r, batch) in zip(range(1, h.iterations + 1), batches, strict=False):
        z_r, z_q, z_n = cells.encode(batch, network.weight, network.bias).tensor_split([batches.size, 2 * batches.size])
        found = objective(network, z_r, z_q, z_n, y[rows_r.to(device)], centres, h)
        total = torch.stack(found.terms).sum()
        looks = iteration % h.evaluate_every == 0 or iteration in (1, h.iterations)
        # On a GPU a look at the loss waits for it.
        if (looks or device.type == "cpu") and not math.isfinite(float(total.detach())):
            raise _diverged(iteration, found, h, what)
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        losses.add_l1_gradient(network.penalised(), h.l1_weight)
        if looks:
            penalty = h.l1_weight * float(losses.l1([w.detach() for w in network.penalised()]))
            values = [float(term.detach()) for term in found.terms]
            for name, value in zip(log, [iteration, sum(values) + penalty, *values], strict=True):
                log[name].append(value)
            progress.update(iteration, f"loss {log['total'][-1]:.4f}")
        optimiser.step()
        schedule.step()
        losses.update_centres(centres, found.z, found.labels, found.attention, h.centre_rate)
        if looks and h.gamma > 0 and flat.reached(log["sparse_centre"][-1]):
            stopped = "early"
            break
    progress.close(iteration, f"stopped: {stopped}")
    result = Weights(
        np.ascontiguousarray(array(network.weight).T),
        array(network.bias),
        array(network.classifier.weight),
        array(network.classifier.bias),
        array(centres),
    )
    if not all(np.isfinite(part).all() for part in (*result.folded(), result.centres)):
        raise _diverged(iteration, found, h, what)
    return Training(result, iteration, stopped, log)


def _class_means(
    cells: Cells, references: int, labels: NDArray[np.int64], types: int, network: Network
) -> NDArray[np.float32]:
    """Return the first centres, (K, m): the mean embedding of every type's reference cells."""
    member = sp.csr_matrix((np.ones(references), (labels, np.arange(references))), shape=(types, references))
    counts = np.maximum(np.asarray(member.sum(axis=1)), 1)
    means = (member @ cells.sparse[:references]) / counts
    weight, bias = network.weight.detach().cpu().numpy(), network.bias.detach().cpu().numpy()
    return np.asarray(means @ weight, dtype=np.float32) + bias


def _diverged(iteration: int, found: Objective, h: Hyperparameters, what: str) -> UserError:
    values = ", ".join(f"{n} {float(v.detach()):.3g}" for n, v in zip(LOSSES[1:], found.terms, strict=True))
    return UserError(
        f"the loss is no number any more at iteration {iteration}: {values}",
        what,
        f"lower the learning rate: --hyperparameters learning_rate={h.learning_rate / 10:g}",
    )
