"""Matrices that are written block by block open in anndata as if anndata had written them."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellpredx.matrix import h5ad
from cellpredx.matrix.counting import Counts
from cellpredx.matrix.h5ad import write_counts
from tests.interruptions.interrupt import BROKEN, digest

OBS = pd.DataFrame(
    {"library": ["a", "a", "b"], "batch": ["s1"] * 3}, index=pd.Index(["a#AC-1", "a#Ü,;-1", 'b#"AC"'], dtype=object)
)
VAR = pd.DataFrame(
    {"chrom": ["chr1"] * 3 + ["10"], "start": [0, 5, 9, 1], "end": [5, 9, 2_000_000_000, 4]},
    index=pd.Index(["chr1:0-5", "chr1:5-9", "chr1:9-2000000000", "10:1-4"], dtype=object),
)
ABOUT = {"sample": "s1", "kind": "peaks", "window_size": 500, "genome": "hg38"}


def write(path: Path, values: sp.csr_matrix) -> ad.AnnData:
    part = (values.indptr.astype(np.int64), values.indices.astype(np.int32), values.data)
    obs, var = ((table.index, {str(name): table[name] for name in table}) for table in (OBS, VAR))
    counts = Counts(values.shape, [part], np.zeros(3, np.int64))
    totals = write_counts(path, counts, obs, var, ABOUT)
    assert totals.counts.tolist() == values.sum(axis=1).A1.tolist()
    assert totals.entries.tolist() == np.diff(values.indptr).tolist()
    return ad.read_h5ad(path)


@pytest.mark.parametrize("chunk", [1, 3, 7, 1 << 18])
def test_what_is_written_is_what_anndata_would_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(h5ad, "CHUNK", chunk)
    values = sp.csr_matrix(np.array([[0, 3, 0, 70_000], [0, 0, 0, 0], [1, 1, 1, 2]], np.int32))
    found = write(tmp_path / "found.h5ad", values)
    expected = ad.AnnData(values.astype(np.float32), obs=OBS.copy(), var=VAR.copy())
    expected.uns["cellpredx"] = ABOUT
    expected.write_h5ad(tmp_path / "expected.h5ad")
    expected = ad.read_h5ad(tmp_path / "expected.h5ad")
    assert found.X.dtype == np.float32
    np.testing.assert_array_equal(found.X.toarray(), expected.X.toarray())
    assert found.X.has_canonical_format
    pd.testing.assert_frame_equal(found.obs, expected.obs)
    pd.testing.assert_frame_equal(found.var, expected.var)
    assert found.uns == expected.uns
    assert ad.read_h5ad(tmp_path / "found.h5ad", backed="r").X[2].toarray().tolist() == [[1, 1, 1, 2]]


def test_a_matrix_without_any_count_is_written(tmp_path: Path) -> None:
    assert write(tmp_path / "m.h5ad", sp.csr_matrix((3, 4), dtype=np.int32)).X.nnz == 0


def test_the_same_counts_give_the_same_bytes(tmp_path: Path) -> None:
    values = sp.random(3, 4, 0.6, format="csr", random_state=1)
    for name in ("a", "b"):
        write(tmp_path / f"{name}.h5ad", values)
    assert (tmp_path / "a.h5ad").read_bytes() == (tmp_path / "b.h5ad").read_bytes()


def test_what_runs_are_compared_by_is_the_content_and_tells_a_broken_file(tmp_path: Path) -> None:
    made = {}
    for name, value, packed in (("plain", 5.0, None), ("packed", 5.0, "gzip"), ("other", 6.0, None)):
        values = np.arange(9.0).reshape(3, 3)
        values[1, 2] = value
        ad.AnnData(values, OBS).write_h5ad(tmp_path / f"{name}.h5ad", compression=packed)
        made[name] = digest(tmp_path / f"{name}.h5ad")
    assert made["plain"] == made["packed"] != made["other"]
    whole = (tmp_path / "plain.h5ad").read_bytes()
    cut = tmp_path / "cut.h5ad"
    for length in (len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:length])
        made[str(length)] = digest(cut)
        assert made[str(length)].startswith(BROKEN)
    assert len(set(made.values())) == 4
