"""Proteins of references and queries, as features after the genes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.matrix.stored import StoredMatrix
from cellpredx.reference.pair import Described, take

# Entries of a matrix that are in memory at a time, a few times over.
ENTRIES = 1 << 20
GENE, PROTEIN = "gene", "protein"


@dataclass(frozen=True)
class Proteins:
    """The proteins that are used, by name, and where they stand in each sample's matrix, (proteins,), -1: nowhere."""

    names: list[str] = field(default_factory=list)
    columns: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def _keys(matrix: Described) -> pd.Index:
    return matrix.var.index.astype(str).str.casefold()


def _find(names: Iterable[str], matrix: Described) -> NDArray[np.int64]:
    """Return where names stand in a matrix, whatever their case; -1 where they stand nowhere, or more than once."""
    keys = _keys(matrix)
    once = np.flatnonzero(~keys.duplicated(keep=False))
    found = keys[once].get_indexer(pd.Index([name.casefold() for name in names], dtype=object))
    return np.where(found >= 0, np.append(once, -1)[found], -1)


def join_proteins(
    references: list[str], queries: list[str], matrices: Mapping[str, Described], reference_modality: str
) -> Proteins:
    """Find the proteins that all samples of a transfer share, whatever the case of their names.

    matrices: proteins by sample. None are used, with a warning, where a sample has none or the reference is ATAC.
    """
    samples = [*references, *queries]
    measured = [name for name in samples if name in matrices]
    if not measured:
        return Proteins()
    unused = f"proteins of {', '.join(measured)} were not used: "
    if reference_modality != "rna":
        return Proteins(warnings=[f"{unused}they go beside the genes of an RNA reference"])
    lacking = [name for name in samples if name not in matrices]
    if lacking:
        return Proteins(warnings=[f"{unused}{', '.join(lacking)} has none, and all samples of a transfer need them"])
    first = matrices[samples[0]]
    names = [str(name) for name in first.var.index]
    places = {name: _find(names, matrices[name]) for name in samples}
    shared = np.all([own >= 0 for own in places.values()], axis=0)
    if not shared.any():
        examples = [f"{name} has {', '.join(map(str, matrices[name].var.index[:3]))}" for name in samples]
        return Proteins(warnings=[f"{unused}they share no name: {'; '.join(examples)}"])
    chosen = [name for name, kept in zip(names, shared, strict=True) if kept]
    return Proteins(chosen, {name: own[shared] for name, own in places.items()})


def proteins_of_bundle(names: list[str], queries: list[str], matrices: Mapping[str, Described]) -> Proteins:
    """Find a bundle's proteins in queries; zeros stand, with a warning, for those that a query lacks."""
    measured = [name for name in queries if name in matrices]
    if not names:
        unused = f"proteins of {', '.join(measured)} were not used: the model knows none"
        return Proteins(warnings=[unused] if measured else [])
    columns = {name: _find(names, matrices[name]) if name in measured else np.full(len(names), -1) for name in queries}
    warnings = [
        f"{name} lacks {int((own < 0).sum())} of the model's {len(names)} proteins: zeros stand for them"
        for name, own in columns.items()
        if (own < 0).any()
    ]
    return Proteins(names, columns, warnings)


def after_genes(var: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the features with proteins after them, and a column `feature_type` that tells genes and proteins apart."""
    if not names:
        return var
    proteins = pd.DataFrame("", index=pd.Index(names, dtype=object), columns=var.columns)
    return pd.concat([var.assign(feature_type=GENE), proteins.assign(feature_type=PROTEIN)])


def empty_cells(proteins: Proteins, matrices: Mapping[str, StoredMatrix]) -> list[str]:
    """Return a warning for each sample with cells that have no protein counted."""
    empty = {name: int((np.diff(matrices[name].starts) == 0).sum()) for name in proteins.columns if name in matrices}
    return [
        f"{count:,} of {matrices[name].shape[0]:,} cells of {name} have no proteins: zeros stand for them"
        for name, count in empty.items()
        if count
    ]


def selected(
    matrix: StoredMatrix,
    columns: NDArray[np.int64],
    proteins: StoredMatrix | None = None,
    protein_columns: NDArray[np.int64] | None = None,
) -> Iterator[sp.csr_matrix]:
    """Yield a matrix on `columns`, and after them its cells' proteins on `protein_columns`, in blocks of cells.

    -1 stands for a column of zeros; proteins without a matrix are zeros too. Raises ValueError where the two matrices
    have other cells.
    """
    if proteins is not None and protein_columns is not None and not proteins.obs.index.equals(matrix.obs.index):
        raise ValueError(f"proteins of {matrix.about['sample']} are not of the cells of its matrix")
    for begin, block in matrix.blocks(entries=ENTRIES):
        taken = take(block, columns)
        if protein_columns is not None:
            rows = block.shape[0]
            own = proteins.rows(begin, begin + rows) if proteins is not None else None
            values = sp.csr_matrix((rows, len(protein_columns))) if own is None else take(own, protein_columns)
            taken = sp.csr_matrix(sp.hstack([taken, values], format="csr", dtype=np.float32))
        yield taken
