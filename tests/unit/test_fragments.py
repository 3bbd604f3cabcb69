"""Fragment files in every layout that users have, what is refused in them, and the quality of barcodes."""

import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
from scipy import stats

from cellpredx.core.annotation import Annotation
from cellpredx.core.blacklist import Intervals
from cellpredx.core.errors import UserError
from cellpredx.core.spec import SampleSpec
from cellpredx.core.whole import BGZF_END
from cellpredx.fragments import reader
from cellpredx.fragments.cells import above_thresholds, knee, knee_threshold
from cellpredx.fragments.doublets import find_doublets, q_values
from cellpredx.fragments.ingest import ingest
from cellpredx.fragments.qc import BarcodeQC
from cellpredx.fragments.reader import Names, read_fragments
from cellpredx.fragments.store import Store, StoreWriter

Fragment = tuple[str, int, int, str, int]
LINES: list[Fragment] = [
    ("chr1", 10, 60, "AAAC-1", 3),
    ("chr1", 10, 61, "AAAG-1", 1),
    ("chr2", 0, 1, "AAAC-1", 2),
    ("chr10", 7, 2147483646, "AAACC-1", 12),
    ("chr1", 5, 15, "AAAC-1", 1),
]


def text_of(lines: list[Fragment], columns: int = 5, newline: str = "\n") -> bytes:
    return "".join("\t".join(map(str, line[:columns])) + newline for line in lines).encode()


def write_plain(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def write_gzip(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data))


def write_bgzf(path: Path, data: bytes) -> None:
    with pysam.BGZFile(str(path), "wb", None) as handle:
        handle.write(data)


WRITERS = {"plain": write_plain, "gzip": write_gzip, "bgzf": write_bgzf}


def random_lines(count: int, seed: int = 1, barcodes: int = 40) -> list[Fragment]:
    """Draw fragments with different ends, unsorted."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 50_000, count)
    length = rng.choice([20, 90, 146, 147, 200, 293, 294, 500, 1500], count)
    return [
        (("chr1", "chr2", "chrM")[c], int(s), int(s + n), f"B{b:04d}-1", int(p))
        for c, s, n, b, p in zip(
            rng.integers(0, 3, count),
            start,
            length,
            rng.integers(0, barcodes, count),
            rng.integers(1, 5, count),
            strict=True,
        )
    ]


def read_all(path: Path) -> list[Fragment]:
    contigs, barcodes = Names(), Names()
    found: list[Fragment] = []
    for block in read_fragments(path, contigs, barcodes):
        chroms, cells = contigs.names(), barcodes.names()
        found += [
            (chroms[c], int(s), int(e), cells[b], int(p))
            for c, (s, e, b), p in zip(block.contig, block.rows, block.pairs, strict=True)
        ]
    return found


def refusal(path: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        read_all(path)
    return caught.value


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("columns", [4, 5])
def test_reads_every_layout(tmp_path: Path, writer: str, newline: str, columns: int) -> None:
    path = tmp_path / "f.tsv.gz"
    WRITERS[writer](path, text_of(LINES, columns, newline))
    expected = LINES if columns == 5 else [(*line[:4], -1) for line in LINES]
    assert read_all(path) == expected


@pytest.mark.parametrize("head", [b"# id=a\n#\n# x\ty\tz\tw\tv\n", b"# id=a\r\n"])
@pytest.mark.parametrize("tail", [b"\n", b"\n\r\n\n"])
def test_reads_past_a_head_and_trailing_blank_lines(tmp_path: Path, head: bytes, tail: bytes) -> None:
    path = tmp_path / "f.tsv"
    path.write_bytes(head + text_of(LINES) + tail)
    assert read_all(path) == LINES


def test_reads_a_last_line_without_a_newline_and_columns_beyond_the_fifth(tmp_path: Path) -> None:
    path = tmp_path / "f.tsv"
    path.write_bytes(b"chr1\t1\t5\tA\t2\t+\textra\nchr1\t2\t9\tB\t7")
    assert read_all(path) == [("chr1", 1, 5, "A", 2), ("chr1", 2, 9, "B", 7)]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("block", [11, 37, 4096])
def test_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, block: int) -> None:
    lines = random_lines(4000, barcodes=3000)
    path = tmp_path / "f.tsv.gz"
    WRITERS[writer](path, b"# head\n" + text_of(lines))
    monkeypatch.setattr(reader, "BLOCK", block)
    assert read_all(path) == lines


def test_tables_of_names_grow_and_keep_their_numbers(tmp_path: Path) -> None:
    names = [f"contig_{'x' * (i % 90)}{i}" for i in range(5000)]
    path = tmp_path / "f.tsv"
    path.write_bytes(text_of([(name, 1, 2, f"cell{i % 2500}{'y' * 200}", 1) for i, name in enumerate(names)]))
    contigs, barcodes = Names(4), Names(4)
    blocks = list(read_fragments(path, contigs, barcodes))
    assert contigs.names() == names
    assert barcodes.names() == [f"cell{i}{'y' * 200}" for i in range(2500)]
    assert np.concatenate([b.contig for b in blocks]).tolist() == list(range(5000))
    assert np.concatenate([b.rows[:, 2] for b in blocks]).tolist() == list(range(2500)) * 2


GOOD = "chr1\t1\t5\tA\t1\n"


@pytest.mark.parametrize(
    ("bad", "column", "what"),
    [
        ("chr1\t1\t5\n", 3, "fewer than 4"),
        ("chr1 1 5 A 1\n", 1, "fewer than 4"),
        ("chr1\t1\t5\t\t1\n", 4, "fewer than 4"),
        ("\t1\t5\tA\t1\n", 4, "fewer than 4"),
        ("chr1\t-1\t5\tA\t1\n", 2, "not a whole number"),
        ("chr1\t1\t-5\tA\t1\n", 3, "not a whole number"),
        ("chr1\t1.5\t5\tA\t1\n", 2, "not a whole number"),
        ("chr1\tstart\tend\tA\t1\n", 2, "not a whole number"),
        ("chr1\t\t5\tA\t1\n", 2, "not a whole number"),
        ("chr1\t1\t1e3\tA\t1\n", 3, "not a whole number"),
        ("chr1\t1\t2147483647\tA\t1\n", 3, "not a whole number"),
        ("chr1\t1\t4294967300\tA\t1\n", 3, "not a whole number"),
        ("chr1\t1\t99999999999999999999999\tA\t1\n", 3, "not a whole number"),
        ("chr1\t1\t5\tA\t+\n", 5, "not a whole number"),
        ("chr1\t5\t5\tA\t1\n", 2, "not before end"),
        ("chr1\t6\t5\tA\t1\n", 2, "not before end"),
        ("# joined\n", 1, "after the first fragment"),
        ("\n", 1, "blank line"),
        ("\r\n", 1, "blank line"),
    ],
)
@pytest.mark.parametrize("head", ["", "# id=a\n# b\n"])
def test_a_bad_line_is_named_with_line_and_column(tmp_path: Path, bad: str, column: int, what: str, head: str) -> None:
    path = tmp_path / "bad.tsv"
    path.write_text(head + GOOD * 3 + bad + GOOD, newline="")
    error = refusal(path)
    assert error.where == f"bad.tsv, line {4 + head.count('#')}, column {column}"
    assert what in error.what
    assert error.remedy


def test_the_line_is_right_in_a_later_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK", 100)
    path = tmp_path / "bad.tsv.gz"
    write_gzip(path, b"# id\n" + text_of(random_lines(500)) + b"chr1\t9\t3\tA\t1\n" + text_of(LINES))
    assert refusal(path).where == "bad.tsv.gz, line 502, column 2"


@pytest.mark.parametrize("data", [b"", b"# id=a\n# b\n", b"\n\n", b"# id=a"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_without_fragments_is_refused(tmp_path: Path, data: bytes, writer: str) -> None:
    path = tmp_path / "f.tsv.gz"
    WRITERS[writer](path, data)
    error = refusal(path)
    assert "no fragment" in error.what
    assert error.where == "f.tsv.gz"


@pytest.mark.parametrize("kept", [0.3, 0.9, -9, -8, -4, -1])
def test_a_gzip_that_was_cut_is_refused(tmp_path: Path, kept: float) -> None:
    data = gzip.compress(text_of(random_lines(3000)))
    path = tmp_path / "f.tsv.gz"
    path.write_bytes(data[: int(kept * len(data)) if kept > 0 else int(kept)])
    error = refusal(path)
    assert "damaged or cut short" in error.what
    assert error.where == "f.tsv.gz"


def test_a_bgzf_that_was_cut_between_blocks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.tsv.gz"
    write_bgzf(path, text_of(random_lines(3000)))
    data = path.read_bytes()
    assert data.endswith(BGZF_END)
    path.write_bytes(data[: -len(BGZF_END)])
    error = refusal(path)
    assert "truncated" in error.what
    assert error.where == "f.tsv.gz"


@pytest.mark.parametrize("size", [19, 27, 200])
def test_a_bgzf_that_was_cut_inside_a_block_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "f.tsv.gz"
    write_bgzf(path, text_of(random_lines(3000)))
    path.write_bytes(path.read_bytes()[:size])
    assert refusal(path).where == "f.tsv.gz"


@pytest.mark.parametrize("writer", ["gzip", "bgzf"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_damaged_data_are_refused(tmp_path: Path, writer: str, share: float) -> None:
    path = tmp_path / "f.tsv.gz"
    WRITERS[writer](path, text_of(random_lines(3000)))
    data = bytearray(path.read_bytes())
    at = int(share * len(data))
    data[at : at + 8] = bytes(b ^ 0xFF for b in data[at : at + 8])
    path.write_bytes(data)
    assert str(refusal(path).where).startswith("f.tsv.gz")


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(text_of(random_lines(300))))
    data[-8] ^= 1
    path = tmp_path / "f.tsv.gz"
    path.write_bytes(data)
    assert "damaged" in refusal(path).what


def annotation(tss: list[tuple[str, int, str]], chroms: tuple[str, ...] = ("chr1", "chr2")) -> Annotation:
    genes = pd.DataFrame({"chrom": chroms, "start": 0, "end": 9, "strand": "+"})
    genes = genes.assign(gene_id="g", gene_name="g", name=[f"g{i}" for i in range(len(genes))])
    return Annotation(genes, pd.DataFrame(tss, columns=["chrom", "position", "strand"]), "")


TSS = annotation([("chr1", 3000, "+"), ("chr1", 3100, "-"), ("chr1", 20_000, "-"), ("chr2", 1000, "+")])


@dataclass
class Plain:
    """One barcode's numbers, counted without arrays."""

    fragments: int = 0
    read_pairs: int = 0
    mitochondrial: int = 0
    short: int = 0
    mono: int = 0
    centre: int = 0
    flank: int = 0
    distances: list[int] = field(default_factory=list)


def plain_quality(lines: list[Fragment], tss: pd.DataFrame) -> dict[str, Plain]:
    found: dict[str, Plain] = defaultdict(Plain)
    for chrom, start, end, barcode, pairs in lines:
        own = found[barcode]
        own.fragments += 1
        own.read_pairs += pairs
        own.mitochondrial += chrom == "chrM"
        own.short += end - start < 147
        own.mono += 147 <= end - start < 294
        for insertion in (start, end - 1):
            for tss_chrom, position, strand in tss.values.tolist():
                distance = (insertion - position) * (-1 if strand == "-" else 1)
                if tss_chrom == chrom and abs(distance) <= 2000:
                    own.distances.append(distance)
                    own.centre += abs(distance) <= 5
                    own.flank += abs(distance) > 1900
    return found


def ingest_with(
    spec: SampleSpec,
    genes: Annotation | None,
    sizes: dict[str, int],
    folder: Path,
    blacklist: dict[str, Intervals] | None = None,
) -> tuple[pd.DataFrame, BarcodeQC, list[str]]:
    """Read a sample as the verb does; return its barcodes, their quality, and warnings."""
    quality = BarcodeQC(genes, blacklist)
    known = {"annotation": set(genes.genes["chrom"]) if genes is not None else set(), "genome": set(sizes)}
    barcodes, warnings = ingest(spec, quality, known, sizes, StoreWriter(folder / "store"))
    return barcodes, quality, warnings


def test_quality_equals_a_plain_count(tmp_path: Path, make_spec: Callable[..., SampleSpec]) -> None:
    lines = random_lines(6000, seed=4)
    lines += [("chr1", 2990 + i % 21, 3095 + i % 13, f"B{i % 40:04d}-1", 1) for i in range(300)]
    # Insertions at the very edges of what counts as centre and flank, on both strands.
    lines += [
        ("chr1", tss + d, tss + d + 40_000, "B0000-1", 1)
        for tss in (3000, 20_000)
        for d in (-2001, -2000, -1901, -1900, -6, -5, 0, 5, 6, 1900, 1901, 2000, 2001)
    ]
    path = tmp_path / "f.tsv.gz"
    write_bgzf(path, text_of(lines))
    barcodes, quality, _ = ingest_with(make_spec({"fragments": path}), TSS, {}, tmp_path)
    table = quality.table(len(barcodes)).set_index(barcodes["barcode"])
    plain = plain_quality(lines, TSS.tss)
    assert set(table.index) == set(plain)
    assert sum(p.centre > 0 for p in plain.values()) > 30
    for barcode, own in plain.items():
        row = table.loc[barcode]
        assert row["fragments"] == own.fragments
        assert row["read_pairs"] == own.read_pairs
        assert row["duplicate_fraction"] == pytest.approx(1 - own.fragments / own.read_pairs, abs=1e-12)
        assert row["mitochondrial_fraction"] == pytest.approx(own.mitochondrial / own.fragments, abs=1e-12)
        assert row["nucleosome_signal"] == pytest.approx(own.mono / own.short, abs=1e-12)
        assert row["tss_enrichment"] == pytest.approx((own.centre / 11) / (own.flank / 200 + 0.1), abs=1e-12)
    distances = np.bincount([d + 2000 for own in plain.values() for d in own.distances], minlength=4001)
    background = np.r_[distances[:100], distances[-100:]].mean()
    assert background > 0.1
    profile = quality.tss_profile()
    assert profile is not None
    assert len(profile) == 401
    assert profile[200] == pytest.approx(distances[1995:2006].mean() / background, rel=1e-12)
    assert profile[37] == pytest.approx(distances[365:376].mean() / background, rel=1e-12)
    assert quality.sizes.sum() == len(lines)
    assert quality.sizes[146] == sum(end - start == 146 for _, start, end, _, _ in lines)
    assert quality.sizes[1000] == sum(end - start >= 1000 for _, start, end, _, _ in lines)


def test_the_enrichment_is_not_known_without_an_annotation(
    tmp_path: Path, make_spec: Callable[..., SampleSpec]
) -> None:
    path = tmp_path / "f.tsv"
    path.write_bytes(text_of(random_lines(50)))
    barcodes, quality, _ = ingest_with(make_spec({"fragments": path}), None, {}, tmp_path)
    assert quality.table(len(barcodes))["tss_enrichment"].isna().all()
    assert quality.tss_profile() is None


def test_names_of_chromosomes_must_fit_the_annotation(tmp_path: Path, make_spec: Callable[..., SampleSpec]) -> None:
    path = tmp_path / "f.tsv"
    path.write_bytes(text_of([("1", 1, 5, "A", 1), ("2", 1, 5, "A", 1)]))
    spec = make_spec({"fragments": path})
    with pytest.raises(UserError, match="no chromosome of the fragments is in the annotation") as caught:
        ingest_with(spec, TSS, {}, tmp_path)
    assert caught.value.where == "f.tsv"
    assert "the fragments have 1, 2; the annotation has chr1, chr2" in str(caught.value.remedy)
    with pytest.raises(UserError, match="in the genome"):
        ingest_with(spec, None, {"chr1": 1000}, tmp_path)


@pytest.mark.parametrize("head", [b"", b"# a\n# b\n# c\n"])
@pytest.mark.parametrize("block", [64, 1 << 20])
def test_a_fragment_beyond_the_chromosome_is_named_with_its_line(
    tmp_path: Path, make_spec: Callable[..., SampleSpec], monkeypatch: pytest.MonkeyPatch, head: bytes, block: int
) -> None:
    monkeypatch.setattr(reader, "BLOCK", block)
    lines = [("chr2", 100, 2000, "A", 1), ("chr1", 1, 1000, "A", 1)] * 20
    path = tmp_path / "f.tsv.gz"
    write_gzip(path, head + text_of([*lines, ("chr1", 500, 1001, "B", 1), ("chr1", 1, 9, "B", 1)]))
    sizes = {"chr1": 1000, "chr2": 5000}
    with pytest.raises(UserError, match=r"ends at 1,001, beyond the end of chr1 \(1,000 bp\)") as caught:
        ingest_with(make_spec({"fragments": path}), None, sizes, tmp_path)
    assert caught.value.where == f"f.tsv.gz, line {41 + head.count(b'#')}, column 3"


def ingest_arguments(tmp_path: Path, spec: str, *more: object) -> tuple[object, ...]:
    return ("ingest-fragments", "--spec", spec, "--store", tmp_path / "store", "--outdir", tmp_path, *more)


def stored(store: Store) -> dict[str, list[tuple[str, int, int, str]]]:
    """Return every cell's fragments, sorted."""
    found: dict[str, list[tuple[str, int, int, str]]] = {cell: [] for cell in store.cells}
    for contig in store.contigs:
        for start, end, row in store.chunks(contig):
            for s, e, r in zip(start, end, row, strict=True):
                found[store.cells[r]].append((contig, int(s), int(e), store.cells[r]))
    return {cell: sorted(lines) for cell, lines in found.items()}


def test_lanes_share_barcodes_and_libraries_do_not(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    parts = [random_lines(300, seed=seed, barcodes=5) for seed in range(3)]
    for number, lines in enumerate(parts):
        write_gzip(tmp_path / f"f{number}.tsv.gz", text_of(lines))
    lanes = [{"library": library, "fragments": tmp_path / f"f{n}.tsv.gz"} for n, library in enumerate("bab")]
    run_verb(*ingest_arguments(tmp_path, spec_text(*lanes), "--min-fragments", "1"))
    store = Store.open(tmp_path / "store")
    expected: dict[str, list[tuple[str, int, int, str]]] = defaultdict(list)
    for library, lines in zip("bab", parts, strict=True):
        for chrom, start, end, barcode, _ in lines:
            expected[f"{library}#{barcode}"].append((chrom, start, end, f"{library}#{barcode}"))
    assert stored(store) == {cell: sorted(lines) for cell, lines in expected.items()}
    assert store.cells == sorted(store.cells)
    assert store.libraries == [cell.split("#")[0] for cell in store.cells]
    table = pd.read_csv(tmp_path / "barcodes.csv").set_index("barcode")
    assert table["fragments"].to_dict() == {cell: len(lines) for cell, lines in expected.items()}
    assert table["is_cell"].all()
    summary = json.loads((tmp_path / "sample.json").read_text())
    assert (summary["cells"], summary["barcodes"], summary["fragments"]["total"]) == (10, 10, 900)
    pairs = sum(pairs for lines in parts for *_, pairs in lines)
    assert summary["fragments"]["duplicate_fraction"] == pytest.approx(1 - 900 / pairs, abs=1e-12)
    assert summary["fragments"]["mitochondrial_fraction"] == pytest.approx(
        sum(chrom == "chrM" for lines in parts for chrom, *_ in lines) / 900, abs=1e-12
    )


def test_one_library_keeps_its_barcodes_and_thresholds_choose_cells(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    lines = [("chr1", i, i + 100, f"cell{i % 7}", 1) for i in range(100)] + [("chr1", 1, 50, "empty", 1)]
    path = tmp_path / "f.tsv"
    path.write_bytes(text_of(lines))
    run_verb(*ingest_arguments(tmp_path, spec_text({"fragments": path}), "--min-fragments", "14"))
    assert Store.open(tmp_path / "store").cells == [f"cell{i}" for i in range(7)]
    table = pd.read_csv(tmp_path / "barcodes.csv").set_index("barcode")
    assert not table.loc["empty", "is_cell"]
    summary = json.loads((tmp_path / "sample.json").read_text())
    assert (summary["cells"], summary["barcodes"], summary["fragments"]["in_cells"]) == (7, 8, 100)
    assert summary["fragments"]["thresholds"] == {"min_fragments": 14, "min_tss": None}
    assert "no annotation" in summary["warnings"][0]


def test_a_failed_ingest_leaves_no_store(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    path = tmp_path / "f.tsv"
    path.write_bytes(text_of(LINES) + b"chr1\tx\n")
    with pytest.raises(UserError):
        run_verb(*ingest_arguments(tmp_path, spec_text({"fragments": path})))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.tsv", "staged1"]


def test_read_pairs_of_zero_are_no_crash(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    path = tmp_path / "f.bed"
    path.write_bytes(text_of([("chr1", 1, 50, "A", 0), ("chr1", 7, 50, "A", 0)]))
    run_verb(*ingest_arguments(tmp_path, spec_text({"fragments": path}), "--min-fragments", "1"))
    assert json.loads((tmp_path / "sample.json").read_text())["fragments"]["total"] == 2


def quality_table(fragments: list[int], tss: list[float]) -> pd.DataFrame:
    names = [f"B{i}-1" for i in range(len(fragments))]
    return pd.DataFrame({"barcode": names, "library": "s1", "fragments": fragments, "tss_enrichment": tss})


def test_thresholds_keep_what_reaches_them() -> None:
    table = quality_table([999, 1000, 5000, 5000], [9, 4.0, 3.9, np.nan])
    assert above_thresholds(table, 1000, 4.0, "s1").tolist() == [False, True, False, False]
    assert above_thresholds(table, 1000, None, "s1").tolist() == [False, True, True, True]


def test_no_cell_left_tells_the_distribution_and_a_threshold_that_works() -> None:
    table = quality_table([100, 300, 500, 700, 900], [1.0, 2.0, 3.0, 3.5, 3.0])
    with pytest.raises(UserError, match="no barcode of sample s1 is a cell") as caught:
        above_thresholds(table, 1000, 4.0, "s1")
    assert "100% 100" in str(caught.value.where)
    assert "50% 500" in str(caught.value.where)
    assert "--min_fragments 500 would keep 3 barcodes" in str(caught.value.remedy)
    assert above_thresholds(table, 500, None, "s1").sum() == 3
    with pytest.raises(UserError, match="TSS enrichment 4") as caught:
        above_thresholds(table, 600, 4.0, "s1")
    assert "TSS enrichment at best 3.5" in str(caught.value.where)


def test_a_list_of_cells_chooses_in_its_library_and_thresholds_in_others(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    path, listed = tmp_path / "f.tsv", tmp_path / "cells.tsv.gz"
    path.write_bytes(
        text_of([("chr1", i, 50, cell, 1) for cell in ("B0", "B1", "B2") for i in range(int(cell[1]) + 1)])
    )
    write_gzip(listed, b"barcode\tx\r\nB1\t1\r\nnever\t1\r\n")
    rows = ({"library": "a", "fragments": path, "barcodes": listed}, {"library": "b", "fragments": path})
    run_verb(*ingest_arguments(tmp_path, spec_text(*rows), "--min-fragments", "3"))
    assert Store.open(tmp_path / "store").cells == ["a#B1", "b#B2"]


def test_a_list_that_names_no_barcode_is_refused_with_examples(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    path, listed = tmp_path / "f.tsv", tmp_path / "cells.txt"
    path.write_bytes(text_of([("chr1", i, 50, f"B{i % 3}-1", 1) for i in range(5)]))
    listed.write_text("B0\nB1\n")
    with pytest.raises(UserError, match="library s1") as caught:
        run_verb(*ingest_arguments(tmp_path, spec_text({"fragments": path, "barcodes": listed})))
    assert caught.value.where == "cells.txt"
    assert "the list has B0, B1; the fragments have B0-1, B1-1, B2-1" in str(caught.value.remedy)


def test_lists_of_two_lanes_of_a_library_add_up(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    rows = []
    for lane, cell in enumerate(("A", "B")):
        path, listed = tmp_path / f"lane{lane}.tsv", tmp_path / f"cells{lane}.txt"
        path.write_bytes(text_of([("chr1", 1, 50, "A", 1), ("chr1", 1, 50, "B", 1), ("chr1", 1, 50, "C", 1)]))
        listed.write_text(f"{cell}\n")
        rows.append({"fragments": path, "barcodes": listed})
    run_verb(*ingest_arguments(tmp_path, spec_text(*rows)))
    assert Store.open(tmp_path / "store").cells == ["A", "B"]


def test_the_knee_has_ranks_in_order_and_the_ends() -> None:
    fragments = np.random.default_rng(2).integers(1, 10_000, 30_000)
    points = knee(fragments)
    ordered = np.sort(fragments)[::-1]
    assert len(points) <= 500
    assert points[0] == [1, int(ordered[0])]
    assert points[-1] == [30_000, int(ordered[-1])]
    assert all(count == ordered[rank - 1] for rank, count in points)
    assert [rank for rank, _ in points] == sorted({rank for rank, _ in points})
    assert knee(np.array([5])) == [[1, 5]]


def test_the_cliff_between_cells_and_empty_droplets_is_found() -> None:
    rng = np.random.default_rng(4)
    cells = rng.lognormal(np.log(8000), 0.4, 3000).astype(int)
    empty = rng.lognormal(np.log(60), 0.6, 80_000).astype(int)
    threshold = knee_threshold(np.concatenate([empty, cells]))
    assert (cells >= threshold).mean() > 0.99
    assert (empty >= threshold).mean() < 0.001


def test_cells_are_called_by_the_knee(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    rng = np.random.default_rng(5)
    sizes = [*rng.integers(300, 500, 60), *rng.integers(10, 20, 400)]
    lines = [("chr1", int(s), int(s) + 50, f"B{i}-1", 1) for i, n in enumerate(sizes) for s in rng.integers(0, 9999, n)]
    write_gzip(tmp_path / "f.tsv.gz", text_of(lines))
    spec = spec_text({"fragments": tmp_path / "f.tsv.gz"})
    run_verb(*ingest_arguments(tmp_path, spec, "--cell-calling", "knee"))
    assert Store.open(tmp_path / "store").cells == sorted(f"B{i}-1" for i in range(60))
    thresholds = json.loads((tmp_path / "sample.json").read_text())["fragments"]["thresholds"]
    assert 20 < thresholds["min_fragments"] <= 300


def test_fragments_that_overlap_the_blacklist_are_counted(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    black = [("chr1", 3000, 3100), ("chr1", 3050, 9000), ("chr1", 9000, 9001), ("chr2", 10, 11), ("chr9", 0, 99)]
    lines = random_lines(3000, seed=6)
    (tmp_path / "black.bed").write_text("".join("\t".join(map(str, region)) + "\n" for region in black))
    for name, own in (("sorted", sorted(lines)), ("shuffled", lines)):
        write_gzip(tmp_path / f"{name}.tsv.gz", text_of(own))
        spec = spec_text({"fragments": tmp_path / f"{name}.tsv.gz"})
        run_verb(*ingest_arguments(tmp_path, spec, "--min-fragments", "1", "--blacklist", tmp_path / "black.bed"))
        table = pd.read_csv(tmp_path / "barcodes.csv").set_index("barcode")
        for barcode in table.index[:10]:
            of_barcode = [line for line in lines if line[3] == barcode]
            hits = sum(
                any(c == chrom and s < end and start < e for chrom, start, end in black) for c, s, e, *_ in of_barcode
            )
            assert table.loc[barcode, "blacklist_fraction"] == pytest.approx(hits / len(of_barcode), abs=1e-6)


def test_a_blacklist_of_another_genome_is_refused_with_both_names(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    (tmp_path / "black.bed").write_text("1\t0\t99\n2\t0\t99\n")
    (tmp_path / "f.tsv").write_bytes(text_of(LINES))
    spec = spec_text({"fragments": tmp_path / "f.tsv"})
    with pytest.raises(UserError, match="no chromosome of the blacklist") as caught:
        run_verb(*ingest_arguments(tmp_path, spec, "--min-fragments", "1", "--blacklist", tmp_path / "black.bed"))
    assert caught.value.where == "black.bed"
    assert "the blacklist has 1, 2; the fragments have chr1, chr10, chr2" in str(caught.value.remedy)
    assert not (tmp_path / "store").exists()


def plain_loci(lines: list[tuple[int, int]], black: list[tuple[int, int]]) -> int:
    """Count stretches of depth three by looking at every position."""
    depth = np.zeros(60_000, int)
    for start, end in lines:
        if end - start <= 900:
            depth[start:end] += 1
    deep = np.flatnonzero(np.diff(np.r_[0, depth >= 3, 0].astype(int)))
    return sum(not any(s < b and a < e for a, b in black) for s, e in zip(deep[::2], deep[1::2], strict=True))


def test_loci_that_many_fragments_cover_equal_a_plain_count(tmp_path: Path) -> None:
    lines = random_lines(9000, seed=8, barcodes=12)
    lines += [("chr1", 100, 110, "B0000-1", 1), ("chr1", 110, 120, "B0000-1", 1)] * 3
    black = {"chr1": [(0, 105), (20_000, 30_000)], "chr2": [(5, 6)]}
    writer = StoreWriter(tmp_path / "store")
    names = sorted({line[3] for line in lines})
    for chrom in ("chr1", "chr2", "chrM"):
        own = [(s, e, names.index(b)) for c, s, e, b, _ in lines if c == chrom]
        writer.add(chrom, np.array(own, np.int32))
    blacklist = {chrom: (np.array([a for a, _ in own]), np.array([b for _, b in own])) for chrom, own in black.items()}
    cells = np.array([True] * 10 + [False, True])
    found = find_doublets(writer, cells, blacklist)
    for number, name in enumerate(names):
        expected = sum(
            plain_loci([(s, e) for c, s, e, b, _ in lines if (c, b) == (chrom, name)], black[chrom]) for chrom in black
        )
        assert expected > 20
        assert found["overlap_loci"][number] == expected if cells[number] else np.isnan(found["overlap_loci"][number])
    assert not found["is_doublet"][10]


def test_two_cells_in_a_droplet_are_flagged_and_removed_when_asked(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    rng = np.random.default_rng(9)
    open_places = rng.choice(200_000, 1500, replace=False) * 1000

    def cell() -> list[int]:
        # Both copies of a locus may be open, never three.
        return [int(p) for p in open_places for _ in range(rng.binomial(2, 0.5))]

    contents = [cell() for _ in range(95)] + [cell() + cell() for _ in range(5)]
    lines = [("chr1", p, p + 200, f"C{i:03d}", 1) for i, places in enumerate(contents) for p in places]
    write_gzip(tmp_path / "f.tsv.gz", text_of(lines))
    spec = spec_text({"fragments": tmp_path / "f.tsv.gz"})
    run_verb(*ingest_arguments(tmp_path, spec, "--min-fragments", "10"))
    table = pd.read_csv(tmp_path / "barcodes.csv").set_index("barcode")
    doublets = [f"C{i:03d}" for i in range(95, 100)]
    assert list(table.index[table["is_doublet"]]) == doublets
    assert table["is_cell"].all()
    run_verb(*ingest_arguments(tmp_path, spec, "--min-fragments", "10", "--remove-doublets"))
    assert set(table.index) - set(Store.open(tmp_path / "store").cells) == set(doublets)
    summary = json.loads((tmp_path / "sample.json").read_text())
    assert summary["fragments"]["doublets"] == 5
    assert "5 of 100 cells were removed as doublets" in summary["warnings"][-1]


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    loci = np.array([0, 3, 1, 12, 2, 12, 0, 1])
    p = np.where(loci > 0, stats.poisson.sf(loci - 1, loci.mean()), 1)
    np.testing.assert_allclose(q_values(loci), stats.false_discovery_control(p, method="bh"), rtol=1e-12)
    assert q_values(np.zeros(4, np.int64)).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(("unknown", "told"), [(4, False), (30, True), (60, None)])
def test_fragments_on_unknown_chromosomes_are_told_then_refused(
    tmp_path: Path, make_spec: Callable[..., SampleSpec], unknown: int, told: bool | None
) -> None:
    names = ["GL1"] * unknown + ["chr1"] * (100 - unknown) + ["chrM"] * 500
    path = tmp_path / "f.tsv"
    path.write_bytes(text_of([(name, 1, 50, "A", 1) for name in names]))
    spec = make_spec({"fragments": path})
    if told is None:
        with pytest.raises(UserError, match="60% of the fragments are on chromosomes that the annotation") as caught:
            ingest_with(spec, TSS, {}, tmp_path)
        assert "the fragments have GL1, chr1, chrM; the annotation has chr1, chr2" in str(caught.value.remedy)
        return
    _, _, warnings = ingest_with(spec, TSS, {}, tmp_path)
    expected = ["f.tsv: 30% of the fragments are on chromosomes that the annotation does not know: GL1"]
    assert warnings == (expected if told else [])


def test_listed_barcodes_that_are_not_there_are_told(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    path, listed = tmp_path / "f.tsv", tmp_path / "cells.txt"
    path.write_bytes(text_of([("chr1", i, 50, f"B{i % 3}-1", 1) for i in range(5)]))
    listed.write_text("B0-1\nB7-1\nB8-1\n")
    run_verb(*ingest_arguments(tmp_path, spec_text({"fragments": path, "barcodes": listed})))
    warnings = json.loads((tmp_path / "sample.json").read_text())["warnings"]
    assert any("cells.txt: 2 of 3 barcodes are not in the fragments" in text for text in warnings)


def test_duplicates_are_not_known_without_a_column_of_read_pairs(
    tmp_path: Path, spec_text: Callable[..., str], run_verb: Callable[..., None]
) -> None:
    path = tmp_path / "f.tsv"
    path.write_bytes(text_of(LINES[:3], columns=4))
    run_verb(*ingest_arguments(tmp_path, spec_text({"fragments": path}), "--min-fragments", "1"))
    table = pd.read_csv(tmp_path / "barcodes.csv")
    assert table[["read_pairs", "duplicate_fraction"]].isna().all(axis=None)
    summary = json.loads((tmp_path / "sample.json").read_text())
    assert summary["fragments"]["duplicate_fraction"] is None
    assert any("duplicates are not known" in text for text in summary["warnings"])


def test_start_sites_of_the_mitochondrion_do_not_count(tmp_path: Path, make_spec: Callable[..., SampleSpec]) -> None:
    path = tmp_path / "f.tsv"
    path.write_bytes(text_of([("chrM", 3000, 3100, "A", 1), ("chr2", 900, 1000, "A", 1)]))
    genes = annotation([("chrM", 3000, "+"), ("chr2", 5000, "+")], ("chrM", "chr2"))
    barcodes, quality, _ = ingest_with(make_spec({"fragments": path}), genes, {}, tmp_path)
    assert quality.table(len(barcodes))["tss_enrichment"].tolist() == [0]


def test_a_name_that_is_too_long_is_refused_and_the_longest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "f.tsv"
    path.write_bytes(text_of([("chr1", 1, 9, "B" * 511, 1), ("c" * 511, 1, 9, "A", 1)]))
    assert [line[3] for line in read_all(path)] == ["B" * 511, "A"]
    path.write_bytes(text_of([("chr1", 1, 9, "B" * 512, 1)]))
    assert "more than 511 characters" in refusal(path).what


def test_a_blank_line_is_named_wherever_the_blocks_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.tsv"
    path.write_bytes(text_of(LINES) + b"\n" + text_of(LINES))
    for block in (1, 40, 90, 100, 4096):
        monkeypatch.setattr(reader, "BLOCK", block)
        assert refusal(path).where == "f.tsv, line 6, column 1"
