"""What the comparisons share: our verbs, the peers' environment, and the table of what was compared."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.conftest import run_verb, spec_text

__all__ = ["run_verb", "spec_text"]

ROOT = Path(__file__).parents[2]
Record = Callable[..., None]
_ROWS = pytest.StashKey[list[tuple[str, ...]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exact-table", help="Markdown file for what was compared; written where nothing was skipped")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ROWS] = []


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Note a comparison for the table: peer, data, what was compared, how many values, and what was found."""

    def note(peer: str, data: str, what: str, values: int, found: str) -> None:
        request.config.stash[_ROWS].append((peer, data, what, f"{values:,}", found))

    return note


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Iterator[None]:
    """Write the table at the end of a run in which every comparison was made."""
    path, stats = config.getoption("--exact-table"), terminalreporter.stats
    if path and not any(stats.get(outcome) for outcome in ("skipped", "failed", "error")):
        head = (ROOT / "tests" / "exact" / "table_head.md").read_text()
        compared = config.stash[_ROWS]
        rows = [("peer", "data", "compared", "values", "found"), ("---",) * 5, *sorted(compared)]
        (ROOT / path).write_text(head + "\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows))
    return (yield)


@pytest.fixture(scope="session")
def peers() -> Path:
    """The interpreter of the peers' environment: of the folder $CELLPREDX_PEERS, else of .venv-peers."""
    python = Path(os.environ.get("CELLPREDX_PEERS") or ROOT / ".venv-peers") / "bin" / "python"
    if not python.exists():
        pytest.skip("no peers: `make peers` installs them in .venv-peers, or name their folder in CELLPREDX_PEERS")
    return python
