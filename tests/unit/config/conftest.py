"""Configuration files for the tests of the config layer."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure of the code under test.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WriteConfig = Callable[[str | bytes], Path]


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    """Write a configuration file and give its path; each call writes the same file anew."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "config.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
