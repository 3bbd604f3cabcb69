"""What must hold between a model or reference and a query before anything is learnt or predicted."""

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.core.errors import UserError

# A cell with fewer features than this can equal another one by chance.
MIN_ENTRIES = 20
RECIPE = {
    "modality": "modality",
    "genome": "genome",
    "kind": "kind of features",
    "counting": "counting of fragments",
    "gene_model": "gene model",
    "window_size": "window size",
}


def check_recipe(own: dict[str, Any], model: dict[str, Any]) -> list[str]:
    """Return warnings of a query whose matrix was made otherwise than the model's features.

    own: uns['cellpredx'] of the query; model: the recipe of the bundle. Raises UserError where a difference makes the
    two incomparable: modality, genome, kind of features, counting, gene model, window size.
    """
    sample = own["sample"]
    for key, name in RECIPE.items():
        if own.get(key) and model.get(key) and own[key] != model[key]:
            raise UserError(
                f"the {name} of sample {sample} is {own[key]}, that of the model is {model[key]}",
                sample,
                "give a query that was made as the model's were, or train a model for this one",
            )
    annotations = {recipe["annotation_sha256"] for recipe in (own, model) if recipe.get("annotation_sha256")}
    if len(annotations) > 1:
        return [f"{sample}: genes were counted by another annotation than the model's"]
    return []


def fingerprints(x: sp.csr_matrix) -> NDArray[np.void]:
    """Return what tells cells (rows) apart, (n,): equal for equal cells, and zero for those of under 20 entries."""
    vectors = np.random.default_rng(0).standard_normal((x.shape[1], 2))
    products = np.ascontiguousarray(x.astype(np.float64) @ vectors)
    products[np.diff(x.indptr) < MIN_ENTRIES] = 0
    return products.view([("a", np.float64), ("b", np.float64)]).ravel()


def refuse_same_cells(reference: NDArray[np.void], query: NDArray[np.void], sample: str, barcodes: pd.Index) -> None:
    """Raise UserError where cells of a query are cells of its reference: the same counts in every shared feature."""
    same = np.isin(query["a"], reference["a"][reference["a"] != 0]) & np.isin(query["b"], reference["b"])
    if same.any():
        raise UserError(
            f"{int(same.sum()):,} of {len(same):,} cells of query {sample} are cells of the reference, "
            f"the first is {barcodes[same][0]!r}",
            sample,
            "leave them out of one of the two by the column `barcodes`: a model knows the labels of its own cells",
        )
