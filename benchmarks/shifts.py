"""Queries made harder in known ways: what the preset `tuned` is studied on, and held to."""

from collections.abc import Callable
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from real_tasks import Task, scenario_of

from cellpredx.model.normalise import is_log1p

Floats = NDArray[np.float64]
Shift = Callable[[Task, np.random.Generator], Task]
TARGET = 1e4


def _counts(task: Task) -> tuple[sp.csr_matrix, bool]:
    """Return the query's counts as float64, or the normalised values under its log1p, and whether they are these."""
    x = sp.csr_matrix(task.query.X, dtype=np.float64)
    is_log = is_log1p(task.query.uns["cellpredx"])
    if is_log:
        x.data = np.expm1(x.data)
    return x, is_log


def _with(task: Task, x: sp.csr_matrix, is_log: bool, kept: NDArray[np.bool_] | None = None) -> Task:
    """Return the task with another query matrix, and the cells `kept` of it that have counts."""
    if is_log:
        totals = np.asarray(x.sum(axis=1)).ravel()
        x.data = np.log1p(x.data * np.repeat(TARGET / np.maximum(totals, 1e-9), np.diff(x.indptr)))
    x.eliminate_zeros()
    query = task.query.copy()
    query.X = sp.csr_matrix(x, dtype=np.float32)
    rows = np.asarray(x.sum(axis=1)).ravel() > 0
    rows &= True if kept is None else kept
    graph = task.graph[rows].copy() if task.graph is not None else None
    return replace(task, query=query[rows].copy(), graph=graph, truth=task.truth[rows].reset_index(drop=True))


def _scaled(x: sp.csr_matrix, factors: Floats, is_log: bool, rng: np.random.Generator) -> sp.csr_matrix:
    x = x.copy()
    x.data = x.data * factors if is_log else rng.poisson(x.data * factors).astype(np.float64)
    return x


def treated(strength: float) -> Shift:
    """Change 30 % of the features, in all cells alike, by log-normal factors."""

    def shift(task: Task, rng: np.random.Generator) -> Task:
        x, is_log = _counts(task)
        factors = np.exp(rng.normal(0, strength, x.shape[1]) * (rng.random(x.shape[1]) < 0.3))
        return _with(task, _scaled(x, factors[x.indices], is_log, rng), is_log)

    return shift


def treated_by_type(strength: float) -> Shift:
    """Change 20 % of the features of each type by factors of its own."""

    def shift(task: Task, rng: np.random.Generator) -> Task:
        x, is_log = _counts(task)
        types, number = np.unique(task.truth["cell_type"], return_inverse=True)
        size = (len(types), x.shape[1])
        factors = np.exp(rng.normal(0, strength, size) * (rng.random(size) < 0.2))
        rows = np.repeat(number, np.diff(x.indptr))
        return _with(task, _scaled(x, factors[rows, x.indices], is_log, rng), is_log)

    return shift


def thinned(share: float) -> Shift:
    """Keep each count with a probability."""

    def shift(task: Task, rng: np.random.Generator) -> Task:
        x, is_log = _counts(task)
        x.data = rng.binomial(np.rint(x.data).astype(np.int64), share).astype(np.float64)
        return _with(task, x, is_log)

    return shift


def rebalanced(task: Task, rng: np.random.Generator) -> Task:
    """Keep 15 % of the cells of a random half of the types."""
    types = task.truth["cell_type"].to_numpy(dtype=str)
    names = np.unique(types)
    rare = rng.permutation(names)[: len(names) // 2]
    kept = ~np.isin(types, rare) | (rng.random(len(types)) < 0.15)
    x = sp.csr_matrix(task.query.X, dtype=np.float64)
    return _with(task, x, False, kept)


def panel(size: int) -> Shift:
    """Keep some of the 1,500 most common features on both sides, each seen by the query with a factor of its own."""

    def shift(task: Task, rng: np.random.Generator) -> Task:
        x, is_log = _counts(task)
        common = np.argsort(-np.bincount(x.indices, minlength=x.shape[1]), kind="stable")[:1500]
        columns = np.sort(rng.permutation(common)[:size])
        factors = np.exp(rng.normal(0, 0.7, x.shape[1]))
        x = _scaled(x, factors[x.indices], is_log, rng)
        rows = np.asarray(task.reference.X[:, columns].sum(axis=1)).ravel() > 0
        small = replace(
            task,
            reference=task.reference[rows][:, columns].copy(),
            labels=task.labels[rows],
            query=task.query[:, columns].copy(),
        )
        return _with(small, sp.csr_matrix(x[:, columns]), is_log)

    return shift


def protocols(whole: Task, reference: str, query: str) -> Task:
    """Return one protocol of symphony to another; `whole`: a task of two of them to the third."""
    cells = ad.concat([whole.reference, whole.query], merge="same")
    cells.uns["cellpredx"] = whole.query.uns["cellpredx"]
    labels = np.r_[whole.labels, whole.truth["cell_type"].to_numpy(dtype=str)]
    batch = cells.obs["batch"].astype(str).to_numpy()
    own, other = batch == reference, batch == query
    truth = pd.DataFrame({"barcode": cells.obs_names[other], "cell_type": labels[other]})
    name = f"symphony_{reference}>{query}"
    return Task(name, scenario_of(name), cells[own].copy(), labels[own], cells[other].copy(), None, truth)


# (task, name): what makes it. The first are those that the share of the network was chosen on, the others were kept
# for the end.
STUDIED: dict[tuple[str, str], Shift] = {
    ("snare_rna", "treated 1"): treated(1),
    ("snare_rna", "treated 2"): treated(2),
    ("snare_rna", "treated by type 1"): treated_by_type(1),
    ("snare_rna", "thinned to 20 %"): thinned(0.2),
    ("snare_rna", "rebalanced"): rebalanced,
    ("snare_rna", "panel of 100"): panel(100),
    ("mixology", "treated 3"): treated(3),
    ("mixology", "treated by type 2"): treated_by_type(2),
    ("mixology", "panel of 60"): panel(60),
    ("symphony_3pv1", "treated 2"): treated(2),
    ("symphony_3pv1", "rebalanced"): rebalanced,
    ("symphony_3pv1", "panel of 100"): panel(100),
    ("bm", "thinned to 30 %"): thinned(0.3),
    ("bm", "rebalanced"): rebalanced,
}
KEPT: dict[tuple[str, str], Shift] = {
    ("bm", "treated 1"): treated(1),
    ("snare_atac", "thinned to 40 %"): thinned(0.4),
    ("snare_atac", "rebalanced"): rebalanced,
    ("symphony_3pv2", "panel of 150"): panel(150),
    ("symphony_3pv2", "treated 3"): treated(3),
    ("symphony_5p", "treated by type 2"): treated_by_type(2),
    ("snare_rna", "panel of 300"): panel(300),
    ("snare_unmatched", "thinned to 50 %"): thinned(0.5),
    ("snare_unmatched", "rebalanced"): rebalanced,
    ("archr", "rebalanced"): rebalanced,
}
PROTOCOLS = {"3pv1>5p": False, "3pv1>3pv2": False, "3pv2>5p": True, "5p>3pv2": True}  # whether it was kept for the end
