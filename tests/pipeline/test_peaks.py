"""The one peak set of a group: where it comes from in every case, and calls by the real MACS3 from sheet to report."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import ENGINE, ROOT, run_pipeline, simulate

Json = dict[str, Any]
OPTIONS: Json = {"features": "auto", "window_size": 500, "can_call_peaks": True}


def case(kinds: dict[str, str], beds: dict[str, str] | None = None, rna: bool = False, **options: Any) -> Json:
    """A group `g` whose samples r, r2, ... are references and q, q2, ... queries, each of a kind."""
    references = [name for name in kinds if name.startswith("r")]
    queries = [name for name in kinds if name.startswith("q")]
    group: Json = {"id": "g", "references": references, "queries": queries, "bundle": options.pop("bundle", None)}
    group["reference_modality"] = None if not references else "rna" if rna else "atac"
    group["query_modality"] = "atac"
    samples = [{"id": name, "rows": [{"peaks": (beds or {}).get(name)}]} for name in kinds]
    apart = options.pop("apart", False)
    transfers = [group | {"id": f"g.{q}", "group": "g", "queries": [q]} for q in queries] if apart else None
    plan = {"samples": samples, "groups": [group], "transfers": transfers or [group | {"group": "g"}]}
    return {"plan": plan, "kinds": kinds, "options": OPTIONS | options}


def plans(folder: Path, cases: list[Json]) -> list[list[Json]]:
    """The needs that the workflow's own functions make of each case."""
    if ENGINE is None:
        pytest.skip("no `nextflow` on PATH, and the variable NEXTFLOW names none")
    (folder / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(
        [ENGINE, "run", str(ROOT / "tests/support/plan.nf"), "-ansi-log", "false", "--cases", "cases.json"],
        cwd=folder,
        env={**os.environ, "NXF_OFFLINE": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("NEEDS ")]
    assert lines, done.stdout + done.stderr
    found: list[list[Json]] = json.loads(lines[0].removeprefix("NEEDS "))
    return found


def test_a_group_has_one_peak_set_in_order_of_precedence(tmp_path: Path) -> None:
    fragments = {"r": "fragments", "q": "fragments"}
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "bundle.json").write_text('{"reference_modality": "atac", "recipe": {"kind": "peaks"}}')
    three = {"source": "called", "called": ["q", "q2", "r"], "group": "g"}

    def both(counted_on: Any) -> dict[str, Any]:
        return {"r": counted_on, "q": counted_on}

    # A case, and what each of its samples of fragments is counted on: a peak set, windows or gene activity.
    cases: list[tuple[Json, dict[str, Any]]] = [
        (
            case({"q": "fragments"}, {"q": "given.bed"}, bundle=str(bundle)),
            {"q": {"source": "bundle", "file": str(bundle / "features.csv")}},
        ),
        (
            case({"r": "peaks", "q": "fragments", "q2": "peaks"}, {"q": "given.bed"}),
            {"q": {"source": "reference", "sample": "r"}},
        ),
        (
            case({"r": "fragments", "q": "fragments", "q2": "peaks"}, {"q": "given.bed"}),
            both({"source": "given", "file": "given.bed"}),
        ),
        (
            case({"r": "fragments", "q": "fragments", "q2": "peaks"}),
            both({"source": "query", "sample": "q2"}),
        ),
        (case(fragments), both({"source": "called", "called": ["q", "r"], "group": "g"})),
        (
            case({"r": "fragments", "q": "fragments", "q2": "fragments"}, apart=True),
            both(three) | {"q2": three},
        ),
        (case({"r": "genes", "q": "fragments"}, rna=True), {"q": {"source": "called", "called": ["q"], "group": "g"}}),
        (case(fragments, can_call_peaks=False), both("windows")),
        (case(fragments, features="windows"), both("windows")),
        (case(fragments, features="gene_activity"), both("gene_activity")),
        (case({"r": "gene_activity", "q": "fragments"}), {"q": "gene_activity"}),
    ]
    for (one, expected), needs in zip(cases, plans(tmp_path, [one for one, _ in cases]), strict=True):
        counted: dict[str, Any] = {}
        for need in needs:
            if need["made_from"] == "fragments" and not (need["part"] == "query" and one["kinds"].get("r") == "genes"):
                counted.setdefault(need["key"][0], []).append(need["peaks"] or need["key"][1])
                assert need["peak_source"] == need["peaks"].get("source")
        assert {sample: found[0] for sample, found in counted.items()} == expected
        assert all(found == found[:1] * len(found) for found in counted.values())
    stand_ins = [
        any(need["without_peaks"] for need in needs)
        for needs in plans(tmp_path, [case(fragments, can_call_peaks=False), case(fragments, features="windows")])
    ]
    assert stand_ins == [True, False]


@pytest.mark.skipif(shutil.which("macs3") is None, reason="no `macs3` on PATH: `make peaks-env` makes one")
def test_fragments_against_fragments_without_peaks_are_compared_on_called_ones(tmp_path: Path) -> None:
    data = simulate("atac", tmp_path / "data", cells=60)
    reference = "reference_atac,{},atac,{},reference_atac_{}_fragments.tsv.gz,reference_atac_labels.csv,{}"
    files = (("lib1", "lib1_L001"), ("lib1", "lib1_L002"), ("lib2", "lib2"))
    rows = [
        reference.format(role, library, name, group)
        for role, group in (("reference", "there"), ("query", "back"))
        for library, name in files
    ]
    rows += [
        f"query,{role},atac,query,query_fragments.tsv.gz,query_labels.csv,{group}"
        for role, group in (("query", "there"), ("reference", "back"))
    ]
    (data / "called.csv").write_text("\n".join(["sample,role,modality,library,fragments,labels,group", *rows]) + "\n")
    (data / "blacklist.bed").write_text("chr1\t0\t400000\n")
    arguments = ["--annotation", str(data / "genes.gtf.gz"), "--chrom_sizes", str(data / "genome.sizes")]
    arguments += ["--blacklist", str(data / "blacklist.bed"), "--hyperparameters", "iterations=80"]
    run = run_pipeline(tmp_path, "--input", str(data / "called.csv"), *arguments)
    assert run.code == 0, run.said

    # In two groups each, the samples are called once; both groups have the same members, and so the same set.
    tasks = sorted(task["name"].split(":")[-1] for task in run.tasks() if "_PEAKS" in task["name"])
    assert tasks == [
        "CALL_PEAKS (query)",
        "CALL_PEAKS (reference_atac)",
        "MERGE_PEAKS (back)",
        "MERGE_PEAKS (there)",
    ]
    assert (run.outdir / "samples/query/peaks/query.narrowPeak").is_file()
    peaks = [line.split("\t") for line in (run.outdir / "groups/there/peaks.bed").read_text().splitlines()]
    assert (run.outdir / "groups/back/peaks.bed").read_text().splitlines() == ["\t".join(peak) for peak in peaks]
    assert not [peak for peak in peaks if peak[0] == "chr1" and int(peak[1]) < 400_000]

    # The simulation knows where peaks are: what was called is there, and nearly all of it was found.
    truth: dict[str, list[tuple[int, int]]] = {}
    for line in (data / "peaks.bed").read_text().splitlines():
        chrom, start, end = line.split("\t")[:3]
        truth.setdefault(chrom, []).append((int(start), int(end)))
    real = [any(s < int(peak[2]) and int(peak[1]) < e for s, e in truth.get(peak[0], [])) for peak in peaks]
    assert sum(real) / len(real) >= 0.95

    assert len(run.table("groups/there/model/features.csv")) == len(peaks)
    assert run.json("groups/there/model/bundle.json")["recipe"]["kind"] == "peaks"
    for row in run.table("summary.csv"):
        assert float(row["accuracy"]) >= 0.85
        assert "windows" not in row["reason"]
    versions = (run.outdir / "pipeline_info/versions.yml").read_text()
    assert "macs3 3." in versions
    assert "called, one set for the group" in (run.outdir / "multiqc/multiqc_report.html").read_text()
