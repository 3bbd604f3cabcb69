"""Regions are read alike by the fast reader and by the one that judges every line."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from cellpredx.core import bed
from cellpredx.core.bed import read_bed, read_regions


def regions(count: int) -> list[str]:
    rng = np.random.default_rng(1)
    chrom = rng.choice(["chr1", "chr10", "chr2", "1", "NA", "scaffold 7", 'a"b', "ß"], count)
    start = rng.integers(0, 300, count)
    return [f"{c}\t{s}\t{s + w}" for c, s, w in zip(chrom, start, rng.integers(1, 9, count), strict=True)]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("tail", ["", "\tname\t5\t+"])
@pytest.mark.parametrize("zipped", [False, True])
def test_both_readers_agree(tmp_path: Path, newline: str, tail: str, zipped: bool) -> None:
    path = tmp_path / ("p.bed.gz" if zipped else "p.bed")
    text = "".join(f"{line}{tail}{newline}" for line in regions(2000)).encode()
    path.write_bytes(gzip.compress(text) if zipped else text)
    assert bed._plain_table(path) is not None
    expected = read_regions(path)
    assert len(expected) < 2000
    assert list(read_bed(path).itertuples(index=False, name=None)) == expected


@pytest.mark.parametrize("odd", ["# peaks", "track name=p", "browser x", "chrom\tstart\tend", "", "chr1\t1\t2\t"])
def test_what_is_not_plain_is_left_to_the_judge(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "p.bed"
    path.write_text("\n".join([odd, *regions(20)]) + "\n")
    assert list(read_bed(path).itertuples(index=False, name=None)) == read_regions(path)


def test_names_of_chromosomes_stay_texts(tmp_path: Path) -> None:
    path = tmp_path / "p.bed"
    path.write_text("1\t5\t9\n01\t5\t9\nNA\t1\t2\n")
    assert read_bed(path)["chrom"].tolist() == ["01", "1", "NA"]
