"""The members of `tuned`: classifiers, joint embeddings, smoothed genes, and a bundle of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from cellpredx.core.errors import UserError
from cellpredx.model import presets
from cellpredx.model.graph import loadings_of, pca
from cellpredx.model.logistic import Standardised, fit_logistic
from cellpredx.model.members import (
    Embedded,
    Ensemble,
    Smoothed,
    ensemble,
    fit_smoothed,
    fit_within,
    from_tensors,
    nearest_cosine,
    refuse_few,
    smooth,
    walk,
)
from cellpredx.model.normalise import normalise
from cellpredx.model.spectral import spectral
from tests.unit.test_model import FEATURES, TYPES, draw, predict_arguments, write_pair

Floats = NDArray[np.float64]


def small(scenario: str) -> presets.Hyperparameters:
    return replace(presets.load("tuned", scenario), spectral_components=(4, 7), joint_components=5, joint_neighbours=5)


@pytest.mark.parametrize("sparse", [True, False])
def test_a_fit_equals_scikit_learn(sparse: bool) -> None:
    counts, y = draw(200, 1)
    y = np.where(y == 0, np.arange(200) % 10 == 0, y).astype(np.int64)  # sizes differ
    x = sp.csr_matrix(normalise(counts, 1e4), dtype=np.float64)
    n_k = np.bincount(y)
    weights = n_k[y] ** -0.5
    other = LogisticRegression(C=0.3, tol=1e-8, max_iter=5000)
    other.fit(x, y, sample_weight=weights * len(y) / weights.sum())
    weight, bias = fit_logistic(Standardised(x if sparse else x.toarray()), y, 3, 1 / (0.3 * len(y)), 0.5)
    np.testing.assert_allclose(weight, other.coef_, atol=2e-3)
    ours, theirs = (np.asarray(x @ w.T) + b for w, b in ((weight, bias), (other.coef_, other.intercept_)))
    np.testing.assert_allclose(ours - ours.mean(axis=1)[:, None], theirs - theirs.mean(axis=1)[:, None], atol=5e-3)


def test_standardised_columns_are_never_formed_but_count() -> None:
    x = sp.random(30, 8, 0.4, format="csr", random_state=1)
    scale, shift = np.linspace(0.5, 2, 8), np.linspace(-1, 1, 8)
    formed = x.toarray() * scale - shift
    rng = np.random.default_rng(2)
    w, r = rng.standard_normal((8, 3)), rng.standard_normal((30, 3))
    np.testing.assert_allclose(Standardised(x, scale, shift).times(w), formed @ w)
    np.testing.assert_allclose(Standardised(x, scale, shift).transposed_times(r), formed.T @ r)


def test_a_type_without_cells_is_never_the_answer() -> None:
    counts, y = draw(90, 1)
    weight, bias = fit_logistic(Standardised(sp.csr_matrix(counts, dtype=float)), np.where(y == 2, 3, y), 4, 0.1, 0.5)
    assert weight.shape == (4, FEATURES)
    assert 2 not in (np.asarray(counts @ weight.T) + bias).argmax(axis=1)


def formed_embedding(counts: sp.csr_matrix, components: int) -> tuple[Floats, Floats]:
    """The spectral embedding by a dense eigendecomposition, and its values."""
    x = (counts.toarray() > 0).astype(float)
    having = x.sum(axis=0)
    y = x * np.where(having >= 3, np.log(len(x) / np.maximum(having, 1)), 0)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    a = y @ y.T - np.eye(len(y))
    r = a.sum(axis=1) ** -0.5
    values, vectors = np.linalg.eigh(r[:, None] * a * r)
    order = np.argsort(-values)[1 : components + 1]
    return vectors[:, order] * values[order], values[order]


def test_the_spectral_embedding_equals_a_dense_one_and_its_map_gives_it_back() -> None:
    counts, _ = draw(80, 4)
    counts.data[:3] = 0  # a stored zero is no presence
    embedding, fitted = spectral(counts, 3)
    expected, values = formed_embedding(counts, 3)
    np.testing.assert_allclose(fitted.values, values, rtol=1e-6)
    np.testing.assert_allclose(np.abs(embedding), np.abs(expected), atol=1e-6)
    np.testing.assert_allclose(fitted.project(counts, within=True)[0], embedding, atol=1e-6)
    # A cell that was not there lies where a cell of the same counts lies.
    twin, _ = fitted.project(counts, within=False)
    cosine = (twin * embedding).sum(axis=1) / np.linalg.norm(twin, axis=1) / np.linalg.norm(embedding, axis=1)
    assert cosine.min() > 0.99


def test_two_threads_embed_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, _ = draw(80, 4)
    monkeypatch.setattr("cellpredx.model.spectral.ENTRIES", 50)
    found = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        embedding, fitted = spectral(counts, 3)
        found.append(embedding.tobytes() + fitted.directions.tobytes())
    assert found[0] == found[1] == found[2]


def test_loadings_give_the_components_back() -> None:
    x = sp.csr_matrix(normalise(draw(70, 5)[0], 1e4), dtype=np.float64)
    scores = pca(x, 4)
    loadings, mean = loadings_of(x, scores)
    np.testing.assert_allclose((x.toarray() - mean) @ loadings, scores, atol=1e-8)


def test_smoothed_genes_equal_plain_arithmetic() -> None:
    (reference, y), (query, _) = draw(100, 1), draw(60, 2, shift=0.3)
    h = replace(presets.load("tuned", "unmatched"), graph_components=(3, 5), graph_neighbours=(4, 6), smoothing=0.6)
    x_reference, x_query = normalise(reference, 1e4), normalise(query, 1e4)
    rest = fit_smoothed(x_reference, y.astype(np.int64), 3, x_query, h).rest
    assert isinstance(rest, Smoothed)
    found = rest.logits(x_query, rest.place(query))
    expected = np.zeros((60, 3))
    genes = np.expm1(x_query.toarray().astype(float))
    for d, k in ((3, 4), (5, 6)):
        e = spectral(query, 5)[0][:, :d]
        e = e / np.linalg.norm(e, axis=1, keepdims=True)
        near = np.zeros((60, 60))
        for i in range(60):
            others = np.argsort(-np.where(np.arange(60) == i, -2, e @ e[i]), kind="stable")[:k]
            near[i, others] = 1
        near = np.maximum(near, near.T)
        near /= near.sum(axis=1, keepdims=True)
        s = genes
        for _ in range(3):
            s = 0.4 * genes + 0.6 * near @ s
        s = np.log1p(s)
        z = np.clip((s - s.mean(axis=0)) / s.std(axis=0), -10, 10)
        own = z @ rest.weight.T + rest.bias
        expected += (own - own.mean(axis=1, keepdims=True)) / 2
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_genes_that_a_side_lacks_have_no_part() -> None:
    (reference, y), (query, _) = draw(100, 1), draw(60, 2)
    query = sp.csr_matrix(query.toarray() * (np.arange(FEATURES) != 7))
    h = presets.load("tuned", "unmatched")
    rest = fit_smoothed(normalise(reference, 1e4), y.astype(np.int64), 3, normalise(query, 1e4), h).rest
    assert isinstance(rest, Smoothed)
    assert (rest.weight[:, 7] == 0).all()
    assert (rest.weight[:, 8] != 0).all()


def test_a_query_of_too_few_cells_is_refused_and_a_constant_gene_has_no_part() -> None:
    (reference, y), (query, _) = draw(100, 1), draw(60, 2)
    x = [normalise(counts, 1e4).tolil() for counts in (reference, query)]
    for side in x:
        side[:, 5] = 2.0
    x = [sp.csr_matrix(side) for side in x]
    rest = fit_smoothed(x[0], y.astype(np.int64), 3, x[1], presets.load("tuned", "unmatched")).rest
    assert isinstance(rest, Smoothed)
    assert (rest.weight[:, 5] == 0).all()
    with pytest.raises(UserError, match="q has 19 cells") as caught:
        refuse_few(19, "q")
    assert caught.value.remedy
    refuse_few(20, "q")
    with pytest.raises(UserError, match="no gene is in"):
        fit_smoothed(x[0], y.astype(np.int64), 3, x[1] * 0, presets.load("tuned", "unmatched"))


@pytest.mark.parametrize("cells", [1, 2, 5])
def test_a_few_cells_of_one_modality_can_be_predicted(cells: int) -> None:
    (reference, y), (query, truth) = draw(200, 1), draw(90, 2)
    x = [normalise(counts, 1e4) for counts in (reference, query)]
    members = fit_within(x[0], y.astype(np.int64), 3, x[1], small("atac"), "atac")
    x = x[1][:cells]
    placed = members.place(x, None, within=False)
    logits, novelty = members.logits(x, placed), members.novelty(placed)
    assert novelty is not None
    assert np.isfinite(novelty).all()
    assert (logits.argmax(axis=1) == truth[:cells]).all()


@pytest.mark.parametrize("scenario", ["rna", "atac"])
def test_members_of_one_modality_learn_types_and_pass_through_a_bundle(scenario: str) -> None:
    (reference, y), (query, truth) = draw(200, 1), draw(90, 2, shift=0.4)
    h = small(scenario)
    x = [normalise(counts, 1e4) for counts in (reference, query)]
    members = fit_within(x[0], y.astype(np.int64), 3, x[1], h, scenario)
    assert isinstance(members.rest, Embedded)
    assert [d for d, _, _ in members.rest.readouts] == [4, 7]
    placed = members.place(x[1], None, within=True)
    logits, novelty = members.logits(x[1], placed), members.novelty(placed)
    assert novelty is not None
    assert (logits.argmax(axis=1) == truth).mean() > 0.8
    np.testing.assert_allclose(logits.sum(axis=1), 0, atol=1e-9)
    back = from_tensors(members.tensors())
    assert back is not None
    placed = back.place(x[1], None, within=True)
    again, same = back.logits(x[1], placed), back.novelty(placed)
    np.testing.assert_array_equal(again, logits)
    np.testing.assert_array_equal(same, novelty)


def test_cells_of_a_type_that_the_reference_lacks_rank_as_novel() -> None:
    (reference, y), (query, truth) = draw(300, 1), draw(150, 2)
    kept = y != 2
    h = small("rna")
    members = fit_within(normalise(reference[kept], 1e4), y[kept], 2, normalise(query, 1e4), h, "rna")
    novelty = members.novelty(members.place(normalise(query, 1e4), None, within=True))
    assert novelty is not None
    assert novelty[truth == 2].mean() > novelty[truth != 2].mean() + 0.8


def test_the_network_has_the_larger_share_where_it_is_as_sure() -> None:
    (reference, y), (query, _) = draw(150, 1), draw(60, 2)
    h = small("rna")
    x = [normalise(counts, 1e4) for counts in (reference, query)]
    shares = []
    means = np.stack([np.asarray(x[0][y == k].mean(axis=0)).ravel() for k in range(3)])
    right = means - means.mean(axis=0)
    # Unsure; sure, and of the same types as the members; sure, and of other types.
    for strength, order in ((0.0, [0, 1, 2]), (100.0, [0, 1, 2]), (100.0, [1, 2, 0])):
        network = ((strength * right[order]).astype(np.float32), np.zeros(3, np.float32))
        both = ensemble(network, x[0], y.astype(np.int64), 3, x[1], h, ("rna", "rna"))
        shares.append(both.network_share)
    assert shares == [0.2, 0.4, 0.2]
    assert (h.network_share, h.network_share_sure) == (0.2, 0.4)


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("modalities", [("rna", "rna"), ("atac", "atac"), ("rna", "atac")])
def test_logits_are_linear_in_what_is_explained(modalities: tuple[str, str], within: bool) -> None:
    (reference, y), (query, _) = draw(200, 1), draw(60, 2, shift=0.3)
    x = [normalise(counts, 1e4) for counts in (reference, query)]
    h = small({("rna", "rna"): "rna", ("atac", "atac"): "atac"}.get(modalities, "unmatched"))
    network = (np.random.default_rng(1).standard_normal((3, FEATURES)).astype(np.float32), np.zeros(3, np.float32))
    both = ensemble(network, x[0], y.astype(np.int64), 3, x[1], replace(h, graph_components=(5, 6, 7)), modalities)
    rows = np.array([3, 17, 40])
    placed = both.place(x[1], query, within)
    assert placed is not None
    explained = both.explained(x[1], placed, rows)
    features, share, zero = explained.features, explained.own, explained.zero
    weight, bias = both.stacked(placed.own_similarity)
    found = np.asarray(features @ weight.T) - weight @ zero + bias
    expected = both.logits(x[1], placed)[rows]
    np.testing.assert_allclose(explained.logits, expected, atol=1e-9)
    assert share.shape == features.shape
    assert share.data.min() >= 0
    assert share.data.max() <= 1 + 1e-6
    if modalities == ("atac", "atac"):
        # What is left are the neighbours that are of the reference.
        alone = expected - both.beyond(x[1], placed)[rows]
        part = np.abs(found - alone).sum() / np.abs(expected - alone).sum()
        assert 0.5 < part < 0.7
        # Without those of the query: half of a smoothed cell is its own.
        own = np.asarray(features.multiply(share) @ weight.T) - weight @ zero + bias
        assert 0.4 < np.abs(own - alone).sum() / np.abs(expected - alone).sum() < 0.55
    else:
        # Cells of the embedding itself differ in how much of their similarities is their own.
        np.testing.assert_allclose(found, expected, atol=0.03 if within and modalities[1] == "rna" else 1e-5)


def test_without_members_the_network_is_all() -> None:
    (reference, y), (query, _) = draw(90, 1), draw(60, 2)
    network = (np.ones((3, FEATURES), np.float32), np.zeros(3, np.float32))
    x = [normalise(counts, 1e4) for counts in (reference, query)]
    both = ensemble(network, x[0], y.astype(np.int64), 3, x[1], presets.load("paper", "rna"), ("rna", "rna"))
    assert both == Ensemble(*network, None, 1.0)
    assert from_tensors({"encoder.weight": network[0]}) is None


def test_the_graph_is_symmetric_and_a_smoothed_constant_stays() -> None:
    embedding = np.random.default_rng(1).standard_normal((40, 3))
    w = walk(embedding, 5)
    np.testing.assert_allclose(np.asarray(w.sum(axis=1)).ravel(), 1)
    assert ((w != 0) != (w.T != 0)).nnz == 0
    assert (w.diagonal() == 0).all()
    np.testing.assert_allclose(smooth(np.full((40, 2), 3.0), w, 0.7, 3), 3.0)


def test_cells_of_zeros_are_no_neighbours() -> None:
    embedding = np.abs(np.random.default_rng(1).standard_normal((40, 3)))
    w = walk(np.r_[np.zeros((9, 3)), embedding], 5).toarray()
    np.testing.assert_array_equal(w[:9], np.eye(9, 49))
    np.testing.assert_allclose(w[9:, 9:], walk(embedding, 5).toarray())


def test_the_nearest_cosines_equal_brute_force() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((50, 4)), rng.standard_normal((30, 4))
    unit = [e / np.linalg.norm(e, axis=1, keepdims=True) for e in (a, b)]
    expected = np.sort(unit[0] @ unit[1].T, axis=1)[:, -10:].mean(axis=1)
    np.testing.assert_allclose(nearest_cosine(a, b, block=7), expected)
    within = unit[0] @ unit[0].T
    np.fill_diagonal(within, -2)
    np.testing.assert_allclose(nearest_cosine(a, None, block=7), np.sort(within, axis=1)[:, -10:].mean(axis=1))


def test_lists_of_numbers_are_overridden_and_checked() -> None:
    h = presets.load("tuned", "unmatched")
    assert h.iterations == 200
    changed = presets.override(h, "graph_components=5+9,graph_neighbours=3+4")
    assert (changed.graph_components, changed.graph_neighbours) == ((5, 9), (3, 4))
    for text in ("graph_components=5", "graph_components=a+b", "graph_neighbours=0+1+2"):
        with pytest.raises(UserError):
            presets.override(h, text)


@pytest.mark.parametrize(
    ("preset", "scenario", "text"),
    [
        ("paper", "rna", "network_share=0.5"),
        ("tuned", "rna", "features_c=0"),
        ("tuned", "rna", "joint_components=0"),
        ("tuned", "rna", "smoothing=0.5"),
        ("tuned", "atac", "joint_neighbours=0"),
        ("tuned", "unmatched", "smoothed_penalty=0"),
        ("tuned", "unmatched", "smoothing_steps=0"),
        ("tuned", "unmatched", "features_c=1"),
    ],
)
def test_members_are_refused_what_they_cannot_do_without(preset: str, scenario: str, text: str) -> None:
    h = presets.load(preset, scenario)
    presets.override(h, "network_share=1")
    with pytest.raises(UserError):
        presets.override(h, text)


def test_cells_without_difference_lie_at_one_point() -> None:
    for same in (np.ones((20, 6)), np.eye(20), np.zeros((20, 0))):
        embedding, fitted = spectral(sp.csr_matrix(same), 5)
        assert (embedding == 0).all()
        assert (fitted.project(sp.csr_matrix(same), within=True)[0] == 0).all()


def tuned_arguments(folder: Path, out: str) -> tuple[object, ...]:
    files = ("--bundle", folder / out, "--training", folder / f"{out}.json")
    numbers = "iterations=40,dimensions=8,batch_size=32,pca_components=5,joint_components=5,spectral_components=6"
    return (
        "train", "--preset", "tuned", "--pair", folder / "pair", "--labels", f"r={folder / 'labels.csv'}", *files,
        "--hyperparameters", numbers, "--threads", 1, "--device", "cpu",
    )  # fmt: skip


def test_a_bundle_of_tuned_annotates_in_blocks_and_again_alike(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    truth = write_pair(tmp_path, query_cells=80)
    run_verb(*tuned_arguments(tmp_path, "model"))
    run_verb(*tuned_arguments(tmp_path, "again"))
    for path in sorted((tmp_path / "model").iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    info = json.loads((tmp_path / "model" / "bundle.json").read_text())
    assert info["preset"] == "tuned"
    assert info["network_share"] in (0.2, 0.4)
    for out, block in (("whole", 1000), ("blocks", 30)):
        for call in predict_arguments(tmp_path, out, block=block):
            run_verb(*call)
    path = Path("predictions.csv")
    assert (tmp_path / "whole" / path).read_bytes() == (tmp_path / "blocks" / path).read_bytes()
    table = pd.read_csv(tmp_path / "whole" / path)
    assert (table["predicted"] == np.array(TYPES)[truth]).mean() > 0.9
    np.testing.assert_allclose(table[[f"p_{t}" for t in TYPES]].sum(axis=1), 1, atol=1e-6)


def test_members_are_explained_on_a_sample_with_what_that_leaves(
    tmp_path: Path, run_verb: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(tmp_path, query_cells=400)
    arguments = tuned_arguments(tmp_path, "model")
    run_verb(*arguments)
    training = ["--bundle", "--training"]
    kept = [a for i, a in enumerate(arguments[1:], 1) if not {a, arguments[i - 1]} & set(training)]
    for name, more in (("seed_2", ()), ("shuffled_2", ("--shuffled",))):
        run_verb("retrain", *kept, "--seed", 2, *more, "--out", tmp_path / f"{name}.safetensors")
    for call in predict_arguments(tmp_path, "out"):
        run_verb(*call)
    monkeypatch.setattr("cellpredx.explain.trust.MAX_CELLS", 200)
    run_verb(
        *("explain", "--bundle", tmp_path / "model", "--annotated", tmp_path / "out" / "annotated.h5ad"),
        *("--retrained", tmp_path / "seed_2.safetensors", tmp_path / "shuffled_2.safetensors"),
        *("--outdir", tmp_path / "out"),
    )
    told = json.loads((tmp_path / "out" / "explain.json").read_text())
    predicted = pd.read_csv(tmp_path / "out" / "predictions.csv")["predicted"].value_counts()
    assert {name: one["cells"] for name, one in told["types"].items()} == predicted.to_dict()
    table = pd.read_csv(tmp_path / "out" / "determinants.csv")
    assert (table["cells"] == table["cell_type"].map(predicted)).all()
    assert (told["seeds"], told["permutations"]) == (2, 1)
    assert all(one["residual"] < 0.05 and one["stability"] > 0.3 for one in told["types"].values())


def test_members_know_the_cells_that_they_were_made_with(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    from cellpredx.matrix.stored import StoredMatrix
    from cellpredx.model import bundle
    from cellpredx.model.commands import _beyond

    write_pair(tmp_path, query_cells=80)
    run_verb(*tuned_arguments(tmp_path, "model"))
    model = bundle.read(tmp_path / "model")
    query = tmp_path / "pair" / "queries" / "q.h5ad"
    found = _beyond(model, str(query), None)[0]
    assert model.ensemble.members is not None
    with StoredMatrix(query) as stored:
        x = normalise(stored.rows(0, 80), 1e4)
    expected = [model.ensemble.beyond(x, model.ensemble.place(x, None, within)) for within in (True, False)]
    np.testing.assert_allclose(found, expected[0], atol=1e-5)
    assert np.abs(expected[1] - expected[0]).max() > 1e-4
    # Of a query of which the training took a part, the other cells are new.
    run_verb(*tuned_arguments(tmp_path, "sampled"), "--max-train-cells", 60)
    model = bundle.read(tmp_path / "sampled")
    new = model.ensemble.beyond(x, model.ensemble.place(x, None, within=False))
    np.testing.assert_allclose(_beyond(model, str(query), None)[0], new, atol=1e-5)
