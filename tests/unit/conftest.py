"""What unit tests share."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from llenergymeasure.config import sensors
from llenergymeasure.config.engines import registry
from tests.fakes.distributions import ENGINES, TOY, lay_down

WriteUserFile = Callable[[str], Path]
Install = Callable[..., None]


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


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution on the path of this process, and look anew at what is installed."""
    brought: list[str] = []

    def look_again() -> None:
        registry.look_again()
        sensors.look_again()

    def put(
        modules: Mapping[str, str], entry_points: Mapping[str, str], name: str = "llem-toy", group: str = ENGINES
    ) -> None:
        monkeypatch.syspath_prepend(str(lay_down(tmp_path / name, modules, entry_points, name, group)))
        brought.extend(modules)
        look_again()

    yield put
    for module in brought:
        sys.modules.pop(module, None)
    monkeypatch.undo()
    look_again()


@pytest.fixture
def toy(install: Install) -> None:
    """A distribution ``llem-toy`` with the engine ``toy``."""
    install({"llem_toy": TOY}, {"toy": "llem_toy:ToyEngine"})
