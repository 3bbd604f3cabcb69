"""Labels, and references and queries on the features that they share."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellpredx.core.annotation import Annotation
from cellpredx.core.bundle_info import write_info
from cellpredx.core.errors import UserError
from cellpredx.core.labels import apply_map, check_reference, read_label_table, read_map
from cellpredx.core.spec import SampleSpec
from cellpredx.matrix.sample_matrix import sample_matrix, write_h5ad
from cellpredx.reference import pair as pairing
from cellpredx.reference.checks import check_recipe, fingerprints, refuse_same_cells
from cellpredx.reference.labels import sample_labels
from cellpredx.reference.pair import Described, Pair, choose_scenario, stacked, take


def genes_sample(
    sample: str, names: list[str], ids: list[str] | None = None, cells: int = 3, **options: Any
) -> ad.AnnData:
    """Make a sample of genes whose counts are all different."""
    counts = 1 + np.arange(cells * len(names)).reshape(cells, len(names))
    table = pd.DataFrame({"gene_id": ids or names, "gene_name": names}, index=names)
    return made(sample, counts, table, "genes", **options)


def regions_sample(sample: str, regions: list[tuple[str, int, int]], kind: str = "peaks", cells: int = 3) -> ad.AnnData:
    """Make a sample of peaks or windows whose counts are all different."""
    counts = 1 + np.arange(cells * len(regions)).reshape(cells, len(regions))
    table = pd.DataFrame(regions, columns=["chrom", "start", "end"], index=[f"{c}:{s}-{e}" for c, s, e in regions])
    return made(sample, counts, table, kind)


def made(sample: str, counts: Any, features: pd.DataFrame, kind: str, **recipe: Any) -> ad.AnnData:
    cells = [f"{sample}c{i}" for i in range(len(counts))]
    modality = "rna" if kind == "genes" else "atac"
    return sample_matrix(
        sp.csr_matrix(counts), cells, [sample] * len(cells), [sample] * len(cells), features,
        sample=sample, modality=modality, kind=kind, recipe=recipe,
    )  # fmt: skip


@dataclass(frozen=True)
class Taken(Pair):
    """A pair with the matrices on its features."""

    reference: ad.AnnData | None = None
    queries: dict[str, ad.AnnData] = field(default_factory=dict)


def described(matrices: list[ad.AnnData]) -> list[Described]:
    return [SimpleNamespace(obs=m.obs, var=m.var, about=m.uns["cellpredx"]) for m in matrices]


def taken(pair: Pair, references: list[ad.AnnData], queries: list[ad.AnnData]) -> Taken:
    def one(matrix: ad.AnnData) -> ad.AnnData:
        values = take(sp.csr_matrix(matrix.X), pair.columns[matrix.uns["cellpredx"]["sample"]])
        return ad.AnnData(values, obs=matrix.obs, var=pair.var)

    parts = [one(matrix) for matrix in references]
    for part, matrix in zip(parts, references, strict=True):
        part.obs = stacked(matrix.uns["cellpredx"]["sample"], part.obs)
    reference = ad.concat(parts, merge="same") if parts else None
    return Taken(**vars(pair), reference=reference, queries={q.uns["cellpredx"]["sample"]: one(q) for q in queries})


def join(references: list[ad.AnnData], queries: list[ad.AnnData], genes: Annotation | None) -> Taken:
    return taken(pairing.join(described(references), described(queries), genes), references, queries)


def onto_bundle(queries: list[ad.AnnData], features: pd.DataFrame, recipe: dict[str, Any]) -> Taken:
    return taken(pairing.onto_bundle(described(queries), features, recipe), [], queries)


def barcode_overlap(references: list[ad.AnnData], queries: list[ad.AnnData]) -> float:
    return pairing.barcode_overlap(described(references), described(queries))


def column(matrix: ad.AnnData, name: str) -> list[float]:
    return list(matrix.X[:, matrix.var_names.get_loc(name)].toarray().ravel())


def annotation(**ids: str) -> Annotation:
    genes = pd.DataFrame({"gene_name": list(ids), "gene_id": list(ids.values())})
    return Annotation(genes, pd.DataFrame(), "")


def test_genes_join_on_the_key_that_shares_more() -> None:
    reference = genes_sample("r", ["A", "B", "C", "D"], ["g1", "g2", "g3", "g4"])
    by_name = join([reference], [genes_sample("q", ["D", "X", "B", "A"], ["g4", "g9", "g8", "g7"])], None)
    assert by_name.joined_by == "gene_name"
    assert by_name.reference is not None
    assert list(by_name.reference.var_names) == list(by_name.queries["q"].var_names) == ["A", "B", "D"]
    assert column(by_name.queries["q"], "D") == [1, 5, 9]
    assert column(by_name.reference, "D") == [4, 8, 12]
    by_id = join([reference], [genes_sample("q", ["old_D", "C", "old_B"], ["g4", "g3", "g2"])], None)
    assert by_id.joined_by == "gene_id"
    assert list(by_id.queries["q"].var["gene_id"]) == ["g2", "g3", "g4"]
    assert list(by_id.queries["q"].X[0].toarray().ravel()) == [3, 2, 1]
    assert by_id.reference is not None
    assert list(by_id.reference.var_names) == ["B", "C", "D"]
    assert (by_id.reference_features, by_id.query_features) == (4, 3)


def test_genes_join_through_the_annotation() -> None:
    reference = genes_sample("r", ["A", "B", "C"], ["g1", "g2", "g3"])
    bare = genes_sample("q", ["g3", "g1", "g9"])
    assert join([reference], [bare], None).joined_by == "gene_id"
    old, new = genes_sample("r", ["A", "B", "C"]), genes_sample("q", ["g3", "g1", "g9"])
    with pytest.raises(UserError):
        join([old], [new], None)
    pair = join([old], [new], annotation(A="g1", B="g2", C="g3"))
    assert pair.joined_by == "gene_id"
    assert column(pair.queries["q"], "C") == [1, 4, 7]
    assert pair.reference is not None
    assert column(pair.reference, "C") == [3, 6, 9]


def test_an_id_that_comes_twice_in_a_sample_joins_nothing_and_breaks_nothing() -> None:
    reference = genes_sample("r", ["x1", "x2", "x3", "x4"], ["g1", "g2", "g3", "par"])
    query = genes_sample("q", ["A", "B", "C", "PAR_par", "PAR_par-1"], ["g1", "g2", "g3", "par", "par"])
    pair = join([reference], [query], None)
    assert pair.joined_by == "gene_id"
    assert pair.reference is not None
    assert list(pair.reference.var["gene_id"]) == ["g1", "g2", "g3"]
    assert list(pair.queries["q"].X[0].toarray().ravel()) == [1, 2, 3]


def test_under_a_fifth_shared_is_refused_with_five_names_of_each() -> None:
    reference = genes_sample("ref", [f"A{i}" for i in range(10)])
    query = genes_sample("qry", ["A0", *(f"b{i}" for i in range(9))])
    with pytest.raises(UserError, match=r"share 1 genes of 10 \(under 20%\)") as caught:
        join([reference], [query], None)
    assert "ref has A0, A1, A2, A3, A4" in str(caught.value.where)
    assert "qry has A0, b0, b1, b2, b3" in str(caught.value.where)
    assert "A5" not in str(caught.value.where)
    assert join([reference], [genes_sample("qry", ["A0", "A1", *(f"b{i}" for i in range(8))])], None)
    with pytest.raises(UserError, match="share 0 peaks"):
        join([regions_sample("r", [("1", 5, 9)])], [regions_sample("q", [("chr1", 5, 9)])], None)
    with pytest.raises(UserError, match="share 0 genes"):
        join([reference], [genes_sample("q", ["z"])], None)


def test_peaks_of_equal_coordinates_join_on_them() -> None:
    reference = regions_sample("r", [("chr1", 0, 100), ("chr1", 200, 300), ("chr2", 0, 100)])
    query = regions_sample("q", [("chr2", 0, 100), ("chr1", 0, 100)])
    pair = join([reference], [query], None)
    assert (pair.joined_by, pair.warnings) == ("coordinates", [])
    assert list(pair.queries["q"].var_names) == ["chr1:0-100", "chr2:0-100"]
    assert column(pair.queries["q"], "chr2:0-100") == [1, 3, 5]
    assert pair.reference is not None
    assert column(pair.reference, "chr2:0-100") == [3, 6, 9]


def test_other_peaks_join_one_to_one_on_reciprocal_overlap() -> None:
    reference = regions_sample("r", [("chr1", 0, 100), ("chr1", 1000, 1100), ("chr1", 2000, 2100), ("chr2", 0, 9)])
    query = regions_sample("q", [("chr1", 2000, 2100), ("chr1", 40, 140), ("chr1", 10, 110), ("chr1", 1051, 1151)])
    pair = join([reference], [query], None)
    assert pair.joined_by == "overlap"
    assert pair.warnings == ["peaks were matched by reciprocal overlap: 50% of the smaller set"]
    # Each side under the reference's coordinates; 0-100 takes 10-110 (90 bp) and not 40-140 (60 bp).
    assert list(pair.queries["q"].var_names) == ["chr1:0-100", "chr1:2000-2100"]
    assert column(pair.queries["q"], "chr1:0-100") == [3, 7, 11]
    assert column(pair.queries["q"], "chr1:2000-2100") == [1, 5, 9]


def test_windows_join_on_equal_names() -> None:
    reference = regions_sample("r", [("chr1", 0, 500), ("chr1", 500, 1000), ("chr1", 1500, 2000)], "windows")
    query = regions_sample("q", [("chr1", 500, 1000), ("chr1", 1000, 1500), ("chr1", 1500, 2000)], "windows")
    pair = join([reference], [query], None)
    assert list(pair.queries["q"].var_names) == ["chr1:500-1000", "chr1:1500-2000"]
    assert column(pair.queries["q"], "chr1:1500-2000") == [3, 6, 9]


def test_references_are_stacked_under_names_of_their_own() -> None:
    first, second = genes_sample("r1", ["A", "B", "C"]), genes_sample("r2", ["C", "A", "Z"], cells=2)
    second.obs_names = ["r1c0", "other"]
    pair = join([first, second], [genes_sample("q", ["A", "C", "B"])], None)
    stacked = pair.reference
    assert stacked is not None
    assert list(stacked.obs_names) == ["r1:r1c0", "r1:r1c1", "r1:r1c2", "r2:r1c0", "r2:other"]
    assert stacked.obs["sample"].tolist() == ["r1"] * 3 + ["r2"] * 2
    assert stacked.obs["barcode"].tolist() == ["r1c0", "r1c1", "r1c2", "r1c0", "other"]
    assert column(stacked, "C") == [3, 6, 9, 1, 4]
    assert list(stacked.var_names) == list(pair.queries["q"].var_names) == ["A", "C"]


def test_two_genomes_in_a_group_are_refused_and_log_values_beside_counts_are_told() -> None:
    names = ["A", "B"]
    with pytest.raises(UserError, match="two genomes"):
        join([genes_sample("r", names, genome="hg38")], [genes_sample("q", names, genome="mm10")], None)
    assert join([genes_sample("r", names)], [genes_sample("q", names, genome="mm10")], None).warnings == []
    pair = join([genes_sample("r", names, normalised="log1p")], [genes_sample("q", names)], None)
    assert "r: log1p values as given; q: counts" in pair.warnings[0]


@pytest.mark.parametrize(
    ("reference", "query", "overlap", "given", "expected"),
    [
        ("rna", "atac", 0.5, "auto", ("matched", "auto")),
        ("rna", "atac", 0.499, "auto", ("unmatched", "auto")),
        ("rna", "atac", 0.9, "unmatched", ("unmatched", "given")),
        ("rna", "rna", 1.0, "auto", ("rna", "auto")),
        ("atac", "atac", 1.0, "auto", ("atac", "auto")),
    ],
)
def test_the_scenario_follows_modalities_and_overlap(
    reference: str, query: str, overlap: float, given: str, expected: tuple[str, str]
) -> None:
    assert choose_scenario(reference, query, overlap, given) == expected


def test_the_overlap_is_the_share_of_the_queries_cells() -> None:
    references = [genes_sample("r", ["A"], cells=2), genes_sample("s", ["A"], cells=4)]
    query = genes_sample("q", ["A"], cells=4)
    query.obs_names = ["rc0", "sc3", "x", "rc9"]
    assert barcode_overlap(references, [query]) == 0.5
    assert barcode_overlap(references, [query, genes_sample("p", ["A"], cells=4)]) == 0.25


def test_a_query_is_put_on_the_features_of_a_bundle() -> None:
    features = pd.DataFrame({"gene_id": ["g1", "g2", "g3"], "gene_name": ["A", "B", "C"]}, index=["A", "B", "C"])
    pair = onto_bundle([genes_sample("q", ["C", "X", "A"], ["g3", "g9", "g1"])], features, {})
    assert pair.joined_by == "bundle"
    assert pair.reference is None
    assert list(pair.queries["q"].var_names) == ["A", "B", "C"]
    assert pair.queries["q"].X.toarray().tolist() == [[3, 0, 1], [6, 0, 4], [9, 0, 7]]
    by_id = onto_bundle([genes_sample("q", ["new_C", "new_A"], ["g3", "g1"])], features, {})
    assert by_id.queries["q"].X.toarray().tolist() == [[2, 0, 1], [4, 0, 3], [6, 0, 5]]


def test_a_query_of_peaks_is_put_on_the_peaks_of_a_bundle() -> None:
    features = pd.DataFrame({"chrom": ["chr1", "chr1"], "start": [0, 500], "end": [100, 600]})
    features.index = pd.Index(["chr1:0-100", "chr1:500-600"])
    equal = onto_bundle([regions_sample("q", [("chr1", 500, 600), ("chr1", 0, 100)])], features, {})
    assert equal.queries["q"].X.toarray()[0].tolist() == [2, 1]
    shifted = onto_bundle([regions_sample("q", [("chr1", 520, 620), ("chr1", 10, 110)])], features, {})
    assert shifted.queries["q"].X.toarray()[0].tolist() == [2, 1]
    windows = onto_bundle([regions_sample("q", [("chr9", 0, 5), ("chr1", 0, 100)], "windows")], features, {})
    assert windows.queries["q"].X.toarray()[0].tolist() == [2, 0]


def test_a_query_that_does_not_fit_a_bundle_is_refused() -> None:
    names = [f"A{i}" for i in range(10)]
    features = pd.DataFrame({"gene_id": names, "gene_name": names}, index=names)
    with pytest.raises(UserError, match="has 1 of the model's 10 features") as caught:
        onto_bundle([genes_sample("q", ["A0", "b", "c", "d", "e", "f"])], features, {})
    assert caught.value.where == "the model has A0, A1, A2, A3, A4; the sample has A0, b, c, d, e"
    with pytest.raises(UserError, match="the model reads genes, sample q has peaks"):
        onto_bundle([regions_sample("q", [("chr1", 0, 100)])], features, {})
    with pytest.raises(UserError, match="the genome of sample q is mm10, that of the model is hg38"):
        onto_bundle([genes_sample("q", names, genome="mm10")], features, {"genome": "hg38"})


@pytest.mark.parametrize(
    ("key", "own", "model", "said"),
    [
        ("genome", "mm10", "hg38", "the genome of sample q is mm10, that of the model is hg38"),
        ("modality", "atac", "rna", "the modality of sample q is atac"),
        ("kind", "windows", "peaks", "the kind of features of sample q is windows"),
        ("counting", "insertion", "fragment", "the counting of fragments of sample q is insertion"),
        ("gene_model", "archr", "body", "the gene model of sample q is archr"),
        ("window_size", 500, 5000, "the window size of sample q is 500, that of the model is 5000"),
    ],
)
def test_a_query_that_was_made_otherwise_than_the_model_is_refused(key: str, own: Any, model: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_recipe({"sample": "q", key: own}, {key: model})
    assert check_recipe({"sample": "q", key: own}, {key: own}) == []
    assert check_recipe({"sample": "q", key: own}, {}) == check_recipe({"sample": "q"}, {key: model}) == []


def test_genes_of_another_annotation_are_told() -> None:
    found = check_recipe({"sample": "q", "annotation_sha256": "a"}, {"annotation_sha256": "b"})
    assert found == ["q: genes were counted by another annotation than the model's"]
    assert check_recipe({"sample": "q", "annotation_sha256": "a"}, {"annotation_sha256": "a"}) == []
    assert check_recipe({"sample": "q"}, {"annotation_sha256": "a"}) == []


def test_query_cells_that_are_reference_cells_are_refused_whatever_their_names() -> None:
    rng = np.random.default_rng(1)
    reference, query = (sp.csr_matrix(rng.poisson(1, (40, 80)), dtype=np.float32) for _ in range(2))
    barcodes = pd.Index([f"q{i}" for i in range(40)])
    refuse_same_cells(fingerprints(reference), fingerprints(query), "q", barcodes)
    # Cells of few counts are equal by chance.
    few = sp.csr_matrix((np.ones(40, np.float32), np.zeros(40, int), np.arange(41)), shape=(40, 80))
    refuse_same_cells(fingerprints(few), fingerprints(few), "q", barcodes)
    query[7] = reference[31]
    with pytest.raises(UserError, match="1 of 40 cells of query q are cells of the reference, the first is 'q7'"):
        refuse_same_cells(fingerprints(reference), fingerprints(query), "q", barcodes)


def write_bundle_features(folder: Path, features: pd.DataFrame, modality: str) -> None:
    folder.mkdir()
    features.rename_axis("name").to_csv(folder / "features.csv")
    for name in ("weights.safetensors", "training_log.csv"):
        (folder / name).touch()
    info = {"recipe": {}, "scenario": modality, "reference_modality": modality, "references": ["r"]}
    write_info({**info, "labels": [], "hyperparameters": {}, "calibration": {}}, folder)


@pytest.mark.parametrize("names", [["7157", "0012", "3", "4"], ["NA", "nan", "C", "D"]])
def test_names_of_genes_that_look_like_numbers_stay_names(
    tmp_path: Path, run_verb: Callable[..., None], names: list[str]
) -> None:
    write_bundle_features(tmp_path / "model", pd.DataFrame({"gene_id": names, "gene_name": names}, index=names), "rna")
    write_h5ad(genes_sample("q", names), tmp_path / "q.h5ad")
    run_verb(
        "pair", "--transfer", "t", "--group", "t", "--bundle", tmp_path / "model", "--queries", tmp_path / "q.h5ad",
        "--outdir", tmp_path / "pair",
    )  # fmt: skip
    found = ad.read_h5ad(tmp_path / "pair" / "queries" / "q.h5ad")
    assert list(found.var_names) == names
    assert found.X.toarray().tolist() == genes_sample("q", names).X.toarray().tolist()


def test_chromosomes_that_look_like_numbers_stay_names(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    # Enough of them that pandas reads the file in pieces, each with a type of its own.
    regions = [(chrom, 10 * i, 10 * i + 5) for chrom in ("1", "X") for i in range(40_000)]
    sample = regions_sample("q", regions, cells=2)
    write_bundle_features(tmp_path / "model", sample.var[["chrom", "start", "end"]], "atac")
    write_h5ad(sample, tmp_path / "q.h5ad")
    run_verb(
        "pair", "--transfer", "t", "--group", "t", "--bundle", tmp_path / "model", "--queries", tmp_path / "q.h5ad",
        "--outdir", tmp_path / "pair",
    )  # fmt: skip
    found = ad.read_h5ad(tmp_path / "pair" / "queries" / "q.h5ad")
    assert set(found.var["chrom"]) == {"1", "X"}
    assert found.X.sum() == sample.X.sum()


def test_pair_writes_what_the_report_reads(tmp_path: Path, run_verb: Callable[..., None]) -> None:
    write_h5ad(genes_sample("r", ["A", "B", "C"]), tmp_path / "r.h5ad")
    query = genes_sample("q", ["A", "C", "D", "E"])
    query.uns["cellpredx"]["modality"] = "atac"
    query.obs_names = ["rc0", "rc1", "x"]
    write_h5ad(query, tmp_path / "q.h5ad")
    graph = regions_sample("q", [("chr1", 0, 5)])
    graph.obs_names = ["x", "rc1", "rc0"]
    write_h5ad(graph, tmp_path / "graph.h5ad")
    run_verb(
        "pair", "--transfer", "t", "--group", "g", "--references", tmp_path / "r.h5ad", "--queries",
        tmp_path / "q.h5ad", "--graphs", tmp_path / "graph.h5ad", "--without-peaks", "--outdir", tmp_path / "pair",
    )  # fmt: skip
    pair = json.loads((tmp_path / "pair" / "pair.json").read_text())
    assert pair["barcode_overlap"] == pytest.approx(2 / 3)
    assert pair["scenario"] == "matched"
    assert pair["chosen"] == "auto"
    assert (pair["shared_features"], pair["reference_features"], pair["query_features"]) == (2, 3, 4)
    stored = {
        part: ad.read_h5ad(tmp_path / "pair" / path)
        for part, path in (("r", "reference.h5ad"), ("q", "queries/q.h5ad"))
    }
    sizes = {part: {"cells": matrix.n_obs, "values": matrix.X.nnz} for part, matrix in stored.items()}
    assert pair["sizes"] == {"reference": sizes["r"], "queries": {"q": sizes["q"]}}
    assert "no peaks were given" in pair["warnings"][-1]
    ordered = ad.read_h5ad(tmp_path / "pair" / "graphs" / "q.h5ad")
    assert list(ordered.obs_names) == ["rc0", "rc1", "x"]
    assert ordered.X.toarray().ravel().tolist() == [3, 2, 1]


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("zipped", [False, True])
def test_labels_are_read_from_csv_and_tsv(
    tmp_path: Path, separator: str, newline: str, mark: str, zipped: bool
) -> None:
    path = tmp_path / "labels.txt"
    rows = [
        ("donor", "cell_type", "barcode"),
        ("d", f'"T{separator} CD4+"', "AC-1"),
        ("d", "NA", "007"),
        ("d", "", "x"),
    ]
    text = mark + newline.join(separator.join(row) for row in rows) + newline
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    assert read_label_table(path).values.tolist() == [["AC-1", f"T{separator} CD4+"], ["007", "NA"], ["x", ""]]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("barcode,type\na,B\n", "l.csv, line 1", "no column 'cell_type': it has barcode, type"),
        ("cell,cell_type\na,B\n", "l.csv, line 1", "no column 'barcode': it has cell, cell_type"),
        ("barcode\na\nb\n", "l.csv, line 1", "no column 'cell_type': it has barcode"),
        ("barcode,cell_type\na,B\nb,T\na,B\n", "l.csv, line 4, column barcode", "barcode 'a' has two labels"),
        ("barcode,cell_type\n\na,B\n\na,T\n", "l.csv, line 5, column barcode", "barcode 'a' has two labels"),
        ("barcode,cell_type\na,CD4 T, naive\nb,B\n", "l.csv, line 2, after column cell_type", "more fields"),
        ("barcode,cell_type\na,B\nb,CD4 T, naive\n", "l.csv, line 3, after column cell_type", "more fields"),
        ("", "l.csv", "cannot be read"),
        (
            "barcode,cell_type\n" + "".join(f"{i},B\n" for i in range(40_000)) + "7,B\n",
            "l.csv, line 40002, column barcode",
            "has two labels",
        ),
        ('barcode,cell_type\na,"B\n' + "b,B\n" * 50_000, "l.csv", "EOF inside string"),
    ],
)
def test_a_bad_table_of_labels_is_refused(tmp_path: Path, text: str, where: str, what: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_label_table(path)
    assert what in caught.value.what
    assert caught.value.where == where


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_bytes("barcode,cell_type\na,Mémoire\n".encode("latin-1"))
    with pytest.raises(UserError, match="no UTF-8 text"):
        read_label_table(path)


def test_labels_of_a_column_carry_the_names_of_cells(tmp_path: Path, make_spec: Callable[..., SampleSpec]) -> None:
    for library, types in (("a", ["B", None]), ("b", ["T", "NK"])):
        data = ad.AnnData(sp.csr_matrix(np.ones((2, 1))), pd.DataFrame({"type": pd.Categorical(types)}, ["x", "y"]))
        data.write_h5ad(tmp_path / f"{library}.h5ad")
    (tmp_path / "cells.txt").write_text("y\n")
    rows: list[dict[str, Any]] = [
        {"library": "a", "matrix": tmp_path / "a.h5ad"},
        {"library": "b", "matrix": tmp_path / "b.h5ad", "barcodes": tmp_path / "cells.txt"},
    ]
    spec = make_spec(*rows, modality="rna", labels="type")
    assert sample_labels(spec).values.tolist() == [["a#x", "B"], ["a#y", ""], ["b#y", "NK"]]
    spec = make_spec(*rows, modality="rna", labels="celltype")
    with pytest.raises(UserError, match="obs has no column 'celltype': it has type"):
        sample_labels(spec)


def test_labels_are_renamed_exactly(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text("from,to\nCD4 T,T\nB cell,\nT,never twice\n")
    labels = pd.DataFrame({"barcode": list("abcd"), "cell_type": ["CD4 T", "B cell", "cd4 t", ""]})
    assert apply_map(labels, read_map(path))["cell_type"].tolist() == ["T", "", "cd4 t", ""]
    # A mark at the end of every line, as spreadsheets leave it, is no third field.
    path.write_text("from,to,\nB cell,B,\nT,T cell,\n")
    assert read_map(path) == {"B cell": "B", "T": "T cell"}


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("from,into\na,b\n", "map.csv, line 1", "no column 'to': it has from, into"),
        ("from,to\na,b\n\nc,d\na,e\n", "map.csv, line 5, column to", "'a' is renamed to 'b' and to 'e'"),
        ("from,to\na,b\n,c\n", "map.csv, line 3, column from", "no label to rename to 'c'"),
        ("from,to\nT, naive,T\n", "map.csv, line 2, after column to", "more fields than the header"),
    ],
)
def test_a_bad_map_is_refused_with_its_line(tmp_path: Path, text: str, where: str, what: str) -> None:
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_map(path)
    assert what in caught.value.what
    assert caught.value.where == where


def test_names_of_the_map_that_are_no_label_are_listed(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    path, names, unused = tmp_path / "labels.csv", tmp_path / "map.csv", tmp_path / "unused.json"
    path.write_text("barcode,cell_type\na,B cell\nb,CD4 T\n")
    names.write_text("from,to\nCD4 T,T\nB-cell,B\nCD8 T,T\n")
    out = tmp_path / "out.csv"
    run_verb("labels", "--spec", spec_text({}, labels=path), "--label-map", names, "--unused", unused, "--out", out)
    assert json.loads(unused.read_text()) == {"B-cell": "B cell", "CD8 T": None}
    assert out.read_text() == "barcode,cell_type\na,B cell\nb,T\n"


def test_an_empty_label_is_refused_in_a_reference_alone(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    path, out = tmp_path / "labels.csv", tmp_path / "out.csv"
    path.write_text("barcode,cell_type\na,B\nb, \nc,\ne\nd,=T\n")
    with pytest.raises(UserError, match="3 of 5 cells of reference s1 have no label, the first is 'b'"):
        check_reference(read_label_table(path), "s1")
    with pytest.raises(UserError, match="have no label"):
        run_verb("labels", "--spec", spec_text({}, roles=("reference",), labels=path), "--out", out)
    assert not out.exists()
    run_verb("labels", "--spec", spec_text({}, labels=path), "--out", out)
    assert out.read_text() == "barcode,cell_type\na,B\nd,=T\n"


@pytest.mark.parametrize("word", ["NA", "NaN", "nan", "None", "<NA>"])
def test_what_other_programs_write_for_no_label_is_no_type(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None], word: str
) -> None:
    path, names, out = (tmp_path / name for name in ("labels.csv", "map.csv", "out.csv"))
    path.write_text(f"barcode,cell_type\na,B\nb,{word}\n")
    reference = spec_text({}, roles=("reference",), labels=path)
    with pytest.raises(UserError, match="1 of 2 cells of reference s1 have no label, the first is 'b'"):
        run_verb("labels", "--spec", reference, "--out", out)
    run_verb("labels", "--spec", spec_text({}, labels=path), "--out", out)
    assert out.read_text() == "barcode,cell_type\na,B\n"
    names.write_text(f"from,to\n{word},sodium\n")
    run_verb("labels", "--spec", reference, "--label-map", names, "--out", out)
    assert out.read_text() == "barcode,cell_type\na,B\nb,sodium\n"


def test_a_label_that_the_map_takes_away_is_no_empty_label(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    path, names, out = tmp_path / "labels.csv", tmp_path / "map.csv", tmp_path / "out.csv"
    path.write_text("barcode,cell_type\na,B\nb,doublet\nc,T\n")
    names.write_text("from,to\ndoublet,\nT,T cell\n")
    spec = spec_text({}, roles=("reference", "query"), labels=path)
    run_verb("labels", "--spec", spec, "--label-map", names, "--out", out)
    assert out.read_text() == "barcode,cell_type\na,B\nc,T cell\n"
