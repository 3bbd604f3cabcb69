"""MAESTRO's own peak matrix of its test data: every entry."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import pytest
import scipy.sparse as sp

from tests.exact.conftest import Record
from tests.exact.inputs import DATA

MAESTRO = DATA / "maestro-chr22-peakcount"


@pytest.mark.skipif(
    not MAESTRO.is_dir(), reason="no maestro-chr22-peakcount: ../shared/data is not beside the checkout"
)
def test_peaks_equal_the_matrix_of_maestro(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None], record: Record
) -> None:
    spec = spec_text({"fragments": MAESTRO / "test.fragments.tsv.gz", "barcodes": MAESTRO / "test.barcode.txt.gz"})
    run_verb("ingest-fragments", "--spec", spec, "--store", tmp_path / "store", "--outdir", tmp_path)
    peaks = MAESTRO / "test.peak.narrowPeak.gz"
    out = tmp_path / "peaks.h5ad"
    run_verb(
        "count", "--store", tmp_path / "store", "--kind", "peaks", "--counting", "fragment", "--peaks", peaks,
        "--out", out,
    )  # fmt: skip
    found = ad.read_h5ad(out)
    with h5py.File(MAESTRO / "expected_peak_count.h5", "r") as handle:
        golden = handle["matrix"]
        parts = (golden["data"][:], golden["indices"][:], golden["indptr"][:])
        expected = sp.csc_matrix(parts, shape=tuple(golden["shape"][:])).toarray().T
        names = [name.replace("_", ":", 1).replace("_", "-") for name in golden["features/name"].asstr()[:]]
        barcodes = list(golden["barcodes"].asstr()[:])
    assert expected.size == 428_300
    assert sorted(names) == sorted(found.var_names)
    assert sorted(barcodes) == sorted(found.obs_names)
    own = (found[barcodes, names].X.toarray() > 0).astype(float)
    assert int((own == expected).sum()) == 428_300
    record("MAESTRO", MAESTRO.name, "peaks, `fragment`, whether any", expected.size, "0 differ")
