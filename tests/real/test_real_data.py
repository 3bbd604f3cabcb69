"""The pipeline on real public data with known answers, through main.nf with ordinary sheets, on each engine."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import ROOT, Run, run_pipeline
from tests.real import sheets

DATA = ROOT.parent / "shared" / "data"
NUMBERS = ("cells", "accuracy", "macro_f1", "coverage", "ece", "novelty_auroc", "domain_gap_auc")
SETS = {"archr": sheets.archr, "matrices": sheets.matrices}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no real data: ../shared/data is not beside the checkout")


@pytest.fixture(scope="module")
def engines(request: pytest.FixtureRequest) -> list[str]:
    return str(request.config.getoption("--engines")).split(",")


@pytest.fixture(scope="module")
def runs(engines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run a set on an engine, once."""
    done: dict[tuple[str, str], Run] = {}

    def of(name: str, engine: str) -> Run:
        if (name, engine) not in done:
            folder = tmp_path_factory.mktemp(f"{name}_{engine}")
            _, arguments = SETS[name](DATA, folder)
            profile = "test" if engine == "local" else f"test,{engine}"
            done[name, engine] = run_pipeline(folder, "--input", "sheet.csv", *arguments, profile=profile)
        return done[name, engine]

    yield of
    for run in done.values():
        shutil.rmtree(run.outdir.parent / "work", ignore_errors=True)


def _check(run: Run) -> list[dict[str, str]]:
    assert run.code == 0, run.said
    rows = run.table("summary.csv")
    for row in rows:
        expected = sheets.EXPECTED[row["group"]]
        assert row["scenario"] == expected.scenario, row["group"]
        if expected.accuracy is not None:
            assert float(row["accuracy"]) >= expected.accuracy, row
    return rows


def _hit_rates(run: Run) -> list[str]:
    """The key gene hit rates of a run, a line a type, for the sets that have a marker list."""
    lines = []
    for path in sorted(run.outdir.glob("groups/*/*/explain.json")):
        told = json.loads(path.read_text())["types"]
        for name, one in told.items():
            by_user, by_reference = one["hit_rate"]["markers"], one["hit_rate"]["reference"]
            if by_user is None:
                continue
            assert 0 <= by_user["hits"] <= by_user["of"] <= 50
            cells = [
                f"{r['hits']} of {r['of']} | {r['rate']:.2f} | {r['p']:.2g}" if r else "- | - | -"
                for r in (by_user, by_reference)
            ]
            row = [path.parent.parent.name, name, one["cells"], by_user["not_in_model"], *cells]
            lines.append(f"| {' | '.join(map(str, row))} |")
    return lines


HIT_RATES = """
## Key gene hit rates

Of the 50 determinant features of each type, those in a list of markers: scCATCH's CellMatch (human blood for archr,
mouse brain for SNARE-seq; it holds genes that a type lacks, such as CD3D for monocytes), and the reference's own
differential features. `hits` of those that could be, their share, hypergeometric p; `absent`: markers that are none of
the model's features (archr has chromosomes 5 and 11 alone, SNARE-seq its authors' 1,677 genes).

| transfer | type | cells | absent | markers: hits | rate | p | reference: hits | rate | p |
|---|---|---|---|---|---|---|---|---|---|
"""


def _write_table(rows: list[dict[str, str]], rates: list[str], engines: list[str], path: Path) -> None:
    equal = ", with equal predictions" if len(engines) > 1 else ""
    lines = [
        "# What it reaches on real data",
        "",
        "Made by `make test-full`: preset `paper`, seed 1, the whole pipeline through `main.nf` with ordinary sheets",
        f"({', '.join(engines)}{equal}). The query's labels serve the evaluation alone. ECE is of",
        "the calibrated confidence; novelty AUROC where the query has types that the reference lacks. `known`: what a",
        "linear classifier and an independent implementation of `paper` reached on the same data.",
        "",
        "| transfer | scenario | " + " | ".join(name.replace("_", " ") for name in NUMBERS) + " | known |",
        "|---|---|" + "---|" * (len(NUMBERS) + 1),
    ]
    for row in rows:
        values = [f"{float(row[n]):.3f}" if row[n] and n != "cells" else row[n] for n in NUMBERS]
        known = sheets.EXPECTED[row["group"]].known
        lines.append(f"| {row['group']} | {row['scenario']} | " + " | ".join(values) + f" | {known} |")
    path.write_text("\n".join(lines) + "\n" + HIT_RATES + "\n".join(rates) + "\n")


@pytest.mark.parametrize("name", list(SETS))
def test_accuracy_and_equal_predictions(
    name: str, engines: list[str], runs: Any, request: pytest.FixtureRequest
) -> None:
    first = runs(name, engines[0])
    rows = _check(first)
    assert {row["group"] for row in rows} == {
        group for group in sheets.EXPECTED if (group == "archr") == (name == "archr")
    }
    rates = _hit_rates(first)
    assert len({line.split("|")[1] for line in rates}) == (1 if name == "archr" else 3), rates
    for engine in engines[1:]:
        other = runs(name, engine)
        _check(other)
        for row in rows:
            path = f"groups/{row['group']}/{row['query']}/predictions.csv"
            ours, theirs = first.table(path), other.table(path)
            changed = sum(a["predicted"] != b["predicted"] for a, b in zip(ours, theirs, strict=True))
            assert changed <= 0.001 * len(ours), f"{path}: {changed} labels differ between {engines[0]} and {engine}"
            largest = max(
                abs(float(a["confidence"]) - float(b["confidence"])) for a, b in zip(ours, theirs, strict=True)
            )
            assert largest <= 1e-4, path
    table = request.config.getoption("--table")
    if table and name == list(SETS)[-1]:
        both = [runs("archr", engines[0]), first]
        rates = [line for run in both for line in _hit_rates(run)]
        _write_table(_check(both[0]) + rows, rates, engines, ROOT / table)
