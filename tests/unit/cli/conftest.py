"""The command line, and something that looks like a model."""

from pathlib import Path

import pytest

from tests.fakes.command import Ran, folder, llem, plain_llem
from tests.fakes.model import write_description

__all__ = ["Ran", "folder", "llem", "plain_llem"]


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A directory that looks like a model, outside of the working directory."""
    return str(write_description(tmp_path / "a-model"))
