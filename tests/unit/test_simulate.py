"""`simulate` writes data whose answer is known, that parses, and that is neither trivial nor hopeless."""

import argparse
import gzip
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pysam
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from cellpredx.core.errors import UserError
from cellpredx.simulate.commands import register

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
TYPES = {"B", "T_CD4", "T_CD8", "Monocyte", "NK"}


def simulate(outdir: Path, scenario: str, cells: int | None = None, seed: int = 1) -> Path:
    """Run the verb and return its folder."""
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers(dest="verb", required=True))
    argv = ["simulate", "--scenario", scenario, "--outdir", str(outdir), "--seed", str(seed)]
    args = parser.parse_args(argv + ([] if cells is None else ["--cells", str(cells)]))
    args.run(args)
    return outdir


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo at its default size."""
    return simulate(tmp_path_factory.mktemp("demo"), "demo")


@pytest.fixture(scope="module")
def atac(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ATAC to ATAC data set."""
    return simulate(tmp_path_factory.mktemp("atac"), "atac", cells=60)


def read_sheet(folder: Path) -> pd.DataFrame:
    """Read the sheet as text."""
    return pd.read_csv(folder / "sheet.csv", dtype=str, keep_default_na=False)


def read_fragments(path: Path) -> pd.DataFrame:
    """Read a fragment file."""
    names = ["chrom", "start", "end", "barcode", "read_pairs"]
    kinds = {"chrom": "category", "barcode": "category"}
    return pd.read_csv(path, sep="\t", comment="#", header=None, names=names, dtype=kinds)


def read_genes(path: Path) -> pd.DataFrame:
    """Read the GTF's gene lines: chrom, start and end (bp, half-open), strand, and the attributes."""
    names = ["chrom", "source", "feature", "start", "end", "score", "strand", "frame", "attributes"]
    table = pd.read_csv(path, sep="\t", comment="#", header=None, names=names)
    genes = table[table["feature"] == "gene"].reset_index(drop=True)
    genes["start"] -= 1
    for key in ("gene_id", "gene_name", "gene_type"):
        genes[key] = genes["attributes"].str.extract(f'{key} "([^"]+)"')
    return genes


def insertions_by_gene(
    fragments: pd.DataFrame, genes: pd.DataFrame, low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Count the insertions of each barcode (a category) in [low, high) of each gene: (barcodes, genes)."""
    counts = np.zeros((len(fragments["barcode"].cat.categories), len(genes)), dtype=np.int64)
    for chrom, part in fragments.groupby("chrom", observed=True):
        codes = np.tile(part["barcode"].cat.codes.to_numpy(), 2)
        where = np.concatenate([part["start"].to_numpy(), part["end"].to_numpy() - 1])
        order = np.argsort(where, kind="stable")
        codes, where = codes[order], where[order]
        for gene in np.flatnonzero(genes["chrom"] == chrom):
            inside = slice(*np.searchsorted(where, [low[gene], high[gene]]))
            counts[:, gene] = np.bincount(codes[inside], minlength=len(counts))
    return counts


def tss_enrichment(fragments: pd.DataFrame, genes: pd.DataFrame) -> NDArray[np.float64]:
    """Insertions per bp within 5 bp of the TSSs over (those in the 100 bp at either end of 2 kb, + 0.1), a barcode."""
    tss = np.where(genes["strand"] == "+", genes["start"], genes["end"] - 1)

    def total(low: int, high: int) -> NDArray[np.int64]:
        return np.asarray(insertions_by_gene(fragments, genes, tss + low, tss + high).sum(axis=1))

    flank = (total(-2000, -1900) + total(1901, 2001)) / 200
    return np.asarray(total(-5, 6) / 11 / (flank + 0.1))


@dataclass
class Query:
    """The demo's query: fragments and TSS enrichment a barcode; gene activity and true types of its cells."""

    fragments: pd.Series
    enrichment: pd.Series
    activity: pd.DataFrame
    types: pd.Series


@pytest.fixture(scope="module")
def query(demo: Path) -> Query:
    """Count the demo's query."""
    fragments = read_fragments(demo / "query_fragments.tsv.gz")
    genes = read_genes(demo / "genes.gtf.gz")
    labels = pd.read_csv(demo / "query_labels.csv", index_col="barcode")["cell_type"]
    barcodes = fragments["barcode"].cat.categories
    plus = (genes["strand"] == "+").to_numpy()
    low = genes["start"].to_numpy() - np.where(plus, 2000, 0)
    high = genes["end"].to_numpy() + np.where(plus, 0, 2000)
    activity = insertions_by_gene(fragments, genes, low, high)
    return Query(
        fragments["barcode"].value_counts(),
        pd.Series(tss_enrichment(fragments, genes), index=barcodes),
        pd.DataFrame(activity, index=barcodes, columns=genes["gene_name"]).loc[labels.index],
        labels,
    )


def z_scores(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale log-normalised counts (cells, genes) to mean 0 and variance 1 a gene."""
    log = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    return np.asarray((log - log.mean(axis=0)) / (log.std(axis=0) + 1e-9))


@pytest.mark.parametrize("scenario", ["unmatched", "matched", "atac", "rna", "citeseq"])
def test_same_seed_same_bytes_and_another_seed_other_data(tmp_path: Path, scenario: str) -> None:
    first, again = (simulate(tmp_path / name, scenario, cells=50) for name in ("first", "again"))
    other = simulate(tmp_path / "other", scenario, cells=50, seed=2)
    names = sorted(p.name for p in first.iterdir())
    assert names == sorted(p.name for p in again.iterdir())
    for name in names:
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
    data = [n for n in names if n.endswith((".h5ad", "fragments.tsv.gz", ".bed"))]
    assert data
    assert all((first / n).read_bytes() != (other / n).read_bytes() for n in data)


@pytest.mark.parametrize("scenario", ["demo", "unmatched", "matched", "atac", "rna", "citeseq"])
def test_sheet_names_files_beside_it(tmp_path: Path, scenario: str) -> None:
    folder = simulate(tmp_path, scenario, cells=50)
    sheet = read_sheet(folder)
    assert set(sheet["role"]) == {"reference", "query"}
    for name in ("fragments", "matrix", "peaks"):
        if name in sheet:
            assert all((folder / value).is_file() for value in sheet[name] if value)
            assert not any(os.path.isabs(value) for value in sheet[name])
    assert scenario in (folder / "README.txt").read_text()
    assert not list(folder.glob(".*"))


def test_matrices_hold_raw_integers_and_genes(demo: Path) -> None:
    data = ad.read_h5ad(demo / "reference_rna.h5ad")
    genes = read_genes(demo / "genes.gtf.gz")
    assert data.X.format == "csr"
    assert np.issubdtype(data.X.dtype, np.integer)
    assert data.X.min() >= 0
    assert list(data.var["gene_id"]) == list(genes["gene_id"])
    assert list(data.var["gene_name"]) == list(genes["gene_name"])
    assert genes["gene_id"].str.fullmatch(r"ENSGSIM\d{11}\.\d").all()


def test_missing_type_is_only_in_the_query(demo: Path, query: Query) -> None:
    reference = set(ad.read_h5ad(demo / "reference_rna.h5ad").obs["cell_type"])
    assert reference == TYPES - {"NK"}
    assert set(query.types) == TYPES


def test_protocols_key_their_genes_apart(tmp_path: Path) -> None:
    folder = simulate(tmp_path, "rna", cells=50)
    reference, query = (ad.read_h5ad(folder / f"{name}.h5ad") for name in ("reference_rna", "query"))
    assert list(reference.var["gene_name"]) == list(query.var_names)
    assert all(reference.var_names.str.startswith("ENSGSIM"))
    labels = read_sheet(folder).set_index("sample")["labels"]
    assert set(reference.obs[labels["reference_rna"]]) == set(query.obs[labels["query"]]) == TYPES


def test_matched_cells_share_barcodes_and_types(tmp_path: Path) -> None:
    folder = simulate(tmp_path, "matched", cells=50)
    rna = ad.read_h5ad(folder / "reference_rna.h5ad").obs["cell_type"]
    atac = pd.read_csv(folder / "query_labels.csv", index_col="barcode")["cell_type"]
    assert rna.astype(str).to_dict() == atac.to_dict()


def test_fragment_file_is_whole_sorted_and_indexable(atac: Path, tmp_path: Path) -> None:
    sizes = pd.read_csv(atac / "genome.sizes", sep="\t", header=None, index_col=0)[1]
    for path in atac.glob("*fragments.tsv.gz"):
        assert path.read_bytes().endswith(BGZF_END)
        copy = shutil.copy(path, tmp_path)
        pysam.tabix_index(str(copy), seq_col=0, start_col=1, end_col=2, zerobased=True, meta_char="#")
        with pysam.TabixFile(str(copy)) as handle:
            assert handle.contigs == list(sizes.index)
            assert "# primary_contig=chrM" in handle.header
        fragments = read_fragments(path)
        assert (fragments["start"] >= 0).all()
        assert (fragments["start"] < fragments["end"]).all()
        assert (fragments["end"] <= fragments["chrom"].astype(str).map(sizes)).all()
        assert (fragments["read_pairs"] >= 1).all()
        assert (fragments["read_pairs"] > 1).any()
        assert fragments["barcode"].astype(str).str.fullmatch("[ACGT]{16}-1").all()
        assert not fragments.duplicated(["chrom", "start", "end", "barcode"]).any()
        assert all(part.is_monotonic_increasing for _, part in fragments.groupby("chrom", observed=True)["start"])


def test_lanes_share_cells_and_libraries_are_named(atac: Path) -> None:
    sheet = read_sheet(atac)
    reference = sheet[sheet["role"] == "reference"]
    assert list(reference["library"]) == ["lib1", "lib1", "lib2"]
    lane_1, lane_2, second = ({*read_fragments(atac / f)["barcode"]} for f in reference["fragments"])
    labels = pd.read_csv(atac / "reference_atac_labels.csv")
    library, barcode = labels["barcode"].str.split("#").str[0], labels["barcode"].str.split("#").str[1]
    assert {*barcode[library == "lib1"]} <= lane_1 & lane_2
    assert {*barcode[library == "lib2"]} <= second
    assert labels["barcode"].is_unique
    assert not barcode.is_unique


def test_peaks_do_not_overlap_and_cover_each_promoter(demo: Path) -> None:
    peaks = pd.read_csv(demo / "peaks.bed", sep="\t", header=None, names=["chrom", "start", "end"])
    genes = read_genes(demo / "genes.gtf.gz")
    assert len(peaks) == pytest.approx(2000, abs=100)
    assert (genes["gene_type"] == "protein_coding").sum() == 600
    assert set(genes["strand"]) == {"+", "-"}
    for chrom, part in peaks.groupby("chrom"):
        assert (part["start"].to_numpy()[1:] >= part["end"].to_numpy()[:-1]).all()
        own = genes[genes["chrom"] == chrom]
        tss = np.where(own["strand"] == "+", own["start"], own["end"] - 1)
        hit = np.searchsorted(part["start"], tss, side="right") - 1
        assert (tss < part["end"].to_numpy()[hit]).all()
    with gzip.open(demo / "genes.gtf.gz", "rt") as handle:
        assert sum("\ttranscript\t" in line for line in handle) > len(genes)


def test_usual_thresholds_part_cells_from_empty_droplets(query: Query) -> None:
    cells = query.fragments.index.isin(query.types.index)
    assert query.fragments[cells].min() > 1000 > 310 > query.fragments[~cells].max()
    assert query.fragments[cells].median() == pytest.approx(2500, rel=0.1)
    assert 200 <= (~cells).sum() <= 500
    assert query.enrichment[query.types.index].min() > 6


def test_fragments_look_like_atac(demo: Path) -> None:
    fragments = read_fragments(demo / "query_fragments.tsv.gz")
    length = fragments["end"] - fragments["start"]
    signal = length.between(147, 293).sum() / (length < 147).sum()
    assert 0.3 < signal < 1.0
    assert 0.002 < (fragments["chrom"] == "chrM").mean() < 0.05
    assert 0.2 < 1 - len(fragments) / fragments["read_pairs"].sum() < 0.5


def test_types_are_learnable_within_rna(demo: Path) -> None:
    data = ad.read_h5ad(demo / "reference_rna.h5ad")
    x, y = z_scores(data.X.toarray()), data.obs["cell_type"].to_numpy()
    half = len(y) // 2
    model = LogisticRegression(C=0.01, max_iter=200).fit(x[:half], y[:half])
    assert model.score(x[half:], y[half:]) > 0.9


def test_gene_activity_carries_the_types_but_not_perfectly(demo: Path, query: Query) -> None:
    data = ad.read_h5ad(demo / "reference_rna.h5ad")
    model = LogisticRegression(C=0.01, max_iter=200).fit(z_scores(data.X.toarray()), data.obs["cell_type"])
    predicted = model.predict(z_scores(query.activity[data.var["gene_name"]].to_numpy(dtype=float)))
    known = (query.types != "NK").to_numpy()
    right = predicted[known] == query.types.to_numpy()[known]
    assert 0.75 < right.mean() < 0.99


def test_too_few_cells_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too few"):
        simulate(tmp_path, "demo", cells=10)
