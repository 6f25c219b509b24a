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
# In ten seconds, at 2000 W at the most.
@given(start_uj=st.integers(0, RANGE_UJ - 1), used_uj=st.integers(1, 20_000_000_000))
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


AMD_RANGE_UJ = 65_532_610_987


def _at(root: Path, range_uj: int, first_uj: int, last_uj: int, seconds: float = 0.3) -> EnergyMeasurement:
    """One package whose counter says one thing at the start of a window and another at its end."""
    clock = FakeClock()
    zone = Zone(root, "intel-rapl:0", "package-0", energy_uj=first_uj, range_uj=range_uj)
    backend = RAPLBackend(root, clock=clock)
    window = backend.start_tracking()
    clock.sleep(seconds)
    zone.say(str(last_uj))
    return backend.stop_tracking(window)


@pytest.mark.parametrize(
    ("range_uj", "first_uj", "last_uj"),
    [
        pytest.param(RANGE_UJ, 100_000_000, 99_999_939, id="one unit back"),
        pytest.param(RANGE_UJ, 100_000_000, 2_000_000, id="reset"),
        pytest.param(AMD_RANGE_UJ, 1_203_000_000, 512_000_000, id="first read too high"),
        pytest.param(RANGE_UJ, 100_000_000, 200_100_000_000, id="a jump of 200 kJ"),
    ],
)
def test_a_step_that_no_package_can_take_has_no_figure_and_a_reason(
    tmp_path: Path, range_uj: int, first_uj: int, last_uj: int
) -> None:
    measured = _at(tmp_path, range_uj, first_uj, last_uj)
    assert measured.total_j is None
    (warning,) = measured.warnings
    assert warning.flag == "energy_unavailable"
    assert f"package-0 ({tmp_path}/intel-rapl:0/energy_uj): its counter went from" in warning.text


def test_an_honest_wrap_is_the_joules_on_both_sides_of_it(tmp_path: Path) -> None:
    assert _at(tmp_path, RANGE_UJ, RANGE_UJ - 3_000_000, 2_000_000).total_j == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("limit_w", "joules", "believed"),
    [
        # Four times a limit of 125 W, for ten seconds and two refreshes: 5001 J.
        (125.0, 5000.0, True),
        (125.0, 5002.0, False),
        # A limit that is not set, or not to be kept, says nothing.
        (0.0, 19_999.0, True),
        (1.0, 1000.0, True),
        (4095.875, 20_005.0, False),
    ],
)
def test_a_zones_own_limit_bounds_what_it_can_have_taken(
    tmp_path: Path, clock: FakeClock, limit_w: float, joules: float, believed: bool
) -> None:
    zone = Zone(tmp_path, "intel-rapl:0", "package-0")
    zone.limit(limit_w)
    assert (_window(tmp_path, clock, [(zone, joules)]).total_j == joules) == believed


def test_a_limit_that_is_switched_off_bounds_nothing(tmp_path: Path, clock: FakeClock) -> None:
    zone = Zone(tmp_path, "intel-rapl:0", "package-0")
    zone.limit(15)
    (zone.path / "enabled").write_text("0\n")
    assert _window(tmp_path, clock, [(zone, 3000)]).total_j == 3000.0


class _Looks:
    """A window of a package, 10 s from look to look, in which its file says what it is told to."""

    def __init__(self, root: Path, first_uj: int, range_uj: int = RANGE_UJ) -> None:
        self.clock = FakeClock()
        self.zone = Zone(root, "intel-rapl:0", "package-0", energy_uj=first_uj, range_uj=range_uj)
        self.backend = RAPLBackend(root, clock=self.clock)
        self.window = self.backend.start_tracking()

    def say(self, text: str) -> None:
        self.clock.sleep(10)
        self.zone.say(text)
        self.window.watch.look()

    def end(self, text: str) -> EnergyMeasurement:
        self.clock.sleep(10)
        self.zone.say(text)
        return self.backend.stop_tracking(self.window)


@pytest.mark.parametrize("bad", ["", "garbage", "0", "-5", "262143328851", "99000000000", "200000000000"])
def test_one_bad_read_in_the_window_is_left_out_and_the_next_one_bridges_it(tmp_path: Path, bad: str) -> None:
    looks = _Looks(tmp_path, 150_000_000_000)
    looks.say("150500000000")
    looks.say(bad)
    assert looks.end("151500000000").total_j == 1500.0


def test_what_begins_at_zero_and_goes_on_from_there_is_a_reset_and_no_bad_read(tmp_path: Path) -> None:
    looks = _Looks(tmp_path, 100_000_000)
    looks.say("2000000")
    measured = looks.end("150000000")
    assert measured.total_j is None
    assert "was set back" in str(measured.warnings[0])


def test_a_gap_in_which_a_counter_may_go_round_twice_is_not_bridged(tmp_path: Path) -> None:
    # 65.5 kJ at 2000 W: 33 s.
    looks = _Looks(tmp_path, 1_000_000_000, AMD_RANGE_UJ)
    looks.say("")
    looks.say("")
    looks.say("")
    measured = looks.end("3000000000")
    assert measured.total_j is None
    assert "more than once" in str(measured.warnings[0])


def test_a_single_wrong_read_at_an_edge_is_read_again(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = Zone(tmp_path, "intel-rapl:0", "package-0", energy_uj=512_000_000, range_uj=AMD_RANGE_UJ)
    backend = RAPLBackend(tmp_path, clock=clock)
    zones_read = iter(["1203000000", None, None])
    read_text = Path.read_text

    def once_wrong(path: Path, *args: str) -> str:
        if path == zone.path / "energy_uj":
            return next(zones_read, None) or read_text(path, *args)
        return read_text(path, *args)

    window = backend.start_tracking()
    clock.sleep(10)
    zone.use(200)
    monkeypatch.setattr(Path, "read_text", once_wrong)
    assert backend.stop_tracking(window).total_j == 200.0


@pytest.mark.parametrize("joules", [(1000, 1000, 0, 0, 0, 0), (1000, 0, 1000), (0, 1000), (1000, 0)])
def test_a_counter_that_stands_still_for_a_part_of_the_window_has_no_figure_and_a_reason(
    tmp_path: Path, joules: tuple[int, ...]
) -> None:
    looks = _Looks(tmp_path, 5_000_000)
    reached_uj = 5_000_000
    for used in joules[:-1]:
        reached_uj += used * 10**6
        looks.say(str(reached_uj))
    measured = looks.end(str(reached_uj + joules[-1] * 10**6))
    assert measured.total_j is None
    assert "its counter stood still for 10 s or more, at " in str(measured.warnings[0])


def test_memory_that_stands_still_for_a_part_of_the_window_costs_only_its_own_figure(tmp_path: Path) -> None:
    memory = Zone(tmp_path, "intel-rapl:0:0", "dram")
    looks = _Looks(tmp_path, 5_000_000)
    memory.use(30)
    looks.say("1005000000")
    measured = looks.end("2005000000")
    assert measured.total_j == 2000.0
    (warning,) = measured.warnings
    assert (warning.flag, warning.device) == ("not_in_the_total", "dram-0")
    assert "stood still for 10 s" in warning.text


@pytest.mark.parametrize(("seconds", "total_j"), [(1.4, 1000.0), (1.6, None)])
def test_an_end_just_after_a_look_may_show_the_same(tmp_path: Path, seconds: float, total_j: float | None) -> None:
    looks = _Looks(tmp_path, 5_000_000)
    looks.say("1005000000")
    looks.clock.sleep(seconds)
    assert looks.backend.stop_tracking(looks.window).total_j == total_j


@pytest.mark.parametrize(
    ("limit_w", "extra", "doubted_j"),
    [
        # 100 W, and in one of six times 10 s 900 W: 8 kJ more than the others.
        (0.0, 8000, 8000.0),
        # 400 W is what a package may well take.
        (0.0, 3000, 0.0),
        # Four times a limit of 250 W is kept.
        (250.0, 8000, 0.0),
    ],
)
def test_a_jump_that_no_limit_rules_out_is_in_the_bound(
    tmp_path: Path, limit_w: float, extra: int, doubted_j: float
) -> None:
    looks = _Looks(tmp_path, 0)
    looks.zone.limit(limit_w)
    looks.window.watch.stop()
    looks.window = looks.backend.start_tracking()
    for reached in (1000, 2000 + extra, 3000 + extra, 4000 + extra, 5000 + extra):
        looks.say(str(reached * 10**6))
    measured = looks.end(str((6000 + extra) * 10**6))
    assert measured.total_j == 6000.0 + extra
    # Two refreshes of a millisecond at the mean power of the minute beside it.
    assert measured.uncertainty_j == pytest.approx(doubted_j + 2e-3 * (6000 + extra) / 60, abs=1.0)


def test_a_load_that_stays_is_no_jump(tmp_path: Path) -> None:
    looks = _Looks(tmp_path, 0)
    for reached in (500, 8500, 16500, 24500, 32500):
        looks.say(str(reached * 10**6))
    measured = looks.end("33000000000")
    assert measured.total_j == 33_000.0
    assert measured.uncertainty_j == pytest.approx(1.1)


@pytest.mark.parametrize("lost_at", ["start", "end"])
def test_unreadable_memory_costs_its_own_figure_and_not_the_processors(
    tmp_path: Path, clock: FakeClock, lost_at: str
) -> None:
    package = Zone(tmp_path, "intel-rapl:0", "package-0")
    memory = Zone(tmp_path, "intel-rapl:0:0", "dram")
    backend = RAPLBackend(tmp_path, clock=clock)
    if lost_at == "start":
        memory.say("garbage")
    assert backend.problem() is None
    window = backend.start_tracking()
    clock.sleep(10)
    package.use(50)
    memory.say("garbage")
    measured = backend.stop_tracking(window)
    assert measured.total_j == 50.0
    assert [(row.device, row.energy_j) for row in measured.devices] == [("package-0", 50.0), ("dram-0", None)]
    (warning,) = measured.warnings
    assert (warning.flag, warning.device) == ("not_in_the_total", "dram-0")
    assert f"at the {lost_at}" in warning.text


@pytest.mark.parametrize("start_uj", [0, 123_456_789])
def test_dies_that_mirror_one_counter_are_one_wherever_it_starts(
    tmp_path: Path, clock: FakeClock, start_uj: int
) -> None:
    dies = [Zone(tmp_path, f"intel-rapl:{i}", f"package-0-die-{i}", energy_uj=start_uj) for i in (0, 1)]
    memory = [Zone(tmp_path, f"intel-rapl:{i}:0", "dram", energy_uj=start_uj) for i in (0, 1)]
    measured = _window(tmp_path, clock, [*((d, 680) for d in dies), *((m, 90) for m in memory)])
    assert [(row.device, row.energy_j) for row in measured.devices] == [
        ("package-0-die-0", 680.0),
        ("dram-0-die-0", 90.0),
    ]


def test_dies_that_both_start_at_zero_and_go_their_own_ways_are_summed(tmp_path: Path, clock: FakeClock) -> None:
    dies = [Zone(tmp_path, f"intel-rapl:{i}", f"package-0-die-{i}", energy_uj=0) for i in (0, 1)]
    assert _window(tmp_path, clock, [(dies[0], 680), (dies[1], 690)]).total_j == 1370.0


def test_sockets_that_mirror_one_counter_are_counted_once_with_a_word(tmp_path: Path, clock: FakeClock) -> None:
    sockets = [Zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", energy_uj=123_456_789) for i in (0, 1)]
    memory = [Zone(tmp_path, f"intel-rapl:{i}:0", "dram", energy_uj=7_000_000 + i * 10**8) for i in (0, 1)]
    measured = _window(tmp_path, clock, [*((s, 1500) for s in sockets), *((m, 90) for m in memory)])
    assert measured.total_j == 1500.0
    assert [row.device for row in measured.devices] == ["package-0", "dram-0", "dram-1"]
    (warning,) = measured.warnings
    assert (warning.flag, warning.device) == ("not_in_the_total", "package-1")
    assert f"{sockets[1].path}/energy_uj) shows the counter of package-0" in warning.text


@pytest.mark.parametrize(("apart_uj", "joules"), [(10**8, (50, 50)), (0, (50, 52))])
def test_two_sockets_are_two_where_either_end_tells_them_apart(
    tmp_path: Path, clock: FakeClock, apart_uj: int, joules: tuple[int, int]
) -> None:
    sockets = [Zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", energy_uj=i * apart_uj) for i in (0, 1)]
    measured = _window(tmp_path, clock, list(zip(sockets, joules, strict=True)))
    assert (measured.total_j, measured.warnings) == (float(sum(joules)), ())


def test_names_of_other_shapes_are_listed_as_what_they_are_or_not_at_all(tmp_path: Path, clock: FakeClock) -> None:
    joules = {
        ("amd-rapl:0", "Package"): 10,
        ("intel-rapl:3", "package-1-die-1"): 20,
        ("intel-rapl:3:0", "dram"): 2,
        ("intel-rapl:3:1", "core"): 11,
        ("intel-rapl:3:2", "uncore"): 4,
        ("intel-rapl:4", "psys"): 99,
        ("intel-rapl:5", "package-0-platform"): 77,
        ("dtpm:0", "cpu0-cpufreq"): 1,
    }
    zones = [(Zone(tmp_path, path, name), float(j)) for (path, name), j in joules.items()]
    idle = tmp_path / "dtpm:1"
    idle.mkdir()
    (idle / "name").write_text("package\n")
    measured = _window(tmp_path, clock, zones)
    assert {row.device: row.energy_j for row in measured.devices} == {
        "Package": 10.0,
        "package-1-die-1": 20.0,
        "dram-1-die-1": 2.0,
    }
    assert measured.total_j == 30.0


def test_two_packages_of_one_name_are_two(tmp_path: Path, clock: FakeClock) -> None:
    first = Zone(tmp_path, "intel-rapl:0", "package", energy_uj=1_000_000)
    second = Zone(tmp_path, "intel-rapl:1", "package", energy_uj=9_000_000)
    measured = _window(tmp_path, clock, [(first, 10), (second, 20)])
    assert measured.total_j == 30.0
    assert [row.device for row in measured.devices] == ["package", "package (intel-rapl:1)"]


def test_a_counter_that_does_not_say_where_it_goes_round_counts_as_long_as_it_rises(tmp_path: Path) -> None:
    for last_uj, total_j in ((6_000_000, 5.0), (500_000, None)):
        root = tmp_path / str(last_uj)
        root.mkdir()
        zone = Zone(root, "intel-rapl:0", "package-0", energy_uj=1_000_000)
        (zone.path / "max_energy_range_uj").unlink()
        clock = FakeClock()
        backend = RAPLBackend(root, clock=clock)
        window = backend.start_tracking()
        clock.sleep(1)
        zone.say(str(last_uj))
        assert backend.stop_tracking(window).total_j == total_j


def test_a_counter_lost_in_mid_run_is_a_reason_and_never_a_part_of_the_total(tmp_path: Path, clock: FakeClock) -> None:
    kept, lost = Zone(tmp_path, "intel-rapl:0", "package-0"), Zone(tmp_path, "intel-rapl:1", "package-1")
    backend = RAPLBackend(tmp_path, clock=clock)
    tracker = backend.start_tracking()
    clock.sleep(10)
    kept.use(50)
    (lost.path / "energy_uj").unlink()
    measured = backend.stop_tracking(tracker)
    assert (measured.total_j, measured.duration_sec) == (None, 10.0)
    assert {row.device: row.energy_j for row in measured.devices} == {"package-0": 50.0, "package-1": None}
    assert str(lost.path) in str(measured.warnings[0])
    assert [t for t in threading.enumerate() if t.name == "rapl"] == []
