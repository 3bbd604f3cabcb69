"""Two maps of a query: its own space as it is, and the model's space beside the reference."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

import cellpredx.core.compiled  # noqa: F401 - before umap
from cellpredx.matrix.stored import StoredMatrix, is_constant
from cellpredx.model.graph import lsi, neighbours, pca
from cellpredx.model.normalise import model_input, proteins_in
from cellpredx.model.subsample import by_type

if TYPE_CHECKING:
    from cellpredx.model.bundle import Bundle

NEIGHBOURS = 15
FEWEST_CELLS = 10
ENTRIES = 1 << 27  # of the matrix that LSI takes at once: about 5 GB at its peak


def layout(x: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the UMAP of x, (cells, 2): 15 exact neighbours by cosine, one thread, the same numbers every time.

    McInnes, Healy and Melville 2018. NaN where there are fewer than ten cells.
    """
    if len(x) < FEWEST_CELLS:
        return np.full((len(x), 2), np.nan, np.float32)
    from umap import UMAP

    others = neighbours(x.astype(np.float64), NEIGHBOURS - 1)
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    # umap counts a cell as its own first neighbour.
    near = np.column_stack([np.arange(len(x)), others])
    distance = np.column_stack([np.maximum(0, 1 - (unit * unit[column]).sum(axis=1)) for column in near.T])
    distance[:, 0] = 0
    known = (near, distance.astype(np.float32), None)
    with warnings.catch_warnings():
        # It warns that the map cannot take new cells, and that a fixed seed means one thread.
        warnings.simplefilter("ignore")
        mapper = UMAP(
            n_neighbors=near.shape[1],
            min_dist=0.3,
            metric="cosine",
            init="pca",
            random_state=1,
            n_jobs=1,
            precomputed_knn=known,
            force_approximation_algorithm=True,
        )
        return np.asarray(mapper.fit_transform(x.astype(np.float32)), np.float32)


def _counts(stored: StoredMatrix, cells: NDArray[np.int64], features: int) -> sp.csr_matrix:
    """Return the first `features` features of some cells; of too many entries, those of the features in most cells."""
    if int(np.diff(stored.starts)[cells].sum()) <= ENTRIES:
        return stored.take(cells)[:, :features]

    def blocks() -> Any:
        for begin, block in stored.blocks():
            low, high = np.searchsorted(cells, (begin, begin + block.shape[0]))
            yield block[cells[low:high] - begin][:, :features]

    found = np.zeros(features, np.int64)
    for block in blocks():
        found += block.getnnz(axis=0)
    order = np.argsort(-found, kind="stable")
    kept = np.sort(order[np.cumsum(found[order]) <= ENTRIES])
    return sp.csr_matrix(sp.vstack([block[:, kept] for block in blocks()], format="csr"))


def own_space(
    stored: StoredMatrix, graph: str | Path | None, cells: NDArray[np.int64], bundle: "Bundle"
) -> NDArray[np.float64]:
    """Return the query's own space, (cells, components), as training takes it for its neighbours.

    LSI of accessibility (of the peaks or windows in the file `graph`, where the model reads gene activity), or PCA of
    normalised expression. NaN, (cells, 1), where there are too few cells or features to tell apart.
    """
    h = bundle.info["hyperparameters"]
    nothing = np.full((len(cells), 1), np.nan)
    if len(cells) < FEWEST_CELLS:
        return nothing
    if bundle.info["query_modality"] != "atac":
        x = model_input(stored.take(cells), stored.about, h)
        return nothing if is_constant(x) else pca(x, h["pca_components"])
    if graph is None:
        counts = _counts(stored, cells, stored.shape[1] - proteins_in(stored.about))
    else:
        with StoredMatrix(graph) as peaks:
            counts = _counts(peaks, cells, peaks.shape[1])
    return nothing if np.count_nonzero(counts.getnnz(axis=0)) < 3 else lsi(counts, h["lsi_components"])


def _map(x: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    return layout(x) if np.isfinite(x).all() else np.full((len(x), 2), np.nan, np.float32)


def embedding_table(annotated: str | Path, graph: str | Path | None, bundle: "Bundle", most: int) -> pd.DataFrame:
    """Return embedding.csv of a query and of the reference cells that its bundle holds.

    Of more than `most` cells about so many are drawn: each predicted type in proportion and at least 50 of it, evenly
    over the counts a cell.
    """
    with StoredMatrix(annotated) as stored:
        predicted = stored.obs["predicted"].astype(str).to_numpy()
        numbers = np.unique(predicted, return_inverse=True)[1]
        depth = stored.totals() if len(numbers) > most else np.zeros(len(numbers))
        cells = by_type(numbers, depth, most, np.random.default_rng(0))
        obs = stored.obs.iloc[cells]
        own = _map(own_space(stored, graph, cells, bundle))
        z = stored.file["obsm"]["X_cellpredx"][:][cells]
    reference = bundle.reference_embedding
    types = np.full(len(reference), "", dtype=object)
    if bundle.reference_labels is not None:
        types = np.array(bundle.labels, dtype=object)[bundle.reference_labels]
    both = _map(np.concatenate([reference, z]))
    split = len(reference)
    sides = {
        "reference": {"barcode": "", "cell_type": types, "predicted_or_unknown": "", "confidence": np.nan},
        "query": {
            "barcode": obs.index.astype(str),
            "cell_type": predicted[cells],
            "predicted_or_unknown": obs["predicted_or_unknown"].astype(str).to_numpy(),
            "confidence": obs["confidence"].to_numpy(float),
        },
    }
    maps = {
        "reference": (np.full((split, 2), np.nan), both[:split]),
        "query": (own, both[split:]),
    }
    parts = []
    for side, columns in sides.items():
        (own_1, own_2), (model_1, model_2) = (part.T for part in maps[side])
        coordinates = {"own_1": own_1, "own_2": own_2, "model_1": model_1, "model_2": model_2}
        parts.append(pd.DataFrame({"side": side, **columns, **coordinates}))
    with warnings.catch_warnings():
        # The reference has no confidence: pandas tells that the type of such a column will change.
        warnings.simplefilter("ignore", FutureWarning)
        return pd.concat(parts, ignore_index=True)
