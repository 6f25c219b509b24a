"""The library, compiled once, and a scenario file for each test or module."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import nvmlsim
from tests.nvmlsim.processes import Driver


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of libnvidia-ml.so.1."""
    return nvmlsim.build(tmp_path_factory.mktemp("nvmlsim"))


@pytest.fixture
def driver(library: Path, tmp_path: Path) -> Iterator[Driver]:
    """A scenario file of the test's own."""
    with ExitStack() as stack:
        yield Driver(library, tmp_path / "scenario.txt", stack)


@pytest.fixture(scope="module")
def shared_driver(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A scenario file that hypothesis rewrites for each example."""
    with ExitStack() as stack:
        yield Driver(library, tmp_path_factory.mktemp("shared") / "scenario.txt", stack)
