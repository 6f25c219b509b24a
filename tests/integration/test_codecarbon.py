"""CodeCarbon itself, on this machine."""

import socket
import time
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.core.energy_backends import CodeCarbonBackend

pytestmark = pytest.mark.skipif(util.find_spec("codecarbon") is None, reason="needs the extra codecarbon")


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that is asked for or connected to; none of them is reached."""
    asked: list[Any] = []

    def refuse(*args: Any, **_: Any) -> None:
        asked.append(args)
        raise OSError("the network is closed")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


def test_it_estimates_the_cpu_quietly_without_files_or_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], addresses: list[Any]
) -> None:
    home, folder = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(folder)

    backend = CodeCarbonBackend()
    begin = time.monotonic()
    assert backend.problem() is None
    probe_s = time.monotonic() - begin

    begin = time.monotonic()
    tracker = backend.start_tracking()
    took_s = time.monotonic() - begin
    time.sleep(0.2)
    measured = backend.stop_tracking(tracker)
    whole_s = time.monotonic() - begin

    # The slow start was paid by the probe.
    assert took_s < probe_s / 2
    assert measured.total_j is not None
    cpu, ram = measured.devices
    assert (cpu.kind, cpu.source, cpu.energy_j) == ("cpu", "modelled", measured.total_j)
    assert (ram.kind, ram.source) == ("dram", "modelled")
    # Between a milliwatt and ten kilowatts: a unit that is off by 1000 or 3600 is not.
    assert 1e-3 < measured.total_j / measured.duration_sec < 1e4
    assert 0.2 <= measured.duration_sec <= whole_s
    assert tuple(capfd.readouterr()) == ("", "")
    assert list(folder.rglob("*")) == []
    assert list(home.rglob("*")) == []
    assert addresses == []


def test_a_longer_window_takes_more(capfd: pytest.CaptureFixture[str]) -> None:
    backend = CodeCarbonBackend()
    assert backend.is_available()
    energies = []
    for seconds in (0.1, 0.4):
        tracker = backend.start_tracking()
        time.sleep(seconds)
        energies.append(backend.stop_tracking(tracker).total_j)
    short, long = energies
    assert short is not None
    assert long is not None
    assert long > short > 0
