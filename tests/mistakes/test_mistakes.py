"""Every mistake of the table in cases.py: one clear message, no traceback, no task that could have been spared, nothing
half-written. Mistakes that are told together are made together, in one run of the real engine."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

from cellpredx.cli import main
from tests.mistakes.cases import ALL, INPUTS, PARAMETERS, SETTINGS, SHEET, SHELL, TRANSFERS, VALUES, Case
from tests.mistakes.files import bundle, changed_bundle, matrix, peak_matrix, sheet_files
from tests.pipeline.conftest import CHECKS, ENGINE, ROOT

COLUMNS = (
    *("sample", "role", "modality", "library", "fragments", "matrix", "gene_activity", "peaks", "barcodes", "labels"),
    *("batch", "group"),
)
NOISE = ("Traceback", "Caused by", "-- Check script", "Exception", "\tat ", ".nextflow.log")
# Parameters of SETTINGS that do not stand beside the others of the table in one run.
ALONE = ("chrom_sizes", "model", "preset")
pipeline = pytest.mark.skipif(ENGINE is None, reason="no `nextflow` on PATH, and the variable NEXTFLOW names none")


@dataclass(frozen=True)
class Mistake:
    """A mistake as it was told."""

    what: str
    where: str
    remedy: str


def mistakes_of(said: str) -> list[Mistake]:
    """Every mistake of a message."""
    found = []
    for block in said.split("ERROR: ")[1:]:
        lines = block.splitlines()
        assert lines[1].startswith("  where:  "), block
        assert lines[2].startswith("  remedy: "), block
        found.append(Mistake(lines[0], lines[1].removeprefix("  where:  "), lines[2].removeprefix("  remedy: ")))
    return found


def run(folder: Path, *arguments: str, prefix: Sequence[str] = (), profile: str = "test") -> tuple[str, list[str]]:
    """Run the pipeline in vain; return what it said, and the processes that were started."""
    done = subprocess.run(
        [*prefix, str(ENGINE), "run", str(ROOT / "main.nf"), "-ansi-log", "false", "-profile", profile, *arguments],
        cwd=folder,
        env={**os.environ, "NXF_OFFLINE": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert not [word for word in NOISE if word in said], said
    assert not list(folder.rglob("PWNED"))
    assert not [path for path in (folder / "results").rglob("*") if path.is_file() and "pipeline_info" not in str(path)]
    return said, re.findall(r"Submitted process > (?:\w+:)*(\w+)", said)


def sheet(folder: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write sheet.csv; a row with the key '' is the line itself."""

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if re.search('[",]', text) else text

    lines = [row[""] if "" in row else ",".join(cell(row.get(name, "")) for name in COLUMNS) for row in rows]
    (folder / "sheet.csv").write_text("\n".join((",".join(COLUMNS), *lines)) + "\n")


def at(found: list[Mistake], case: Case, where: str) -> None:
    """Hold that a case was told once, at its place, with a remedy."""
    told = [one for one in found if case.says in one.what and one.where.startswith(where)]
    assert len(told) == 1, f"{case.fault}: `{case.says}` at {where} is not once in\n" + "\n".join(map(str, found))
    assert case.where in told[0].where, (case.fault, told[0])
    assert told[0].remedy.strip(), case.fault


def test_the_table_has_sixty_mistakes_and_more_each_of_its_own() -> None:
    assert len(ALL) >= 60
    assert len({case.fault for case in ALL}) == len(ALL)


@pipeline
def test_mistakes_of_the_sheet(tmp_path: Path) -> None:
    sheet_files(tmp_path)
    for number in range(len(SHEET)):
        (tmp_path / f"own{number}.h5ad").write_text("content\n")
        (tmp_path / f"own{number}.tsv.gz").write_text("content\n")

    def placed(number: int, case: Case) -> dict[str, str]:
        """A row of its own sample, file and group's modality, but for the fault."""
        own = {"a.h5ad": f"own{number}.h5ad", "q.tsv.gz": f"own{number}.tsv.gz"}
        row = {name: own.get(value, value) for name, value in case.row.items()}
        return {"sample": f"s{number}", "group": row.get("modality", "rna"), **row} if "" not in row else row

    sound = [
        {
            "sample": "r",
            "role": "reference",
            "modality": "rna",
            "matrix": "a.h5ad",
            "labels": "cell_type",
            "group": "rna",
        },
        {"sample": "q", "role": "query", "modality": "rna", "matrix": "b.h5ad", "group": "rna"},
        {
            "sample": "p",
            "role": "reference",
            "modality": "atac",
            "fragments": "q.tsv.gz",
            "labels": "l.csv",
            "group": "atac",
        },
    ]
    sheet(tmp_path, [*sound, *(placed(number, case) for number, case in enumerate(SHEET))])
    said, started = run(tmp_path, "--input", "sheet.csv", "--outdir", "results")
    found = mistakes_of(said)
    for number, case in enumerate(SHEET, start=len(sound) + 2):
        place = f"sheet.csv, line {number}"
        at(found, case, f"{place}, column {case.where}" if case.where else place)
    assert len(found) == len(SHEET), said
    assert started == []
    assert not (tmp_path / "results").exists()


@pipeline
def test_mistakes_of_parameters(tmp_path: Path) -> None:
    """All in one start of the engine: what main.nf does before its first task."""
    sheet_files(tmp_path)
    rows = [
        {"sample": "r", "role": "reference", "modality": "rna", "matrix": "a.h5ad", "labels": "cell_type"},
        {"sample": "q", "role": "query", "modality": "rna", "matrix": "b.h5ad"},
    ]
    sheet(tmp_path, rows)
    given = [
        {"input": "sheet.csv", "outdir": "results", **{name: value or "true" for name, value in case.given.items()}}
        for case in PARAMETERS
    ]
    # The same fault of two bundles, as CHECK_SETTINGS tells it.
    for name in ("z_bundle", "y_bundle"):
        bundle(tmp_path / name)
    (tmp_path / "models.csv").write_text("group,bundle\na,z_bundle\nb,y_bundle\n")
    (tmp_path / "queries.csv").write_text(
        "sample,role,modality,matrix,group\nq,query,rna,a.h5ad,a\np,query,rna,b.h5ad,b\n"
    )
    fault = {"what": "it is damaged", "where": "parameter --model: model", "remedy": "copy it again"}
    settings = {"problems": [fault | {"bundle": number} for number in (0, 1)]}
    bundles = {"input": "queries.csv", "outdir": "results", "model": "models.csv", "settings": settings}
    (tmp_path / "cases.json").write_text(json.dumps([*given, bundles]))
    done = subprocess.run(
        [str(ENGINE), "run", str(ROOT / "tests" / "support" / "mistakes.nf"), "--cases", "cases.json"],
        cwd=tmp_path,
        env={**os.environ, "NXF_OFFLINE": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("MISTAKES "))[9:])
    where = [one.where for one in mistakes_of(told.pop())]
    assert where == [f"parameter --model: bundle {tmp_path / name}" for name in ("y_bundle", "z_bundle")]
    for case, text in zip(PARAMETERS, told, strict=True):
        found = mistakes_of(text)
        place = "" if case.where else f"parameter --{next(iter(case.given))}"
        at(found, case, place)
        # With a bundle beside references, or a column that is not there, more than one thing is wrong.
        assert len(found) == 1 or case.given.keys() & {"model", "input"}, text
    assert not list(tmp_path.rglob("PWNED"))


@pipeline
def test_a_mistaken_command_line_ends_before_any_task(tmp_path: Path) -> None:
    sheet_files(tmp_path)
    given = "--input swapped.csv --seed -1 --registry x;touch${IFS}PWNED; --model odd_bundle --anotation genes.gtf"
    said, started = run(tmp_path, *given.split(), "--outdir", "results", "-work-dir", "w$(touch PWNED)")
    texts = [one.what for one in mistakes_of(said)]
    parts = (
        "`-1` is too small",
        "is not of the right form",
        "is damaged: bundle.json",
        "there is no such parameter",
        "the work folder has a `$`, a backtick or a line end in its path",
    )
    for part in parts:
        assert len([text for text in texts if part in text]) == 1, said
    swapped = next(one for one in mistakes_of(said) if one.what == "a reference without labels")
    assert swapped.remedy.endswith("the query on line 3 has labels: are the two roles swapped?")
    assert started == []
    assert not (tmp_path / "results").exists()


@pipeline
def test_a_profile_that_is_not_there_is_told_by_the_engine(tmp_path: Path) -> None:
    said, started = run(tmp_path, "--input", "sheet.csv", "--outdir", "results", profile="dockr")
    assert "Unknown configuration profile: 'dockr'" in said
    assert started == []


@pipeline
def test_a_file_of_somebody_else_is_told_before_anything_runs() -> None:
    """The administrator may read all: then the run is another user's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sheet_files(folder)
        rows = [
            {"sample": "r", "role": "reference", "modality": "rna", "matrix": "a.h5ad", "labels": "cell_type"},
            {"sample": "q", "role": "query", "modality": "rna", "matrix": "b.h5ad"},
        ]
        sheet(folder, rows)
        (folder / "a.h5ad").chmod(0)
        prefix: list[str] = []
        if os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("the administrator reads all, and there is no setpriv to be somebody else")
            folder.chmod(0o777)
            homes = [f"HOME={folder}", f"NXF_HOME={folder}/.nextflow"]
            prefix = ["setpriv", "--reuid=65534", "--clear-groups", "env", *homes]
            reached = ["test", "-r", str(ROOT / "main.nf"), "-a", "-x", str(ENGINE)]
            if subprocess.run([*prefix, *reached], check=False).returncode:
                pytest.skip("nobody but the administrator reads this checkout")
        said, started = run(folder, "--input", "sheet.csv", "--outdir", "results", prefix=prefix)
        assert [one.what for one in mistakes_of(said)] == ["matrix `a.h5ad` cannot be read: you have no permission"]
        assert started == []


def staged(folder: Path, case: Case) -> dict[str, str]:
    """Make the files of a case in a folder of its own; return its row, with paths as the sheet has them."""
    own = folder / f"c{ALL.index(case)}"
    own.mkdir()
    if case.make is not None:
        case.make(own)
    row = dict(case.row)
    for name in ("fragments", "matrix", "peaks", "barcodes", "labels"):
        if row.get(name) == "q.tsv.gz":
            row[name] = "q.tsv"
            (own / "q.tsv").write_text("chr1\t5\t50\tAAAC-1\t1\n")
        elif row.get(name) == "a.h5ad":
            matrix().write_h5ad(own / "a.h5ad")
        if name in row and (own / row[name]).exists():
            row[name] = f"{own.name}/{row[name]}"
    return row


@pipeline
def test_mistakes_in_files_are_told_together_before_any_data_are_read(tmp_path: Path) -> None:
    """Rows that may be libraries of one sample are: a task checks them."""
    rows = []
    for number, case in enumerate(INPUTS):
        row = staged(tmp_path, case)
        shared = not {"labels", "peaks"} & set(row)
        sample = f"{row['modality']}_{'fragments' if 'fragments' in row else 'matrix'}" if shared else f"s{number}"
        group = f"g{number}" if "peaks" in row else row["modality"]
        rows.append({"sample": sample, "library": f"l{number}", "group": group, **row})
    peaks = ";".join(row["group"] for row in rows if "peaks" in row)
    (tmp_path / "p.tsv").write_text("chr1\t5\t50\tAAAC-1\t1\n")
    (tmp_path / "p.csv").write_text("barcode,cell_type\nAAAC-1,B\n")
    reference = {"role": "reference", "modality": "atac", "fragments": "p.tsv", "labels": "p.csv"}
    sheet(tmp_path, [*rows, {"sample": "p", **reference, "group": f"atac;{peaks}"}])
    # Of each parameter, its first case: a run gives it once.
    chosen = {name: case for case in reversed(SETTINGS) for name in case.given if name not in ALONE}
    for case in chosen.values():
        if case.make is not None:
            case.make(tmp_path)
    given = [text for case in chosen.values() for name, value in case.given.items() for text in (f"--{name}", value)]
    said, started = run(tmp_path, "--input", "sheet.csv", "--genome", "hg38", "--outdir", "results", *given)
    found = mistakes_of(said)
    for number, case in enumerate(INPUTS, start=2):
        at(found, case, f"sheet.csv, line {number}")
    for name, case in chosen.items():
        at(found, case, f"parameter --{name}")
    assert len(found) == len(INPUTS) + len(chosen), said
    assert set(started) == CHECKS


@pipeline
def test_samples_that_do_not_fit_each_other_are_told_before_any_data_are_read(tmp_path: Path) -> None:
    rows = []
    for number, case in enumerate(TRANSFERS):
        own = tmp_path / f"t{number}"
        own.mkdir()
        for end, row in zip("rq", case.make(own) if case.make else [], strict=True):
            paths = {name: f"{own.name}/{row[name]}" for name in ("matrix", "fragments") if name in row}
            rows.append({"sample": f"{own.name}-{end}", "group": own.name, **row, **paths})
    sheet(tmp_path, rows)
    said, started = run(tmp_path, "--input", "sheet.csv", "--genome", "hg38", "--outdir", "results")
    found = mistakes_of(said)
    for number, case in enumerate(TRANSFERS):
        at(found, case, f"sheet.csv, group t{number}")
    assert len(found) == len(TRANSFERS), said
    assert set(started) == CHECKS


@pytest.mark.parametrize("case", SETTINGS, ids=lambda case: case.fault)
def test_mistakes_in_what_all_samples_share(tmp_path: Path, case: Case) -> None:
    if case.make is not None:
        case.make(tmp_path)
    given: list[str] = []
    for name, value in case.given.items():
        path = value if name in ("hyperparameters", "preset") else str(tmp_path / value)
        given += ["--bundles" if name == "model" else "--" + name.replace("_", "-"), path]
    out = tmp_path / "settings.json"
    assert main(["check-settings", *given, "--scenarios", "atac", "unmatched", "--out", str(out)]) == 0
    problems = json.loads(out.read_text())["problems"]
    assert [case.says in problem["what"] for problem in problems] == [True], problems
    assert problems[0]["where"].startswith(f"parameter --{next(iter(case.given))}")
    assert case.where in problems[0]["where"]
    assert problems[0]["remedy"]


def test_a_bundle_with_a_fault_is_told_by_its_place_in_the_list(tmp_path: Path) -> None:
    changed_bundle(tmp_path)
    bundles = [str(bundle(tmp_path / "sound")), str(tmp_path / "changed")]
    out = tmp_path / "settings.json"
    assert main(["check-settings", "--bundles", *bundles, "--out", str(out)]) == 0
    assert [problem["bundle"] for problem in json.loads(out.read_text())["problems"]] == [1]


@pytest.mark.parametrize("case", VALUES, ids=lambda case: case.fault)
def test_mistakes_in_values_end_the_task_that_reads_them(
    tmp_path: Path, case: Case, spec_text: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert case.make is not None
    given = case.make(tmp_path)
    options = [str(text) for name, value in given.items() if name.startswith("--") for text in (name, value)]
    row = {name: value for name, value in given.items() if not name.startswith("--")}
    spec = spec_text(row, modality=case.row.get("modality", "rna"))
    out = tmp_path / "out"
    if "fragments" in row:
        verb = ["ingest-fragments", "--spec", spec, "--store", str(out / "store"), "--outdir", str(out), *options]
    else:
        verb = ["standardise", "--spec", spec, "--outdir", str(out)]
    assert main(verb) == 1
    said = capsys.readouterr().err
    found = mistakes_of(said[said.index("ERROR") :])
    at(found, case, "")
    assert "Traceback" not in said
    assert not [path for path in out.rglob("*") if path.is_file()]


LIMITED = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from cellpredx.cli import main
print([main(verb) for verb in json.loads(sys.stdin.read())])
"""


def test_no_file_however_made_fills_the_memory(tmp_path: Path, spec_text: Callable[..., str]) -> None:
    """Bombs, lines of 5 GB and sizes that no file holds, read by a process that may have 3 GB."""
    hostile = [case for case in INPUTS if re.search(r"5 GB|10\^12", case.fault)]
    assert len(hostile) == 6
    verbs = []
    for case in hostile:
        row = staged(tmp_path, case)
        files = {name: tmp_path / row[name] for name in ("fragments", "matrix", "peaks", "barcodes") if name in row}
        verbs.append(["check", "--spec", spec_text(files, modality=row["modality"]), "--out", str(tmp_path / "c.json")])
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], input=json.dumps(verbs), capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == str([0] * len(verbs)), done.stdout + done.stderr


def test_a_column_of_linked_genes_that_is_not_there_is_told_beside_an_annotation_too(tmp_path: Path) -> None:
    peak_matrix(tmp_path)
    (tmp_path / "in1").mkdir()
    (tmp_path / "in1" / "peaks.h5ad").symlink_to(tmp_path / "peaks.h5ad")
    row = {"library": "q", "matrix": str(tmp_path / "in1")}
    spec = {"sample": "q", "modality": "atac", "roles": ["query"], "peak_gene_link": SHELL, "rows": [row]}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    verb = ["check", "--spec", str(tmp_path / "spec.json"), "--needs-genes", "--has-annotation"]
    assert main([*verb, "--out", str(tmp_path / "check.json")]) == 0
    (problem,) = json.loads((tmp_path / "check.json").read_text())["problems"]
    assert problem["what"].startswith("var has no column '$(touch PWNED)")


def test_what_is_packed_tightly_by_right_is_no_mistake(tmp_path: Path, spec_text: Callable[..., str]) -> None:
    """A column of one text, and a layer that is never read and of which nothing is stored."""
    matrix().write_h5ad(tmp_path / "m.h5ad")
    with h5py.File(tmp_path / "m.h5ad", "a") as handle:
        handle["obs"].create_dataset("site", data=np.full(2_000_000, b"the same hospital"), compression="gzip")
        handle["obsm"].create_dataset("X_far", (10**9, 50), "f4", chunks=(1000, 50))
    spec = spec_text({"matrix": tmp_path / "m.h5ad"}, modality="rna")
    assert main(["check", "--spec", spec, "--out", str(tmp_path / "check.json")]) == 0
    assert json.loads((tmp_path / "check.json").read_text())["problems"] == []


def test_memory_that_runs_out_is_one_message_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hungry(_args: object) -> None:
        np.ones(1 << 58)

    monkeypatch.setattr("cellpredx.cli.print_versions", hungry)
    assert main(["versions"]) == 137
    said = capsys.readouterr().err
    assert said.startswith("ERROR: not enough memory")
    assert "Traceback" not in said
