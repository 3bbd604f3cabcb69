"""A whole fit: graph, calibration on a two-fold pseudo-query, and the model itself."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.model.calibration import calibrate
from cellpredx.model.device import CPU, Place
from cellpredx.model.features import Cells
from cellpredx.model.graph import lsi, neighbours, pca
from cellpredx.model.members import Ensemble, ensemble
from cellpredx.model.normalise import prepare, with_proteins, without_proteins
from cellpredx.model.prediction import embed
from cellpredx.model.presets import Hyperparameters
from cellpredx.model.training import train
from cellpredx.model.weights import Fit, Training


@dataclass(frozen=True)
class Reference:
    """Labelled cells: counts (N_R, G), or log1p values; labels (N_R,) below `types`; batches (N_R,) numbers from 0.

    The last `proteins` features are counts of proteins.
    """

    counts: sp.csr_matrix
    labels: NDArray[np.int64]
    types: int
    batches: NDArray[np.int64]
    is_log: bool = False
    proteins: int = 0


@dataclass(frozen=True)
class Query:
    """Cells to annotate: counts (N_Q, G), or log1p values; `graph`: their peaks or windows, where the features are
    gene activity. The last `proteins` features are counts of proteins."""

    counts: sp.csr_matrix
    graph: sp.csr_matrix | None = None
    is_log: bool = False
    proteins: int = 0


@dataclass(frozen=True)
class HeldOut:
    """Logits (n, K) and labels (n,) of reference cells that no model saw, and whether whole batches were held out."""

    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    by_batch: bool


def query_neighbours(queries: list[Query], modality: str, h: Hyperparameters) -> NDArray[np.int64]:
    """Return the kNN of the queries' cells, (cells, k), each query's from itself alone, numbered through them all.

    Proteins have no part in the neighbours of ATAC.
    """
    parts, base = [], 0
    for query in queries:
        if modality == "atac":
            own = without_proteins(query.counts, query.proteins) if query.graph is None else query.graph
            embedding = lsi(own, h.lsi_components)
        else:
            embedding = pca(_prepared(query, h), h.pca_components)
        parts.append(neighbours(embedding, h.neighbours) + base)
        base += len(embedding)
    width = min(p.shape[1] for p in parts)
    return np.concatenate([p[:, :width] for p in parts])


def _prepared(part: Reference | Query, h: Hyperparameters) -> sp.csr_matrix:
    return prepare(part.counts, part.is_log, h.scale, h.binarize, part.proteins)


def halves(labels: NDArray[np.int64], batches: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], bool]:
    """Return 0 or 1 a cell, and whether whole batches (donors, samples) were held out.

    Whole batches where the smaller half then has a quarter of the cells, and 90 % of the cells have two of their type
    on both sides: a model meets a batch that it never saw, as it will meet the query. Else every type is split evenly.
    """
    rng = np.random.default_rng(seed)
    sizes = np.bincount(batches)
    half = np.zeros(len(labels), np.int64)
    filled = [0, 0]
    # The largest first, each to the smaller half.
    for batch in np.argsort(-sizes, kind="stable"):
        side = int(filled[1] < filled[0])
        half[batches == batch] = side
        filled[side] += int(sizes[batch])
    of_type = [np.bincount(labels[half == side], minlength=int(labels.max()) + 1) for side in (0, 1)]
    on_both = np.minimum(*of_type)[labels] >= 2
    if min(filled) >= 0.25 * len(labels) and on_both.mean() >= 0.9:
        return half, True
    for k in np.unique(labels):
        cells = rng.permutation(np.flatnonzero(labels == k))
        half[cells] = (np.arange(len(cells)) + int(rng.integers(2))) % 2
    return half, False


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
    reference: Reference,
    modalities: tuple[str, str],
    depth: NDArray[np.float64] | None,
    h: Hyperparameters,
    seed: int,
    place: Place,
) -> HeldOut:
    """Return logits and labels of reference cells, each predicted by a model that never saw its label.

    The reference in two halves, each in turn the pseudo-query of the same pipeline, thinned to `depth` (counts a
    cell of the real query) where that is given. Types with one cell are left out, and cells whose type the other
    half lacks.
    """
    labels, types, proteins = reference.labels, reference.types, reference.proteins
    modality = modalities[0]
    sizes = np.bincount(labels, minlength=types)
    usable = np.flatnonzero(sizes[labels] >= 2)
    half, by_batch = halves(labels[usable], reference.batches[usable], seed)
    logits, truth = [], []
    for fold in (0, 1):
        own, other = usable[half == fold], usable[half != fold]
        present, y = np.unique(labels[own], return_inverse=True)
        pseudo = reference.counts[other]
        if depth is not None:
            pseudo = thin(pseudo, depth, seed + fold, proteins)
        x_own, x_other = (
            prepare(x, reference.is_log, h.scale, h.binarize, proteins) for x in (reference.counts[own], pseudo)
        )
        embedding = lsi(pseudo, h.lsi_components) if modality == "atac" else pca(x_other, h.pca_components)
        cells = Cells(sp.vstack([x_own, x_other], format="csr"), place)
        near = neighbours(embedding, h.neighbours)
        what = f"calibration {fold + 1} of 2"
        result = train(cells, len(own), y.astype(np.int64), len(present), near, h, seed, what)
        del cells
        both = ensemble(
            result.weights.folded(), x_own, y.astype(np.int64), len(present), x_other, h, modalities, proteins
        )
        part = np.full((len(other), types), -np.inf)
        part[:, present] = both.logits(x_other, both.place(x_other, None, within=True))
        seen = np.isin(labels[other], present)
        logits.append(part[seen])
        truth.append(labels[other][seen])
    all_logits = np.concatenate(logits)
    # A type that a half lacks gets less than the others, so that every row can be normalised and none of it is chosen.
    floor = np.where(np.isfinite(all_logits), all_logits, np.inf).min(axis=1, keepdims=True) - 1
    return HeldOut(np.where(np.isfinite(all_logits), all_logits, floor), np.concatenate(truth), by_batch)


def train_model(
    reference: Reference,
    queries: list[Query],
    modalities: tuple[str, str],
    h: Hyperparameters,
    seed: int,
    place: Place = CPU,
) -> tuple[Training, Ensemble, sp.csr_matrix]:
    """Train a model without its calibration; return it, what predicts, and the reference as it was read, (N_R, G)."""
    near = query_neighbours(queries, modalities[1], h)
    x_reference = _prepared(reference, h)
    prepared = [_prepared(query, h) for query in queries]
    x_query = prepared[0] if len(prepared) == 1 else sp.csr_matrix(sp.vstack(prepared, format="csr"))
    cells = Cells(sp.vstack([x_reference, x_query], format="csr"), place)
    training = train(cells, len(reference.labels), reference.labels, reference.types, near, h, seed)
    del cells
    joined = ensemble(
        *(training.weights.folded(), x_reference, reference.labels, reference.types, x_query, h, modalities),
        reference.proteins,
    )
    return training, joined, x_reference


def fit(
    reference: Reference,
    queries: list[Query],
    modalities: tuple[str, str],
    h: Hyperparameters,
    *,
    target_error: float,
    threshold: float | None,
    seed: int,
    place: Place = CPU,
) -> Fit:
    """Fit a model of a reference to queries; `modalities`: of the reference and of the queries, rna or atac."""
    training, joined, x_reference = train_model(reference, queries, modalities, h, seed, place)
    depth = None
    if modalities[0] != modalities[1] and not reference.is_log:
        genes = (without_proteins(query.counts, query.proteins) for query in queries)
        depth = np.concatenate([np.asarray(x.sum(axis=1, dtype=np.float64)).ravel() for x in genes])
    held_out = held_out_logits(reference, modalities, depth, h, seed, place)
    calibration = calibrate(held_out.logits, held_out.labels, target_error, threshold)
    sample = np.sort(np.random.default_rng(seed).permutation(len(reference.labels))[:2000])
    weights = training.weights
    embedding = embed(x_reference[sample], weights.encoder_weight, weights.encoder_bias)
    return Fit(training, calibration, embedding, reference.labels[sample], held_out.by_batch, joined)
