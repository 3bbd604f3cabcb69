"""Hyper-parameters, graph, training, calibration, the bundle, and prediction without torch."""

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from torch import Tensor

from cellpredx.core import bundle_info
from cellpredx.core.errors import UserError
from cellpredx.core.files import write_json
from cellpredx.matrix.sample_matrix import sample_matrix, write_h5ad
from cellpredx.model import bundle, losses, presets
from cellpredx.model.calibration import calibrate, find_threshold, fit_temperature
from cellpredx.model.device import CPU, Place, first_that_fits, places
from cellpredx.model.domain_gap import auc, domain_auc, domain_gap
from cellpredx.model.features import Cells, _SparseOnDevice
from cellpredx.model.fit import Query, Reference, fit, halves, held_out_logits, thin
from cellpredx.model.graph import largest, lsi, neighbours, pca
from cellpredx.model.normalise import normalise
from cellpredx.model.prediction import embed, logits, predict
from cellpredx.model.presets import Hyperparameters
from cellpredx.model.subsample import RARE, by_depth, by_type
from cellpredx.model.training import Network, objective, train
from cellpredx.model.weights import LOSSES, Fit, Training, Weights

TYPES = ["B", "NK", "T"]
FEATURES = 90


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def draw(cells: int, seed: int, shift: float = 0.0) -> tuple[sp.csr_matrix, NDArray[np.int64]]:
    """Draw counts of three types; `shift` changes the depth and how much of each feature is seen."""
    rng = np.random.default_rng(seed)
    profile = np.full((3, FEATURES), 0.4)
    for k in range(3):
        profile[k, 12 * k : 12 * (k + 1)] = 2.0
    seen = np.exp(shift * np.random.default_rng(99).standard_normal(FEATURES))
    y = rng.integers(0, 3, cells)
    counts = rng.poisson(profile[y] * seen * (1 - 0.4 * (shift > 0)))
    return sp.csr_matrix(counts, dtype=np.float32), y


@pytest.fixture(scope="module")
def h() -> Hyperparameters:
    base = presets.load("paper", "unmatched")
    return replace(base, iterations=150, dimensions=16, attention_width=8, batch_size=64, pca_components=10)


def plain_terms(
    network: Network, embeddings: tuple[Tensor, Tensor, Tensor], y: Tensor, centres: Tensor, h: Hyperparameters
) -> list[Tensor]:
    """The weighted terms, each written out as its equation in plain arithmetic."""
    z_r, z_q, z_n = embeddings
    logits_r = z_r @ network.classifier.weight.T + network.classifier.bias
    ce = -(logits_r.exp() / logits_r.exp().sum(1, keepdim=True))[torch.arange(len(y)), y].log().mean()

    def covariance(z: Tensor) -> Tensor:
        centred = z - z.mean(0)
        c = torch.einsum("bj,bk->jk", centred, centred) / (len(z) - 1)
        m = z.shape[1]
        return torch.stack([c[j, k].abs() for j in range(m) for k in range(j + 1, m)]).sum() / m**2

    spread = (z_q - z_q.mean(0)).abs().mean()
    pr = z_r.abs().mean() + z_q.abs().mean() + covariance(z_r) + covariance(z_q) + 1 / spread
    u = torch.cat([z_q, z_n])
    u = u / u.norm(dim=1, keepdim=True)
    e = torch.exp(u @ u.T / h.tau) * (1 - torch.eye(len(u)))
    b = len(z_q)
    cl = -torch.stack([torch.log(e[i, (i + b) % (2 * b)] / e[i].sum()) for i in range(2 * b)]).mean()
    cosine = (z_q / z_q.norm(dim=1, keepdim=True)) @ (z_r / z_r.norm(dim=1, keepdim=True)).T
    best = cosine.max(dim=1).values
    fa = -best.sort(descending=True).values[: int(h.aligned_share * b)].mean()
    p = (z_q @ network.classifier.weight.T + network.classifier.bias).softmax(1).detach()
    sure = p.max(1).values.sort(descending=True).indices[: int(h.confident_share * b)]
    z, labels = torch.cat([z_r, z_q[sure]]), torch.cat([y, p.argmax(1)[sure]])
    hidden = z @ network.attention.hidden.weight.T + network.attention.hidden.bias
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + network.attention.norm.eps).sqrt()
    hidden = torch.tanh(hidden * network.attention.norm.weight + network.attention.norm.bias)
    scores = (hidden @ network.attention.heads.weight.T + network.attention.heads.bias).view(len(z), -1, 2)
    attention = scores.exp()[..., 1] / scores.exp().sum(-1)
    sc = (attention * (z - centres[labels]) ** 2).sum() / (2 * len(z))
    return [ce, h.projection_weight * pr, h.alpha * cl, h.beta * fa, h.gamma * sc]


def trained(h: Hyperparameters, seed: int = 1) -> tuple[Training, sp.csr_matrix, NDArray[np.int64]]:
    """Train on 300 cells and a shifted query of 240: the training, the query's features and its true types."""
    (reference, y), (query, truth) = draw(300, 1), draw(240, 2, shift=0.5)
    x_query = normalise(query, h.scale)
    near = neighbours(pca(x_query, h.pca_components), h.neighbours)
    cells = Cells(sp.vstack([normalise(reference, h.scale), x_query], format="csr"), CPU)
    return train(cells, 300, y, 3, near, h, seed), x_query, truth


# Hyper-parameters


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("matched", (0.06, 0.05, 0.01, 0.4, 3000)),
        ("unmatched", (1.2, 0.05, 0.01, 0.8, 3000)),
        ("rna", (0.1, 0.0, 0.1, 0.8, 200)),
        ("atac", (0.1, 0.0, 0.001, 0.8, 200)),
    ],
)
def test_the_paper_preset_has_the_numbers_of_each_scenario(
    scenario: str, expected: tuple[float, float, float, float, int]
) -> None:
    own = presets.load("paper", scenario)
    assert (own.alpha, own.beta, own.gamma, own.tau, own.iterations) == expected
    assert (own.dimensions, own.batch_size, own.learning_rate, own.momentum) == (64, 512, 0.01, 0.9)
    literal = presets.load("paper_literal", scenario)
    tau = 0.04 if scenario == "matched" else own.tau
    assert literal == replace(own, learning_rate=0.001, tau=tau, unknown_below=0.95)


def test_numbers_are_overridden_by_name() -> None:
    base = presets.load("paper", "rna")
    assert presets.override(base, "") == presets.override(base, None) == base
    changed = presets.override(base, " alpha=0.5, iterations = 7 ,binarize=TRUE,")
    assert changed == replace(base, alpha=0.5, iterations=7, binarize=True)
    assert isinstance(changed.iterations, int)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("alhpa=1", "'alhpa' is no hyper-parameter"),
        ("alpha", "'' is no value for alpha"),
        ("alpha=x", "'x' is no value for alpha"),
        ("iterations=1.5", "'1.5' is no value for iterations"),
        ("binarize=1", "'1' is no value for binarize"),
        ("tau=0.02", "tau must be at least 0.025"),
        ("batch_size=0", "batch_size must be above 0"),
        ("learning_rate=-1", "learning_rate must be"),
        ("learning_rate=nan", "learning_rate"),
        ("tau=nan", "tau"),
        ("alpha=inf", "alpha"),
        ("alpha=-1", "alpha"),
        ("aligned_share=1.5", "aligned_share"),
        ("confident_share=2", "confident_share"),
    ],
)
def test_a_bad_override_is_refused(text: str, what: str) -> None:
    with pytest.raises(UserError) as caught:
        presets.override(presets.load("paper", "matched"), text)
    assert what in caught.value.what
    assert caught.value.remedy


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match="no preset 'papre'") as caught:
        presets.load("papre", "rna")
    assert "paper, paper_literal, tuned" in str(caught.value.remedy)


# Normalisation and graph


def test_normalise_equals_numpy() -> None:
    counts = np.array([[1, 0, 3, 0], [0, 0, 0, 0], [7, 7, 7, 7]], np.float32)
    given = sp.csr_matrix(counts)
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(normalise(given, 100).toarray(), np.log1p(100 * counts / total), rtol=1e-6)
    ones = (counts > 0).astype(float)
    expected = np.log1p(100 * ones / np.maximum(ones.sum(axis=1, keepdims=True), 1))
    np.testing.assert_allclose(normalise(given, 100, binarize=True).toarray(), expected, rtol=1e-6)
    np.testing.assert_array_equal(given.toarray(), counts)
    assert normalise(given, 100).dtype == np.float32


@pytest.mark.parametrize("block", [7, 2048])
def test_neighbours_equal_brute_force(block: int) -> None:
    embedding = np.random.default_rng(3).standard_normal((60, 5))
    embedding[10] = 0
    similarity = np.array(
        [[a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12) for b in embedding] for a in embedding]
    )
    np.fill_diagonal(similarity, -2)
    found = neighbours(embedding, 6, block)
    assert found.shape == (60, 6)
    for i in set(range(60)) - {10}:
        np.testing.assert_array_equal(found[i], np.argsort(-similarity[i])[:6])
    assert 10 not in found[10]
    assert sorted(neighbours(embedding[:3], 6)[0].tolist()) == [1, 2]


@pytest.mark.parametrize("columns", [40, 3000])
def test_largest_values_come_in_order_and_the_first_of_equal_ones(columns: int) -> None:
    values = np.random.default_rng(4).integers(0, 50, (9, columns)).astype(np.float32)
    values[1] = 0
    values[2, columns // 2 :] = 60
    values[3, -1] = np.inf
    columns_of, found = largest(values, 5)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(columns_of, expected)
    np.testing.assert_array_equal(found, np.take_along_axis(values, expected, axis=1))


def test_pca_equals_scikit_learn_and_has_fixed_signs() -> None:
    x = normalise(draw(80, 4)[0], 1e4)
    expected = PCA(5, svd_solver="full").fit_transform(x.toarray().astype(float))
    found = pca(x, 5)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-6)
    assert (found[np.abs(found).argmax(axis=0), np.arange(5)] > 0).all()
    np.testing.assert_array_equal(found, pca(x, 5))


def test_lsi_equals_a_plain_svd_without_its_first_component() -> None:
    counts = draw(70, 5)[0].toarray().astype(float)
    counts[:, 4] = 0
    used = counts[:, counts.any(axis=0)]
    idf = len(used) / (used > 0).sum(axis=0)
    weighted = np.log1p(1e4 * used / used.sum(axis=1, keepdims=True) * idf)
    u, s, _ = np.linalg.svd(weighted, full_matrices=False)
    found = lsi(sp.csr_matrix(counts), 6)
    np.testing.assert_allclose(np.abs(found), np.abs(u * s)[:, 1:7], atol=1e-6)
    np.testing.assert_array_equal(found, lsi(sp.csr_matrix(counts), 6))


def test_thinning_reaches_the_depths_given_and_never_deepens() -> None:
    counts = draw(400, 6)[0]
    depth = np.array([20.0, 30.0])
    found = thin(counts, depth, seed=1)
    assert (found.toarray() <= counts.toarray()).all()
    totals = np.asarray(found.sum(axis=1)).ravel()
    assert totals.mean() == pytest.approx(25, abs=0.6)
    np.testing.assert_array_equal(thin(counts, np.array([1e6]), seed=1).toarray(), counts.toarray())
    np.testing.assert_array_equal(found.toarray(), thin(counts, depth, seed=1).toarray())


@pytest.mark.parametrize("share", [0.05, 0.6])
def test_sparse_and_dense_features_encode_alike(share: float) -> None:
    rng = np.random.default_rng(1)
    x = sp.random(30, 20, share, format="csr", dtype=np.float32, rng=rng)
    cells = Cells(x, CPU)
    assert (cells.resident is not None) == (share > 0.2)
    weight = torch.randn(20, 4, requires_grad=True)
    bias = torch.randn(4, requires_grad=True)
    rows = torch.tensor([3, 3, 29, 0])
    found = cells.encode(cells.batch(rows), weight, bias)
    expected = torch.from_numpy(x.toarray()[rows.numpy()]) @ weight + bias
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    for a, b in zip(
        torch.autograd.grad((found * weights).sum(), (weight, bias)),
        torch.autograd.grad((expected * weights).sum(), (weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    embedded = embed(x, weight.detach().numpy().T, bias.detach().numpy())
    np.testing.assert_allclose(embedded[rows], expected.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.6])
def test_rows_of_a_sparse_matrix_are_made_dense_on_a_device(share: float) -> None:
    x = sp.random(30, 20, share, format="csr", dtype=np.float32, rng=np.random.default_rng(1))
    on_device = _SparseOnDevice(x, torch.device("cpu"))
    rows = torch.tensor([3, 3, 29, 0])
    np.testing.assert_array_equal(on_device.dense(rows).numpy(), x.toarray()[rows.numpy()])
    np.testing.assert_array_equal(on_device.dense().numpy(), x.toarray())


# Where training runs


def test_a_gpu_that_is_not_there_is_told_of() -> None:
    assert places("cpu") == [CPU]
    if torch.cuda.is_available():
        assert [str(p) for p in places("auto")][-1] == "the CPU"
    else:
        assert places("auto") == [CPU]
        with pytest.raises(UserError, match="there is no GPU here") as caught:
            places("cuda")
        assert "--device auto or cpu" in str(caught.value.remedy)


def test_training_moves_on_where_memory_is_too_small() -> None:
    gpu = torch.device("cuda")
    ladder = [Place(gpu), Place(gpu, resident=False), CPU]

    def run_where(fits: list[Place]) -> Callable[[Place], str]:
        def run(place: Place) -> str:
            if place not in fits:
                raise torch.OutOfMemoryError
            return str(place)

        return run

    found, place, warnings = first_that_fits(ladder, run_where([CPU]))
    assert (found, place) == ("the CPU", CPU)
    assert warnings == [
        "the memory was too small on the GPU, features resident",
        "the memory was too small on the GPU, features streamed",
    ]
    with pytest.raises(UserError, match="features streamed") as caught:
        first_that_fits(ladder[:2], run_where([CPU]))
    assert caught.value.code == 175


# Cells to train on


def test_a_sample_by_depth_has_the_depths_of_all_cells() -> None:
    rng = np.random.default_rng(1)
    depth = rng.lognormal(8, 1, 10_000)
    chosen = by_depth(depth, 500, np.random.default_rng(2))
    assert len(np.unique(chosen)) == 500
    assert (np.diff(chosen) > 0).all()
    # One of each 20 neighbouring ranks: nearer to all quantiles than a plain sample of 500 gets.
    ranks = np.sort(depth.argsort().argsort()[chosen])
    assert (ranks // 20 == np.arange(500)).all()
    np.testing.assert_array_equal(by_depth(depth, 10_000, rng), np.arange(10_000))
    np.testing.assert_array_equal(chosen, by_depth(depth, 500, np.random.default_rng(2)))


def test_a_sample_by_type_keeps_shares_and_rare_types() -> None:
    labels = np.repeat([0, 1, 2, 3], [6000, 3900, 70, 30])
    chosen = by_type(labels, np.ones(10_000), 1000, np.random.default_rng(1))
    assert np.bincount(labels[chosen]).tolist() == [600, 390, RARE, 30]
    few = by_type(labels, np.ones(10_000), 40, np.random.default_rng(1), rare=10)
    assert np.bincount(labels[few]).tolist() == [24, 16, 10, 10]
    assert (np.diff(chosen) > 0).all()


def test_whole_batches_are_held_out_where_types_allow_it() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 400)
    batches = np.repeat([0, 1, 2], [200, 120, 80])
    half, by_batch = halves(labels, batches, 1)
    assert by_batch
    assert {tuple(np.unique(half[batches == b])) for b in range(3)} == {(0,), (1,)}
    assert half.sum() == 200
    # A type of its own in each batch: no model could learn it from the other.
    half, by_batch = halves(batches, batches, 1)
    assert not by_batch
    assert np.bincount(half[batches == 2]).tolist() == [40, 40]
    assert not halves(labels, np.zeros(400, np.int64), 1)[1]


# Training


def test_training_learns_types_across_a_shift(h: Hyperparameters) -> None:
    training, x_query, truth = trained(h)
    found = predict(logits(x_query, *training.weights.folded()), 1.0)
    assert (found.predicted == truth).mean() > 0.95
    course = training.log
    assert course["cross_entropy"][-1] < 0.5 * course["cross_entropy"][0]
    assert set(course) == {"iteration", *LOSSES}
    assert course["iteration"] == [1, *range(10, training.iterations + 1, 10)]


@pytest.mark.parametrize("scenario", ["matched", "rna"])
def test_gradients_equal_plain_float64_arithmetic(scenario: str, h: Hyperparameters) -> None:
    own = replace(h, **{n: getattr(presets.load("paper", scenario), n) for n in ("alpha", "beta", "gamma", "tau")})
    counts, y = draw(120, 1)
    x = normalise(counts, own.scale)
    cells = Cells(x, CPU)
    torch.manual_seed(1)
    network = Network(FEATURES, 3, own)
    centres = torch.randn(3, own.dimensions)
    z_r, z_q, z_n = cells.encode(cells.batch(torch.arange(120)), network.weight, network.bias).tensor_split(3)
    torch.stack(objective(network, z_r, z_q, z_n, torch.from_numpy(y[:40]), centres, own).terms).sum().backward()  # type: ignore[no-untyped-call]
    losses.add_l1_gradient(network.penalised(), own.l1_weight)

    plain = Network(FEATURES, 3, own).double()
    plain.load_state_dict(network.state_dict())
    dense = torch.from_numpy(x.toarray()).double()
    parts = (dense @ plain.weight + plain.bias).tensor_split(3)
    terms = plain_terms(plain, (parts[0], parts[1], parts[2]), torch.from_numpy(y[:40]), centres.double(), own)
    theta = torch.cat([plain.weight.flatten(), plain.classifier.weight.flatten()])
    (torch.stack(terms).sum() + own.l1_weight * theta.abs().mean()).backward()  # type: ignore[no-untyped-call]
    for (name, found), expected in zip(network.named_parameters(), plain.parameters(), strict=True):
        assert found.grad is not None, name
        assert expected.grad is not None, name
        error = (found.grad.double() - expected.grad).norm() / expected.grad.norm()
        # The attention's hidden bias goes into a batch normalisation, which takes its gradient away.
        assert error < 1e-5 or expected.grad.norm() < 1e-9, (name, float(error))


def test_training_is_byte_identical_for_a_seed_and_not_for_another(h: Hyperparameters) -> None:
    short = replace(h, iterations=30)
    first, again, other = (trained(short, seed)[0] for seed in (1, 1, 2))
    for name in vars(first.weights):
        assert getattr(first.weights, name).tobytes() == getattr(again.weights, name).tobytes()
    assert first.log == again.log
    assert first.weights.encoder_weight.tobytes() != other.weights.encoder_weight.tobytes()


def test_training_leaves_the_callers_random_numbers_alone(h: Hyperparameters) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(replace(h, iterations=2))
    assert torch.equal(torch.rand(3), expected)


def test_training_that_diverges_is_told_with_a_lower_rate(h: Hyperparameters) -> None:
    with pytest.raises(UserError, match="the loss is no number any more at iteration") as caught:
        trained(replace(h, learning_rate=1e12, iterations=40))
    assert "learning_rate=1e+11" in str(caught.value.remedy)


def test_training_stops_early_where_the_centre_loss_is_flat(h: Hyperparameters) -> None:
    training, _, _ = trained(replace(h, flat=1e9, patience=3, evaluate_every=2, iterations=100))
    assert training.stopped == "early"
    assert training.iterations < 20
    full, _, _ = trained(replace(h, flat=0.0, patience=3, evaluate_every=2, iterations=30))
    assert (full.stopped, full.iterations) == ("iterations", 30)


def test_the_folded_product_equals_the_two_layers(h: Hyperparameters) -> None:
    training, x_query, _ = trained(replace(h, iterations=20))
    w = training.weights
    z = x_query @ w.encoder_weight.T + w.encoder_bias
    two_layers = z @ w.classifier_weight.T + w.classifier_bias
    np.testing.assert_allclose(logits(x_query, *w.folded()), two_layers, atol=1e-5)


def test_held_out_cells_are_each_predicted_once_by_a_model_without_them(h: Hyperparameters) -> None:
    counts, y = draw(121, 8)
    y[y == 2] = 1
    y[7] = 2
    short = replace(h, iterations=60)
    one_batch = np.zeros(121, np.int64)

    def held_out(labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        found = held_out_logits(Reference(counts, labels, 3, one_batch), ("rna", "rna"), None, short, 1, CPU)
        assert not found.by_batch
        return found.logits, found.labels

    scores, truth = held_out(y)
    assert scores.shape == (120, 3)
    assert np.isfinite(scores).all()
    assert sorted(truth) == sorted(y[y < 2])
    assert (scores.argmax(axis=1) == truth).mean() > 0.9
    # Labels that say nothing can be predicted only by a model that saw them.
    shuffled = np.random.default_rng(1).permutation(y)
    scores, truth = held_out(shuffled)
    assert (scores.argmax(axis=1) == truth).mean() < np.bincount(y).max() / len(y) + 0.1


# Prediction


def test_prediction_equals_its_definition() -> None:
    scores = np.random.default_rng(2).standard_normal((50, 4)) * 5
    scores[0] = [800, 0, 0, -5]
    found = predict(scores, 2.0)
    p = softmax(scores / 2, axis=1)
    ordered = np.sort(p, axis=1)
    np.testing.assert_allclose(found.p, p, rtol=1e-12)
    np.testing.assert_array_equal(found.predicted, p.argmax(axis=1))
    np.testing.assert_allclose(found.confidence, ordered[:, -1], rtol=1e-12)
    np.testing.assert_allclose(found.margin, ordered[:, -1] - ordered[:, -2], atol=1e-12)
    best = ordered[1:, -1]
    np.testing.assert_allclose(found.novelty[1:], np.log((1 - best) / best), atol=1e-6)
    assert found.novelty[0] == pytest.approx(math.log(2 + math.exp(-2.5)) - 400, abs=1e-9)
    np.testing.assert_allclose(found.paper_confidence, softmax(scores, axis=1).max(axis=1), rtol=1e-12)


# Calibration


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_of_simulated_logits_is_found(temperature: float) -> None:
    rng = np.random.default_rng(4)
    true_logits = rng.standard_normal((20_000, 5)) * 2
    labels = (true_logits + rng.gumbel(size=true_logits.shape)).argmax(axis=1)
    assert fit_temperature(true_logits * temperature, labels) == pytest.approx(temperature, rel=0.03)


@pytest.mark.parametrize("distance", [5.0, 60.0])
def test_perfectly_separated_cells_keep_the_temperature_off_its_floor(distance: float) -> None:
    labels = np.arange(300) % 3
    scores = np.eye(3)[labels] * distance
    # p = 1 - 1 / (n + 2) is the best there is.
    best = distance / math.log((1 - 1 / 302) / (1 / 302 / 2))
    assert fit_temperature(scores, labels) == pytest.approx(best, rel=1e-3)


def test_the_threshold_is_the_smallest_that_keeps_the_target_error() -> None:
    rng = np.random.default_rng(6)
    for _ in range(200):
        confidence = np.round(rng.uniform(0.3, 1.0, 40), 1)
        correct = rng.uniform(size=40) < rng.choice([0.1, 0.6, 0.95])
        target = float(rng.choice([0.0, 0.05, 0.2, 0.5]))
        threshold = find_threshold(confidence, correct, target)
        accepted = confidence >= threshold
        allowed = [c for c in np.unique(confidence) if (~correct[confidence >= c]).mean() <= target]
        if allowed:
            lowest = min(allowed)
            assert threshold == (min(lowest, 1 - target) if lowest == confidence.min() else lowest)
        else:
            assert not accepted.any()


def test_a_threshold_does_not_ask_for_more_than_the_target_error() -> None:
    # Held-out cells that are all right and all sure: a query under a shift is less sure, and need not be Unknown.
    assert find_threshold(np.full(50, 0.99), np.ones(50, bool), 0.05) == 0.95
    assert find_threshold(np.array([0.99, 0.9]), np.ones(2, bool), 0.05) == 0.9
    # Where a held-out cell is wrong above 1 - target, more is needed.
    assert find_threshold(np.array([0.999, 0.99]), np.array([True, False]), 0.05) == 0.999


def test_calibration_tells_what_it_keeps() -> None:
    rng = np.random.default_rng(7)
    true_logits = rng.standard_normal((4000, 3)) * 2
    labels = (true_logits + rng.gumbel(size=true_logits.shape)).argmax(axis=1)
    found = calibrate(true_logits * 3, labels, 0.05)
    p = softmax(true_logits * 3 / found.temperature, axis=1)
    np.testing.assert_allclose(found.confidence, p.max(axis=1))
    accepted = found.confidence >= found.threshold
    assert (~found.correct[accepted]).mean() <= 0.05
    assert 0.1 < found.held_out_coverage < 0.9
    assert found.held_out_coverage == accepted.mean()
    assert found.held_out_accuracy == (p.argmax(axis=1) == labels).mean()
    assert found.held_out_confidence == pytest.approx(found.held_out_accuracy, abs=0.02)
    assert calibrate(true_logits, labels, 0.05, threshold=0.7).threshold == 0.7


# The distance between reference and query


def test_auc_equals_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(8)
    scores, positive = np.round(rng.standard_normal(300), 1), rng.uniform(size=300) < 0.3
    assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)


@pytest.mark.parametrize("sizes", [(800, 800), (3000, 150)])
def test_the_domain_auc_is_a_half_without_a_shift_and_one_with_a_large_one(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(9)
    reference, query = (rng.standard_normal((n, 16)).astype(np.float32) for n in sizes)
    assert domain_auc(reference, query) == pytest.approx(0.5, abs=0.06)
    shifted = query + np.eye(16, dtype=np.float32)[0] * 8
    assert domain_auc(reference, shifted) > 0.999
    assert domain_auc(reference, query) == domain_auc(reference, query)


def test_the_gate_warns_with_its_reason() -> None:
    rng = np.random.default_rng(10)
    reference = rng.standard_normal((500, 4)).astype(np.float32)
    alike = rng.standard_normal((500, 4)).astype(np.float32)
    assert domain_gap(reference, alike, 0.9, 0.95)["level"] == "pass"
    apart = domain_gap(reference, alike + 9, 0.9, 0.95)
    assert apart["level"] == "warn"
    assert "AUC 1.00" in apart["reason"]
    unsure = domain_gap(reference, alike, 0.7, 0.95)
    assert unsure["level"] == "warn"
    assert "0.70" in unsure["reason"]


# The bundle


@pytest.fixture
def fitted(h: Hyperparameters) -> Fit:
    (reference, y), (query, _) = draw(120, 1), draw(90, 2)
    return fit(
        Reference(reference, y, 3, np.zeros(120, np.int64)), [Query(query[:40]), Query(query[40:])], ("rna", "rna"),
        replace(h, iterations=20), target_error=0.05, threshold=None, seed=3,
    )  # fmt: skip


def write_bundle(folder: Path, fitted: Fit, h: Hyperparameters) -> None:
    names = ["NA", "nan", "-", *(f"G{i}" for i in range(FEATURES - 3))]
    features = pd.DataFrame({"gene_id": [f"id{i}" for i in range(FEATURES)], "gene_name": names}, index=names)
    bundle.write(folder, fitted, features, TYPES, h, {"scenario": "rna", "seed": 3})


def test_a_bundle_reads_back_as_it_was_written(tmp_path: Path, fitted: Fit, h: Hyperparameters) -> None:
    write_bundle(tmp_path / "model", fitted, h)
    found = bundle.read(tmp_path / "model")
    weights = fitted.training.weights
    np.testing.assert_array_equal(found.encoder_weight, weights.encoder_weight)
    np.testing.assert_array_equal(found.encoder_bias, weights.encoder_bias)
    np.testing.assert_array_equal(found.folded_weight, weights.folded()[0])
    np.testing.assert_array_equal(found.folded_bias, weights.folded()[1])
    np.testing.assert_array_equal(found.reference_embedding, fitted.reference_embedding)
    assert found.features.index[:4].tolist() == ["NA", "nan", "-", "G0"]
    assert found.features["gene_id"].tolist() == [f"id{i}" for i in range(FEATURES)]
    assert found.labels == TYPES
    for name, value in vars(fitted.calibration).items():
        np.testing.assert_array_equal(getattr(found.calibration, name), value)
    assert found.info["hyperparameters"] == json.loads(json.dumps(asdict(h)))
    assert found.info["scenario"] == "rna"
    log = pd.read_csv(tmp_path / "model" / "training_log.csv")
    assert log["iteration"].tolist() == [1, 10, 20]


def test_a_bundle_of_a_seed_is_byte_identical(tmp_path: Path, fitted: Fit, h: Hyperparameters) -> None:
    for name in "ab":
        write_bundle(tmp_path / name, fitted, h)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize("name", bundle_info.FILES)
@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_damaged_bundle_is_refused(tmp_path: Path, fitted: Fit, h: Hyperparameters, name: str, damage: str) -> None:
    write_bundle(tmp_path / "model", fitted, h)
    path = tmp_path / "model" / name
    if damage == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
    with pytest.raises(UserError, match=f"{name} of the bundle is missing or was changed") as caught:
        bundle.read(tmp_path / "model")
    assert caught.value.where == "model"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"format": 99, "version": "9.1", "files": {}}', "format 99, made by cellpredx 9.1"),
        ('{"format": 1}', "damaged"),
        ('{"format": "x", "files": {}}', "damaged"),
        ("[]", "damaged"),
        ("{", "damaged"),
        (None, r"bundle\.json is missing"),
    ],
)
def test_a_bundle_of_another_kind_is_refused(
    tmp_path: Path, fitted: Fit, h: Hyperparameters, text: str | None, what: str
) -> None:
    write_bundle(tmp_path / "model", fitted, h)
    if text is None:
        (tmp_path / "model" / "bundle.json").unlink()
    else:
        (tmp_path / "model" / "bundle.json").write_text(text)
    with pytest.raises(UserError, match=what):
        bundle.read(tmp_path / "model")


# The verbs


def sample(name: str, counts: sp.csr_matrix) -> ad.AnnData:
    names = [f"G{i}" for i in range(FEATURES)]
    features = pd.DataFrame({"gene_id": names, "gene_name": names}, index=names)
    cells = [f"{name}{i}" for i in range(counts.shape[0])]
    return sample_matrix(
        counts, cells, [name] * len(cells), [name] * len(cells), features, sample=name, modality="rna", kind="genes"
    )


def write_pair(folder: Path, query_cells: int = 60, types: list[str] = TYPES) -> NDArray[np.int64]:
    """Write what `pair` and `labels` leave; return the query's true types."""
    (reference, y), (query, truth) = draw(90, 1), draw(query_cells, 2, shift=0.3)
    matrix = sample("r", reference)
    matrix.obs = matrix.obs.assign(sample="r", barcode=matrix.obs_names.astype(str))
    matrix.obs_names = [f"r:{barcode}" for barcode in matrix.obs_names]
    write_h5ad(matrix, folder / "pair" / "reference.h5ad")
    write_h5ad(sample("q", query), folder / "pair" / "queries" / "q.h5ad")
    modality = {"scenario": "rna", "reference_modality": "rna", "query_modality": "rna"}
    names = {"transfer": "t", "group": "t", "references": ["r"], "queries": ["q"]}
    write_json({**names, **modality}, folder / "pair" / "pair.json")
    labels = pd.DataFrame({"barcode": [f"r{i}" for i in range(90)], "cell_type": [types[k] for k in y]})
    labels.to_csv(folder / "labels.csv", index=False)
    return truth


def train_arguments(folder: Path, out: str, *more: object) -> tuple[object, ...]:
    files = ("--bundle", folder / out, "--training", folder / f"{out}.json")
    numbers = "iterations=60,dimensions=8,batch_size=32,pca_components=5"
    return (
        "train", "--pair", folder / "pair", "--labels", f"r={folder / 'labels.csv'}", *files,
        "--hyperparameters", numbers, "--threads", 2, "--device", "cpu", *more,
    )  # fmt: skip


def predict_arguments(folder: Path, out: str, *more: object, block: int = 50) -> list[tuple[object, ...]]:
    """What annotates a query, in blocks of cells, with results in `out`."""
    query, fit = folder / "pair" / "queries" / "q.h5ad", folder / out / "query_fit"
    both = ("--bundle", folder / "model", "--query", query)
    begins = range(0, ad.read_h5ad(query).n_obs, block)
    parts = [folder / out / f"part_{begin}" for begin in begins]
    return [
        ("fit-query", *both, "--outdir", folder / out, *more),
        *(
            ("predict", *both, "--fit", fit, "--begin", begin, "--cells", block, "--out", part)
            for begin, part in zip(begins, parts, strict=True)
        ),
        ("annotate", *both, "--fit", fit, "--parts", *reversed(parts), "--outdir", folder / out),
    ]


@pytest.fixture
def annotate(run_verb: Callable[..., None]) -> Callable[..., None]:
    """Annotate the query of a folder, as the workflow does."""

    def run(*arguments: Any, **options: Any) -> None:
        for call in predict_arguments(*arguments, **options):
            run_verb(*call)

    return run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model and what it was trained on."""
    from cellpredx.cli import parser

    folder = tmp_path_factory.mktemp("run")
    np.save(folder / "truth.npy", write_pair(folder))
    args = parser().parse_args([str(a) for a in train_arguments(folder, "model")])
    args.run(args)
    return folder


def test_the_same_training_leaves_the_same_bytes(run_folder: Path, run_verb: Callable[..., None]) -> None:
    run_verb(*train_arguments(run_folder, "again"))
    for path in sorted((run_folder / "model").iterdir()):
        assert path.read_bytes() == (run_folder / "again" / path.name).read_bytes()
    run_verb(*train_arguments(run_folder, "other", "--seed", 2))
    weights = "weights.safetensors"
    assert (run_folder / "model" / weights).read_bytes() != (run_folder / "other" / weights).read_bytes()


def test_a_retraining_is_the_training_without_its_calibration(run_folder: Path, run_verb: Callable[..., None]) -> None:
    arguments = [str(a) for a in train_arguments(run_folder, "model")]
    begin = arguments.index("--bundle")
    given = ("retrain", *arguments[1:begin], *arguments[begin + 4 :])
    found = {}
    for name, more in (("same", ()), ("other", ("--seed", 2)), ("shuffled", ("--shuffled",))):
        run_verb(*given, *more, "--out", run_folder / name)
        found[name] = load_file(run_folder / name)["folded.weight"]
    model = load_file(run_folder / "model" / "weights.safetensors")
    assert found["same"].tobytes() == model["folded.weight"].tobytes()
    assert load_file(run_folder / "same")["folded.bias"].tobytes() == model["folded.bias"].tobytes()
    x = normalise(ad.read_h5ad(run_folder / "pair" / "queries" / "q.h5ad").X, 1e4)
    truth = np.load(run_folder / "truth.npy")
    right = {name: float(((x @ weight.T).argmax(axis=1) == truth).mean()) for name, weight in found.items()}
    assert found["other"].tobytes() != found["same"].tobytes()
    assert right["other"] > 0.9
    assert right["shuffled"] < 0.8


def test_predictions_follow_the_bundle(run_folder: Path, annotate: Callable[..., None]) -> None:
    annotate(run_folder, "p")
    table = pd.read_csv(run_folder / "p" / "predictions.csv", keep_default_na=False)
    model = bundle.read(run_folder / "model")
    query = ad.read_h5ad(run_folder / "pair" / "queries" / "q.h5ad")
    x = normalise(query.X, 1e4)
    p = softmax((x @ model.folded_weight.T + model.folded_bias) / model.calibration.temperature, axis=1)
    np.testing.assert_allclose(table[[f"p_{t}" for t in TYPES]], p, atol=1e-5)
    assert table["barcode"].tolist() == list(query.obs_names)
    assert table["predicted"].tolist() == [TYPES[k] for k in p.argmax(axis=1)]
    assert (p.argmax(axis=1) == np.load(run_folder / "truth.npy")).mean() > 0.9
    known = table["confidence"] >= model.calibration.threshold
    assert table["predicted_or_unknown"].tolist() == table["predicted"].where(known, "Unknown").tolist()
    annotated = ad.read_h5ad(run_folder / "p" / "annotated.h5ad")
    assert annotated.obs["predicted"].tolist() == table["predicted"].tolist()
    assert annotated.obsm["X_cellpredx"].shape == (60, 8)
    annotate(run_folder, "none", "--unknown-threshold", 1.1)
    assert set(pd.read_csv(run_folder / "none" / "predictions.csv")["predicted_or_unknown"]) == {"Unknown"}
    annotate(run_folder, "loose", "--target-error", 0.9)
    loose = json.loads((run_folder / "loose" / "domain_gap.json").read_text())["threshold"]
    assert loose == min(model.calibration.confidence.min(), 1 - 0.9)


def test_a_batch_of_few_cells_is_not_held_out_by_itself() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 400)
    assert not halves(labels, np.repeat([0, 1], [340, 60]), 1)[1]
    assert halves(labels, np.repeat([0, 1], [300, 100]), 1)[1]


@pytest.mark.parametrize("alone", [0, 2])
def test_a_type_that_a_half_lacks_is_never_its_answer(h: Hyperparameters, alone: int) -> None:
    counts, _ = draw(100, 8)
    # One type has a single cell, another all the others but two.
    labels = np.full(100, 1)
    labels[:2] = 2 - alone
    labels[2] = alone
    reference = Reference(counts, labels, 3, np.zeros(100, np.int64))
    found = held_out_logits(reference, ("rna", "rna"), None, replace(h, iterations=20), 1, CPU)
    assert len(found.labels) == 99
    assert (found.logits.argmax(axis=1) != alone).all()


@pytest.mark.parametrize("key", ["labels", "calibration", "recipe", "files"])
def test_a_changed_word_of_bundle_json_is_refused(tmp_path: Path, fitted: Fit, h: Hyperparameters, key: str) -> None:
    write_bundle(tmp_path / "model", fitted, h)
    path = tmp_path / "model" / "bundle.json"
    info = json.loads(path.read_text())
    if key == "recipe":
        path.write_text(path.read_text().replace('"seed": 3', '"seed": 4'))
    elif key == "files":
        # With the right checksum, as one who made it up would write it.
        rest = {name: value for name, value in info.items() if name != "sha256"} | {"files": list(info["files"])}
        own = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps(rest | {"sha256": own}))
    else:
        del info[key]
        path.write_text(json.dumps(info))
    with pytest.raises(UserError, match=r"bundle\.json is damaged or was changed"):
        bundle.read(tmp_path / "model")


def test_a_model_of_numbers_that_are_none_is_not_written(h: Hyperparameters) -> None:
    with pytest.raises(UserError, match="the loss is no number any more at iteration 1"):
        trained(replace(h, learning_rate=1e30, iterations=1))


def test_what_cannot_be_learnt_from_is_refused_before_training(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    write_pair(tmp_path)
    query = ad.read_h5ad(tmp_path / "pair" / "queries" / "q.h5ad")
    query.X = sp.csr_matrix(query.shape, dtype=np.float32)
    write_h5ad(query, tmp_path / "pair" / "queries" / "q.h5ad")
    with pytest.raises(UserError, match="every cell of query q has the same value in each feature"):
        run_verb(*train_arguments(tmp_path, "model"))
    labels = pd.read_csv(tmp_path / "labels.csv")
    labels["cell_type"] = ["A"] * 89 + ["B"]
    labels.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(UserError, match="types of the reference with two cells or more: 1") as caught:
        run_verb(*train_arguments(tmp_path, "model"))
    assert caught.value.where == "r"
    write_pair(tmp_path)
    for name in ("reference.h5ad", "queries/q.h5ad"):
        write_h5ad(ad.read_h5ad(tmp_path / "pair" / name)[:, :4].copy(), tmp_path / "pair" / name)
    with pytest.raises(UserError, match="share 4 features: too few to learn from"):
        run_verb(*train_arguments(tmp_path, "model"))


def test_a_cell_without_counts_is_unknown_and_warned_of(
    tmp_path: Path, run_folder: Path, annotate: Callable[..., None]
) -> None:
    shutil.copytree(run_folder / "model", tmp_path / "model")
    counts = draw(30, 2)[0].toarray()
    counts[4] = 0
    write_h5ad(sample("q", sp.csr_matrix(counts)), tmp_path / "pair" / "queries" / "q.h5ad")
    annotate(tmp_path, "p", "--unknown-threshold", 0)
    table = pd.read_csv(tmp_path / "p" / "predictions.csv", keep_default_na=False)
    assert table.loc[table["predicted_or_unknown"] == "Unknown", "barcode"].tolist() == ["q4"]
    assert table.loc[4, "warning"] == "no counts on the model's features"


@pytest.mark.parametrize("cells", [1, 3])
def test_a_few_cells_can_be_predicted(
    tmp_path: Path, run_folder: Path, annotate: Callable[..., None], cells: int
) -> None:
    shutil.copytree(run_folder / "model", tmp_path / "model")
    write_h5ad(sample("q", draw(cells, 2)[0]), tmp_path / "pair" / "queries" / "q.h5ad")
    annotate(tmp_path, "p")
    assert len(pd.read_csv(tmp_path / "p" / "predictions.csv")) == cells
    assert json.loads((tmp_path / "p" / "domain_gap.json").read_text())["auc"] is None


BLOCKED = """
import json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "captum"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
from cellpredx.cli import main
sys.exit(max(main(arguments) for arguments in json.loads(sys.argv[1])))
"""


def test_prediction_and_explanation_need_no_torch(run_folder: Path, annotate: Callable[..., None]) -> None:
    annotate(run_folder, "with", block=60)
    annotated, out = run_folder / "without" / "annotated.h5ad", run_folder / "determinants.csv"
    explain = ("explain", "--bundle", run_folder / "model", "--annotated", annotated, "--outdir", run_folder)
    calls = json.dumps([[str(a) for a in call] for call in (*predict_arguments(run_folder, "without"), explain)])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", BLOCKED, calls], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for name in ("predictions.csv", "domain_gap.json"):
        assert (run_folder / "with" / name).read_bytes() == (run_folder / "without" / name).read_bytes()
    assert set(pd.read_csv(out)["cell_type"]) == set(TYPES)


def test_a_reference_that_cannot_train_is_refused(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    write_pair(tmp_path, types=["T", "T", "T"])
    with pytest.raises(UserError, match="one label only: 'T'"):
        run_verb(*train_arguments(tmp_path, "model"))
    (tmp_path / "labels.csv").write_text("barcode,cell_type\nelsewhere,T\n")
    with pytest.raises(UserError, match="none of the 90 reference cells has a label") as caught:
        run_verb(*train_arguments(tmp_path, "model"))
    assert "'elsewhere'" in str(caught.value.remedy)
    assert "'r0'" in str(caught.value.remedy)
    assert not (tmp_path / "model").exists()


def test_a_constant_reference_is_refused(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    write_pair(tmp_path)
    matrix = ad.read_h5ad(tmp_path / "pair" / "reference.h5ad")
    matrix.X = sp.csr_matrix(np.tile(np.arange(FEATURES, dtype=np.float32) % 3, (90, 1)))
    write_h5ad(matrix, tmp_path / "pair" / "reference.h5ad")
    with pytest.raises(UserError, match="every reference cell has the same value in each feature") as caught:
        run_verb(*train_arguments(tmp_path, "model"))
    assert caught.value.where == "r"
    assert not (tmp_path / "model").exists()


def test_fewer_cells_than_a_batch_and_types_of_one_cell_are_told(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    write_pair(tmp_path, query_cells=20)
    labels = pd.read_csv(tmp_path / "labels.csv")
    labels.loc[3, "cell_type"] = "alone"
    labels.to_csv(tmp_path / "labels.csv", index=False)
    run_verb(*train_arguments(tmp_path, "model"))
    report = json.loads((tmp_path / "model.json").read_text())
    assert report["warnings"] == [
        "types with one reference cell, left out of calibration: alone",
    ]
    assert report["held_out_cells"] == 89
    assert bundle.read(tmp_path / "model").labels == [*TYPES, "alone"]


def test_a_bundle_tells_what_it_was_made_from_and_with(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    write_pair(tmp_path)
    run_verb(*train_arguments(tmp_path, "model"))
    first = bundle.read(tmp_path / "model").info
    assert set(first["made_with"]) == {"python", "numpy", "scipy", "torch"}
    query = ad.read_h5ad(tmp_path / "pair" / "queries" / "q.h5ad")
    # Names of cells are no part of the content, a single count is.
    query.obs_names = [f"other{i}" for i in range(query.n_obs)]
    write_h5ad(query, tmp_path / "pair" / "queries" / "q.h5ad")
    run_verb(*train_arguments(tmp_path, "renamed"))
    assert (tmp_path / "renamed" / "bundle.json").read_bytes() == (tmp_path / "model" / "bundle.json").read_bytes()
    query.X.data[5] += 1
    write_h5ad(query, tmp_path / "pair" / "queries" / "q.h5ad")
    run_verb(*train_arguments(tmp_path, "changed"))
    changed = bundle.read(tmp_path / "changed").info["content"]
    assert changed["queries"] != first["content"]["queries"]
    assert changed["reference"] == first["content"]["reference"]


def test_the_printed_preset_has_the_printed_rule_for_unknown(
    tmp_path: Path, run_verb: Callable[..., None], annotate: Callable[..., None]
) -> None:
    write_pair(tmp_path)
    run_verb(*train_arguments(tmp_path, "model", "--preset", "paper_literal"))
    assert json.loads((tmp_path / "model.json").read_text())["target_error"] is None
    annotate(tmp_path, "printed")
    table = pd.read_csv(tmp_path / "printed" / "predictions.csv")
    assert ((table["predicted_or_unknown"] == "Unknown") == table["unknown_paper"]).all()
    annotate(tmp_path, "aimed", "--target-error", 0.9)
    aimed = pd.read_csv(tmp_path / "aimed" / "predictions.csv")
    assert (aimed["predicted_or_unknown"] != table["predicted_or_unknown"]).any()
    # A bundle keeps the rule that it was trained with.
    run_verb(*train_arguments(tmp_path, "model", "--preset", "paper_literal", "--target-error", 0.9))
    annotate(tmp_path, "kept")
    kept = pd.read_csv(tmp_path / "kept" / "predictions.csv")
    assert ((kept["predicted_or_unknown"] == "Unknown") == (kept["confidence"] < 0.1)).all()


def test_a_query_of_one_cell_is_refused(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    write_pair(tmp_path, query_cells=1)
    with pytest.raises(UserError, match="cell"):
        run_verb(*train_arguments(tmp_path, "model"))


def test_reference_cells_without_a_label_are_left_out_and_told(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    write_pair(tmp_path)
    labels = pd.read_csv(tmp_path / "labels.csv")
    labels[10:].to_csv(tmp_path / "labels.csv", index=False)
    run_verb(*train_arguments(tmp_path, "model", "--unknown-threshold", 0.5, "--max-train-cells", 50))
    report = json.loads((tmp_path / "model.json").read_text())
    assert sum(report["labels"].values()) == 80
    assert report["warnings"][0].startswith("10 of 90 reference cells have no label")
    assert "trained on 50 of 60 query cells; all are annotated" in report["warnings"][1]
    assert report["trained_cells"] == {"reference": 80, "query": 50}
    assert report["threshold"] == 0.5
    assert report["losses"]["iteration"][0] == 1
    assert set(report["losses"]) == {"iteration", *LOSSES}


def test_weights_fold_in_double_precision() -> None:
    rng = np.random.default_rng(1)

    def draw_array(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    weights = Weights(draw_array(4, 9), draw_array(4), draw_array(3, 4), draw_array(3), draw_array(3, 4))
    x = draw_array(20, 9).astype(float)
    expected = (x @ weights.encoder_weight.T + weights.encoder_bias) @ weights.classifier_weight.T
    folded, bias = weights.folded()
    np.testing.assert_allclose(x @ folded.T + bias, expected + weights.classifier_bias, atol=1e-5)


def test_another_target_error_needs_no_training(run_folder: Path) -> None:
    stored = bundle.read(run_folder / "model").calibration
    assert len(stored.confidence) == stored.held_out_cells == 90
    assert find_threshold(stored.confidence, stored.correct, stored.target_error) == stored.threshold
    assert find_threshold(stored.confidence, stored.correct, 0.9) < stored.threshold
