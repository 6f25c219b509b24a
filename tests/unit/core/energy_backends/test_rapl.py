"""CPU energy from a directory that looks like /sys/class/powercap."""

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.core.energy_backends import RAPLBackend
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.testing import FakeClock
from tests.fakes.effort import examples
from tests.fakes.rapl import RANGE_UJ, Zone


def _window(root: Path, clock: FakeClock, used: Iterable[tuple[Zone, float]]) -> EnergyMeasurement:
    """Ten seconds in which the zones use so many joules."""
    backend = RAPLBackend(root, clock=clock)
    tracker = backend.start_tracking()
    clock.sleep(10)
    for zone, joules in used:
        zone.use(joules)
    return backend.stop_tracking(tracker)


def test_packages_are_summed_memory_is_listed_and_psys_is_left_out(tmp_path: Path, clock: FakeClock) -> None:
    zones = {
        path: Zone(tmp_path, path, name)
        for path, name in (
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:0:1", "dram"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:1:0", "dram"),
            ("intel-rapl:2", "psys"),
        )
    }
    joules = {"intel-rapl:0": 50, "intel-rapl:0:0": 31, "intel-rapl:0:1": 8, "intel-rapl:1": 70.5, "intel-rapl:1:0": 9}
    backend = RAPLBackend(tmp_path, clock=clock)
    assert backend.is_available()

    measured = _window(tmp_path, clock, [(zones[path], j) for path, j in {**joules, "intel-rapl:2": 999}.items()])

    assert (measured.total_j, measured.duration_sec, measured.warnings) == (120.5, 10.0, ())
    assert {(d.device, d.kind, d.energy_j, d.source) for d in measured.devices} == {
        ("package-0", "cpu", 50.0, "counter"),
        ("package-1", "cpu", 70.5, "counter"),
        ("dram-0", "dram", 8.0, "counter"),
        ("dram-1", "dram", 9.0, "counter"),
    }
    assert {d.field for d in measured.devices if d.device == "dram-1"} == {str(tmp_path / "intel-rapl:1:0/energy_uj")}


def test_the_mmio_interface_shows_the_same_package_which_is_counted_once(tmp_path: Path, clock: FakeClock) -> None:
    zones = [
        Zone(tmp_path, path, name)
        for path, name in (
            ("intel-rapl:0", "package-0"),
            ("intel-rapl-mmio:0", "package-0"),
            ("intel-rapl:0:0", "dram"),
            ("intel-rapl-mmio:0:0", "dram"),
        )
    ]
    measured = _window(tmp_path, clock, [(z, 40) for z in zones])
    assert measured.total_j == 40.0
    assert sorted(d.device for d in measured.devices) == ["dram-0", "package-0"]


def test_dies_that_mirror_one_counter_are_counted_once(tmp_path: Path, clock: FakeClock) -> None:
    dies = [Zone(tmp_path, f"intel-rapl:{i}", f"package-0-die-{i}", energy_uj=123_456_789) for i in (0, 1)]
    assert _window(tmp_path, clock, [(d, 680) for d in dies]).total_j == 680.0


def test_dies_with_counters_of_their_own_are_summed(tmp_path: Path, clock: FakeClock) -> None:
    dies = [Zone(tmp_path, f"intel-rapl:{i}", f"package-0-die-{i}", energy_uj=10**8 * (i + 1)) for i in (0, 1)]
    measured = _window(tmp_path, clock, [(d, 300 + 80 * i) for i, d in enumerate(dies)])
    assert measured.total_j == 680.0


@settings(max_examples=examples(30))
@given(start_uj=st.integers(0, RANGE_UJ - 1), used_uj=st.integers(1, RANGE_UJ - 1))
def test_no_joule_is_lost_or_made_where_the_counter_wraps(
    tmp_path_factory: pytest.TempPathFactory, start_uj: int, used_uj: int
) -> None:
    root = tmp_path_factory.mktemp("powercap")
    zone = Zone(root, "intel-rapl:0", "package-0", energy_uj=start_uj)
    measured = _window(root, FakeClock(), [(zone, used_uj / 1e6)])
    assert measured.total_j == pytest.approx(used_uj / 1e6, abs=2e-6)


def test_a_counter_that_stands_still_is_no_measurement(tmp_path: Path, clock: FakeClock) -> None:
    Zone(tmp_path, "intel-rapl:0", "package-0", energy_uj=0)
    measured = _window(tmp_path, clock, [])
    assert measured.total_j is None
    assert str(measured.warnings[0]).startswith("energy_unavailable: ")


def test_counters_that_cannot_be_read_make_it_unusable_and_are_named(tmp_path: Path, clock: FakeClock) -> None:
    Zone(tmp_path, "intel-rapl:0", "package-0")
    broken = Zone(tmp_path, "intel-rapl:1", "package-1").path / "energy_uj"
    backend = RAPLBackend(tmp_path, clock=clock)
    assert backend.is_available()
    broken.write_text("garbage\n")
    assert str(broken) in (backend.problem() or "")
    broken.unlink()
    assert str(broken) in (backend.problem() or "")
    assert not backend.is_available()
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert "package-1" in str(measured.warnings[0]) or str(broken) in str(measured.warnings[0])


@pytest.mark.parametrize("zones", [(), (("intel-rapl:0", "psys"),), (("intel-rapl:0:0", "dram"),)])
def test_without_a_package_there_is_no_measurement_and_a_reason(
    tmp_path: Path, clock: FakeClock, zones: tuple[tuple[str, str], ...]
) -> None:
    made = [Zone(tmp_path, path, name) for path, name in zones]
    assert "no CPU package counters" in (RAPLBackend(tmp_path).problem() or "")
    measured = _window(tmp_path, clock, [(z, 5) for z in made])
    assert measured.total_j is None
    assert [w.flag for w in measured.warnings] == ["energy_unavailable"]


def test_a_counter_lost_in_mid_run_is_a_reason_and_never_a_part_of_the_total(tmp_path: Path, clock: FakeClock) -> None:
    kept, lost = Zone(tmp_path, "intel-rapl:0", "package-0"), Zone(tmp_path, "intel-rapl:1", "package-1")
    backend = RAPLBackend(tmp_path, clock=clock)
    tracker = backend.start_tracking()
    clock.sleep(10)
    kept.use(50)
    (lost.path / "energy_uj").unlink()
    measured = backend.stop_tracking(tracker)
    assert (measured.total_j, measured.duration_sec) == (None, 10.0)
    assert str(lost.path) in str(measured.warnings[0])
    assert [t for t in threading.enumerate() if t.name == "rapl"] == []
