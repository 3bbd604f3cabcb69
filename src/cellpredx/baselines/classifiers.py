"""Three plain classifiers: multinomial logistic regression, nearest neighbours, and CellTypist.

Each takes log-normalised features of reference and query, CSR (cells, features), the reference's types as numbers
below `types`, and a seed; each returns p, (query cells, types), rows that sum to 1. A type without a reference cell
has p = 0. Their cost is bounded: a large reference is thinned, the same share of every type, by `subsample`.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import log_expit, softmax

from cellpredx.model.normalise import normalise

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]

MOST_CELLS = 20_000
FOLDS = 3
FOLD_CELLS = 2_000
GRID = (0.01, 0.1, 1.0, 10.0)
ITERATIONS = 500
NEIGHBOURS = 15
COMPONENTS = 50
POWER_ITERATIONS = 10
DENSE_BYTES = 1 << 30
TAIL = 12


class LeftOutError(Exception):
    """A method that cannot be run here: why, and what to do."""


def subsample(y: Labels, most: int, seed: int, least: int = FOLDS) -> NDArray[np.intp]:
    """Return the rows of at most `most` cells, in order: an equal share of every type and `least` of rare ones."""
    if len(y) <= most:
        return np.arange(len(y))
    shuffled = np.random.default_rng(seed).permutation(len(y))
    by_type = shuffled[np.argsort(y[shuffled], kind="stable")]
    counts = np.bincount(y)
    rank = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = np.where(rank < least, -1.0, rank / np.repeat(counts, counts))
    return np.sort(by_type[np.argsort(share, kind="stable")[:most]])


def _every_type(p: Probabilities, present: Labels, types: int) -> Probabilities:
    full = np.zeros((len(p), types))
    full[:, present] = p
    return full


def choose_c(x: sp.csr_matrix, y: Labels, seed: int) -> float:
    """Return the C of `GRID` with the least held-out log loss: stratified folds of at most `FOLD_CELLS` cells.

    From the smallest up, until the loss rises; each fit starts from the one before. Types with fewer cells than folds
    have no part in it; where fewer than two are left, C is 1.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold

    rows = subsample(y, FOLD_CELLS, seed)
    rows = rows[np.bincount(y[rows])[y[rows]] >= FOLDS]
    x, y = x[rows], y[rows]
    if len(np.unique(y)) < 2:
        return 1.0
    folds = [
        (x[train], y[train], x[test], y[test], LogisticRegression(max_iter=ITERATIONS, warm_start=True))
        for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(rows, y)
    ]
    best, least = GRID[0], np.inf
    for c in GRID:
        loss = 0.0
        for x_train, y_train, x_test, y_test, model in folds:
            model.set_params(C=c).fit(x_train, y_train)
            loss += log_loss(y_test, model.predict_proba(x_test), labels=model.classes_)
        # The loss has one valley along the path, and what is least penalised takes longest.
        if loss >= least:
            break
        best, least = c, loss
    return best


def logistic_regression(
    x_reference: sp.csr_matrix, y: Labels, types: int, x_query: sp.csr_matrix, seed: int
) -> Probabilities:
    """Return p of multinomial logistic regression, L2, C by `choose_c` and then all of `MOST_CELLS` cells.

    Features are taken as they are: log-normalised values have one scale, dividing by the standard deviation would lift
    what is hardly ever seen, and centring would make them dense. LBFGS, the fastest of scikit-learn's solvers here.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    rows = subsample(y, MOST_CELLS, seed)
    x, y = x_reference[rows], y[rows]
    present = np.unique(y)
    if len(present) == 1:
        return _every_type(np.ones((x_query.shape[0], 1)), present, types)
    # Sparse products have one thread; more would only wait for each other in the small dense ones between.
    with threadpool_limits(1):
        model = LogisticRegression(C=choose_c(x, y, seed), max_iter=ITERATIONS).fit(x, y)
        return _every_type(model.predict_proba(x_query), model.classes_, types)


def joint_components(
    x_reference: sp.csr_matrix, x_query: sp.csr_matrix, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return reference and query in their joint principal components, (cells, components) each; nothing is densified.

    The leading right singular vectors of both sides' cells (`MOST_CELLS` of each at most), by a randomised SVD; one
    more than `COMPONENTS`, for the mean, which is taken from the scores afterwards. The other cells are projected.
    """
    from sklearn.decomposition import TruncatedSVD

    rng = np.random.default_rng(seed)
    drawn = [
        x[np.sort(rng.choice(x.shape[0], min(MOST_CELLS, x.shape[0]), replace=False))] for x in (x_reference, x_query)
    ]
    both = sp.vstack(drawn, format="csr")
    components = min(COMPONENTS + 1, min(both.shape))
    svd = TruncatedSVD(components, n_iter=POWER_ITERATIONS, random_state=seed).fit(both)
    mean = np.asarray(both.mean(axis=0)).ravel() @ svd.components_.T
    return svd.transform(x_reference) - mean, svd.transform(x_query) - mean


def nearest_neighbours(
    x_reference: sp.csr_matrix, y: Labels, types: int, x_query: sp.csr_matrix, seed: int
) -> Probabilities:
    """Return the share of each type among a cell's 15 nearest reference cells, by cosine in joint components."""
    from sklearn.neighbors import NearestNeighbors

    rows = subsample(y, MOST_CELLS, seed)
    y = y[rows]
    reference, query = joint_components(x_reference[rows], x_query, seed)
    k = min(NEIGHBOURS, len(y))
    index = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(reference)
    found = y[index.kneighbors(query, return_distance=False)]
    votes = np.bincount((np.arange(len(query))[:, None] * types + found).ravel(), minlength=len(query) * types)
    return votes.reshape(len(query), types) / k


def celltypist_python() -> Path:
    """Return the interpreter of the environment whose `celltypist` is on PATH. Raises LeftOutError for none."""
    command = shutil.which("celltypist")
    python = Path(command).resolve().with_name("python") if command else None
    if python is None or not python.exists():
        raise LeftOutError(
            "CellTypist is not on PATH: run with a container profile, or make it available by `make celltypist-env`"
        )
    return python


def celltypist_version() -> str | None:
    """Return the version of the CellTypist that is on PATH; None where there is none or it does not say."""
    script = "from importlib.metadata import version; print(version('celltypist'))"
    try:
        command = [str(celltypist_python()), "-I", "-c", script]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    except (LeftOutError, OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None


def celltypist_cells(features: int) -> int:
    """Return how many cells CellTypist is given at a time: it makes them dense, 1 GiB of float32 at most."""
    return max(1, min(MOST_CELLS, DENSE_BYTES // (4 * max(features, 1))))


def _ten_thousand(x: sp.csr_matrix) -> sp.csr_matrix:
    """Return log1p values whose counts are 1e4 a cell, which CellTypist insists on; others than that were given so."""
    counts = sp.csr_matrix(x, dtype=np.float64, copy=True)
    counts.data = np.expm1(counts.data)
    return normalise(counts, 1e4)


def celltypist(x_reference: sp.csr_matrix, y: Labels, types: int, x_query: sp.csr_matrix, seed: int) -> Probabilities:
    """Return p of CellTypist with its defaults: a logistic regression a type, on standardised features.

    It runs in an environment of its own, whose `celltypist` is on PATH; files go there and back. Its scores are made p
    as CellTypist does (a logistic function each), then divided by their sum, which leaves the best type what it is.
    Raises LeftOutError where CellTypist is missing or fails.
    """
    python = celltypist_python()
    rows = subsample(y, celltypist_cells(x_reference.shape[1]), seed)
    x = _ten_thousand(x_reference[rows])
    filled = np.diff(x.indptr) > 0
    x, y = x[filled], y[rows][filled]
    present = np.unique(y)
    if len(present) < 2:
        raise LeftOutError("CellTypist needs cells with counts of two types or more")
    with tempfile.TemporaryDirectory(prefix="cellpredx-celltypist-") as name:
        folder = Path(name)
        sp.save_npz(folder / "reference.npz", x, compressed=False)
        sp.save_npz(folder / "query.npz", _ten_thousand(x_query), compressed=False)
        np.save(folder / "y.npy", y)
        # It makes a folder for models when it is imported, and matplotlib one for fonts.
        environment = {**os.environ, "CELLTYPIST_FOLDER": name, "MPLCONFIGDIR": name}
        script = Path(__file__).with_name("celltypist_side.py")
        command = [str(python), "-I", "-W", "ignore", str(script), name, str(seed), str(celltypist_cells(x.shape[1]))]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        said = (done.stdout + done.stderr).strip().splitlines()[-TAIL:]
        if done.returncode < 0:
            # Where a signal ends it, as for want of memory, this command ends so, and the workflow gives it more.
            raise SystemExit(128 - done.returncode)
        if done.returncode != 0:
            raise LeftOutError("CellTypist failed and said: " + " | ".join(said))
        scores = np.load(folder / "scores.npy")
    return _every_type(softmax(log_expit(scores.astype(np.float64)), axis=1), present, types)


METHODS = {
    "logistic_regression": logistic_regression,
    "nearest_neighbours": nearest_neighbours,
    "celltypist": celltypist,
}
