"""Plain classifiers against plain computations, and the verb that runs them."""

import json
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from cellpredx.baselines import classifiers
from cellpredx.baselines.classifiers import METHODS, LeftOutError, choose_c, logistic_regression, subsample
from cellpredx.core.errors import UserError
from cellpredx.model.normalise import normalise

Run = Callable[..., None]
Labels = NDArray[np.int64]


def has_celltypist() -> bool:
    try:
        classifiers.celltypist_python()
    except LeftOutError:
        return False
    return True


needs_celltypist = pytest.mark.skipif(
    not has_celltypist(), reason="no `celltypist` on PATH: `make celltypist-env` makes one"
)
every_method = pytest.mark.parametrize(
    "method", [*list(METHODS)[:2], pytest.param("celltypist", marks=needs_celltypist)]
)


def cells(y: Labels, features: int = 40, seed: int = 1, depth: float = 300, fold: float = 1.0) -> sp.csr_matrix:
    """Draw log-normalised features of cells of the types `y`; profiles are the same for every seed."""
    profiles = np.random.default_rng(0)
    base = profiles.gamma(0.5, size=features)
    of_type = base * np.exp(fold * profiles.standard_normal((int(y.max()) + 1, features)))
    share = of_type / of_type.sum(axis=1, keepdims=True)
    counts = np.random.default_rng(seed).poisson(depth * share[y])
    return normalise(sp.csr_matrix(counts.astype(np.float32)), 1e4)


def drawn(size: int, types: int, seed: int) -> Labels:
    return np.random.default_rng(seed).integers(0, types, size)


def test_a_thinned_reference_keeps_shares_and_every_type() -> None:
    y = np.repeat([0, 1, 2, 3], [6000, 3000, 999, 1])[np.random.default_rng(0).permutation(10_000)]
    rows = subsample(y, 1000, seed=3)
    assert len(rows) == len(np.unique(rows)) == 1000
    assert (np.diff(rows) > 0).all()
    assert np.abs(np.bincount(y[rows]) - [600, 300, 100, 1]).max() <= 3
    assert (rows == subsample(y, 1000, seed=3)).all()
    assert (rows != subsample(y, 1000, seed=4)).any()
    assert (subsample(y, 10_000, seed=3) == np.arange(10_000)).all()


def test_logistic_regression_equals_its_objective_minimised(monkeypatch: pytest.MonkeyPatch) -> None:
    c = 0.01
    monkeypatch.setattr(classifiers, "GRID", (c,))
    y = drawn(300, 3, 1)
    x, query = cells(y, fold=0.5), cells(drawn(80, 3, 2), seed=2, fold=0.5)
    dense = np.column_stack([x.toarray(), np.ones(len(y))]).astype(float)
    one_hot = np.eye(3)[y]

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(3, -1)
        scores = dense @ w.T
        slope = w * np.r_[np.ones(x.shape[1]), 0]
        loss = 0.5 * (slope**2).sum() - c * (one_hot * log_softmax(scores, axis=1)).sum()
        return loss, (slope + c * (softmax(scores, axis=1) - one_hot).T @ dense).ravel()

    start = np.zeros(3 * dense.shape[1])
    best = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 20_000, "ftol": 1e-15}).x
    expected = softmax(np.column_stack([query.toarray(), np.ones(80)]) @ best.reshape(3, -1).T, axis=1)
    found = logistic_regression(x, y, 3, query, seed=1)
    assert np.abs(found - expected).max() < 1e-3
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_c_is_small_for_noise_and_large_for_a_plain_signal() -> None:
    y = drawn(300, 3, 5)
    assert choose_c(cells(np.zeros_like(y)), y, seed=1) == classifiers.GRID[0]
    assert choose_c(cells(y, fold=1.5), y, seed=1) > classifiers.GRID[0]


def plain_votes(reference: NDArray[np.float64], y: Labels, query: NDArray[np.float64], types: int) -> Labels:
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (reference, query)]
    nearest = np.argsort(-(unit[1] @ unit[0].T), axis=1)[:, :15]
    return np.array([np.bincount(y[row], minlength=types) for row in nearest])


def test_neighbours_vote_as_in_all_of_the_centred_space() -> None:
    # With fewer features than components their space is that of the features, turned.
    y = drawn(200, 4, 1)
    x, query = cells(y), cells(drawn(90, 4, 2), seed=2)
    centre = np.vstack([x.toarray(), query.toarray()]).astype(float).mean(axis=0)
    votes = plain_votes(x.toarray() - centre, y, query.toarray() - centre, 4)
    found = classifiers.nearest_neighbours(x, y, 4, query, seed=1)
    assert np.abs(found * 15 - votes).max() < 1e-9


def test_neighbours_are_those_of_the_principal_components() -> None:
    y = drawn(300, 5, 1)
    x, query = cells(y, features=800, depth=4000), cells(drawn(100, 5, 2), features=800, seed=2, depth=4000)
    both = np.vstack([x.toarray(), query.toarray()]).astype(float)
    u, s, _ = np.linalg.svd(both - both.mean(axis=0), full_matrices=False)
    scores = u[:, :50] * s[:50]
    votes = plain_votes(scores[:300], y, scores[300:], 5)
    found = classifiers.nearest_neighbours(x, y, 5, query, seed=1)
    assert (found.argmax(axis=1) == votes.argmax(axis=1)).mean() >= 0.99


@needs_celltypist
def test_celltypist_is_a_regression_a_type_on_standardised_features() -> None:
    from sklearn.linear_model import LogisticRegression

    y = drawn(250, 3, 1)
    x, query = cells(y, fold=0.5), cells(drawn(80, 3, 2), seed=2, fold=0.5)
    dense = x.toarray().astype(float)
    dense, other = dense[:, dense.any(axis=0)], query.toarray().astype(float)[:, dense.any(axis=0)]
    mean, deviation = dense.mean(axis=0), dense.std(axis=0)
    scaled, scaled_query = (np.minimum((part - mean) / deviation, 10) for part in (dense, other))
    scores = np.column_stack(
        [LogisticRegression(max_iter=1000).fit(scaled, y == k).decision_function(scaled_query) for k in range(3)]
    )
    expected = expit(scores) / expit(scores).sum(axis=1, keepdims=True)
    # Values that are no 10,000 a cell, as a matrix of log1p values may hold, are made so.
    given = x.copy()
    given.data = np.log1p(np.expm1(given.data) / 2)
    for reference in (x, given):
        found = classifiers.celltypist(reference, y, 3, query, seed=1)
        assert np.abs(found - expected).max() < 2e-3
        assert (found.argmax(axis=1) == scores.argmax(axis=1)).all()


@every_method
def test_types_of_one_cell_or_none_and_cells_without_counts_break_nothing(method: str) -> None:
    y = np.r_[drawn(120, 2, 1), 3]
    x, query = cells(y), cells(drawn(40, 2, 2), seed=2)
    x, query = (sp.csr_matrix(sp.diags((np.arange(m.shape[0]) != 5).astype(np.float32)) @ m) for m in (x, query))
    p = METHODS[method](x, y, 5, query, 1)
    assert p.shape == (40, 5)
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-6
    assert (p[:, [2, 4]] == 0).all()
    assert (p.argmax(axis=1) == drawn(40, 2, 2)).mean() > 0.9
    assert (p == METHODS[method](x, y, 5, query, 1)).all()
    two = METHODS[method](x, np.minimum(y, 1), 2, query, 1)
    assert np.abs(two.sum(axis=1) - 1).max() < 1e-6


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A pair of one reference with a cell that has no label, and two queries; and the reference's labels."""
    folder = tmp_path / "pair"
    (folder / "queries").mkdir(parents=True)
    y = drawn(90, 3, 1)
    var = pd.DataFrame(index=[f"g{i}" for i in range(40)])
    for name, seed, size in (("reference", 1, 90), ("q1", 2, 30), ("q2", 3, 20)):
        x = cells(drawn(size, 3, seed), seed=seed)
        counts = sp.csr_matrix(np.rint(np.expm1(x.toarray()) / 10).astype(np.float32))
        barcodes = [f"b{i}" for i in range(size)]
        obs = pd.DataFrame({"sample": "r", "barcode": barcodes}, index=[f"r:{b}" for b in barcodes])
        data = ad.AnnData(counts, obs=obs if name == "reference" else pd.DataFrame(index=barcodes), var=var)
        data.uns["cellpredx"] = {"sample": name}
        data.write_h5ad(folder / ("reference.h5ad" if name == "reference" else f"queries/{name}.h5ad"))
    described = {"transfer": "g", "group": "g", "references": ["r"], "queries": ["q1", "q2"]}
    (folder / "pair.json").write_text(json.dumps(described))
    labels = pd.DataFrame({"barcode": [f"b{i}" for i in range(90)], "cell_type": np.array(["B", "NA", "T"])[y]})
    labels[1:].to_csv(tmp_path / "r.labels.csv", index=False)
    return folder, tmp_path / "r.labels.csv"


def test_the_verb_gives_every_cell_of_every_query_a_type(
    tmp_path: Path, pair: tuple[Path, Path], run_verb: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for out in ("first", "second"):
        run_verb("baselines", "--pair", pair[0], "--labels", f"r={pair[1]}", "--outdir", tmp_path / out)
    for query, seed, size in (("q1", 2, 30), ("q2", 3, 20)):
        path = tmp_path / "first" / f"{query}.baselines.csv"
        table = pd.read_csv(path, keep_default_na=False)
        # CellTypist is not on this PATH.
        assert list(table) == [
            *("barcode", "logistic_regression", "logistic_regression_confidence"),
            *("nearest_neighbours", "nearest_neighbours_confidence"),
        ]
        assert list(table["barcode"]) == [f"b{i}" for i in range(size)]
        truth = np.array(["B", "NA", "T"])[drawn(size, 3, seed)]
        for method in ("logistic_regression", "nearest_neighbours"):
            assert (table[method] == truth).mean() >= 0.9
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()
    summary = json.loads((tmp_path / "first" / "baselines.json").read_text())
    assert summary["reference_cells"] == 89
    assert list(summary["methods"]) == ["logistic_regression", "nearest_neighbours"]
    assert "make celltypist-env" in summary["left_out"]["celltypist"]


def test_a_celltypist_that_fails_is_left_out_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("celltypist", "#!/bin/sh\n"), ("python", "#!/bin/sh\necho its last words >&2\nexit 3\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    y = drawn(50, 2, 1)
    with pytest.raises(LeftOutError, match="CellTypist failed and said: its last words"):
        classifiers.celltypist(cells(y), y, 2, cells(y), 1)


def test_mistakes_are_told(tmp_path: Path, pair: tuple[Path, Path], run_verb: Run) -> None:
    arguments = ("baselines", "--pair", pair[0], "--outdir", tmp_path / "out", "--labels", f"r={pair[1]}")
    with pytest.raises(UserError, match="'knn' is no baseline"):
        run_verb(*arguments, "--methods", "logistic_regression,knn")
    labels = pd.read_csv(pair[1], keep_default_na=False)
    labels.assign(cell_type="B").to_csv(pair[1], index=False)
    with pytest.raises(UserError, match="the reference has one label only: 'B'"):
        run_verb(*arguments)
    labels.assign(barcode="x").to_csv(pair[1], index=False)
    with pytest.raises(UserError, match="none of the 90 reference cells has a label"):
        run_verb(*arguments)
    assert not (tmp_path / "out").exists()
