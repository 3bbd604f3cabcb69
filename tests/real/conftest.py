"""Options of the real-data runs."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engines", default="local", help="where tasks run: local, docker, separated by commas")
    parser.addoption("--table", help="Markdown file for what the runs reached")
