"""Counts against brute force, users' matrices in every layout, genes from annotations, and gene activity."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pysam
import pytest
import scipy.io
import scipy.sparse as sp
from numpy.typing import NDArray

from cellpredx.core.annotation import Annotation, read_annotation, unique_names
from cellpredx.core.barcodes import read_barcodes
from cellpredx.core.bed import read_bed
from cellpredx.core.errors import UserError
from cellpredx.core.genome import MITOCHONDRIAL, read_sizes
from cellpredx.core.spec import SampleSpec
from cellpredx.fragments.store import Store, StoreWriter
from cellpredx.matrix.counting import STRATEGIES, Counts, count_features, count_windows
from cellpredx.matrix.gene_activity import from_linked_genes, from_overlapping_peaks
from cellpredx.matrix.gene_windows import gene_windows
from cellpredx.matrix.regions import match_regions, overlaps, parse_names
from cellpredx.matrix.standardise import gene_table, standardise

LENGTH = 20_000
CELLS = [f"cell{i}" for i in range(7)]
Table = pd.DataFrame


def random_fragments(count: int, seed: int = 1) -> Table:
    """Draw fragments in cells and, as barcode 7, outside of any."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, LENGTH - 1, count)
    end = np.minimum(start + rng.choice([1, 2, 30, 150, 1000, 9000], count), LENGTH)
    chrom = rng.choice(["chr1", "chr2", "chrM"], count)
    return Table({"chrom": chrom, "start": start, "end": end, "barcode": rng.integers(0, len(CELLS) + 1, count)})


def make_store(folder: Path, fragments: Table) -> Store:
    writer = StoreWriter(folder)
    for chrom, part in fragments.groupby("chrom", sort=False):
        writer.add(str(chrom), part[["start", "end", "barcode"]].to_numpy(np.int32))
    rows = np.r_[np.arange(len(CELLS)), -1].astype(np.int32)
    of_cell = np.bincount(fragments["barcode"], minlength=len(CELLS) + 1)[:-1]
    writer.close("s1", "s1", CELLS, ["s1"] * len(CELLS), rows, of_cell)
    return Store.open(folder)


def csr(counts: Counts, entries: int = 1 << 22) -> sp.csr_matrix:
    """Return counts as one matrix, put together from blocks of about `entries`."""
    lengths, columns, values = (np.concatenate(parts) for parts in zip(*counts.blocks(entries), strict=True))
    return sp.csr_matrix((values, columns, np.r_[0, np.cumsum(lengths)]), shape=counts.shape)


def hard_features(seed: int = 2) -> Table:
    """Draw features of every kind that breaks counters, in an order of their own."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, int, int]] = []
    for chrom in ("chr2", "chr1", "chr9"):
        start = rng.integers(0, LENGTH - 1, 60)
        rows += [
            (chrom, int(s), int(min(s + w, LENGTH))) for s, w in zip(start, rng.integers(1, 3000, 60), strict=True)
        ]
        rows += [(chrom, 1000 + 100 * i, 1100 + 100 * i) for i in range(10)]
        rows += [(chrom, 4000 + 50 * i, 6000 - 50 * i) for i in range(10)]
        rows += [(chrom, 5000, 5600)] * 3
        rows += [(chrom, 0, 1), (chrom, 0, LENGTH), (chrom, LENGTH - 1, LENGTH), (chrom, LENGTH, LENGTH + 500)]
    table = Table(rows, columns=["chrom", "start", "end"])
    return table.iloc[rng.permutation(len(table))].reset_index(drop=True)


def plain_counts(fragments: Table, features: Table, strategy: str) -> NDArray[np.int64]:
    counts = np.zeros((len(CELLS) + 1, len(features)), np.int64)
    chrom, low, high = features["chrom"].to_numpy(), features["start"].to_numpy(), features["end"].to_numpy()
    for own_chrom, start, end, cell in fragments.values.tolist():
        first = (low <= start) & (start < high)
        last = (low <= end - 1) & (end - 1 < high)
        if strategy == "insertion":
            hits = first.astype(int) + last
        elif strategy == "paired-insertion":
            hits = (first | last).astype(int)
        else:
            hits = ((low < end) & (start < high)).astype(int)
        counts[cell] += hits * (chrom == own_chrom)
    return counts[:-1]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("entries", [1, 300, 1 << 22])
def test_counts_equal_brute_force(tmp_path: Path, strategy: str, entries: int) -> None:
    fragments, features = random_fragments(1500), hard_features()
    counts = count_features(make_store(tmp_path / "store", fragments), features, strategy)
    found = csr(counts, entries)
    expected = plain_counts(fragments, features, strategy)
    assert expected.max() > 20
    np.testing.assert_array_equal(found.toarray(), expected)
    assert found.has_canonical_format
    assert counts.nnz == (expected > 0).sum()


def test_many_dense_features_and_long_fragments_are_found_beyond_a_bin(tmp_path: Path) -> None:
    # Features crowd where fragments do not look first, so that every way of looking up a position is taken.
    rng = np.random.default_rng(3)
    start = np.r_[rng.integers(0, 200, 300), rng.integers(0, LENGTH - 50, 30)]
    features = Table({"chrom": "chr1", "start": start, "end": start + rng.integers(1, 40, len(start))})
    fragments = random_fragments(600, seed=11).assign(chrom="chr1")
    for strategy in STRATEGIES:
        found = csr(count_features(make_store(tmp_path / strategy, fragments), features, strategy))
        np.testing.assert_array_equal(found.toarray(), plain_counts(fragments, features, strategy))


def test_fragments_in_peaks_are_those_that_overlap_any(tmp_path: Path) -> None:
    fragments, features = random_fragments(1500), hard_features().query("chrom != 'chr2'").head(25)
    counts = count_features(make_store(tmp_path / "store", fragments), features, "insertion")
    expected = np.zeros(len(CELLS) + 1, np.int64)
    for chrom, start, end, cell in fragments.values.tolist():
        expected[cell] += any(c == chrom and s < end and start < e for c, s, e in features.values.tolist())
    assert 0 < expected[0] < (fragments["barcode"] == 0).sum()
    assert counts.in_features.tolist() == expected[:-1].tolist()


def test_the_strategies_differ_as_documented(tmp_path: Path) -> None:
    fragments = Table({"chrom": "chr1", "start": [100, 0], "end": [201, 1000], "barcode": 0})
    features = Table({"chrom": "chr1", "start": [100, 150, 200, 201, 99], "end": [201, 160, 201, 300, 100]})
    store = make_store(tmp_path / "store", fragments)
    found = {name: csr(count_features(store, features, name)).toarray()[0].tolist() for name in STRATEGIES}
    assert found == {
        "paired-insertion": [1, 0, 1, 0, 0],
        "insertion": [2, 0, 1, 0, 0],
        "fragment": [2, 2, 2, 1, 1],
    }


def test_fragments_of_the_mitochondrion_alone_have_no_windows(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", random_fragments(50).assign(chrom="chrM"))
    with pytest.raises(UserError, match="window"):
        count_windows(store, 500, "paired-insertion", MITOCHONDRIAL)


def test_features_of_another_genome_are_refused_with_both_names(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", random_fragments(50))
    with pytest.raises(UserError) as caught:
        count_features(store, Table({"chrom": ["1", "2"], "start": 1, "end": 9}), "fragment")
    assert "the features have 1, 2; the fragments have chr1, chr2, chrM" in str(caught.value.remedy)


@pytest.mark.parametrize("strategy", ["paired-insertion", "insertion"])
@pytest.mark.parametrize("size", [500, 777])
@pytest.mark.parametrize("black", [None, ([990, 5000], [1001, 5001])])
def test_windows_equal_brute_force(
    tmp_path: Path, strategy: str, size: int, black: tuple[list[int], list[int]] | None
) -> None:
    fragments = random_fragments(1200, seed=5)
    blacklist = {"chr2": (np.array(black[0]), np.array(black[1]))} if black else None
    store = make_store(tmp_path / "store", fragments)
    counts, windows = count_windows(store, size, strategy, MITOCHONDRIAL, blacklist)
    every = Table(
        [(chrom, i * size, (i + 1) * size) for chrom in ("chr1", "chr2") for i in range(LENGTH // size + 1)],
        columns=["chrom", "start", "end"],
    )
    expected = plain_counts(fragments, every, strategy)
    used = expected.sum(axis=0) > 0
    for low, high in zip(*(black or ([], [])), strict=True):
        used &= ~((every["chrom"] == "chr2") & (every["start"] < high) & (every["end"] > low)).to_numpy()
    pd.testing.assert_frame_equal(windows, every[used].reset_index(drop=True))
    np.testing.assert_array_equal(csr(counts).toarray(), expected[:, used])


def write_lines(path: Path, table: Table) -> None:
    lines = table.assign(barcode="B" + table["barcode"].astype(str) + "-1", pairs=2)
    with gzip.open(path, "wt") as handle:
        lines.to_csv(handle, sep="\t", header=False, index=False)


GENES = """\
chr1\thavana\tgene\t3001\t4000\t.\t+\t.\tgene_id "ENSG00000000001.4"; gene_type "protein_coding"; gene_name "AAA";
chr2\thavana\tgene\t501\t900\t.\t-\t.\tgene_id "ENSG00000000002.1"; gene_type "protein_coding"; gene_name "BBB";
"""


def equal_content(left: ad.AnnData, right: ad.AnnData) -> None:
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(left.X, name), getattr(right.X, name))
    pd.testing.assert_frame_equal(left.obs, right.obs)
    pd.testing.assert_frame_equal(left.var, right.var)
    assert left.uns == right.uns


@pytest.mark.parametrize("kind", ["peaks", "windows", "gene_activity"])
def test_order_and_lanes_change_nothing(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None], kind: str
) -> None:
    fragments = random_fragments(1500)
    shuffled = fragments.sample(frac=1, random_state=3)
    write_lines(tmp_path / "all.tsv.gz", fragments.sort_values(["chrom", "start"]))
    write_lines(tmp_path / "one.tsv.gz", shuffled[:400])
    write_lines(tmp_path / "two.tsv.gz", shuffled[400:])
    hard_features().to_csv(tmp_path / "peaks.bed", sep="\t", header=False, index=False)
    (tmp_path / "genes.gtf").write_text(GENES)
    given = {
        "peaks": ("--peaks", tmp_path / "peaks.bed"),
        "windows": ("--window-size", 500),
        "gene_activity": ("--annotation", tmp_path / "genes.gtf"),
    }[kind]
    results = []
    for number, files in enumerate((["all"], ["one", "two"], ["two", "one"])):
        spec = spec_text(*({"fragments": tmp_path / f"{name}.tsv.gz"} for name in files))
        folder = tmp_path / str(number)
        run_verb(
            "ingest-fragments", "--spec", spec, "--min-fragments", 1, "--store", folder / "store", "--outdir", folder
        )
        run_verb("count", "--store", folder / "store", "--kind", kind, *given, "--out", folder / "m.h5ad")
        results.append(ad.read_h5ad(folder / "m.h5ad"))
        assert (folder / "barcodes.csv").read_bytes() == (tmp_path / "0" / "barcodes.csv").read_bytes()
    assert results[0].X.sum() > 100
    assert list(results[0].obs_names) == [f"B{i}-1" for i in range(8)]
    assert results[0].uns["cellpredx"]["kind"] == kind
    assert results[0].uns["cellpredx"]["counting"] == ("fragment" if kind == "gene_activity" else "paired-insertion")
    for other in results[1:]:
        equal_content(results[0], other)


def test_fragment_equals_a_tabix_query_per_region(tmp_path: Path) -> None:
    fragments = random_fragments(1500, seed=7)
    path = tmp_path / "f.tsv"
    fragments.sort_values(["chrom", "start", "end"]).to_csv(path, sep="\t", header=False, index=False)
    indexed = pysam.tabix_index(str(path), preset="bed", keep_original=True)
    features = hard_features().query("chrom != 'chr9' and end <= @LENGTH").reset_index(drop=True)
    expected = np.zeros((len(CELLS) + 1, len(features)), np.int64)
    with pysam.TabixFile(indexed) as handle:
        for number, region in enumerate(features.values.tolist()):
            for line in handle.fetch(*region):
                expected[int(line.split("\t")[3]), number] += 1
    found = csr(count_features(make_store(tmp_path / "store", fragments), features, "fragment"))
    np.testing.assert_array_equal(found.toarray(), expected[:-1])


COUNTS = np.array([[1, 0, 3], [0, 2, 0], [5, 0, 0], [1, 1, 1]], np.float32)
NAMES = ["AAA", "BBB", "CCC"]
BARCODES = ["c1", "c2", "c3", "c4"]


def matrix_of(values: Any = COUNTS, names: list[str] = NAMES, barcodes: list[str] = BARCODES) -> ad.AnnData:
    return ad.AnnData(sp.csr_matrix(values), Table(index=pd.Index(barcodes)), Table(index=pd.Index(names)))


@pytest.fixture
def standardised(tmp_path: Path, make_spec: Callable[..., SampleSpec]) -> Callable[..., tuple[ad.AnnData, list[str]]]:
    """Write a matrix, or take a file, and standardise it as one sample: the matrix and the warnings."""

    def run(data: ad.AnnData | Path, modality: str = "rna", **options: Any) -> tuple[ad.AnnData, list[str]]:
        path = data if isinstance(data, Path) else tmp_path / "m.h5ad"
        if not isinstance(data, Path):
            data.write_h5ad(path)
        spec = make_spec({"matrix": path}, modality=modality, **options)
        result = standardise(spec, [(row, path) for row in spec.rows])
        return result.matrix, result.warnings

    return run


Standardise = Callable[..., tuple[ad.AnnData, list[str]]]


@pytest.mark.parametrize("dense", [True, False])
def test_counts_in_x_are_taken_as_they_are(standardised: Standardise, dense: bool) -> None:
    data = matrix_of()
    data.X = COUNTS if dense else sp.csc_matrix(COUNTS)
    found, warnings = standardised(data, batch="run7")
    np.testing.assert_array_equal(found.X.toarray(), COUNTS)
    assert sp.isspmatrix_csr(found.X)
    assert found.X.dtype == np.float32
    assert warnings == []
    assert list(found.obs_names) == BARCODES
    assert list(found.var_names) == NAMES
    assert found.obs["batch"].tolist() == ["run7"] * 4
    assert found.uns["cellpredx"]["kind"] == "genes"
    assert "normalised" not in found.uns["cellpredx"]


def test_counts_come_from_the_layer_before_x(standardised: Standardise) -> None:
    data = matrix_of(np.log1p(COUNTS))
    data.layers["counts"] = sp.csr_matrix(COUNTS)
    found, warnings = standardised(data, modality="atac")
    np.testing.assert_array_equal(found.X.toarray(), COUNTS)
    assert warnings == ["m.h5ad: counts were taken from layers['counts']"]


@pytest.mark.parametrize("centred", [False, True])
def test_counts_come_from_raw_where_x_is_normalised(standardised: Standardise, centred: bool) -> None:
    wide = np.c_[COUNTS, [9, 9, 9, 9]]
    data = matrix_of(wide, [*NAMES, "DDD"])
    data.raw = data
    data = data[:, ["CCC", "AAA"]].copy()
    data.X = sp.csr_matrix(np.log1p(data.X.toarray()) - centred * 0.5)
    found, warnings = standardised(data)
    np.testing.assert_array_equal(found.X.toarray(), COUNTS[:, [2, 0]])
    assert warnings == ["m.h5ad: counts were taken from raw.X"]


def test_counts_come_from_raw_where_names_of_genes_repeat(standardised: Standardise) -> None:
    data = matrix_of(names=["AAA", "BBB", "BBB"])
    data.raw = data
    data.X = data.X.log1p()
    found, _ = standardised(data)
    np.testing.assert_array_equal(found.X.toarray(), COUNTS)


def test_log_values_are_accepted_for_rna_alone(standardised: Standardise) -> None:
    found, warnings = standardised(matrix_of(np.log1p(COUNTS)))
    np.testing.assert_array_equal(found.X.toarray(), np.log1p(COUNTS))
    assert found.uns["cellpredx"]["normalised"] == "log1p"
    assert len(warnings) == 1
    assert "log1p" in warnings[0]
    with pytest.raises(UserError, match="no whole-number counts") as caught:
        standardised(matrix_of(np.log1p(COUNTS)), modality="atac")
    assert caught.value.where == "m.h5ad, X"
    with pytest.raises(UserError, match="no whole-number counts"):
        standardised(matrix_of(COUNTS * 20.5))


def test_scaled_values_beside_log_values_are_never_taken_for_log_values(standardised: Standardise) -> None:
    data = matrix_of(np.log1p(COUNTS))
    data.raw = data
    values = data.X.toarray()
    data.X = (values - values.mean(axis=0)) / values.std(axis=0)
    found, _ = standardised(data)
    np.testing.assert_array_equal(found.X.toarray(), np.log1p(COUNTS))
    assert found.uns["cellpredx"]["normalised"] == "log1p"


@pytest.mark.parametrize(("bad", "what"), [(np.nan, "NaN"), (-1, "negative"), (-0.5, "negative"), (np.inf, "infin")])
@pytest.mark.parametrize("modality", ["rna", "atac"])
def test_values_that_are_no_counts_are_refused(standardised: Standardise, bad: float, what: str, modality: str) -> None:
    values = COUNTS.copy()
    values[1, 1] = bad
    with pytest.raises(UserError, match=what) as caught:
        standardised(matrix_of(values), modality=modality)
    assert caught.value.where == "m.h5ad, X, cell 'c2', feature 'BBB'"


def test_a_barcode_that_comes_twice_is_refused(standardised: Standardise) -> None:
    with pytest.raises(UserError, match="1 barcodes stand more than once, the first is 'c1'"):
        standardised(matrix_of(barcodes=["c1", "c2", "c1", "c4"]))


def test_a_list_of_cells_chooses_and_one_that_fits_nothing_is_refused(
    tmp_path: Path, make_spec: Callable[..., SampleSpec]
) -> None:
    path, listed = tmp_path / "m.h5ad", tmp_path / "cells.txt"
    matrix_of().write_h5ad(path)
    listed.write_text("c3\nc1\nelsewhere\n")
    spec = make_spec({"matrix": path, "barcodes": listed}, modality="rna")
    result = standardise(spec, [(spec.rows[0], path)])
    found = result.matrix
    assert result.warnings == ["cells.txt: 1 of 3 barcodes are not in the matrix m.h5ad, such as elsewhere"]
    assert list(found.obs_names) == ["c1", "c3"]
    np.testing.assert_array_equal(found.X.toarray(), COUNTS[[0, 2]])
    listed.write_text("c1-1\n")
    with pytest.raises(UserError, match="none of the 1 barcodes") as caught:
        standardise(spec, [(spec.rows[0], path)])
    assert "the list has c1-1; the matrix c1, c2, c3: " in str(caught.value.remedy)


def test_what_is_no_matrix_is_refused(tmp_path: Path, standardised: Standardise) -> None:
    for name in ("m.h5ad", "m.h5"):
        (tmp_path / name).write_text("no matrix")
        with pytest.raises(UserError, match="cannot be read"):
            standardised(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no 10x folder"):
        standardised(tmp_path / "empty")
    with pytest.raises(UserError, match="0 cells and 3 features"):
        standardised(matrix_of(np.zeros((0, 3)), barcodes=[]))


def write_10x_h5(path: Path, counts: NDArray[np.float32], ids: list[str], names: list[str], kinds: list[str]) -> None:
    by_cell = sp.csr_matrix(counts)
    with h5py.File(path, "w") as handle:
        group = handle.create_group("matrix")
        group["barcodes"] = np.array(BARCODES, "S")
        group["data"], group["indices"], group["indptr"] = by_cell.data.astype("i4"), by_cell.indices, by_cell.indptr
        group["shape"] = np.array([counts.shape[1], counts.shape[0]])
        features = group.create_group("features")
        for name, values in (("id", ids), ("name", names), ("feature_type", kinds), ("genome", ["hg"] * len(ids))):
            features[name] = np.array(values, "S")
        features["_all_tag_keys"] = np.array(["genome"], "S")


MULTIOME = {
    "ids": ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003", "chr1:10-90", "chr2:5-50"],
    "names": ["AAA", "BBB", "AAA", "chr1:10-90", "chr2:5-50"],
    "kinds": ["Gene Expression"] * 3 + ["Peaks"] * 2,
}


def test_a_multiome_file_gives_the_features_of_the_modality(tmp_path: Path, standardised: Standardise) -> None:
    counts = np.c_[COUNTS, [7, 0, 8, 0], [0, 0, 0, 9]].astype(np.float32)
    path = tmp_path / "m.h5"
    write_10x_h5(path, counts, **MULTIOME)
    genes, _ = standardised(path)
    np.testing.assert_array_equal(genes.X.toarray(), COUNTS)
    assert list(genes.var_names) == ["AAA_ENSG00000000001", "BBB", "AAA_ENSG00000000003"]
    assert genes.var["gene_id"].tolist() == MULTIOME["ids"][:3]
    assert genes.var["gene_name"].tolist() == ["AAA", "BBB", "AAA"]
    peaks, _ = standardised(path, modality="atac")
    np.testing.assert_array_equal(peaks.X.toarray(), counts[:, 3:])
    assert peaks.uns["cellpredx"]["kind"] == "peaks"
    assert peaks.var.reset_index(drop=True).values.tolist() == [["chr1", 10, 90], ["chr2", 5, 50]]
    write_10x_h5(path, COUNTS, ["a", "b", "c"], NAMES, ["Gene Expression", "Antibody Capture", "Gene Expression"])
    with pytest.raises(UserError, match="no features of type Peaks: it has Antibody Capture, Gene Expression"):
        standardised(path, modality="atac")


@pytest.mark.parametrize("gzipped", [True, False])
def test_a_10x_folder_is_read(tmp_path: Path, standardised: Standardise, gzipped: bool) -> None:
    folder = tmp_path / "filtered_feature_bc_matrix"
    folder.mkdir()
    rows = [f"{i}\t{n}\tGene Expression" for i, n in zip(MULTIOME["ids"][:3], ("AAA", "BBB", "AAA"), strict=True)]
    scipy.io.mmwrite(str(folder / "matrix.mtx"), sp.coo_matrix(COUNTS.T.astype(int)), field="integer")
    (folder / "barcodes.tsv").write_text("\n".join(BARCODES) + "\n")
    if gzipped:
        (folder / "features.tsv").write_text("\n".join(rows) + "\n")
        for path in list(folder.iterdir()):
            Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    else:
        (folder / "genes.tsv").write_text("\n".join(row.rsplit("\t", 1)[0] for row in rows) + "\n")
    found, _ = standardised(folder)
    np.testing.assert_array_equal(found.X.toarray(), COUNTS)
    assert list(found.obs_names) == BARCODES
    assert list(found.var_names) == ["AAA_ENSG00000000001", "BBB", "AAA_ENSG00000000003"]


def test_libraries_are_named_and_joined_on_the_union_of_features(
    tmp_path: Path, make_spec: Callable[..., SampleSpec]
) -> None:
    matrix_of().write_h5ad(tmp_path / "a.h5ad")
    matrix_of(COUNTS[:2], ["CCC", "DDD", "AAA"], BARCODES[:2]).write_h5ad(tmp_path / "b.h5ad")
    rows = [{"library": name, "matrix": tmp_path / f"{name}.h5ad"} for name in "ba"]
    spec = make_spec(*rows, modality="rna")
    found = standardise(spec, [(row, row.matrix) for row in spec.rows if row.matrix]).matrix
    assert list(found.obs_names) == ["b#c1", "b#c2", "a#c1", "a#c2", "a#c3", "a#c4"]
    assert found.obs["library"].tolist() == list("bbaaaa")
    assert sorted(found.var_names) == ["AAA", "BBB", "CCC", "DDD"]
    table = found.to_df()[["AAA", "BBB", "CCC", "DDD"]].to_numpy()
    np.testing.assert_array_equal(table[:2], [[3, 0, 1, 0], [0, 0, 0, 2]])
    np.testing.assert_array_equal(table[2:, :3], COUNTS)
    assert found.var.loc["DDD", "gene_name"] == "DDD"


def test_libraries_of_different_kinds_are_refused(tmp_path: Path, make_spec: Callable[..., SampleSpec]) -> None:
    matrix_of().write_h5ad(tmp_path / "a.h5ad")
    matrix_of(np.log1p(COUNTS)).write_h5ad(tmp_path / "b.h5ad")
    spec = make_spec(*({"library": n, "matrix": tmp_path / f"{n}.h5ad"} for n in "ab"), modality="rna")
    with pytest.raises(UserError, match=r"a\.h5ad is genes, b\.h5ad is genes \(log1p\)"):
        standardise(spec, [(row, row.matrix) for row in spec.rows if row.matrix])


@pytest.mark.parametrize("labels", [["B", "T", "B", "T"], ["T", "T", "T", "NK"]])
def test_nothing_of_obs_survives_but_library_and_batch(
    tmp_path: Path,
    spec_text: Callable[..., str],
    run_verb: Callable[..., None],
    labels: list[str],
) -> None:
    plain = matrix_of()
    plain.obs["donor"] = ["d1", "d1", "d2", "d2"]
    plain.write_h5ad(tmp_path / "m.h5ad")
    labelled = plain.copy()
    labelled.obs["cell_type"] = pd.Categorical(labels)
    labelled.obsm["X_umap"] = np.ones((4, 2))
    labelled.uns["cell_type_colors"] = ["red"]
    (tmp_path / "l").mkdir()
    labelled.write_h5ad(tmp_path / "l" / "m.h5ad")
    results = []
    for path in (tmp_path / "m.h5ad", tmp_path / "l" / "m.h5ad"):
        spec = spec_text({"matrix": path}, modality="rna", batch="donor", labels="cell_type")
        run_verb("standardise", "--spec", spec, "--outdir", path.parent / "out")
        results.append(ad.read_h5ad(path.parent / "out" / "genes.h5ad"))
    equal_content(*results)
    assert list(results[1].obs.columns) == ["library", "batch"]
    assert results[1].obs["batch"].tolist() == ["d1", "d1", "d2", "d2"]
    assert not results[1].obsm
    assert list(results[1].uns) == ["cellpredx"]


@pytest.mark.parametrize("form", ["{}:{}-{}", "{}-{}-{}", "{}_{}_{}"])
def test_names_of_peaks_are_read_in_every_form(standardised: Standardise, form: str) -> None:
    regions = [("chr1", 10, 20), ("chr1_KI270706v1_random", 5, 9), ("1", 0, 7)]
    found, _ = standardised(matrix_of(names=[form.format(*r) for r in regions]), modality="atac")
    assert list(found.var_names) == [f"{c}:{s}-{e}" for c, s, e in regions]
    assert found.var["start"].tolist() == [10, 5, 0]


def test_peaks_are_read_from_columns_and_a_name_that_is_none_is_refused(standardised: Standardise) -> None:
    data = matrix_of()
    data.var = Table({"seqnames": ["chr1"] * 3, "start": [1, 5, 9], "end": [4, 8, 12]}, index=["x", "y", "z"])
    found, _ = standardised(data, modality="atac")
    assert list(found.var_names) == ["chr1:1-4", "chr1:5-8", "chr1:9-12"]
    names = [f"chr1:{i}-{i + 1}" for i in range(19)] + ["oops"]
    with pytest.raises(UserError, match="1 of 20 feature names are no regions, the first is 'oops'"):
        standardised(matrix_of(np.ones((4, 20)), names), modality="atac")


def test_a_peak_that_comes_twice_is_refused(standardised: Standardise) -> None:
    with pytest.raises(UserError, match="chr1:1-4"):
        standardised(matrix_of(names=["chr1:1-4", "chr1-1-4", "chr1:9-12"]), modality="atac")


def test_parse_names_leaves_other_names_alone() -> None:
    parsed = parse_names(pd.Index(["chr1:1-20", "CD4", "HLA-DRB1", "chr1:1-20:+"]))
    assert parsed["chrom"].isna().tolist() == [False, True, True, True]


def test_genes_keep_id_and_name() -> None:
    data = matrix_of(names=["ENSG00000000001.7", "ENSG00000000002.1", "ENSG00000000003"])
    data.var["feature_name"] = pd.Categorical(["AAA", "AAA", "CCC"])
    table = gene_table(data.var)
    assert table["gene_id"].tolist() == ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003"]
    assert list(table.index) == ["AAA_ENSG00000000001", "AAA_ENSG00000000002", "CCC"]
    data = matrix_of(names=["AC009.1", "BBB", "CCC"])
    data.var["gene_ids"] = ["ENSG00000000001.7", "ENSMUSG00000000002.1", "x.5"]
    table = gene_table(data.var)
    assert table["gene_id"].tolist() == ["ENSG00000000001", "ENSMUSG00000000002", "x.5"]
    assert list(table.index) == ["AC009.1", "BBB", "CCC"]


def test_unique_names_are_unique_whatever_repeats() -> None:
    names = pd.Series(["A", "A", "B", "A", "C"])
    ids = pd.Series(["g1", "g2", "g3", "g1", "g5"])
    assert unique_names(names, ids).tolist() == ["A_g1", "A_g2", "B", "A_g1-1", "C"]


def gtf(*lines: tuple[str, str, int, int, str, str]) -> str:
    """Write GTF lines of chrom, feature, first and last base, strand, attributes."""
    rows = ("\t".join((c, "src", f, str(s), str(e), ".", strand, ".", a)) for c, f, s, e, strand, a in lines)
    return "#!genome-build\n" + "\n".join(rows) + "\n"


GENCODE = gtf(
    ("chr1", "gene", 1001, 3000, "+", 'gene_id "ENSG00000000001.5"; gene_type "protein_coding"; gene_name "AAA";'),
    (
        "chr1",
        "transcript",
        1001,
        2500,
        "+",
        'gene_id "ENSG00000000001.5"; transcript_id "T1"; gene_type "protein_coding"; gene_name "AAA";',
    ),
    (
        "chr1",
        "transcript",
        1201,
        3000,
        "+",
        'gene_id "ENSG00000000001.5"; transcript_id "T2"; gene_type "protein_coding"; gene_name "AAA";',
    ),
    (
        "chr1",
        "exon",
        1,
        9999,
        "+",
        'gene_id "ENSG00000000001.5"; gene_type "protein_coding"; gene_name "AAA";',
    ),
    ("chr2", "gene", 501, 900, "-", 'gene_id "ENSG00000000002.1"; gene_type "protein_coding"; gene_name "BBB";'),
    (
        "chr2",
        "transcript",
        501,
        900,
        "-",
        'gene_id "ENSG00000000002.1"; transcript_id "T3"; gene_type "protein_coding"; gene_name "BBB";',
    ),
    ("chr2", "gene", 1, 100, "-", 'gene_id "ENSG00000000009.1"; gene_type "lncRNA"; gene_name "LNC";'),
)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_gencode_gtf_gives_genes_and_start_sites(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / ("genes.gtf.gz" if zipped else "genes.gtf")
    path.write_bytes(gzip.compress(GENCODE.encode()) if zipped else GENCODE.encode())
    found = read_annotation(path)
    assert found.genes.values.tolist() == [
        ["chr1", 1000, 3000, "+", "ENSG00000000001", "AAA", "AAA"],
        ["chr2", 500, 900, "-", "ENSG00000000002", "BBB", "BBB"],
    ]
    assert found.tss.values.tolist() == [["chr1", 1000, "+"], ["chr1", 1200, "+"], ["chr2", 899, "-"]]
    assert read_annotation(path, ("lncRNA",)).genes["gene_name"].tolist() == ["LNC"]
    with pytest.raises(UserError, match="no gene of type snoRNA"):
        read_annotation(path, ("snoRNA",))


def test_an_ensembl_gtf_is_read(tmp_path: Path) -> None:
    path = tmp_path / "genes.gtf"
    path.write_text(
        gtf(
            ("1", "gene", 11, 20, "-", 'gene_id "ENSG00000000001"; gene_version "5"; gene_biotype "protein_coding";'),
            ("1", "gene", 31, 40, "+", 'gene_id "ENSG00000000002"; gene_name "B"; gene_biotype "protein_coding";'),
            ("1", "gene", 51, 60, "+", 'gene_id "ENSG00000000003"; gene_name "P"; gene_biotype "pseudogene";'),
        )
    )
    found = read_annotation(path)
    assert found.genes["gene_id"].tolist() == ["ENSG00000000001", "ENSG00000000002"]
    assert found.genes["gene_name"].tolist() == ["ENSG00000000001", "B"]
    assert found.tss.values.tolist() == [["1", 19, "-"], ["1", 30, "+"]]


def test_genes_of_one_symbol_are_told_apart_by_id(tmp_path: Path) -> None:
    path = tmp_path / "genes.gtf"
    line = 'gene_id "{}"; gene_name "{}";'
    path.write_text(
        gtf(
            ("chr1", "gene", 11, 20, "+", line.format("g1", "AAA")),
            ("chr1", "gene", 11, 20, "+", line.format("g2", "AAA")),
            ("chrX", "gene", 11, 20, "+", line.format("par", "PAR")),
            ("chrY", "gene", 11, 20, "+", line.format("par", "PAR")),
        )
    )
    assert read_annotation(path).genes["name"].tolist() == ["AAA_g1", "AAA_g2", "PAR_par", "PAR_par-1"]


def test_a_bed_of_genes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "genes.bed"
    path.write_text("chr1\t10\t20\tAAA\tENSG00000000001.3\t+\nchr1\t30\t40\tBBB\t0\t-\r\n")
    found = read_annotation(path)
    assert found.genes.values.tolist() == [
        ["chr1", 10, 20, "+", "ENSG00000000001", "AAA", "AAA"],
        ["chr1", 30, 40, "-", "BBB", "BBB", "BBB"],
    ]
    assert found.tss.values.tolist() == [["chr1", 10, "+"], ["chr1", 39, "-"]]


@pytest.mark.parametrize(
    ("name", "text", "where", "what"),
    [
        ("g.gtf", gtf(("1", "exon", 1, 9, "+", 'gene_id "a";')), "g.gtf", "no gene and no transcript"),
        ("g.gtf", "", "g.gtf", "no gene and no transcript"),
        ("g.gtf", GENCODE.replace("501\t900", "x\t900"), "g.gtf, line 6, column 4", "'x' is no coordinate"),
        ("g.bed", "chr1\t10\t20\n", "g.bed, line 1", "not a line of a gene BED"),
        ("g.bed", "chr1\t10\t20\tA\t0\t+\nchr1\t-1\t20\tA\t0\t+\n", "g.bed, line 2, column 2", "no coordinate"),
        ("g.bed", "# nothing\n", "g.bed", "no line"),
    ],
)
def test_a_bad_annotation_is_refused(tmp_path: Path, name: str, text: str, where: str, what: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=what) as caught:
        read_annotation(path)
    assert caught.value.where == where


def annotation(*genes: tuple[str, int, int, str, str]) -> Annotation:
    table = Table(list(genes), columns=["chrom", "start", "end", "strand", "gene_id"])
    table = table.assign(gene_name=table["gene_id"], name=table["gene_id"])
    return Annotation(table, Table(columns=["chrom", "position", "strand"]), "")


def test_windows_of_genes_reach_2_kb_upstream_within_the_chromosome() -> None:
    windows = gene_windows(
        annotation(
            ("chr1", 5000, 6000, "+", "forward"),
            ("chr1", 5000, 6000, "-", "reverse"),
            ("chr1", 1500, 6000, "+", "first"),
            ("chr1", 5000, 9000, "-", "last"),
            ("chrU", 5000, 9000, "-", "unknown"),
        ),
        {"chr1": 10_000},
    )
    assert windows[["start", "end"]].to_dict("index") == {
        "forward": {"start": 3000, "end": 6000},
        "reverse": {"start": 5000, "end": 8000},
        "first": {"start": 0, "end": 6000},
        "last": {"start": 5000, "end": 10_000},
        "unknown": {"start": 5000, "end": 11_000},
    }


def test_a_gene_beyond_its_chromosome_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", random_fragments(50))
    genes = annotation(("chr1", 5000, 6000, "+", "in"), ("chr1", 15_000, 16_000, "+", "beyond"))
    with pytest.raises(UserError, match="beyond"):
        count_features(store, gene_windows(genes, {"chr1": 10_000}), "fragment")


def test_sizes_of_shipped_genomes_answer_to_both_names(tmp_path: Path) -> None:
    sizes = read_sizes("hg38", None)
    assert sizes["chr1"] == sizes["1"] == 248_956_422
    assert sizes["chrM"] == sizes["MT"] == 16_569
    path = tmp_path / "sizes.tsv"
    path.write_text("a\t100\nb\t7\n")
    assert read_sizes("hg38", path) == {"a": 100, "b": 7}
    path.write_text("a\t100\nb 7\n")
    with pytest.raises(UserError, match="not a line of chromosome sizes") as caught:
        read_sizes(None, path)
    assert str(caught.value.where).endswith("line 2")


def test_a_bed_of_peaks_is_sorted_and_unique_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.bed"
    path.write_text("track name=x\n#c\nchr2\t5\t9\tp\nchr1\t50\t90\r\nchr1\t7\t9\nchr2\t5\t9\n\n")
    assert read_bed(path).values.tolist() == [["chr1", 7, 9], ["chr1", 50, 90], ["chr2", 5, 9]]
    for bad in ("chr1\t9\t9", "chr1\t-1\t9", "chr1 1 9", "chr1\t5"):
        path.write_text(f"chr1\t1\t2\n{bad}\n")
        with pytest.raises(UserError, match="not a region") as caught:
            read_bed(path)
        assert caught.value.where == "p.bed, line 2"


def test_compressed_files_that_were_cut_are_refused(tmp_path: Path) -> None:
    lines = "".join(f"chr1\t{i}\t{7 * i + 9}\tG{i}\t0\t+\n" for i in range(2000))
    whole = gzip.compress(lines.encode())
    path = tmp_path / "regions.bed.gz"
    path.write_bytes(whole[: len(whole) // 2])
    for read in (read_bed, read_annotation, read_barcodes):
        with pytest.raises(UserError, match="cannot be read"):
            read(path)


def plain_overlaps(left: Table, right: Table) -> list[tuple[int, int, int]]:
    return [
        (i, j, min(a_end, b_end) - max(a_start, b_start))
        for i, (a_chrom, a_start, a_end) in enumerate(left.values.tolist())
        for j, (b_chrom, b_start, b_end) in enumerate(right.values.tolist())
        if a_chrom == b_chrom and a_start < b_end and b_start < a_end
    ]


def test_overlaps_equal_brute_force() -> None:
    left, right = hard_features(3), hard_features(4)
    expected = plain_overlaps(left, right)
    assert len(expected) > 1000
    assert overlaps(left, right).values.tolist() == [list(pair) for pair in expected]
    other = Table({"chrom": ["elsewhere"], "start": [1], "end": [5]})
    assert overlaps(left, other).empty


def test_regions_match_one_to_one_by_at_least_half_of_both() -> None:
    left = Table({"chrom": "chr1", "start": [0, 1000, 2000, 3000], "end": [100, 1100, 2100, 3100]})
    right = Table(
        {"chrom": "chr1", "start": [50, 10, 1051, 2000, 2900], "end": [150, 110, 1151, 2201, 3300]},
    )
    # 0 shares 50 with 0 and 90 with 1; 1 shares 49; 2 is 100 of 201 on the other side; 3 is 100 of 400.
    assert match_regions(left, right).values.tolist() == [[0, 1]]
    right.loc[3, "end"] = 2200
    right.loc[2, "start"] = 1050
    right.loc[2, "end"] = 1150
    assert match_regions(left, right).values.tolist() == [[0, 1], [1, 2], [2, 3]]


def test_gene_activity_of_peaks_sums_those_that_overlap() -> None:
    peaks = matrix_of(names=["chr1:0-10", "chr1:95-105", "chr2:0-10"])
    peaks.var = Table({"chrom": ["chr1", "chr1", "chr2"], "start": [0, 95, 0], "end": [10, 105, 10]}, peaks.var_names)
    windows = gene_windows(annotation(("chr1", 9, 100, "-", "g1"), ("chr1", 105, 110, "-", "g2")), {})
    counts, genes = from_overlapping_peaks(peaks, windows)
    assert list(genes.index) == ["g1", "g2"]
    np.testing.assert_array_equal(counts.toarray(), np.c_[COUNTS[:, 0] + COUNTS[:, 1], np.zeros(4)])
    with pytest.raises(UserError, match="no peak overlaps a gene"):
        from_overlapping_peaks(peaks, gene_windows(annotation(("1", 9, 100, "+", "g1")), {}))


def test_gene_activity_of_linked_peaks_counts_each_peak_once_a_gene() -> None:
    peaks = matrix_of()
    peaks.var["linked_gene"] = ["A, B", "", "B,B"]
    counts, genes = from_linked_genes(peaks, "linked_gene")
    assert list(genes.index) == ["A", "B"]
    np.testing.assert_array_equal(counts.toarray(), np.c_[COUNTS[:, 0], COUNTS[:, 0] + COUNTS[:, 2]])
    peaks.var["linked_gene"] = ["", "nan", ""]
    with pytest.raises(UserError, match="links no peak"):
        from_linked_genes(peaks, "linked_gene")
