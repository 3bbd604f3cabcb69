"""A stored matrix as a whole: what identifies its content, and what members that need a whole query read of it."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.matrix.stored import StoredMatrix
from cellpredx.model.bundle import Bundle
from cellpredx.model.normalise import model_input, proteins_in, without_proteins


def digest(names: Any) -> str:
    """Return the SHA-256 of a list of names."""
    return hashlib.sha256("\n".join(map(str, names)).encode()).hexdigest()


def content_of(stored: StoredMatrix) -> tuple[str, NDArray[np.float64]]:
    """Return the SHA-256 of a matrix's features and values, whatever its cells are called, and the counts a cell."""
    digests = [hashlib.sha256(digest(stored.var.index).encode()) for _ in range(3)]
    depth = []
    for _, block in stored.blocks():
        for one, part in zip(digests, (np.diff(block.indptr), block.indices, block.data), strict=True):
            one.update(np.ascontiguousarray(part).tobytes())
        depth.append(np.asarray(block.sum(axis=1, dtype=np.float64)).ravel())
    whole = hashlib.sha256("".join(one.hexdigest() for one in digests).encode()).hexdigest()
    return whole, np.concatenate(depth) if depth else np.zeros(0)


def read_whole(model: Bundle, query: str | Path, graph: str | Path | None) -> tuple[sp.csr_matrix, sp.csr_matrix, bool]:
    """Return a query's features as a model reads them, (n, G), the counts that give its neighbours, (n, P), and whether
    the model was made with these cells.

    graph: the query's peaks or windows, where its features are gene activity.
    """
    with StoredMatrix(query) as stored:
        counts = stored.rows(0, stored.shape[0])
        x = model_input(counts, stored.about, model.info["hyperparameters"])
        # Of a query that was sampled for the training, most cells are new to the model.
        within = model.info["queries_whole"] and content_of(stored)[0] in model.info["content"]["queries"].values()
        accessibility = without_proteins(counts, proteins_in(stored.about))
    if graph is not None:
        with StoredMatrix(graph) as stored:
            accessibility = stored.rows(0, stored.shape[0])
    return x, accessibility, within
