"""References and queries of a transfer on the features that they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.core.annotation import Annotation
from cellpredx.core.errors import UserError
from cellpredx.matrix.regions import match_regions
from cellpredx.reference.checks import check_recipe

MIN_SHARED = 0.2
MATCHED = 0.5


class Described(Protocol):
    """A sample's matrix without its values: its cells, its features and what it is (`uns['cellpredx']`)."""

    obs: pd.DataFrame
    var: pd.DataFrame
    about: dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """The features of references and queries, how they were joined, and where they stand in each sample's matrix.

    `columns`: a sample's place of every feature, (features,), -1 where it has none and zeros stand for it.
    """

    var: pd.DataFrame
    columns: dict[str, NDArray[np.int64]]
    joined_by: str
    reference_features: int
    query_features: int
    warnings: list[str]


def choose_scenario(
    reference_modality: str, query_modality: str, overlap: float, given: str = "auto"
) -> tuple[str, str]:
    """Return (scenario, auto or given). RNA->ATAC is matched when at least half of the query's cells carry
    barcodes of the reference; `overlap` is that share and serves for nothing else."""
    if given != "auto":
        return given, "given"
    if reference_modality == query_modality:
        return query_modality, "auto"
    return ("matched" if overlap >= MATCHED else "unmatched"), "auto"


def barcode_overlap(reference: Sequence[Described], queries: Sequence[Described]) -> float:
    """Return the share of the queries' cells whose barcode a reference has too."""
    known = set().union(*(r.obs.index for r in reference))
    cells = [barcode for q in queries for barcode in q.obs.index]
    return sum(barcode in known for barcode in cells) / len(cells)


def _keys(matrix: Described, by: str, to_id: dict[str, str]) -> pd.Index:
    if by == "gene_name":
        return pd.Index(matrix.var.index.astype(str))
    ids = matrix.var["gene_id"].astype(str)
    if to_id:
        ids = ids.where(~ids.isin(to_id.keys()), ids.map(to_id))
    return pd.Index(ids)


def _places(matrix: Described, by: str, to_id: dict[str, str], shared: pd.Index) -> NDArray[np.int64]:
    """Return where `shared` keys stand in a matrix; each stands once, other keys may stand more often."""
    keys = _keys(matrix, by, to_id)
    once = ~keys.duplicated(keep=False)
    return np.flatnonzero(once)[keys[once].get_indexer(shared)]


def _shared_keys(matrices: Sequence[Described], by: str, to_id: dict[str, str]) -> pd.Index:
    shared: pd.Index | None = None
    for matrix in matrices:
        keys = _keys(matrix, by, to_id)
        keys = keys[~keys.duplicated(keep=False)]
        shared = keys if shared is None else shared[shared.isin(keys)]
    assert shared is not None
    return shared


def take(values: sp.csr_matrix, columns: NDArray[np.int64]) -> sp.csr_matrix:
    """Return `columns` of cells x features, CSR float32; zeros where a column is -1."""
    by_column = sp.csc_matrix(values)
    present = columns >= 0
    if present.all():
        taken = by_column[:, columns]
    else:
        select = sp.csr_matrix(
            (np.ones(present.sum(), np.float32), (columns[present], np.flatnonzero(present))),
            shape=(values.shape[1], len(columns)),
        )
        taken = by_column @ select
    return sp.csr_matrix(taken, dtype=np.float32)


def _examples(matrix: Described) -> str:
    return ", ".join(map(str, matrix.var.index[:5]))


def _refuse_few(shared: int, left: Described, right: Described, what: str) -> None:
    smaller = min(len(left.var), len(right.var))
    if shared < max(1, MIN_SHARED * smaller):
        names = [m.about["sample"] for m in (left, right)]
        raise UserError(
            f"samples {names[0]} and {names[1]} share {shared:,} {what} of {smaller:,} (under {MIN_SHARED:.0%})",
            f"{names[0]} has {_examples(left)}; {names[1]} has {_examples(right)}",
            "give both by the same genome and names; --annotation translates gene names to ids",
        )


Joined = tuple[pd.DataFrame, list[NDArray[np.int64]], str]


def _join_genes(matrices: Sequence[Described], annotation: Annotation | None) -> Joined:
    """Return the shared genes, where they stand in each matrix, and the key that joined them."""
    options: list[tuple[str, dict[str, str]]] = [("gene_name", {}), ("gene_id", {})]
    if annotation is not None:
        genes = annotation.genes[~annotation.genes["gene_name"].duplicated(keep=False)]
        options.append(("gene_id", dict(zip(genes["gene_name"], genes["gene_id"], strict=True))))
    best = max(options, key=lambda option: len(_shared_keys(matrices, *option)))
    shared = _shared_keys(matrices, *best)
    smallest = min(matrices, key=lambda m: len(m.var))
    other = next(m for m in reversed(matrices) if m is not smallest)
    _refuse_few(len(shared), smallest, other, "genes")
    source = max(matrices, key=lambda m: int((m.var["gene_id"].astype(str) != m.var["gene_name"].astype(str)).sum()))
    var = source.var[["gene_id", "gene_name"]].iloc[_places(source, *best, shared)]
    return var, [_places(m, *best, shared) for m in matrices], best[0]


def _join_regions(matrices: Sequence[Described]) -> Joined:
    """Return the shared regions, where they stand in each matrix, and what joined them."""
    first = matrices[0]
    if first.about["kind"] == "windows":
        names = pd.Index(first.var.index)
        for matrix in matrices[1:]:
            names = names[names.isin(matrix.var.index)]
        _refuse_few(len(names), first, matrices[-1], "windows with counts")
        return first.var.loc[names], [m.var.index.get_indexer(names) for m in matrices], "coordinates"
    joined_by = "coordinates"
    columns = [np.arange(len(first.var))]
    kept = np.ones(len(first.var), bool)
    for matrix in matrices[1:]:
        found = matrix.var.index.get_indexer(first.var.index)
        if (found < 0).any() and len(matrix.var) != (found >= 0).sum():
            pairs = match_regions(first.var, matrix.var)
            found = np.full(len(first.var), -1)
            found[pairs["left"]] = pairs["right"]
            joined_by = "overlap"
        _refuse_few(int((found >= 0).sum()), first, matrix, "peaks")
        kept &= found >= 0
        columns.append(found)
    return first.var[["chrom", "start", "end"]].loc[kept], [c[kept] for c in columns], joined_by


def _same_scale(matrices: Sequence[Described]) -> list[str]:
    logs = {m.about["sample"] for m in matrices if m.about.get("normalised") == "log1p"}
    counts = {m.about["sample"] for m in matrices} - logs
    if logs and counts:
        return [
            f"{', '.join(sorted(logs))}: log1p values as given; {', '.join(sorted(counts))}: counts, normalised to "
            "10,000 a cell and log1p here; scales may differ"
        ]
    return []


def _check_genomes(matrices: Sequence[Described]) -> None:
    genomes = {m.about["sample"]: m.about.get("genome") for m in matrices}
    known = {g for g in genomes.values() if g}
    if len(known) > 1:
        raise UserError(f"samples of two genomes in one group: {genomes}", None, "give data of one genome")


def join(references: Sequence[Described], queries: Sequence[Described], annotation: Annotation | None) -> Pair:
    """Find the features that references and queries share.

    Genes join on name or id, whichever shares more, through `annotation` where it helps; peaks on equal
    coordinates, else on reciprocal overlap of at least 50 %, one to one. Raises UserError below 20 % shared.
    """
    matrices = [*references, *queries]
    _check_genomes(matrices)
    genes = "gene_id" in references[0].var.columns
    var, columns, joined_by = _join_genes(matrices, annotation) if genes else _join_regions(matrices)
    warnings = _same_scale(matrices)
    if joined_by == "overlap":
        share = len(var) / min(len(m.var) for m in matrices)
        warnings.append(f"peaks were matched by reciprocal overlap: {share:.0%} of the smaller set")
    return Pair(
        var,
        {m.about["sample"]: own for m, own in zip(matrices, columns, strict=True)},
        joined_by,
        min(len(m.var) for m in references),
        min(len(m.var) for m in queries),
        warnings,
    )


def stacked(sample: str, obs: pd.DataFrame) -> pd.DataFrame:
    """Return a reference's cells as they stand among those of others: named sample:barcode, which are columns too."""
    barcodes = obs.index.astype(str)
    return obs.assign(sample=sample, barcode=barcodes).set_axis([f"{sample}:{barcode}" for barcode in barcodes])


def onto_bundle(
    queries: Sequence[Described], features: pd.DataFrame, recipe: dict[str, Any], normalised: str | None = None
) -> Pair:
    """Find a bundle's features (index: names) in queries. Raises UserError for what does not fit."""
    genes = "gene_id" in features.columns
    result = {}
    found_any = 0
    warnings: list[str] = []
    for query in queries:
        own = query.about
        if genes != ("gene_id" in query.var.columns):
            raise UserError(
                f"the model reads {'genes' if genes else 'regions'}, sample {own['sample']} has {own['kind']}",
                None,
                "give a query of the modality that the model was trained for",
            )
        warnings += check_recipe(own, recipe)
        if normalised is not None and (own.get("normalised") == "log1p") != (normalised == "log1p"):
            warnings.append(
                f"{own['sample']}: {own.get('normalised', 'counts')}, and the model's reference {normalised}"
            )
        candidates = {"name": query.var.index.get_indexer(features.index)}
        if genes:
            ids = pd.Index(query.var["gene_id"].astype(str))
            if ids.is_unique:
                candidates["id"] = ids.get_indexer(pd.Index(features["gene_id"].astype(str)))
        elif (candidates["name"] < 0).mean() > 0.5 and own["kind"] == "peaks":
            pairs = match_regions(features, query.var)
            overlap = np.full(len(features), -1)
            overlap[pairs["left"]] = pairs["right"]
            candidates["overlap"] = overlap
        columns = max(candidates.values(), key=lambda c: int((c >= 0).sum()))
        present = int((columns >= 0).sum())
        # Windows without a count are not stored, so an absent window is a zero, not a misfit.
        if own["kind"] != "windows" and present < MIN_SHARED * len(features):
            raise UserError(
                f"sample {own['sample']} has {present:,} of the model's {len(features):,} features, "
                f"under {MIN_SHARED:.0%}",
                f"the model has {', '.join(map(str, features.index[:5]))}; the sample has {_examples(query)}",
                "give a query of the model's genome and feature names",
            )
        found_any = max(found_any, present)
        result[own["sample"]] = columns
    return Pair(features, result, "bundle", len(features), found_any, warnings)
