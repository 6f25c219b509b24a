"""CodeCarbon itself, on this machine."""

import inspect
import socket
import time
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.core.energy_backends import CodeCarbonBackend
from llenergymeasure.core.energy_backends.codecarbon_tracker import REPLACED
from llenergymeasure.core.energy_backends.codecarbon_tracker import SETTINGS as SETTINGS_GIVEN

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


SETTINGS = {
    "pue": "pue = 1.5",
    "force": "force_cpu_power = 5000\nforce_ram_power = 7000",
    "broken": 'save_to_file = True\noutput_methods = ["csv"]\noutput_dir = /nonexistent\n'
    "save_to_api = True\napi_endpoint = http://127.0.0.1:9",
    "process": "tracking_mode = process\nforce_mode_cpu_load = True",
    "of no kind": "tracking_mode = sideways\nmeasure_power_secs = x\ngpu_ids = [[\noutput_handlers = none",
    "sending": "emissions_endpoint = http://127.0.0.1:9\noutput_methods = csv,api",
}


def _measured() -> tuple[str | None, float, float]:
    """What CodeCarbon says of its model, and mean power of CPU and memory."""
    backend = CodeCarbonBackend()
    assert backend.problem() is None
    window = backend.start_tracking()
    time.sleep(0.3)
    measured = backend.stop_tracking(window)
    assert measured.warnings == ()
    cpu, ram = measured.devices
    assert cpu.energy_j is not None
    assert ram.energy_j is not None
    return cpu.field, cpu.energy_j / measured.duration_sec, ram.energy_j / measured.duration_sec


@pytest.mark.parametrize("where", ["home", "here", "variables"])
@pytest.mark.parametrize("what", [*SETTINGS, "no file of the kind"])
def test_nothing_that_a_user_says_of_codecarbon_changes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, addresses: list[Any], where: str, what: str
) -> None:
    folders = {name: tmp_path / name for name in ("home", "here")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setenv("HOME", str(folders["home"]))
    monkeypatch.chdir(folders["here"])
    field, _, ram_w = _measured()
    rated_w = float(str(field).partition("guessed at ")[2].removesuffix(" W"))

    written = f"[codecarbon]\n{SETTINGS[what]}\n" if what in SETTINGS else "garbage [\n"
    if where in folders:
        (folders[where] / ".codecarbon.config").write_text(written)
    else:
        for line in SETTINGS.get(what, "").splitlines():
            name, _, value = line.partition(" = ")
            monkeypatch.setenv(f"CODECARBON_{name.upper()}", value)

    now_field, cpu_w, now_ram_w = _measured()
    assert now_field == field
    assert cpu_w <= rated_w * 1.01
    assert now_ram_w == pytest.approx(ram_w, rel=0.05)
    assert addresses == []
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] in ([], [".codecarbon.config"])


def test_every_setting_of_the_installed_version_is_given_or_known_to_be_replaced() -> None:
    # Else a user's file would be asked for it.
    from codecarbon import OfflineEmissionsTracker

    taken = {
        name
        for base in OfflineEmissionsTracker.__mro__
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    assert taken - {"self"} == {*SETTINGS_GIVEN, *REPLACED, "output_dir"}


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
