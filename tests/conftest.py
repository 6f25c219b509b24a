"""What every test stands on: neither the developer's own defaults nor LLEM_* variables play a part."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_defaults_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in [name for name in os.environ if name.startswith("LLEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(_empty_folder(tmp_path_factory)))


def _empty_folder(factory: pytest.TempPathFactory) -> Path:
    path = factory.getbasetemp() / "no-user-file"
    path.mkdir(exist_ok=True)
    return path
