"""Samples as the workflow describes them."""

from tests.unit.conftest import spec_text  # noqa: F401
