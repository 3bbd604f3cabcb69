"""A tabix query per region, by pysam, against `cellpredx count --counting fragment`: no value may differ."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pysam
import pytest

from tests.exact.conftest import Record
from tests.exact.inputs import DATA, INPUTS, Input


def indexed(fragments: Path, folder: Path) -> str:
    """Return a sorted BGZF file with its index of `fragments`."""
    if fragments.with_name(fragments.name + ".tbi").is_file():
        return str(fragments)
    plain = folder / "sorted.tsv"
    opener = gzip.open if fragments.suffix == ".gz" else open
    with opener(fragments, "rb") as source, open(plain, "wb") as target:
        shutil.copyfileobj(source, target)
    return str(pysam.tabix_index(str(plain), preset="bed", keep_original=True))


@pytest.mark.parametrize("name", list(INPUTS))
def test_a_query_per_region(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None], record: Record, name: str
) -> None:
    if name != "hard" and not (DATA / name).is_dir():
        pytest.skip(f"no {name}: ../shared/data is not beside the checkout")
    given: Input = INPUTS[name](tmp_path)
    spec = spec_text({"fragments": given.fragments, "barcodes": given.barcodes})
    run_verb("ingest-fragments", "--spec", spec, "--store", tmp_path / "store", "--outdir", tmp_path)
    arguments = ["--kind", "peaks", "--counting", "fragment", "--peaks", given.peaks, "--out", tmp_path / "m.h5ad"]
    run_verb("count", "--store", tmp_path / "store", *arguments)
    ours = ad.read_h5ad(tmp_path / "m.h5ad")
    peaks = pd.read_csv(given.peaks, sep="\t", names=["chrom", "start", "end"])
    assert len(peaks) == ours.n_vars
    row = {barcode: number for number, barcode in enumerate(ours.obs_names)}
    expected = np.zeros(ours.shape)
    with pysam.TabixFile(indexed(given.fragments, tmp_path)) as handle:
        for chrom, start, end in peaks.values.tolist():
            column = ours.var_names.get_loc(f"{chrom}:{start}-{end}")
            for line in handle.fetch(chrom, start, end) if chrom in handle.contigs else []:
                cell = row.get(line.split("\t")[3])
                if cell is not None:
                    expected[cell, column] += 1
    np.testing.assert_array_equal(ours.X.toarray(), expected)
    record("pysam, a tabix query per region", name, "peaks, `fragment`", expected.size, "0 differ")
