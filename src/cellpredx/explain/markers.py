"""Determinant features beside lists of marker genes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import hypergeom

from cellpredx.core.errors import UserError
from cellpredx.core.labels import read_text_table
from cellpredx.explain.determinants import PER_TYPE

COLUMNS = ["cell_type", "gene"]


def read_markers(path: Path) -> dict[str, list[str]]:
    """Read cell_type, gene from a CSV; return the genes of every type. Raises UserError, with the line, for a row
    that lacks one of them."""
    table = read_text_table(path, COLUMNS)
    table = table.assign(**{name: table[name].str.strip() for name in COLUMNS})
    for name in COLUMNS:
        empty = (table[name] == "").to_numpy()
        if empty.any():
            line = int(table.index.to_numpy()[empty.argmax()]) + 2
            raise UserError(f"{name} is empty", f"{path.name}, line {line}, column {name}", "write cell_type,gene")
    if table.empty:
        raise UserError("the list of markers has no row", path.name, "write a row a marker: cell_type,gene")
    return {str(name): list(dict.fromkeys(own)) for name, own in table.groupby("cell_type")["gene"]}


class GeneNames:
    """The features of a model by the names of their genes; `names`: columns of names, a row a feature ('': none)."""

    def __init__(self, names: pd.DataFrame) -> None:
        self.features = len(names)
        self.exact: dict[str, set[int]] = {}
        self.folded: dict[str, set[int]] = {}
        for column in names:
            for j, name in enumerate(names[column].astype(str)):
                if name:
                    self.exact.setdefault(name, set()).add(j)
                    self.folded.setdefault(name.casefold(), set()).add(j)

    def find(self, genes: list[str]) -> tuple[NDArray[np.bool_], int]:
        """Return which features stand for one of the genes, (G,), and how many genes have none.

        A gene is matched exactly and, where no feature has its name, without regard to case.
        """
        found = np.zeros(self.features, bool)
        absent = 0
        for gene in genes:
            own = self.exact.get(gene) or self.folded.get(gene.casefold(), set())
            found[list(own)] = True
            absent += not own
        return found, absent


def hit_rate(determinants: NDArray[np.int64], markers: NDArray[np.bool_]) -> dict[str, Any] | None:
    """Return the key gene hit rate |D and M| / min(50, |M|): hits, of, rate, p; None where M is empty.

    determinants: numbers of the features D; markers (G,): which features are in M. p is the hypergeometric chance of
    as many hits among as many features drawn from all G.
    """
    size = int(markers.sum())
    if not size:
        return None
    hits, of = int(markers[determinants].sum()), min(PER_TYPE, size)
    p = float(hypergeom.sf(hits - 1, len(markers), size, len(determinants)))
    return {"hits": hits, "of": of, "rate": hits / of, "p": p}


class Markers:
    """What is known of each type's genes: the user's markers, and the reference's differential features.

    features: the model's; names: their genes, a row a feature, None where they have none; given: genes of types;
    differential: cell_type, feature, or None.
    """

    def __init__(
        self,
        features: pd.Index,
        names: pd.DataFrame | None,
        given: dict[str, list[str]],
        differential: pd.DataFrame | None,
    ) -> None:
        self.features, self.differential = features, differential
        genes = None if names is None else GeneNames(names)
        self.found = {} if genes is None else {name: genes.find(own) for name, own in given.items()}

    def given(self, cell_type: str) -> NDArray[np.bool_] | None:
        """Return which features stand for the user's markers of a type, (G,); None where there are none."""
        return self.found[cell_type][0] if cell_type in self.found else None

    def hit_rates(self, cell_type: str, determinants: NDArray[np.int64]) -> dict[str, Any]:
        """Return a type's hit rates as explain.json has them, with how many markers no feature stands for."""
        by_user = by_reference = None
        if cell_type in self.found:
            mask, absent = self.found[cell_type]
            rate = hit_rate(determinants, mask)
            by_user = None if rate is None else {**rate, "not_in_model": absent}
        if self.differential is not None:
            own = self.differential.loc[self.differential["cell_type"] == cell_type, "feature"]
            by_reference = hit_rate(determinants, self.features.isin(own))
        return {"markers": by_user, "reference": by_reference}
