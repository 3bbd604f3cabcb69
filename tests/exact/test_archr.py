"""ArchR's own matrices of archr-pbsmall: equal where the model is the same, else how far they agree."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from numpy.typing import NDArray

from tests.exact.conftest import Record
from tests.exact.inputs import DATA, Input, archr

SOURCE = DATA / "archr-pbsmall"
PEER = "ArchR"
Matrix = NDArray[np.float64]
Count = Callable[..., ad.AnnData]

pytestmark = pytest.mark.skipif(
    not SOURCE.is_dir(), reason="no archr-pbsmall: ../shared/data is not beside the checkout"
)


@pytest.fixture
def count(tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]) -> Count:
    """Ingest the fragments, and count them by `cellpredx count` with the arguments given."""
    given: Input = archr(tmp_path)
    spec = spec_text({"fragments": given.fragments, "barcodes": given.barcodes})
    run_verb("ingest-fragments", "--spec", spec, "--store", tmp_path / "store", "--outdir", tmp_path)

    def run(*arguments: Any) -> ad.AnnData:
        out = tmp_path / "matrix.h5ad"
        run_verb("count", "--store", tmp_path / "store", *arguments, "--genome", "hg19", "--out", out)
        return ad.read_h5ad(out)

    return run


def scaled(values: Any) -> Matrix:
    """Return `values` with a sum of 10,000 a cell."""
    dense: Matrix = values.toarray().astype(float)
    return 10_000 * dense / dense.sum(axis=1, keepdims=True)


def correlations(ours: Matrix, theirs: Matrix) -> dict[str, tuple[float, float]]:
    """Return median and 5th percentile of the correlations a cell and a feature (both must vary)."""
    result = {}
    for name, left, right in (("cell", ours, theirs), ("feature", ours.T, theirs.T)):
        pairs = [(a, b) for a, b in zip(left, right, strict=True) if np.ptp(a) > 0 and np.ptp(b) > 0]
        for method, of in (("Pearson", scipy.stats.pearsonr), ("Spearman", scipy.stats.spearmanr)):
            values = [of(a, b).statistic for a, b in pairs]
            result[f"{method} a {name}"] = (float(np.median(values)), float(np.percentile(values, 5)))
    return result


def own_genes(scores: ad.AnnData, path: Path) -> Path:
    """Write the genes that ArchR scored as a BED: its var has their 5' and 3' ends, counted from 1."""
    ends = scores.var[["start", "end"]].to_numpy()
    names = scores.var_names.astype(str)
    strand = np.where(scores.var["strand"].astype(str) == "2", "-", "+")
    table = pd.DataFrame(
        {"chrom": scores.var["seqnames"], "start": ends.min(axis=1) - 1, "end": ends.max(axis=1), "name": names}
    )
    table.assign(gene_id=names, strand=strand).to_csv(path, sep="\t", header=False, index=False)
    return path


def test_peaks_by_insertions_up_to_four(tmp_path: Path, count: Count, record: Record) -> None:
    theirs = ad.read_h5ad(SOURCE / "archr_peak_matrix.h5ad")
    # Its peaks are counted from 1, both ends in.
    peaks = theirs.var[["seqnames", "start", "end"]].assign(start=theirs.var["start"] - 1)
    peaks.to_csv(tmp_path / "peaks.bed", sep="\t", header=False, index=False)
    names = [f"{chrom}:{start}-{end}" for chrom, start, end in peaks.values.tolist()]
    ours = count("--kind", "peaks", "--counting", "insertion", "--peaks", tmp_path / "peaks.bed")
    found = np.minimum(ours[theirs.obs_names, names].X.toarray(), 4)
    np.testing.assert_array_equal(found, theirs.X.toarray())
    record(PEER, SOURCE.name, "peaks, `insertion`, at most 4", found.size, "0 differ")


def test_gene_scores_by_its_own_genes(tmp_path: Path, count: Count, record: Record) -> None:
    theirs = ad.read_h5ad(SOURCE / "archr_gene_score.h5ad")
    genes = own_genes(theirs, tmp_path / "own.bed")
    ours = count("--kind", "gene_activity", "--gene-model", "archr", "--annotation", genes)
    found, expected = scaled(ours[theirs.obs_names, theirs.var_names].X), theirs.X.toarray().astype(float)
    # It rounds to three digits, and the file has single precision.
    largest = np.abs(found - expected).max()
    assert largest < 0.00051 + 2**-24 * expected.max()
    assert (expected > 0).sum() == 30_127
    record(PEER, SOURCE.name, "gene scores, `archr`, its genes", found.size, "0 differ by more than its rounding")


# Model and genes; the median and the 5th percentile of each correlation lie within 0.01 above these.
LEAST: dict[tuple[str, str], dict[str, tuple[float, float]]] = {
    ("archr", "other"): {
        "Pearson a cell": (0.96, 0.94),
        "Spearman a cell": (0.93, 0.91),
        "Pearson a feature": (0.99, 0.83),
        "Spearman a feature": (0.99, 0.72),
    },
    ("body", "other"): {
        "Pearson a cell": (0.82, 0.77),
        "Spearman a cell": (0.88, 0.83),
        "Pearson a feature": (0.99, 0.68),
        "Spearman a feature": (0.99, 0.51),
    },
    ("body", "its"): {
        "Pearson a cell": (0.80, 0.75),
        "Spearman a cell": (0.88, 0.84),
        "Pearson a feature": (0.99, 0.72),
        "Spearman a feature": (0.99, 0.51),
    },
}


@pytest.mark.parametrize(("model", "genes"), list(LEAST))
def test_agreement_where_model_or_genes_differ(
    tmp_path: Path, count: Count, record: Record, model: str, genes: str
) -> None:
    theirs = ad.read_h5ad(SOURCE / "archr_gene_score.h5ad")
    other = SOURCE / "genes_hg19_chr5_chr11.bed"
    annotation = other if genes == "other" else own_genes(theirs, tmp_path / "own.bed")
    ours = count("--kind", "gene_activity", "--gene-model", model, "--annotation", annotation)
    shared = theirs.var_names[theirs.var_names.isin(ours.var_names)]
    assert len(shared) == {"other": 2051, "its": 2454}[genes]
    found, expected = (scaled(matrix[theirs.obs_names, shared].X) for matrix in (ours, theirs))
    texts = []
    for name, values in correlations(found, expected).items():
        least = LEAST[model, genes][name]
        assert all(least[i] < values[i] < least[i] + 0.01 for i in range(2)), (name, values)
        texts.append(f"{name} {values[0]:.3f} ({values[1]:.3f})")
    found_text = f"median (5th percentile): {', '.join(texts)}"
    record(PEER, SOURCE.name, f"gene scores, `{model}`, {genes} genes", found.size, found_text)
