"""Peak calling by the real MACS3, the one set of several samples' calls, and peaks that are another genome's."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from cellpredx.core.bed import read_bed
from cellpredx.core.errors import UserError
from cellpredx.fragments.store import Store, StoreWriter
from cellpredx.matrix.counting import count_features
from cellpredx.matrix.peak_calling import NARROW_PEAK, effective_size, merge_peaks, outside, write_insertions
from cellpredx.matrix.regions import named, peak_set
from tests.unit.test_matrix import csr

SIZES = {"chr1": 400_000, "chr2": 200_000, "chrM": 16_000}
CENTRES = [("chr1", at) for at in range(20_000, 390_000, 30_000)] + [("chr2", 50), ("chr2", 100_000)]
needs_macs3 = pytest.mark.skipif(shutil.which("macs3") is None, reason="no `macs3` on PATH: `make peaks-env` makes one")
Run = Callable[..., None]


def fragments(seed: int = 1) -> pd.DataFrame:
    """Draw fragments of two cells around `CENTRES` and over all of the genome; and a crowd of them of no cell."""
    rng = np.random.default_rng(seed)
    parts = [pd.DataFrame({"chrom": c, "at": np.rint(rng.normal(m, 60, 250)).astype(int)}) for c, m in CENTRES]
    parts += [pd.DataFrame({"chrom": c, "at": rng.integers(0, size - 300, 4000)}) for c, size in SIZES.items()]
    empty = pd.DataFrame({"chrom": "chr1", "at": np.rint(rng.normal(5_000, 60, 400)).astype(int)})
    table = pd.concat([*parts, empty], ignore_index=True)
    start = table["at"].clip(lower=0)
    barcode = np.where(np.arange(len(table)) < len(table) - len(empty), rng.integers(0, 2, len(table)), 2)
    length = rng.integers(40, 300, len(table))
    return pd.DataFrame({"chrom": table["chrom"], "start": start, "end": start + length, "barcode": barcode})


def make_store(folder: Path, table: pd.DataFrame) -> Path:
    writer = StoreWriter(folder)
    for chrom, part in table.groupby("chrom", sort=False):
        writer.add(str(chrom), part[["start", "end", "barcode"]].to_numpy(np.int32))
    writer.close("s1", "s1", ["a", "b"], ["s1", "s1"], np.array([0, 1, -1], np.int32), np.zeros(2, np.int64))
    return folder


def write_sizes(folder: Path) -> Path:
    path = folder / "genome.sizes"
    path.write_text("".join(f"{chrom}\t{size}\n" for chrom, size in SIZES.items()))
    return path


def read_calls(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", names=NARROW_PEAK)


def test_insertions_are_both_ends_of_the_fragments_of_cells(tmp_path: Path) -> None:
    table = fragments()
    names, ends = write_insertions(Store.open(make_store(tmp_path / "store", table)), tmp_path / "insertions.bed.gz")
    text = gzip.decompress((tmp_path / "insertions.bed.gz").read_bytes()).decode()
    written = [line.split("\t") for line in text.splitlines()]
    found = sorted((names[chrom], int(start), int(end)) for chrom, start, end in written)
    cells = table[(table["barcode"] < 2) & (table["chrom"] != "chrM")]
    rows = list(cells[["chrom", "start", "end"]].itertuples(index=False))
    expected = [(c, s, s + 1) for c, s, _ in rows] + [(c, e - 1, e) for c, _, e in rows]
    assert found == sorted(expected)
    assert ends == cells.groupby("chrom")["end"].max().to_dict()


def test_the_background_is_the_sequence_that_has_fragments() -> None:
    ends = {"chr21": 46_000_000, "scaffold": 1_000}
    assert effective_size(ends, {"chr21": 46_709_983, "chr1": 248_956_422}, None) == 46_710_983
    assert effective_size(ends, {}, None) == 46_001_000
    assert effective_size(ends, {"chr21": 46_709_983}, "hg38") == round(0.943 * 46_710_983)


@needs_macs3
def test_peaks_are_where_insertions_crowd_and_their_bytes_do_not_know_the_order(tmp_path: Path, run_verb: Run) -> None:
    table = fragments()
    stores = [make_store(tmp_path / "one", table), make_store(tmp_path / "two", table.sample(frac=1, random_state=1))]
    sizes = write_sizes(tmp_path)
    for store in stores:
        run_verb("call-peaks", "--store", store, "--chrom-sizes", sizes, "--out", tmp_path / f"{store.name}.narrowPeak")
    calls = read_calls(tmp_path / "one.narrowPeak")
    for chrom, centre in CENTRES:
        near = calls[(calls["chrom"] == chrom) & (calls["start"] + calls["summit"]).sub(centre).abs().le(120)]
        assert len(near) == 1, (chrom, centre)
    assert len(calls) == len(CENTRES)
    assert (calls["start"] >= 0).all()
    assert (calls["end"] <= calls["chrom"].map(SIZES)).all()
    assert calls["name"].tolist() == [f"peak_{i}" for i in range(1, len(calls) + 1)]
    assert (tmp_path / "one.narrowPeak").read_bytes() == (tmp_path / "two.narrowPeak").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "genome.sizes",
        "one",
        "one.narrowPeak",
        "two",
        "two.narrowPeak",
    ]


@needs_macs3
def test_peaks_on_the_blacklist_are_dropped(tmp_path: Path, run_verb: Run) -> None:
    store, out = make_store(tmp_path / "store", fragments()), tmp_path / "s1.narrowPeak"
    blacklist = tmp_path / "blacklist.bed"
    blacklist.write_text("chr1\t19000\t20000\nchr2\t99990\t100010\nchr9\t1\t2\n")
    run_verb(
        "call-peaks", "--store", store, "--chrom-sizes", write_sizes(tmp_path), "--blacklist", blacklist, "--out", out
    )
    calls = read_calls(out)
    summits = set(zip(calls["chrom"], (calls["start"] + calls["summit"] + 500) // 1000, strict=True))
    assert len(summits) == len(CENTRES) - 2
    assert not {("chr1", 20), ("chr2", 100)} & summits


@needs_macs3
def test_where_there_is_no_peak_it_is_said(tmp_path: Path, run_verb: Run) -> None:
    rng = np.random.default_rng(1)
    flat = pd.DataFrame({"chrom": "chr1", "start": rng.integers(0, 390_000, 500), "barcode": 0})
    store = make_store(tmp_path / "store", flat.assign(end=flat["start"] + 100))
    with pytest.raises(UserError, match="no peak was found in sample s1: 500 fragments"):
        run_verb("call-peaks", "--store", store, "--out", tmp_path / "out" / "s1.narrowPeak")
    assert list((tmp_path / "out").iterdir()) == []


@needs_macs3
def test_what_macs3_said_is_told_where_it_fails(tmp_path: Path, run_verb: Run) -> None:
    store = make_store(tmp_path / "store", fragments())
    with pytest.raises(UserError, match="macs3 failed on sample s1 and said:\n") as error:
        run_verb("call-peaks", "--store", store, "--q", -1, "--out", tmp_path / "out" / "s1.narrowPeak")
    assert "ValueError" in error.value.what
    assert "--call_peaks off" in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_without_fragments_or_without_macs3_no_peaks(
    tmp_path: Path, run_verb: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = fragments()
    out = tmp_path / "out" / "s1.narrowPeak"
    mitochondrial = make_store(tmp_path / "mt", table[table["chrom"] == "chrM"])
    with pytest.raises(UserError, match="no fragment to call peaks on"):
        run_verb("call-peaks", "--store", mitochondrial, "--out", out)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="macs3 is not on PATH"):
        run_verb("call-peaks", "--store", make_store(tmp_path / "store", table), "--out", out)
    assert list((tmp_path / "out").iterdir()) == []


def random_calls(seed: int, count: int) -> pd.DataFrame:
    """Draw calls that overlap a lot, some of equal significance and some at the chromosomes' ends."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 60_000, count)
    return pd.DataFrame(
        {
            "chrom": rng.choice(["chr1", "chr10", "chr2"], count),
            "start": start,
            "end": start + 300,
            "name": [f"peak_{i}" for i in range(count)],
            **{"score": 1, "strand": ".", "signal": 1.0, "q": 1.0},
            "p": np.round(rng.lognormal(2 + seed, 1, count), 0) + 1,
            "summit": rng.integers(0, 300, count),
        }
    )[NARROW_PEAK]


def plain_best(peaks: list[tuple[str, int, str, str, float]]) -> list[tuple[str, int, str, str, float]]:
    """Of regions (chrom, start, sample, name, score) of 501 bp, the best first, each that overlaps no better one."""
    kept: list[tuple[str, int, str, str, float]] = []
    for peak in sorted(peaks, key=lambda one: (-one[4], one[0], one[1], one[2])):
        if not any(peak[0] == other[0] and abs(peak[1] - other[1]) < 501 for other in kept):
            kept.append(peak)
    return kept


def test_merged_peaks_are_those_of_a_plain_search() -> None:
    calls = {f"s{i}": random_calls(i, 300) for i in range(3)}
    sizes = {"chr1": 55_000, "chr2": 60_300}
    blacklist = pd.DataFrame({"chrom": ["chr1", "chr2"], "start": [10_000, 0], "end": [12_000, 100]})
    expected: list[tuple[str, int, str, str, float]] = []
    for sample, table in calls.items():
        regions: list[tuple[str, int, str, str, float]] = []
        for chrom, start, summit, name, p in table[["chrom", "start", "summit", "name", "p"]].values.tolist():
            low = start + summit - 250
            fits = low >= 0 and low + 501 <= sizes.get(chrom, 10**9)
            listed = any(c == chrom and low < e and s < low + 501 for c, s, e in blacklist.values.tolist())
            if fits and not listed:
                regions.append((chrom, low, sample, name, p))
        best = plain_best(regions)
        total = sum(peak[4] for peak in best)
        expected += [(c, low, s, name, p / total * 1e6) for c, low, s, name, p in best]
    found = merge_peaks(calls.items(), sizes, blacklist)
    assert list(found[["chrom", "start", "sample", "name"]].itertuples(index=False, name=None)) == sorted(
        peak[:4] for peak in plain_best(expected)
    )
    assert (found["end"] - found["start"] == 501).all()
    assert set(found["sample"]) == set(calls)
    pd.testing.assert_frame_equal(found, merge_peaks(list(calls.items())[::-1], sizes, blacklist))


def test_samples_of_any_depth_count_alike(tmp_path: Path, run_verb: Run) -> None:
    # The shallow sample's best peak is a larger share of its significance than the deep one's beside it.
    deep = pd.DataFrame(
        [
            ["chr1", 900, 1400, "peak_1", 1, ".", 1.0, 500.0, 1.0, 250],
            ["chr1", 9000, 9400, "peak_2", 1, ".", 1.0, 900.0, 1.0, 200],
        ]
    )
    shallow = pd.DataFrame([["chr1", 1000, 1500, "peak_1", 1, ".", 1.0, 8.0, 1.0, 250]])
    for name, table in (("deep", deep), ("shallow", shallow)):
        table.to_csv(tmp_path / f"{name}.narrowPeak", sep="\t", header=False, index=False)
    calls = [tmp_path / "deep.narrowPeak", tmp_path / "shallow.narrowPeak"]
    for number, order in enumerate((calls, calls[::-1])):
        run_verb("merge-peaks", "--calls", *order, "--out", tmp_path / f"{number}.bed")
    assert (tmp_path / "0.bed").read_text() == "chr1\t1000\t1501\tshallow:peak_1\nchr1\t8950\t9451\tdeep:peak_2\n"
    assert (tmp_path / "0.bed").read_bytes() == (tmp_path / "1.bed").read_bytes()
    assert read_bed(tmp_path / "0.bed")["start"].tolist() == [1000, 8950]


def test_no_peak_left_is_told(tmp_path: Path, run_verb: Run) -> None:
    (tmp_path / "s1.narrowPeak").write_text("chr1\t10\t90\tpeak_1\t1\t.\t1\t5\t3\t20\n")
    with pytest.raises(UserError, match="no peak of the samples is left"):
        run_verb("merge-peaks", "--calls", tmp_path / "s1.narrowPeak", "--out", tmp_path / "peaks.bed")
    assert not (tmp_path / "peaks.bed").exists()


def test_regions_outside_of_a_list() -> None:
    regions = pd.DataFrame({"chrom": ["1", "1", "2"], "start": [0, 10, 0], "end": [10, 20, 10]})
    listed = pd.DataFrame({"chrom": ["1"], "start": [5], "end": [10]})
    assert outside(regions, listed)["start"].tolist() == [10, 0]
    assert outside(regions, None) is regions


def test_peaks_beyond_a_chromosome_name_their_line_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "peaks.narrowPeak"
    # A tile may reach over the end that it begins before.
    lines = ("# peaks", "chr1\t399900\t400400\tp", "chr9\t10\t999999\tp", "chr2\t200000\t200001\tp")
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError) as error:
        peak_set(path, SIZES)
    assert error.value.what == "a region ends at 200,001, beyond the end of chr2 (200,000 bp)"
    assert error.value.where == "peaks.narrowPeak, line 4"
    assert "--genome or --chrom_sizes" in str(error.value.remedy)
    assert len(peak_set(path)) == 3

    regions = {"chrom": ["chr2", "chr1", "chr1"], "start": [199_900, 5, 400_000], "end": [200_400, 9, 400_001]}
    table = named(pd.DataFrame(regions))
    ad.AnnData(np.zeros((1, 3), np.float32), var=table).write_h5ad(tmp_path / "peaks.h5ad")
    with pytest.raises(UserError, match="beyond the end of chr1") as error:
        peak_set(tmp_path / "peaks.h5ad", SIZES)
    assert error.value.where == "peaks.h5ad, peak chr1:400000-400001"
    assert list(peak_set(tmp_path / "peaks.h5ad").index) == list(table.index)


def test_peaks_unsorted_overlapping_or_twice_are_counted_each_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "peaks.bed"
    path.write_text("chr2\t100\t300\nchr1\t50\t500\nchr1\t0\t100\nchr1\t50\t500\n")
    table = pd.DataFrame({"chrom": ["chr1", "chr1", "chr2"], "start": [60, 10, 0], "end": [90, 45, 301], "barcode": 0})
    store = Store.open(make_store(tmp_path / "store", table))
    peaks = peak_set(path)
    assert list(peaks.index) == ["chr1:0-100", "chr1:50-500", "chr2:100-300"]
    assert csr(count_features(store, peaks, "paired-insertion")).toarray()[0].tolist() == [2, 1, 0]
    assert csr(count_features(store, peaks, "fragment")).toarray()[0].tolist() == [2, 1, 1]
