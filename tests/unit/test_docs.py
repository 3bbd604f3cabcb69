"""The documentation against what it describes: links, parameters, sheets, files."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cellpredx
from cellpredx.model.presets import SCENARIOS, load
from tests import pages

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
SCHEMA = json.loads((ROOT / "nextflow_schema.json").read_text())
PARAMETERS: dict[str, Any] = {
    name: parameter for group in SCHEMA["$defs"].values() for name, parameter in group["properties"].items()
}
# Options of other programs that the pages name.
OTHERS = {
    "account",
    "check",
    "gres",
    "gpus",
    "help",
    "net",
    "network",
    "nv",
    "nvidia",
    "partition",
    "quiet",
    "start",
    "target",
    "time",
}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and GitLab make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_parameters_page_is_current() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "docs/make_parameters.py"], capture_output=True, text=True, check=True
    )
    assert made.stdout == (ROOT / "docs/parameters.md").read_text(), "run `make docs`"


def test_schema_and_configuration_have_the_same_parameters_and_defaults() -> None:
    config = (ROOT / "nextflow.config").read_text()
    block = re.search(r"^params \{\n(.*?)^\}", config, flags=re.MULTILINE | re.DOTALL)
    assert block
    given = re.findall(r"^ +(\w+) += (.+)$", block[1], flags=re.MULTILINE)
    given += re.findall(r"^params\.(\w+) += params\.\w+ \?: (.+)$", config, flags=re.MULTILINE)
    words = {"null": None, "''": None, "true": True, "false": False}
    defaults = {name: words[text] if text in words else json.loads(text.replace("'", '"')) for name, text in given}
    assert defaults == {name: parameter.get("default") for name, parameter in PARAMETERS.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_that_a_page_names_exist(page: Path) -> None:
    folders = ("src/**/*.py", "benchmarks/*.py", "tests/**/conftest.py", "tests/interruptions/*.py")
    sources = [path for pattern in folders for path in ROOT.glob(pattern)]
    ours = {name for path in sources for name in re.findall(r'"--([a-z][a-z-]*)"', path.read_text())}
    named = set(re.findall(r"(?<![\w-])--([a-z]\w*(?:-\w+)*)", page.read_text()))
    assert not named - PARAMETERS.keys() - ours - OTHERS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_defaults_that_a_page_names_are_those(page: Path) -> None:
    text = page.read_text()
    named = re.findall(r"`--(\w+)` \(([\d.,]*\d)", text)
    named += re.findall(r"`--(\w+) ([\w.]+)` \(the\s+default", text)
    assert page.name != "usage.md" or len(named) >= 10
    for name, value in named:
        # Known where the other of the two is not given.
        default = 0.05 if name == "target_error" else PARAMETERS[name]["default"]
        assert value.replace(",", "") == str(default), name


def test_the_version_to_cite_is_the_package_s() -> None:
    assert f"\nversion: {cellpredx.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_parameter_is_explained() -> None:
    text = "\n".join(page.read_text() for page in PAGES if page.name not in ("parameters.md", "CHANGELOG.md"))
    told = {name for name in PARAMETERS if re.search(rf"--{name}\b", text)}
    assert not PARAMETERS.keys() - told


def test_every_column_of_the_sheet_is_explained() -> None:
    columns = json.loads((ROOT / "assets/schema_input.json").read_text())["items"]["properties"]
    rows = re.findall(r"^\| `(\w+)` \| ", (ROOT / "docs/usage.md").read_text(), flags=re.MULTILINE)
    assert rows == list(columns)
    listed = re.search(r"Columns: ([\w, ]+)\.", PARAMETERS["input"]["help_text"])
    assert listed
    assert listed[1].split(", ") == list(columns)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sheets_have_columns_and_values_of_the_schema(page: Path) -> None:
    schema = json.loads((ROOT / "assets/schema_input.json").read_text())["items"]
    blocks = re.findall(r"(?:^    sample,.*\n)(?:^    .+\n)+", page.read_text(), flags=re.MULTILINE)
    for block in blocks:
        for row in csv.DictReader(line.strip() for line in block.splitlines()):
            assert set(schema["required"]) <= row.keys() <= schema["properties"].keys()
            for column, value in row.items():
                rule = schema["properties"][column]
                form = next((one for one in rule.get("anyOf", [rule]) if "pattern" in one), rule).get("pattern", "")
                assert not value or re.search(form, value), (column, value)
                assert not value or value in rule.get("enum", [value]), (column, value)
            assert bool(row.get("fragments")) != bool(row.get("matrix")), row


def test_the_table_of_the_preset_paper_has_its_numbers() -> None:
    text = (ROOT / "docs/method.md").read_text()
    rows = re.findall(
        r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d,]+) \|$", text, flags=re.MULTILINE
    )
    assert {row[0] for row in rows} == set(SCENARIOS)
    for scenario, *numbers in rows:
        h = load("paper", scenario)
        assert [float(n.replace(",", "")) for n in numbers] == [h.alpha, h.beta, h.gamma, h.tau, h.iterations]


def test_files_of_the_output_page_are_written_by_something() -> None:
    sources = [*ROOT.glob("modules/local/*/main.nf"), *ROOT.glob("src/**/*.py"), *ROOT.glob("workflows/*.nf")]
    sources += ROOT.glob("subworkflows/local/*/main.nf")
    text = "\n".join(path.read_text() for path in [*sources, ROOT / "nextflow.config"])
    listed = pages.entries(pages.PAGE.read_text())
    assert len(listed) == len(set(listed)) > 40
    for entry in listed:
        folder, _, name = entry.rpartition("/")
        form = r"\{[^{}]+\}".join(re.escape(part) for part in pages.PLACEHOLDER.split(name))
        # Some names are put together of a kind of matrix, or of the kinds of a figure's files.
        kind = re.split(r"_<|\.", name)[0] if folder.endswith("/matrix") else name.rpartition(".")[2]
        put_together = folder.endswith("/matrix") or name in ("<name>.svg", "<name>.png")
        assert re.search(rf"['\"]{kind}['\"_.]" if put_together else form, text), entry
