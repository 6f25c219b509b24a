"""The page *adding a sensor*, followed by hand."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llenergymeasure.domain.result import ExperimentResult
from tests.fakes.pages import FreshEnvironment

WATTS = 60.0


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    return FreshEnvironment(tmp_path_factory.mktemp("page"), "llem-plug", "adding-a-sensor.md")


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a meter at the wall of a machine that takes 60 W."""
    path, ended, start_s = tmp_path / "counter_wh", threading.Event(), time.monotonic()
    path.write_text("1000.000")

    def count() -> None:
        while not ended.wait(0.02):
            partial = path.with_suffix(".partial")
            partial.write_text(f"{1000 + WATTS * (time.monotonic() - start_s) / 3600:.6f}")
            partial.rename(path)

    monkeypatch.setenv("PLUG_COUNTER", str(path))
    thread = threading.Thread(target=count)
    thread.start()
    yield path
    ended.set()
    thread.join()


def test_without_its_meter_it_is_a_line_that_says_why(environment: FreshEnvironment) -> None:
    ran = environment.llem("config")
    assert ran.returncode == 0, ran.stderr
    said = " ".join(ran.stdout.split())
    assert re.search(r"energy plug not usable: .* cannot be read", said), ran.stdout


@pytest.mark.pytorch
def test_it_measures(environment: FreshEnvironment, counter: Path, tmp_path: Path) -> None:
    ran = environment.llem("run", "plug.yaml", "--output", str(tmp_path / "results"))
    assert ran.returncode == 0, ran.stderr
    (folder,) = (tmp_path / "results").iterdir()
    result = ExperimentResult.from_json(folder)
    assert result.energy_breakdown is not None
    assert result.energy_breakdown.raw_j == pytest.approx(WATTS * result.duration_sec, abs=2 * 0.001 * 3600 + 3)
    # Idle or not, this machine takes the same.
    assert result.energy_breakdown.baseline_power_w == pytest.approx(WATTS, rel=0.2)
    (row,) = result.energy_devices
    assert (row.sensor, row.scope, row.headline, row.source) == ("plug", "wall", True, "counter")
    assert "plug" in ran.stdout


def test_it_conforms(environment: FreshEnvironment) -> None:
    ran = environment.pytest()
    assert ran.returncode == 0, ran.stdout
    assert "10 passed" in ran.stdout
