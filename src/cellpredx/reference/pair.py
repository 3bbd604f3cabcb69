"""References and queries of a transfer on the features that they share."""

from dataclasses import dataclass
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellpredx.core.annotation import Annotation
from cellpredx.core.errors import UserError
from cellpredx.matrix.regions import match_regions

MIN_SHARED = 0.2
MATCHED = 0.5


@dataclass(frozen=True)
class Pair:
    """Reference and queries with the same features in the same order, and how they were joined."""

    reference: ad.AnnData | None
    queries: dict[str, ad.AnnData]
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


def barcode_overlap(reference: list[ad.AnnData], queries: list[ad.AnnData]) -> float:
    """Return the share of the queries' cells whose barcode a reference has too."""
    known = set().union(*(r.obs_names for r in reference))
    cells = [barcode for q in queries for barcode in q.obs_names]
    return sum(barcode in known for barcode in cells) / len(cells)


def _keys(matrix: ad.AnnData, by: str, to_id: dict[str, str]) -> pd.Index:
    if by == "gene_name":
        return pd.Index(matrix.var_names.astype(str))
    ids = matrix.var["gene_id"].astype(str)
    if to_id:
        ids = ids.where(~ids.isin(to_id.keys()), ids.map(to_id))
    return pd.Index(ids)


def _places(matrix: ad.AnnData, by: str, to_id: dict[str, str], shared: pd.Index) -> np.ndarray:
    """Return where `shared` keys stand in a matrix; each stands once, other keys may stand more often."""
    keys = _keys(matrix, by, to_id)
    once = ~keys.duplicated(keep=False)
    return np.flatnonzero(once)[keys[once].get_indexer(shared)]


def _shared_keys(matrices: list[ad.AnnData], by: str, to_id: dict[str, str]) -> pd.Index:
    shared: pd.Index | None = None
    for matrix in matrices:
        keys = _keys(matrix, by, to_id)
        keys = keys[~keys.duplicated(keep=False)]
        shared = keys if shared is None else shared[shared.isin(keys)]
    assert shared is not None
    return shared


def _take(matrix: ad.AnnData, columns: np.ndarray, var: pd.DataFrame) -> ad.AnnData:
    """Return `matrix` with `columns` (-1: zeros) under the names of `var`."""
    values = sp.csc_matrix(matrix.X)
    present = columns >= 0
    if present.all():
        taken = values[:, columns]
    else:
        select = sp.csr_matrix(
            (np.ones(present.sum(), np.float32), (columns[present], np.flatnonzero(present))),
            shape=(matrix.n_vars, len(columns)),
        )
        taken = values @ select
    result = ad.AnnData(sp.csr_matrix(taken, dtype=np.float32), obs=matrix.obs.copy(), var=var.copy())
    result.uns["cellpredx"] = dict(matrix.uns["cellpredx"])
    return result


def _examples(matrix: ad.AnnData) -> str:
    return ", ".join(map(str, matrix.var_names[:5]))


def _refuse_few(shared: int, left: ad.AnnData, right: ad.AnnData, what: str) -> None:
    smaller = min(left.n_vars, right.n_vars)
    if shared < max(1, MIN_SHARED * smaller):
        names = [m.uns["cellpredx"]["sample"] for m in (left, right)]
        raise UserError(
            f"samples {names[0]} and {names[1]} share {shared:,} {what} of {smaller:,} (under {MIN_SHARED:.0%})",
            f"{names[0]} has {_examples(left)}; {names[1]} has {_examples(right)}",
            "give both by the same genome and names; --annotation translates gene names to ids",
        )


def _join_genes(matrices: list[ad.AnnData], annotation: Annotation | None) -> tuple[list[ad.AnnData], str]:
    options: list[tuple[str, dict[str, str]]] = [("gene_name", {}), ("gene_id", {})]
    if annotation is not None:
        genes = annotation.genes[~annotation.genes["gene_name"].duplicated(keep=False)]
        options.append(("gene_id", dict(zip(genes["gene_name"], genes["gene_id"], strict=True))))
    best = max(options, key=lambda option: len(_shared_keys(matrices, *option)))
    shared = _shared_keys(matrices, *best)
    smallest = min(matrices, key=lambda m: m.n_vars)
    other = next(m for m in reversed(matrices) if m is not smallest)
    _refuse_few(len(shared), smallest, other, "genes")
    source = max(matrices, key=lambda m: int((m.var["gene_id"].astype(str) != m.var["gene_name"].astype(str)).sum()))
    var = source.var[["gene_id", "gene_name"]].iloc[_places(source, *best, shared)]
    return [_take(m, _places(m, *best, shared), var) for m in matrices], best[0]


def _join_regions(matrices: list[ad.AnnData]) -> tuple[list[ad.AnnData], str]:
    if matrices[0].uns["cellpredx"]["kind"] == "windows":
        names = pd.Index(matrices[0].var_names)
        for matrix in matrices[1:]:
            names = names[names.isin(matrix.var_names)]
        _refuse_few(len(names), matrices[0], matrices[-1], "windows with counts")
        var = matrices[0].var.loc[names]
        return [_take(m, m.var_names.get_indexer(names), var) for m in matrices], "coordinates"
    first = matrices[0]
    joined_by = "coordinates"
    columns = [np.arange(first.n_vars)]
    kept = np.ones(first.n_vars, bool)
    for matrix in matrices[1:]:
        found = matrix.var_names.get_indexer(first.var_names)
        if (found < 0).any() and matrix.n_vars != (found >= 0).sum():
            pairs = match_regions(first.var, matrix.var)
            found = np.full(first.n_vars, -1)
            found[pairs["left"]] = pairs["right"]
            joined_by = "overlap"
        _refuse_few(int((found >= 0).sum()), first, matrix, "peaks")
        kept &= found >= 0
        columns.append(found)
    var = first.var[["chrom", "start", "end"]].loc[kept]
    return [_take(m, c[kept], var) for m, c in zip(matrices, columns, strict=True)], joined_by


def _stack(references: list[ad.AnnData]) -> ad.AnnData:
    """Join references below each other; a cell's name becomes sample:barcode, `sample` and `barcode` are kept."""
    for matrix in references:
        sample = matrix.uns["cellpredx"]["sample"]
        matrix.obs = matrix.obs.assign(sample=sample, barcode=matrix.obs_names.astype(str))
        matrix.obs_names = [f"{sample}:{barcode}" for barcode in matrix.obs_names]
    joined = ad.concat(references, join="inner", merge="same")
    joined.var = references[0].var
    joined.X = sp.csr_matrix(joined.X)
    joined.uns["cellpredx"] = dict(references[0].uns["cellpredx"])
    return joined


def _same_scale(matrices: list[ad.AnnData]) -> list[str]:
    logs = {m.uns["cellpredx"]["sample"] for m in matrices if m.uns["cellpredx"].get("normalised") == "log1p"}
    counts = {m.uns["cellpredx"]["sample"] for m in matrices} - logs
    if logs and counts:
        return [
            f"{', '.join(sorted(logs))}: log1p values as given; {', '.join(sorted(counts))}: counts, normalised to "
            "10,000 a cell and log1p here; scales may differ"
        ]
    return []


def _check_genomes(matrices: list[ad.AnnData]) -> None:
    genomes = {m.uns["cellpredx"]["sample"]: m.uns["cellpredx"].get("genome") for m in matrices}
    known = {g for g in genomes.values() if g}
    if len(known) > 1:
        raise UserError(f"samples of two genomes in one group: {genomes}", None, "give data of one genome")


def join(references: list[ad.AnnData], queries: list[ad.AnnData], annotation: Annotation | None) -> Pair:
    """Put references and queries on their shared features.

    Genes join on name or id, whichever shares more, through `annotation` where it helps; peaks on equal
    coordinates, else on reciprocal overlap of at least 50 %, one to one. Raises UserError below 20 % shared.
    """
    matrices = references + queries
    _check_genomes(matrices)
    genes = "gene_id" in references[0].var.columns
    joined, joined_by = _join_genes(matrices, annotation) if genes else _join_regions(matrices)
    warnings = _same_scale(matrices)
    if joined_by == "overlap":
        share = joined[0].n_vars / min(m.n_vars for m in matrices)
        warnings.append(f"peaks were matched by reciprocal overlap: {share:.0%} of the smaller set")
    return Pair(
        _stack(joined[: len(references)]),
        {q.uns["cellpredx"]["sample"]: q for q in joined[len(references) :]},
        joined_by,
        min(m.n_vars for m in references),
        min(m.n_vars for m in queries),
        warnings,
    )


def onto_bundle(queries: list[ad.AnnData], features: pd.DataFrame, recipe: dict[str, Any]) -> Pair:
    """Put queries on a bundle's features (index: names), absent ones zero. Raises UserError for what does not fit."""
    genes = "gene_id" in features.columns
    result = {}
    found_any = 0
    for query in queries:
        own = query.uns["cellpredx"]
        if genes != ("gene_id" in query.var.columns):
            raise UserError(
                f"the model reads {'genes' if genes else 'regions'}, sample {own['sample']} has {own['kind']}",
                None,
                "give a query of the modality that the model was trained for",
            )
        if own.get("genome") and recipe.get("genome") and own["genome"] != recipe["genome"]:
            raise UserError(
                f"the model is of genome {recipe['genome']}, sample {own['sample']} of {own['genome']}",
                None,
                "give a query of the model's genome",
            )
        candidates = {"name": query.var_names.get_indexer(features.index)}
        if genes:
            ids = pd.Index(query.var["gene_id"].astype(str))
            if ids.is_unique:
                candidates["id"] = ids.get_indexer(features["gene_id"].astype(str))
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
        result[own["sample"]] = _take(query, columns, features)
    return Pair(None, result, "bundle", len(features), found_any, [])
