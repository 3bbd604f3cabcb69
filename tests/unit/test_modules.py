"""Every module beside what describes and tests it, as nf-core asks of modules."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "modules/local").iterdir())
NAME = r"(?:val|path)[( ]\s*['\"]?([a-z]\w*)"


def block(text: str, begin: str, end: str) -> list[str]:
    """The lines of a part of a process that declare something."""
    found = re.search(rf"^ +{begin}:\n(.*?)^ +{end}:", text, flags=re.MULTILINE | re.DOTALL)
    return [line for line in found[1].splitlines() if line.strip()] if found else []


def names(described: Any) -> list[str]:
    """The names of an input of meta.yml: a list of them where it is a tuple."""
    return [name for one in (described if isinstance(described, list) else [described]) for name in one]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_module_is_whole_and_described(module: Path) -> None:
    text = (module / "main.nf").read_text()
    meta = yaml.safe_load((module / "meta.yml").read_text())
    (process,) = re.findall(r"^process (\w+) \{", text, flags=re.MULTILINE)
    assert meta["name"] == module.name == process.lower()
    assert meta["description"]
    assert len(meta["keywords"]) >= 3
    assert all(tool["description"] and tool["licence"] for tools in meta["tools"] for tool in tools.values())
    assert "val(meta)" not in text or re.search(r"^ +tag ", text, flags=re.MULTILINE)
    assert re.search(r"^ +label 'process_\w+'", text, flags=re.MULTILINE)
    assert re.search(r"^ +(label 'image_\w+'|ext image:)", text, flags=re.MULTILINE)
    assert re.search(r"^ +stub:", text, flags=re.MULTILINE)

    given = [re.findall(NAME, line) for line in block(text, "input", "output")]
    # Standard input has no name of its own.
    assert [one if given[i] else [] for i, one in enumerate(map(names, meta["input"]))] == given
    assert "val(meta)" not in text or given[0][0] == "meta"
    emitted = [re.search(r"emit: (\w+)", line) for line in block(text, "output", "script")]
    assert set(meta["output"]) == {one[1] for one in emitted if one}

    suite = (module / "tests/main.nf.test").read_text()
    assert f"process '{process}'" in suite
    assert "options '-stub'" in suite


@pytest.mark.parametrize("folder", sorted((ROOT / "subworkflows/local").iterdir()), ids=lambda folder: folder.name)
def test_every_function_of_a_subworkflow_that_is_included_is_described(folder: Path) -> None:
    meta = yaml.safe_load((folder / "meta.yml").read_text())
    assert meta["name"] == folder.name
    described = {name for one in meta.get("functions", []) for name in one}
    defined = set(re.findall(r"^def (\w+)\(", (folder / "main.nf").read_text(), flags=re.MULTILINE))
    assert described <= defined
    texts = [path.read_text() for path in (ROOT / "main.nf", *ROOT.glob("workflows/*.nf"))]
    includes = [one for text in texts for one in re.findall(r"include [{]([^}]*)[}] from '[^']*/(\w+)'", text)]
    used = {name for names, source in includes if source == folder.name for name in re.findall(r"\w+", names)}
    assert used & defined <= described
