"""What the pipeline says to a mistaken sheet, parameter or file: the real engine."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from tests.pipeline.conftest import ENGINE, ROOT, run_pipeline

COLUMNS = "sample,role,modality,library,fragments,matrix,gene_activity,peaks,barcodes,labels,batch,group"
NOISE = ("Caused by", "-- Check script", "Exception", "\tat ", ".nextflow.log")

pytestmark = pytest.mark.skipif(ENGINE is None, reason="no `nextflow` on PATH, and the variable NEXTFLOW names none")
both_parsers = pytest.mark.parametrize("launch", ["v1", "v2"], indirect=True)


@dataclass
class Launch:
    """A folder with the files that sheets name, and runs of the pipeline started in it."""

    folder: Path
    parser: str

    def sheet(self, *rows: str, header: str = COLUMNS, name: str = "sheet.csv") -> str:
        (self.folder / name).write_text("\n".join((header, *rows)) + "\n")
        return name

    def run(self, *arguments: str, outdir: str | None = "results") -> subprocess.CompletedProcess[str]:
        where = ("--outdir", outdir) if outdir else ()
        return subprocess.run(
            [str(ENGINE), "run", str(ROOT / "main.nf"), "-ansi-log", "false", *arguments, *where],
            cwd=self.folder,
            env={**os.environ, "NXF_SYNTAX_PARSER": self.parser, "NXF_OFFLINE": "true"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def refused(self, *arguments: str, outdir: str | None = "results") -> list[tuple[str, str, str]]:
        """The mistakes (what, where, remedy) that a run ends with, having done nothing."""
        done = self.run(*arguments, outdir=outdir)
        output = done.stdout + done.stderr
        assert done.returncode != 0, output
        assert not [word for word in NOISE if word in output], output
        assert not (self.folder / "results").exists()
        assert not (self.folder / "null").exists()
        assert not list((self.folder / "work").glob("??/*"))
        mistakes = []
        for block in output.split("ERROR: ")[1:]:
            lines = block.splitlines()
            assert lines[1].startswith("  where:  "), block
            assert lines[2].startswith("  remedy: "), block
            mistakes.append((lines[0], lines[1].removeprefix("  where:  "), lines[2].removeprefix("  remedy: ")))
        assert mistakes, output
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        assert f"{count} in the input: nothing was run" in output
        return mistakes


@pytest.fixture
def launch(tmp_path: Path, request: pytest.FixtureRequest) -> Launch:
    for name in ("a.h5ad", "b.h5ad", "c.h5ad", "q.tsv.gz", "q2.tsv.gz", "l.csv", "1.txt", "2.txt", "1.bed", "2.bed"):
        (tmp_path / name).write_text("content\n")
    for name in ("genes.gtf", "notes.txt", "mtx/matrix.mtx", "bundle/bundle.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("content\n")
    for name in ("weights.safetensors", "features.csv", "training_log.csv"):
        (tmp_path / "bundle" / name).touch()
    (tmp_path / "bundle" / "bundle.json").write_text('{"recipe": {"kind": "genes"}}')
    (tmp_path / "empty.h5ad").touch()
    return Launch(tmp_path, getattr(request, "param", "v1"))


def at(mistakes: list[tuple[str, str, str]], where: str) -> tuple[str, str]:
    """What is wrong at a place, and its remedy."""
    found = [(what, remedy) for what, place, remedy in mistakes if place == where]
    assert len(found) == 1, f"{where}: {found} of {mistakes}"
    return found[0]


@both_parsers
def test_mistakes_within_rows(launch: Launch) -> None:
    sheet = launch.sheet(
        "r 1,reference,rna,,,a.h5ad,,,,cell_type,,",
        "../r2,reference,rna,,,a.h5ad,,,,cell_type,,",
        "<b>r3</b>,reference,rna,,,a.h5ad,,,,cell_type,,",
        "r4,,rna,,,a.h5ad,,,,cell_type,,",
        "r5,teacher,rna,,,a.h5ad,,,,cell_type,,",
        "r6,reference,rna,,,nowhere.h5ad,,,,cell_type,,",
        "r7,reference,rna,,,a.h5ad,,,,,,",
        "r8,reference,rna,,,mtx,,,,cell_type,,",
        "q9,query,rna,,q.tsv.gz,,,1.bed,,,,",
        "q10,query,atac,a/b,,empty.h5ad,,,,,,g 10",
        "q11,query,atac,,,notes.txt,,,,,,",
        "q12,query,atac,,q2.tsv.gz,b.h5ad,,,,,,",
        "q13,query,atac,,,,,,,,,",
        "q14,query,atac",
        'q15,query,atac,,"q,,,,,,,',
        header=COLUMNS.replace("batch", "batches"),
    )
    mistakes = launch.refused("--input", sheet)

    def cell(line: int, column: str) -> tuple[str, str]:
        return at(mistakes, f"{sheet}, line {line}, column {column}")

    assert cell(1, "batches") == ("there is no such column", "did you mean batch?")
    for line, name in ((2, "r 1"), (3, "../r2"), (4, "<b>r3</b>")):
        what, remedy = cell(line, "sample")
        assert what == f"sample `{name}` is not of the right form"
        assert remedy.startswith("name the sample with letters, digits")
    assert cell(5, "role") == ("role is empty", "write reference or query")
    assert cell(6, "role") == ("role `teacher` is not one of reference, query", "write reference or query")
    assert cell(7, "matrix")[0].startswith("matrix `nowhere.h5ad` does not exist")
    assert cell(8, "labels")[0] == "a reference without labels"
    assert cell(9, "labels")[0].startswith("labels `cell_type` does not exist")
    assert cell(10, "fragments")[0] == "fragments are given for RNA"
    assert cell(10, "peaks")[0] == "peaks are given for RNA"
    assert cell(11, "library")[0] == "library `a/b` is not of the right form"
    assert cell(11, "matrix")[0] == "matrix `empty.h5ad` is empty"
    assert cell(11, "group")[0] == "group `g 10` is not of the right form"
    assert cell(12, "matrix")[0] == "matrix `notes.txt` is not a file of the right kind"
    assert cell(13, "matrix")[0] == "the row has both fragments and a matrix"
    assert cell(14, "fragments")[0] == "the row has no file"
    assert at(mistakes, f"{sheet}, line 15")[0] == "the row has 3 cells, the header 12"
    assert at(mistakes, f"{sheet}, line 16")[0].startswith("a quote is not closed")


@both_parsers
def test_mistakes_between_rows(launch: Launch) -> None:
    sheet = launch.sheet(
        "r1,reference,rna,,,a.h5ad,,,,cell_type,b1,disagree",
        "r1,reference,rna,l2,,b.h5ad,,,,other,b2,disagree",
        "q1,query,rna,,,c.h5ad,,,1.txt,,,disagree",
        "q1,query,rna,,,c.h5ad,,,1.txt,,,disagree",
        "r2,reference,atac,,,mtx,,,1.txt,l.csv,,pair",
        "q2,query,rna,,,mtx,,,2.txt,,,pair",
        "r3,reference,atac,,q.tsv.gz,,,1.bed,1.txt,l.csv,,peaks",
        "q3,query,atac,,q.tsv.gz,,,2.bed,2.txt,,,peaks",
        "q4,query,atac,,q2.tsv.gz,,,,,,,alone",
        "q5,query,atac,,q2.tsv.gz,,,,,,,alone",
        "s6,reference,rna,,,c.h5ad,,,2.txt,cell_type,,itself",
        "s6,query,rna,,,c.h5ad,,,2.txt,cell_type,,itself",
    )
    mistakes = launch.refused("--input", sheet)
    assert (
        at(mistakes, f"{sheet}, line 3, column labels")[0]
        == "sample `r1` has labels `other` here and `cell_type` on line 2"
    )
    assert at(mistakes, f"{sheet}, line 3, column batch")[0] == "sample `r1` has batch `b2` here and `b1` on line 2"
    what, remedy = at(mistakes, f"{sheet}, line 5, column matrix")
    assert what == "duplicate: sample `q1` has this file on line 4 too"
    assert remedy.startswith("remove one of the two rows")
    what, remedy = at(mistakes, f"{sheet}, lines 6, 7")
    assert what == "group `pair` goes from atac to rna, which is not supported"
    assert remedy == "reference and query may be rna and atac, atac and atac, or rna and rna"
    assert at(mistakes, f"{sheet}, line 9, column peaks")[0] == "group `peaks` has other peaks here than on line 8"
    assert at(mistakes, f"{sheet}, lines 10, 11")[0] == "group `alone` has no reference"
    assert (
        at(mistakes, f"{sheet}, line 11, column fragments")[0]
        == "sample `q5` has the same file as sample `q4` on line 10"
    )
    assert at(mistakes, f"{sheet}, lines 12, 13")[0] == "sample `s6` is reference and query in group `itself`"
    assert len(mistakes) == 8


@both_parsers
def test_mistaken_proteins(launch: Launch) -> None:
    sheet = launch.sheet(
        "r,reference,rna,,,a.h5ad,nowhere.h5ad,cell_type",
        "q1,query,atac,,,,b.h5ad,",
        "q2,query,atac,a,q.tsv.gz,,c.h5ad,",
        "q2,query,atac,b,q2.tsv.gz,,c.h5ad,",
        "q3,query,atac,,,b.h5ad,c.h5ad,",
        "q4,query,atac,,,notes.txt,notes.txt,",
        header="sample,role,modality,library,fragments,matrix,proteins,labels",
    )
    mistakes = launch.refused("--input", sheet)

    def cell(line: int) -> tuple[str, str]:
        return at(mistakes, f"{sheet}, line {line}, column proteins")

    assert cell(2)[0].startswith("proteins `nowhere.h5ad` does not exist")
    assert cell(3)[0] == "proteins are given without fragments or a matrix"
    assert cell(5)[0] == "duplicate: sample `q2` has these proteins on line 4 too"
    assert cell(6)[0] == "sample `q3` has the same proteins as sample `q2` on line 4"
    assert cell(7) == (
        "proteins `notes.txt` is not a file of the right kind",
        "give a .h5ad file, a 10x .h5 file or a 10x matrix folder",
    )


@both_parsers
def test_mistaken_parameters(launch: Launch) -> None:
    sheet = launch.sheet("r,reference,rna,,,a.h5ad,,,,cell_type,,", "q,query,atac,,q.tsv.gz,,,,,,,")
    arguments = (
        "--anotation genes.gtf --min_tss -1 --window_size 2.5 --genome hg37 --max_train_cells lots --scenario rna"
    )
    both = "--target_error 0.1 --unknown_threshold 0.5 --image_dir genes.gtf --label_map"
    mistakes = launch.refused("--input", sheet, *arguments.split(), *both.split())
    assert at(mistakes, "parameter --anotation") == ("there is no such parameter", "did you mean --annotation?")
    assert at(mistakes, "parameter --min_tss") == ("`-1` is too small", "give a number, at least 0")
    assert at(mistakes, "parameter --window_size") == (
        "`2.5` is not a whole number",
        "give a whole number, at least 50 and at most 10000000",
    )
    assert at(mistakes, "parameter --genome")[0] == "`hg37` is not one of hg38, hg19, mm10, mm39"
    assert at(mistakes, "parameter --max_train_cells")[0] == "`lots` is not a whole number"
    assert at(mistakes, "parameter --image_dir")[0] == "`genes.gtf` is a file, not a folder"
    assert at(mistakes, "parameter --label_map")[0] == "--label_map has no value"
    assert at(mistakes, "parameters --target_error, --unknown_threshold")[1] == "give one of them"
    assert "annotation" in at(mistakes, f"{sheet}, line 3, column fragments")[1]


@both_parsers
def test_a_mistaken_list_of_markers_is_told_in_one_message(launch: Launch) -> None:
    sheet = launch.sheet("r,reference,rna,,,a.h5ad,,,,cell_type,,", "q,query,rna,,,b.h5ad,,,,,,")
    given = {
        "cell_type,gene\nB,MS4A1\n\nT,\n,CD3E\n": ("m.csv, line 4, column gene", "gene is empty"),
        "celltype,gene\nB,MS4A1\n": ("m.csv, line 1, column celltype", "there is no such column"),
        "cell_type;gene\nB;MS4A1\n": ("m.csv, line 1", "columns are separated by semicolons"),
        "cell_type,gene\nB,MS4A1,CD79A\nT,CD3E,CD3D\n": ("m.csv, line 2", "the row has 3 cells, the header 2"),
    }
    for text, (where, what) in given.items():
        (launch.folder / "m.csv").write_text(text)
        assert [found[:2] for found in launch.refused("--input", sheet, "--markers", "m.csv")] == [(what, where)]


def test_nothing_given(launch: Launch) -> None:
    mistakes = launch.refused(outdir=None)
    assert [what for what, _, _ in mistakes] == ["--input is missing", "--outdir is missing"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "`sheet.csv` is empty"),
        (f"{COLUMNS}\n\n", "the sheet has a header and no row"),
        ("sample;role;modality\nq;query;rna\n", "columns are separated by semicolons"),
        ("sample,modality,matrix\nq,rna,a.h5ad\n", "column role is missing"),
    ],
)
def test_sheet_that_is_none(launch: Launch, content: str, what: str) -> None:
    (launch.folder / "sheet.csv").write_text(content)
    assert [found for found, _, _ in launch.refused("--input", "sheet.csv")] == [what]


def test_bundle_beside_references(launch: Launch) -> None:
    sheet = launch.sheet("r,reference,rna,,,a.h5ad,,,,cell_type,,", "q,query,rna,,,b.h5ad,,,,,,")
    mistakes = launch.refused("--input", sheet, "--model", "bundle")
    assert (
        at(mistakes, f"{sheet}, line 2, column role")[0]
        == "group `all` has a reference, and --model brings one already"
    )
    (launch.folder / "bundle" / "bundle.json").write_text('{"recipe": ')
    mistakes = launch.refused("--input", launch.sheet("q,query,rna,,,b.h5ad,,,,,,"), "--model", "bundle")
    assert "is damaged: bundle.json" in at(mistakes, "parameter --model")[0]


@both_parsers
def test_sheet_from_a_spreadsheet_is_accepted(launch: Launch) -> None:
    lines = (
        "sample,role,modality,fragments,matrix,labels",
        '"r",reference,rna,,a.h5ad,"cell_type"',
        "",
        "q,query,atac,q.tsv.gz,,",
        ",,,,,",
    )
    (launch.folder / "sheet.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    done = launch.run("--input", "sheet.csv", "--annotation", "genes.gtf", "--genome", "hg38", "-preview")
    assert "all: rna reference r -> atac q" in done.stdout
    assert "mistake" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr


@both_parsers
def test_help_and_version_run_nothing(launch: Launch) -> None:
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    printed = launch.run("--help", outdir=None)
    assert printed.returncode == 0, printed.stderr
    assert all(f"--{name} " in printed.stdout for group in schema["$defs"].values() for name in group["properties"])
    assert "cellpredx 0.1.0" in launch.run("--version", outdir=None).stdout
    assert not (launch.folder / "null").exists()


def test_defaults_are_those_of_the_schema(launch: Launch) -> None:
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    rules = {name: rule for group in schema["$defs"].values() for name, rule in group["properties"].items()}
    shown = subprocess.run(
        [str(ENGINE), "config", "-flat", str(ROOT)], cwd=launch.folder, capture_output=True, text=True, check=True
    ).stdout
    pairs = (line.removeprefix("params.").split(" = ", 1) for line in shown.splitlines() if line.startswith("params."))
    defaults = {name: json.loads(value.replace("'", '"')) for name, value in pairs}
    unset = {name: None if value == "" else value for name, value in defaults.items()}
    assert unset == {name: rule.get("default") for name, rule in rules.items()}


CELLS = [f"AAACCCAAGAA{a}{b}ACA-1" for a in "ACGT" for b in "ACGT"]


def matrix(path: Path, value: float = 1) -> ad.AnnData:
    """Write a small matrix, one of whose values is `value`; return it."""
    counts = np.random.default_rng(1).poisson(2.0, (16, 30)).astype(np.float32)
    counts[4, 7] = value
    obs = pd.DataFrame({"cell_type": ["B", "T"] * 8}, index=CELLS)
    data = ad.AnnData(counts, obs, pd.DataFrame(index=[f"G{i}" for i in range(30)]))
    data.write_h5ad(path)
    return data


def test_a_bad_value_ends_the_run_with_its_cell_and_feature(tmp_path: Path) -> None:
    matrix(tmp_path / "ref.h5ad")
    matrix(tmp_path / "query.h5ad", value=-3)
    (tmp_path / "sheet.csv").write_text(
        "sample,role,modality,matrix,labels\nr,reference,rna,ref.h5ad,cell_type\nq,query,rna,query.h5ad,\n"
    )
    run = run_pipeline(tmp_path, "--input", "sheet.csv")
    assert run.code != 0
    assert "ERROR: the matrix has negative values: 1 of " in run.said
    assert f"where:  query.h5ad, X, cell '{CELLS[4]}', feature 'G7'" in run.said
    assert "remedy: give counts, not scaled values" in run.said
    assert "Traceback" not in run.said
    assert not (run.outdir / "samples" / "q").exists()
    assert not (run.outdir / "groups").exists()
    assert not (run.outdir / "summary.csv").exists()
