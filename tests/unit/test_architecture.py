"""The shape of the house: which stage may import which, one version, nothing that can run code when read."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import cellpredx

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "cellpredx"
ORDER = (
    "preflight",
    "samplesheet",
    "fragments",
    "matrix",
    "reference",
    "model",
    "baselines",
    "explain",
    "evaluate",
    "report",
)
MODULES = sorted(PACKAGE.rglob("*.py"))
MODEL = [
    path
    for path in sorted((PACKAGE / "model").glob("*.py"))
    if path.name not in ("commands.py", "bundle.py", "whole_query.py")
]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too; `from a import b` gives a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def stages(path: Path) -> set[str]:
    """The stages that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("cellpredx.")} - {"core", "__version__"}


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_the_stages_are_those_that_there_are() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == {*ORDER, "core", "simulate"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_data_flow_one_way(path: Path) -> None:
    stage = path.relative_to(PACKAGE).parts[0]
    if stage in ORDER:
        allowed = set(ORDER[: ORDER.index(stage) + 1])
    else:
        allowed = {"core": set(), "simulate": {"simulate"}}.get(stage, {*ORDER, "simulate", "cli"})
    assert stages(path) <= allowed


@pytest.mark.parametrize("path", MODEL, ids=name_of)
def test_the_model_needs_numpy_scipy_and_torch_alone(path: Path) -> None:
    own = {name for name in imports(path) if name.startswith("cellpredx")}
    assert {name.split(".")[1] for name in own} <= {"core", "model"}
    others = {name.split(".")[0] for name in imports(path) - own}
    assert others - set(sys.stdlib_module_names) <= {"numpy", "scipy", "torch"}


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    config = (ROOT / "nextflow.config").read_text(encoding="utf-8")
    manifest = re.search(r"manifest\s*\{[^}]*?\bversion\s*=\s*'([^']+)'", config)
    command = re.search(r'WORKFLOW_VERSION = "([^"]+)"', (ROOT / "bin" / "cellpredx").read_text(encoding="utf-8"))
    make = re.search(r"VERSION := (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    images = (ROOT / "conf" / "modules.config").read_text(encoding="utf-8")
    tags = re.findall(r"cellpredx-[\w<>]+[:-](\d+\.\d+\.\d+)", images)
    assert manifest is not None
    assert command is not None
    assert make is not None
    assert len(tags) == 12
    assert {manifest[1], command[1], make[1], cellpredx.__version__, *tags} == {project}


def test_nothing_is_stored_in_a_form_that_runs_code_when_read() -> None:
    # The word is split here, so that this file may be searched too.
    word = "pick" + "le"
    texts = {name_of(path): path.read_text(encoding="utf-8").lower() for path in MODULES}
    assert [name for name, text in texts.items() if word in text] == []
    assert [name for name, text in texts.items() if "torch.load" in text or "joblib" in text] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_compiles_with_numba_numbers_it_apart_from_other_processes(path: Path) -> None:
    compiling = {name.split(".")[0] for name in imports(path)} & {"numba", "pynndescent", "scanpy", "umap"}
    compiled = "cellpredx.core.compiled"
    if compiling and name_of(path) != "core/compiled.py":
        assert any(name.startswith(compiled) for name in imports(path)), f"import {compiled} first: {compiling}"
