"""Options of the runs on what sites have: container engines, Slurm, no network."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image-dir", default="images", help="folder of the .sif files that `make sifs` writes")
