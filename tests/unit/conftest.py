"""Samples as the workflow describes them, and verbs run as its processes run them."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cellpredx.cli import parser
from cellpredx.core.spec import SampleSpec, read_spec


@pytest.fixture
def spec_text(tmp_path: Path) -> Callable[..., str]:
    """Make the description of a sample, as the workflow hands it to a task: each file staged in a folder of its own."""
    staged = 0

    def stage(path: Path) -> str:
        nonlocal staged
        staged += 1
        folder = tmp_path / f"staged{staged}"
        folder.mkdir()
        (folder / path.name).symlink_to(path)
        return str(folder)

    def make(
        *rows: dict[str, Any],
        modality: str = "atac",
        roles: tuple[str, ...] = ("query",),
        labels: Path | str | None = None,
        batch: str | None = None,
    ) -> str:
        described = [
            {
                "library": row.get("library", "s1"),
                **{name: stage(value) for name, value in row.items() if name != "library"},
            }
            for row in rows
        ]
        spec: dict[str, Any] = {"sample": "s1", "modality": modality, "roles": roles, "batch": batch, "rows": described}
        if isinstance(labels, Path):
            spec["labels"] = {"file": stage(labels)}
        elif labels is not None:
            spec["labels"] = {"column": labels}
        return "base64:" + base64.b64encode(json.dumps(spec).encode()).decode()

    return make


@pytest.fixture
def make_spec(spec_text: Callable[..., str]) -> Callable[..., SampleSpec]:
    """Make a sample of rows such as {"library": "a", "fragments": path}."""

    def make(*rows: dict[str, Any], **options: Any) -> SampleSpec:
        return read_spec(spec_text(*rows, **options))

    return make


@pytest.fixture
def run_verb() -> Callable[..., None]:
    """Run `cellpredx` with the arguments given; a user's mistake comes out as UserError."""

    def run(*arguments: object) -> None:
        args = parser().parse_args([str(argument) for argument in arguments])
        args.run(args)

    return run
