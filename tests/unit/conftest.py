"""What unit tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest

WriteUserFile = Callable[[str], Path]


@pytest.fixture
def write_user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteUserFile:
    """Write the user's file and give its path."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))

    def write(text: str) -> Path:
        path = tmp_path / "xdg" / "llenergymeasure" / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write
