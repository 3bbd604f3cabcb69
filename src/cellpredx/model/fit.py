"""A whole fit: graph, calibration on a two-fold pseudo-query, and the model itself."""

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from cellpredx.model.calibration import calibrate
from cellpredx.model.features import Cells
from cellpredx.model.graph import lsi, neighbours, pca
from cellpredx.model.normalise import prepare, with_proteins, without_proteins
from cellpredx.model.presets import Hyperparameters
from cellpredx.model.training import train
from cellpredx.model.weights import Fit


def query_neighbours(
    queries: list[sp.csr_matrix],
    graphs: list[sp.csr_matrix | None],
    modality: str,
    is_log: list[bool],
    h: Hyperparameters,
    proteins: int = 0,
) -> NDArray[np.int64]:
    """Return the kNN of the queries' cells, (cells, k), each query's from itself alone, numbered through all of them.

    `graphs`: the queries' peaks or windows where the features are gene activity, else None for the features. The last
    `proteins` features are proteins, which have no part in the neighbours of ATAC.
    """
    parts, base = [], 0
    for features, graph, log in zip(queries, graphs, is_log, strict=True):
        if modality == "atac":
            embedding = lsi(without_proteins(features, proteins) if graph is None else graph, h.lsi_components)
        else:
            embedding = pca(prepare(features, log, h.scale, h.binarize, proteins), h.pca_components)
        parts.append(neighbours(embedding, h.neighbours) + base)
        base += features.shape[0]
    width = min(p.shape[1] for p in parts)
    return np.concatenate([p[:, :width] for p in parts])


def _halves(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return 0 or 1 a cell, each type split evenly."""
    rng = np.random.default_rng(seed)
    half = np.empty(len(labels), np.int64)
    for k in np.unique(labels):
        cells = rng.permutation(np.flatnonzero(labels == k))
        half[cells] = (np.arange(len(cells)) + int(rng.integers(2))) % 2
    return half


def thin(counts: sp.csr_matrix, depth: NDArray[np.float64], seed: int, proteins: int = 0) -> sp.csr_matrix:
    """Return counts with every cell thinned (binomially) towards a depth drawn from `depth`, never deepened.

    The last `proteins` features stay as they are.
    """
    if proteins:
        return with_proteins(thin(without_proteins(counts, proteins), depth, seed), counts[:, -proteins:])
    rng = np.random.default_rng(seed)
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    share = np.minimum(1, rng.choice(depth, len(totals)) / np.maximum(totals, 1))
    x = sp.csr_matrix(counts, copy=True)
    x.data = rng.binomial(x.data.astype(np.int64), np.repeat(share, np.diff(x.indptr))).astype(np.float32)
    x.eliminate_zeros()
    return x


def held_out_logits(
    reference: sp.csr_matrix,
    is_log: bool,
    labels: NDArray[np.int64],
    types: int,
    modality: str,
    depth: NDArray[np.float64] | None,
    h: Hyperparameters,
    seed: int,
    device: torch.device,
    proteins: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return logits and labels of reference cells, each predicted by a model that never saw its label.

    The reference in two halves, each in turn the pseudo-query of the same pipeline, thinned to `depth` (counts a
    cell of the real query) where that is given. Types with one cell are left out.
    """
    sizes = np.bincount(labels, minlength=types)
    usable = np.flatnonzero(sizes[labels] >= 2)
    half = _halves(labels[usable], seed)
    logits, truth = [], []
    for fold in (0, 1):
        own, other = usable[half == fold], usable[half != fold]
        present, y = np.unique(labels[own], return_inverse=True)
        pseudo = reference[other]
        if depth is not None:
            pseudo = thin(pseudo, depth, seed + fold, proteins)
        x_own, x_other = (prepare(x, is_log, h.scale, h.binarize, proteins) for x in (reference[own], pseudo))
        embedding = lsi(pseudo, h.lsi_components) if modality == "atac" else pca(x_other, h.pca_components)
        result = train(
            Cells(x_own, device),
            y.astype(np.int64),
            len(present),
            Cells(x_other, device),
            neighbours(embedding, h.neighbours),
            h,
            seed,
            f"calibration {fold + 1} of 2",
        )
        weight, bias = result.weights.folded()
        part = np.full((len(other), types), -np.inf)
        part[:, present] = np.asarray(x_other @ weight.T) + bias
        seen = np.isin(labels[other], present)
        logits.append(part[seen])
        truth.append(labels[other][seen])
    all_logits = np.concatenate(logits)
    # A type that a half lacks gets the least of the others, so that every row can be normalised.
    floor = np.where(np.isfinite(all_logits), all_logits, np.inf).min(axis=1, keepdims=True)
    return np.where(np.isfinite(all_logits), all_logits, floor), np.concatenate(truth)


def fit(
    reference: sp.csr_matrix,
    reference_is_log: bool,
    labels: NDArray[np.int64],
    types: int,
    queries: list[sp.csr_matrix],
    queries_are_log: list[bool],
    graphs: list[sp.csr_matrix | None],
    reference_modality: str,
    query_modality: str,
    h: Hyperparameters,
    *,
    target_error: float,
    threshold: float | None,
    seed: int,
    device: torch.device,
    proteins: int = 0,
) -> Fit:
    """Fit a model of reference counts (N_R, G) with labels (N_R,) to queries' counts, each (N_Q, G).

    The last `proteins` of the G features are counts of proteins.
    """
    near = query_neighbours(queries, graphs, query_modality, queries_are_log, h, proteins)
    x_query = sp.vstack(
        [prepare(q, log, h.scale, h.binarize, proteins) for q, log in zip(queries, queries_are_log, strict=True)],
        format="csr",
    )
    x_reference = prepare(reference, reference_is_log, h.scale, h.binarize, proteins)
    cells = Cells(x_reference, device)
    training = train(cells, labels, types, Cells(x_query, device), near, h, seed)
    thinned = reference_modality != query_modality and not reference_is_log
    totals = [np.asarray(without_proteins(q, proteins).sum(axis=1, dtype=np.float64)).ravel() for q in queries]
    depth = np.concatenate(totals) if thinned else None
    logits, truth = held_out_logits(
        reference, reference_is_log, labels, types, reference_modality, depth, h, seed, device, proteins
    )
    calibration = calibrate(logits, truth, target_error, threshold)
    embedding = cells.embed(training.weights.encoder_weight.T, training.weights.encoder_bias)
    sample = np.sort(np.random.default_rng(seed).choice(len(embedding), min(2000, len(embedding)), replace=False))
    return Fit(training, calibration, embedding[sample])
