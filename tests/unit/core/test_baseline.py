"""The idle baseline: measured, kept, and taken off."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure._host import Host, this_host
from llenergymeasure.core.baseline import (
    BaselineCache,
    BaselineStore,
    create_energy_breakdown,
    measure_baseline_power,
)
from llenergymeasure.core.idling.reading import Reading
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.testing import FakeClock, FakeEnergy
from tests.fakes.effort import examples
from tests.fakes.traced import TracedEnergy

DAY_S = 86400.0


class Idle:
    """Measures 100 W for 30 s on a fake clock, over and over, with one store."""

    def __init__(self, clock: FakeClock, store: BaselineStore | None = None) -> None:
        self.clock = clock
        self.energy = FakeEnergy(clock, power_w=100.0, log=clock.log)
        self.store = store or BaselineStore()
        self.warned: list[str] = []

    def measure(
        self,
        devices: tuple[str, ...] = ("GPU-0",),
        ttl_s: float = 3600.0,
        sleep: Callable[[float], None] | None = None,
    ) -> BaselineCache | None:
        return measure_baseline_power(
            duration_sec=30.0,
            energy=self.energy,
            devices=devices,
            cache_ttl_sec=ttl_s,
            store=self.store,
            sleep=sleep or self.clock.sleep,
            now=lambda: DAY_S + self.clock(),
            warn=lambda warning: self.warned.append(str(warning)),
        )


MEASURED = BaselineCache(
    power_w=100.0,
    timestamp=DAY_S + 30.0,
    duration_sec=30.0,
    source="fake-energy",
    devices=("GPU-0",),
    power_by_device_w={"GPU-0": 100.0},
    noise_w=0.0,
    noise_by_device_w={"GPU-0": 0.0},
    reading_by_device={"GPU-0": Reading(kind="integrated", covers="gpu")},
)
# Ten slices of the whole, and five of a look at what is cached.
IN_FULL = ["energy on", "sleep 1", "sleep 1", "sleep 1", "energy off"] * 10
A_LOOK = ["energy on", "sleep 1", "energy off"] * 5


def test_power_is_energy_over_the_time_that_was_waited(clock: FakeClock) -> None:
    assert Idle(clock).measure() == MEASURED
    assert clock.log == IN_FULL


@pytest.mark.parametrize(("age_s", "n_measured"), [(0, 1), (3600, 1), (3601, 2), (-31, 2)])
def test_a_baseline_is_used_again_up_to_its_ttl_and_never_from_the_future(
    clock: FakeClock, age_s: float, n_measured: int
) -> None:
    idle = Idle(clock)
    idle.measure()
    clock.time_s += age_s
    again = idle.measure()
    assert again is not None
    assert clock.log.count("sleep 1") == (35 if n_measured == 1 else 60)
    assert again.from_cache == (n_measured == 1)
    if again.from_cache:
        assert again == replace(MEASURED, from_cache=True)
        assert clock.log == [*IN_FULL, *A_LOOK]
    assert idle.warned == []


@pytest.mark.parametrize("power_w", [89.9, 110.1, 1000.0])
def test_a_cached_baseline_that_has_drifted_is_measured_again_and_said(clock: FakeClock, power_w: float) -> None:
    idle = Idle(clock)
    idle.measure()
    idle.energy.power_w = power_w
    again = idle.measure()
    assert clock.log == [*IN_FULL, *A_LOOK, *IN_FULL]
    # The first ended at 30 s, the look at it at 35, the second at 65.
    assert again is not None
    assert again.power_w == pytest.approx(power_w)
    assert again.power_by_device_w["GPU-0"] == pytest.approx(power_w)
    assert replace(again, power_w=100.0, power_by_device_w={"GPU-0": 100.0}) == replace(
        MEASURED, timestamp=DAY_S + 65.0
    )
    (said,) = idle.warned
    assert said.startswith(f"baseline_drift: idle power was 100.0 W 0 s ago and is {power_w:.1f} W now, ")
    assert idle.measure() == replace(again, from_cache=True)


@pytest.mark.parametrize("power_w", [91.0, 99.0, 101.0, 109.0])
def test_a_cached_baseline_that_is_off_by_more_than_noise_is_measured_again(clock: FakeClock, power_w: float) -> None:
    idle = Idle(clock)
    idle.measure()
    idle.energy.power_w = power_w
    again = idle.measure()
    assert again is not None
    assert not again.from_cache
    assert again.power_w == pytest.approx(power_w)
    # Under a tenth it is nothing that a reader would have to know.
    assert idle.warned == []


@pytest.mark.parametrize(("power_w", "from_cache"), [(100.7, True), (99.3, True), (100.8, False), (99.2, False)])
def test_what_two_measurements_leave_open_is_no_drift(clock: FakeClock, power_w: float, from_cache: bool) -> None:
    # 99 and 101 W in turn, three seconds each: the scatter of the cached is t x sqrt(10 / 9) / sqrt(10) = 0.754 W.
    steps = [(3.0 * i, 99.0 + 2 * (i % 2)) for i in range(10)]
    idle = Idle(clock)
    idle.energy = TracedEnergy(clock, {"GPU-0": [*steps, (30.0, power_w)]})  # type: ignore[assignment]
    first, second = idle.measure(), idle.measure()
    assert first is not None
    assert first.noise_w == pytest.approx(0.7541, abs=1e-4)
    assert second is not None
    assert second.from_cache == from_cache


class Neighboured(Idle):
    """The same with a device that somebody else is at work on at times: watts from some time on."""

    def __init__(self, *steps: tuple[float, float]) -> None:
        super().__init__(FakeClock())
        self.energy = TracedEnergy(self.clock, {"GPU-0": steps}, bound_w=0.0)  # type: ignore[assignment]


def test_a_neighbours_burst_has_the_baseline_measured_once_more() -> None:
    idle = Neighboured((0.0, 60.0), (10.0, 300.0), (14.0, 60.0))
    found = idle.measure()
    assert found is not None
    assert idle.clock() == 60.0
    assert found.power_w == pytest.approx(60.0)
    assert found.power_uncertainty_w == pytest.approx(0.0, abs=1e-9)
    assert idle.warned == []


def test_a_neighbour_that_stays_is_told_and_not_taken_for_idle() -> None:
    # Quiet for 18 s, then 300 W through all of the second attempt: six slices at 60 W, fourteen at 300.
    idle = Neighboured((0.0, 60.0), (18.0, 300.0))
    found = idle.measure()
    assert found is not None
    assert idle.clock() == 60.0
    assert found.power_w == pytest.approx(60.0)
    # The bound reaches to the mean of all, (6 x 60 + 14 x 300) / 20 = 228 W.
    assert found.power_uncertainty_w == pytest.approx(168.0)
    (said,) = idle.warned
    assert said.startswith("idle_unsteady: power while idling went from 60 to 300 W")
    # Nobody else is to go by it.
    assert idle.measure() is not None
    assert idle.clock() == 90.0


def test_a_neighbour_that_has_gone_by_the_second_attempt_costs_nothing_more() -> None:
    idle = Neighboured((0.0, 60.0), (12.0, 300.0), (30.0, 60.0))
    found = idle.measure()
    assert found is not None
    assert found.power_w == pytest.approx(60.0)
    assert idle.warned == []


def test_a_look_that_somebody_disturbs_does_not_confirm_what_is_cached() -> None:
    idle = Neighboured((0.0, 60.0), (32.0, 90.0), (33.0, 60.0))
    idle.measure()
    again = idle.measure()
    assert again is not None
    assert not again.from_cache
    assert again.power_w == pytest.approx(60.0)
    assert idle.clock() == 65.0


def test_a_cached_baseline_of_which_no_noise_is_known_is_measured_again(clock: FakeClock) -> None:
    idle = Idle(clock)
    key = "fake-energy:GPU-0:30s"
    idle.store.put(key, replace(MEASURED, timestamp=DAY_S, noise_w=None, noise_by_device_w={}))
    again = idle.measure()
    assert again is not None
    assert not again.from_cache
    assert again.noise_w == 0.0


def test_scatter_alone_is_no_bound_of_a_sensor_that_states_none(clock: FakeClock) -> None:
    idle = Idle(clock)
    # 99 and 101 W in turn: the scatter of the mean is known, and not what the sensor does at its edges.
    steps = [(3.0 * i, 99.0 + 2 * (i % 2)) for i in range(10)]
    idle.energy = TracedEnergy(clock, {"GPU-0": steps})  # type: ignore[assignment]
    found = idle.measure()
    assert found is not None
    assert (found.power_uncertainty_w, found.uncertainty_by_device_w) == (None, {})
    left = create_energy_breakdown(1000.0, found, 1.0, uncertainty_j=1.0)
    assert (left.baseline_power_uncertainty_w, left.adjusted_uncertainty_j) == (None, None)


def test_devices_of_a_baseline_keep_their_bounds() -> None:
    of_two = replace(
        MEASURED,
        power_w=150.0,
        devices=("GPU-0", "GPU-1"),
        power_by_device_w={"GPU-0": 100.0, "GPU-1": 50.0},
        power_uncertainty_w=3.0,
        uncertainty_by_device_w={"GPU-0": 2.0, "GPU-1": 1.5},
    )
    one = of_two.of(("GPU-1",))
    assert one is not None
    assert (one.power_w, one.power_uncertainty_w) == (50.0, 1.5)
    unbounded = replace(of_two, uncertainty_by_device_w={"GPU-0": 2.0}).of(("GPU-0", "GPU-1"))
    assert unbounded is not None
    assert unbounded.power_uncertainty_w is None


def test_a_short_baseline_is_looked_at_no_longer_than_it_took() -> None:
    clock = FakeClock()
    energy, store = FakeEnergy(clock, log=clock.log), BaselineStore()
    for _ in range(2):
        measure_baseline_power(
            duration_sec=2.0, energy=energy, devices=("GPU-0",), store=store, sleep=clock.sleep, now=clock
        )
    assert clock() == pytest.approx(4.0)
    assert clock.log.count("energy on") == 6


def test_a_cached_baseline_that_cannot_be_checked_is_not_used(clock: FakeClock) -> None:
    idle = Idle(clock)
    idle.measure()
    idle.energy.power_w = None
    assert idle.measure() is None
    assert [w.split(":")[0] for w in idle.warned] == ["baseline_unavailable"]


def test_other_devices_or_another_source_have_a_baseline_of_their_own(clock: FakeClock) -> None:
    idle = Idle(clock)
    idle.measure(("GPU-0",))
    idle.measure(("GPU-0", "GPU-1"))
    idle.energy.name = "another"
    idle.measure(("GPU-0",))
    assert clock.log == IN_FULL * 3


def test_two_processes_share_a_baseline_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    first, second = Idle(FakeClock(), BaselineStore(path)), Idle(FakeClock(40.0), BaselineStore(path))
    first.measure()
    assert second.measure() == replace(MEASURED, from_cache=True)
    assert second.clock.log == A_LOOK
    second.measure(("GPU-1",))
    kept = {key.rpartition("|")[2] for key in json.loads(path.read_text())}
    assert kept == {"fake-energy:GPU-0:30s", "fake-energy:GPU-1:30s"}
    assert {p.name for p in tmp_path.iterdir()} <= {"baseline.json", "baseline.lock"}


@settings(max_examples=examples(40))
@given(
    st.dictionaries(
        st.text(max_size=8),
        st.builds(
            BaselineCache,
            power_w=st.floats(allow_nan=False, allow_infinity=False),
            timestamp=st.floats(0, 1e10),
            duration_sec=st.floats(0, 1e5),
            source=st.text(max_size=8),
            devices=st.lists(st.text(max_size=8), max_size=3).map(tuple),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_one_store_writes_another_reads(
    tmp_path_factory: pytest.TempPathFactory, known: dict[str, BaselineCache]
) -> None:
    path = tmp_path_factory.mktemp("store") / "baseline.json"
    writer = BaselineStore(path)
    for key, baseline in known.items():
        writer.put(key, baseline)
    reader = BaselineStore(path)
    assert {key: reader.get(key) for key in known} == known


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"fake-energy:GPU-0:30s": 3}',
        b'{"fake-energy:GPU-0:30s": {"power_w": 1.0}}',
        b'{"fake-energy:GPU-0:30s": {"power_w": "x", "timestamp": "y", "duration_sec": 1, "source": "z"}}',
    ],
)
def test_a_file_that_holds_no_baselines_costs_a_measurement_and_no_more(
    tmp_path: Path, clock: FakeClock, content: bytes
) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(content)
    assert Idle(clock, BaselineStore(path)).measure() == MEASURED


def test_a_file_that_cannot_be_written_keeps_the_baseline_in_memory(tmp_path: Path, clock: FakeClock) -> None:
    idle = Idle(clock, BaselineStore(tmp_path / "missing" / "baseline.json"))
    assert idle.measure() == MEASURED
    assert idle.measure() == replace(MEASURED, from_cache=True)


def test_a_lost_sensor_gives_no_baseline_and_its_reason(clock: FakeClock) -> None:
    idle = Idle(clock)
    idle.energy.power_w = None
    assert idle.measure() is None
    (said,) = idle.warned
    assert said.startswith("baseline_unavailable: ")
    assert "the fake lost its sensor; energy is given unadjusted" in said
    idle.energy.power_w = 100.0
    assert idle.measure() is not None


def test_a_sensor_that_cannot_start_gives_no_baseline_and_its_reason(clock: FakeClock) -> None:
    class Unstartable(FakeEnergy):
        def start_tracking(self) -> float:
            raise RuntimeError("the sensor is busy")

    idle = Idle(clock)
    idle.energy = Unstartable(clock)
    assert idle.measure() is None
    assert "the sensor is busy" in idle.warned[0]


def test_who_listens_to_nothing_finds_it_in_the_log(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    lost = FakeEnergy(clock, power_w=None)
    assert measure_baseline_power(energy=lost, store=BaselineStore(), sleep=clock.sleep, now=clock) is None
    assert "baseline_unavailable: " in caplog.text


def test_the_sensor_is_stopped_when_the_wait_is_interrupted(clock: FakeClock) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    idle = Idle(clock)
    with pytest.raises(KeyboardInterrupt):
        idle.measure(sleep=interrupted)
    assert clock.log == ["energy on", "energy off"]


def test_the_idle_share_is_taken_off() -> None:
    breakdown = create_energy_breakdown(1000.0, replace(MEASURED, power_w=60.0), 10.0, now=lambda: DAY_S + 90.0)
    assert (breakdown.raw_j, breakdown.adjusted_j, breakdown.baseline_power_w) == (1000.0, 400.0, 60.0)
    assert (breakdown.baseline_method, breakdown.baseline_timestamp) == ("fresh", DAY_S + 30.0)
    assert breakdown.baseline_cache_age_sec == 0.0


def test_what_is_left_has_the_bounds_of_both() -> None:
    baseline = replace(MEASURED, power_w=60.0, power_uncertainty_w=0.5)
    found = create_energy_breakdown(1000.0, baseline, 10.0, uncertainty_j=7.0)
    assert (found.baseline_power_uncertainty_w, found.adjusted_uncertainty_j) == (0.5, 12.0)
    for total_j, bound_j, bound_w in ((1000.0, None, 0.5), (1000.0, 7.0, None), (None, 7.0, 0.5)):
        known = replace(baseline, power_uncertainty_w=bound_w)
        assert create_energy_breakdown(total_j, known, 10.0, uncertainty_j=bound_j).adjusted_uncertainty_j is None


def test_a_cached_baseline_says_so_and_how_old_it_is() -> None:
    breakdown = create_energy_breakdown(1000.0, replace(MEASURED, from_cache=True), 1.0, now=lambda: DAY_S + 90.0)
    assert (breakdown.baseline_method, breakdown.baseline_cache_age_sec) == ("cached", 60.0)


def test_without_a_baseline_or_an_energy_nothing_is_adjusted() -> None:
    without = create_energy_breakdown(1000.0, None, 10.0)
    assert (without.raw_j, without.adjusted_j, without.baseline_power_w) == (1000.0, None, None)
    assert without.baseline_method == "unavailable"
    lost = create_energy_breakdown(None, MEASURED, 10.0, now=lambda: DAY_S)
    assert (lost.raw_j, lost.adjusted_j, lost.baseline_power_w) == (None, None, 100.0)


def test_a_negative_rest_is_kept_and_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        breakdown = create_energy_breakdown(100.0, replace(MEASURED, power_w=60.0), 10.0)
    assert breakdown.adjusted_j == -500.0
    assert "negative: -500.000 J" in caplog.text


@given(st.floats(0, 1e9), st.floats(0, 1e5), st.floats(0, 1e6))
def test_the_arithmetic_is_exact(total_j: float, power_w: float, duration_sec: float) -> None:
    breakdown = create_energy_breakdown(total_j, replace(MEASURED, power_w=power_w), duration_sec)
    assert breakdown.adjusted_j == total_j - power_w * duration_sec


class EightCards(FakeEnergy):
    """Eight GPUs of 70 W each, the last of which may draw more."""

    more_w = 0.0

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        seconds = self.clock() - tracker
        powers_w = [70.0] * 7 + [70.0 + self.more_w]
        rows = tuple(
            DeviceEnergy(device=f"GPU-{i}", kind="gpu", energy_j=p * seconds, source="counter")
            for i, p in enumerate(powers_w)
        )
        return EnergyMeasurement(sum(powers_w) * seconds, seconds, 2, devices=rows)


def test_a_drift_of_one_card_is_not_hidden_by_the_others(clock: FakeClock) -> None:
    idle = Idle(clock)
    idle.energy = cards = EightCards(clock)
    idle.measure()
    # 50 W on one card are 8.9 % of the 560 W of all.
    cards.more_w = 50.0
    again = idle.measure()
    assert again is not None
    assert not again.from_cache
    assert again.power_w == pytest.approx(610.0)
    (warning,) = idle.warned
    assert "idle power of GPU-7 was 70.0 W" in warning


HERE = Host(name="node-1", machine_id="a", boot_id="1")
A_BASELINE = replace(MEASURED, power_w=80.0)


@pytest.mark.parametrize(
    "other",
    [
        replace(HERE, name="node-2"),
        replace(HERE, machine_id="b"),
        replace(HERE, boot_id="2"),
        replace(HERE, machine_id=None, boot_id=None),
    ],
    ids=["another name", "another machine", "another boot", "nothing told"],
)
def test_the_idle_power_of_another_host_or_boot_on_a_shared_disk_is_not_taken(tmp_path: Path, other: Host) -> None:
    path = tmp_path / "baseline.json"
    BaselineStore(path, HERE).put("nvml:GPU-0:30s", A_BASELINE)
    assert BaselineStore(path, other).get("nvml:GPU-0:30s") is None
    assert BaselineStore(path, HERE).get("nvml:GPU-0:30s") == A_BASELINE
    BaselineStore(path, other).put("nvml:GPU-0:30s", MEASURED)
    assert BaselineStore(path, HERE).get("nvml:GPU-0:30s") == A_BASELINE


def test_a_second_host_measures_its_own_idle_power_whatever_its_clock_says(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    first = Idle(FakeClock(), BaselineStore(path, HERE))
    second = Idle(FakeClock(100.0), BaselineStore(path, replace(HERE, name="node-2")))
    second.energy.power_w = 250.0
    assert first.measure() is not None
    found = second.measure()
    assert found is not None
    assert found.power_w == pytest.approx(250.0)
    assert not found.from_cache


def test_this_host_has_a_name_and_the_same_one_each_time() -> None:
    assert this_host().name
    assert this_host() == this_host()


_KEEPER = """
import sys
from pathlib import Path
from llenergymeasure.core.baseline import BaselineCache, BaselineStore
path, name = Path(sys.argv[1]), sys.argv[2]
store = BaselineStore(path)
for number in range(20):
    store.put(f"{name}-{number}", BaselineCache(power_w=1.0, timestamp=0.0, duration_sec=1.0, source="s", devices=()))
"""


def test_of_processes_that_keep_theirs_at_once_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    writers = [subprocess.Popen([sys.executable, "-c", _KEEPER, str(path), str(i)]) for i in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    store = BaselineStore(path)
    assert [store.get(f"{i}-{n}") is not None for i in range(3) for n in range(20)] == [True] * 60


def test_an_entry_that_cannot_be_read_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "baseline.json"
    BaselineStore(path, HERE).put("key", MEASURED)
    kept = json.loads(path.read_text())
    absurd = {**next(iter(kept.values())), "power_w": float("inf")}
    path.write_text(json.dumps({"hot": {"power_w": "hot"}, "absurd": absurd, **kept}))
    store = BaselineStore(path, HERE)
    assert store.get("key") == MEASURED
    assert caplog.text.count("cannot be read and is measured again") == 2
    store.put("other", A_BASELINE)
    assert BaselineStore(path, HERE).get("key") == MEASURED


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 200_000, '"text"'])
def test_a_torn_file_holds_no_baseline_and_that_is_said(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)
    store = BaselineStore(path)
    assert store.get("key") is None
    assert "cannot be read and are measured again" in caplog.text
    store.put("key", MEASURED)
    assert BaselineStore(path).get("key") == MEASURED


def test_two_hosts_whose_devices_have_equal_numbers_have_a_baseline_each(tmp_path: Path) -> None:
    # As jobs on two nodes, each of which sees its card as number 0, by a sensor that knows no other name of it.
    path = tmp_path / "baseline.json"
    found, clock = [], FakeClock()
    for name, power_w in (("node-1", 80.0), ("node-2", 250.0), ("node-1", 80.0), ("node-2", 250.0)):
        store = BaselineStore(path, replace(HERE, name=name))
        here = Idle(clock, store)
        here.energy.power_w = power_w
        baseline = measure_baseline_power(
            0, energy=here.energy, store=store, sleep=here.clock.sleep, now=here.clock, warn=lambda _: None
        )
        assert baseline is not None
        assert baseline.power_w == pytest.approx(power_w)
        found.append(baseline.from_cache)
    assert found == [False, False, True, True]
