"""A sensor around which nothing may fail."""

import math
from dataclasses import replace
from typing import Any

import pytest

from llenergymeasure.core.energy_backends.tracking import Tracking, of_the_window, with_rows_of
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, only_gpus
from llenergymeasure.domain.trace import DeviceTrace, Reading, Readings
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.testing import FakeClock, FakeEnergy


class Giving(FakeEnergy):
    """Gives what it was made with, over three seconds."""

    def __init__(self, given: object) -> None:
        super().__init__(FakeClock())
        self.given = given

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        return self.given  # type: ignore[return-value]


def tracked(sensor: FakeEnergy) -> EnergyMeasurement:
    with Tracking(sensor) as tracking:
        pass
    return tracking.measurement


class Marked(FakeEnergy):
    """Can begin and end anew, and fails in doing so."""

    def __init__(self, fails_in: str) -> None:
        super().__init__(FakeClock())
        self.fails_in, self.n_stopped = fails_in, 0

    def begin_now(self, tracker: float) -> float:
        if self.fails_in == "begin":
            raise OSError("gone")
        return tracker

    def end_now(self, tracker: float) -> float:
        if self.fails_in == "end":
            raise OSError("gone")
        return tracker

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        self.n_stopped += 1
        return super().stop_tracking(tracker)


@pytest.mark.parametrize("fails_in", ["begin", "end"])
def test_a_sensor_that_fails_at_a_mark_is_stopped_once_and_has_no_joules(fails_in: str) -> None:
    sensor = Marked(fails_in)
    with Tracking(sensor) as tracking:
        tracking.begin_now()
        tracking.end_now()
    assert sensor.n_stopped == 1
    assert tracking.measurement.total_j is None
    assert f"could not {fails_in}: gone" in str(tracking.measurement.warnings[0])


@pytest.mark.parametrize(
    ("total_j", "said"),
    [
        (0.0, "gave 0 J for 3 s"),
        (-5.0, "gave -5 J for 3 s"),
        (float("nan"), "gave total_j nan: Input should be a finite number"),
        (float("inf"), "gave total_j inf: "),
    ],
)
def test_a_figure_that_is_none_is_no_joules_and_a_reason(total_j: float, said: str) -> None:
    found = tracked(Giving(EnergyMeasurement(total_j, 3.0, 2)))
    assert found.total_j is None
    assert found.warnings[0].flag == "energy_unavailable"
    assert f"fake-energy {said}" in str(found.warnings[0])


def test_what_is_no_measurement_at_all_is_no_joules_and_a_reason() -> None:
    found = tracked(Giving(None))
    assert found.total_j is None
    assert "fake-energy gave NoneType None where a EnergyMeasurement belongs" in str(found.warnings[0])


GOOD = DeviceEnergy(device="GPU-0", kind="gpu", energy_j=300.0, source="counter", uncertainty_j=2.0)


def with_field(row: DeviceEnergy, **wrong: Any) -> DeviceEnergy:
    return replace(row, **wrong)


def of_rows(*rows: Any, total_j: Any = 300.0, **fields: Any) -> EnergyMeasurement:
    return EnergyMeasurement(total_j, **{"duration_sec": 3.0, "samples": 2, **fields}, devices=tuple(rows))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (of_rows(replace(GOOD, energy_j=-7.0), total_j=-7.0), "gave -7 J for 3 s"),
        (of_rows(replace(GOOD, energy_j=-7.0)), "gave -7 J for GPU-0 for 3 s"),
        (of_rows(replace(GOOD, energy_j=0.0)), "gave 0 J for GPU-0"),
        (of_rows(replace(GOOD, uncertainty_j=-5.0)), "gave a bound of -5 J"),
        (of_rows(GOOD, uncertainty_j=-5.0), "gave a bound of -5 J"),
        (of_rows(GOOD, GOOD, total_j=600.0), "more than one row for GPU-0"),
        (of_rows(GOOD, replace(GOOD, device="dram", kind="dram"), total_j=600.0), "a total of 600 J, and the rows"),
        (of_rows(replace(GOOD, energy_j=None)), "have no sum"),
        (of_rows(with_field(GOOD, scope="rack")), "gave devices.0.scope 'rack'"),
        (of_rows(with_field(GOOD, kind="fpga")), "gave devices.0.kind 'fpga'"),
        (of_rows(replace(GOOD, uncertainty_j=math.nan)), "gave devices.0.uncertainty_j nan"),
        (of_rows(replace(GOOD, energy_j=math.inf)), "gave devices.0.energy_j inf"),
        (of_rows(GOOD, duration_sec=None), "gave duration_sec None"),
        (of_rows(GOOD, duration_sec=-3.0), "gave -3 s, which no window takes"),
        (of_rows(replace(GOOD, device="dram", kind="dram")), "(there are none) have no sum"),
        (of_rows(GOOD, duration_sec=math.nan), "gave duration_sec nan"),
        (of_rows("GPU-0"), "gave devices.0 'GPU-0'"),
    ],
)
def test_what_cannot_be_or_does_not_go_together_is_no_joules_of_the_whole_and_of_its_parts(
    given: EnergyMeasurement, said: str
) -> None:
    found = tracked(Giving(given))
    assert found.total_j is None
    assert said in str(found.warnings[-1])
    assert found.warnings[-1].flag == "energy_unavailable"
    assert all(row.energy_j is None for row in found.devices)
    # Whoever looks at some of the devices only does not find it again.
    assert only_gpus(found, ["GPU-0"]).total_j is None


def test_a_row_beside_the_total_that_cannot_be_is_null_and_the_total_stays() -> None:
    memory = DeviceEnergy(device="dram", kind="dram", energy_j=0.0, source="counter")
    found = tracked(Giving(of_rows(GOOD, memory)))
    assert found.total_j == 300.0
    assert [row.energy_j for row in found.devices] == [300.0, None]
    assert list(map(str, found.warnings)) == ["not_in_the_total: fake-energy gave 0 J for dram"]


OTHER = replace(GOOD, device="GPU-1")


@pytest.mark.parametrize("energy_j", [0.0, -5.0, math.nan, None])
def test_of_several_devices_one_without_a_figure_costs_the_total_and_not_the_others(energy_j: float | None) -> None:
    found = tracked(Giving(of_rows(GOOD, replace(OTHER, energy_j=energy_j), total_j=300.0)))
    assert found.total_j is None
    assert [row.energy_j for row in found.devices] == [300.0, None]
    assert [warning.device for warning in found.warnings] == ["GPU-1"]
    # Where only the other is in use, nothing is missing.
    of_the_used = only_gpus(found, ["GPU-0"])
    assert (of_the_used.total_j, of_the_used.warnings) == (300.0, ())
    assert only_gpus(found, ["GPU-1"]).total_j is None


def test_what_a_sensor_refuses_as_a_whole_no_part_of_it_is_believed() -> None:
    given = of_rows(GOOD, OTHER, total_j=None, warnings=("energy_unavailable: the clock jumped",))
    of_the_used = only_gpus(tracked(Giving(given)), ["GPU-0"])
    assert of_the_used.total_j is None
    assert [str(warning) for warning in of_the_used.warnings] == ["energy_unavailable: the clock jumped"]


def test_without_the_gpus_that_nobody_uses_the_packages_beside_them_are_what_was_measured() -> None:
    package = DeviceEnergy(device="package-0", kind="cpu", energy_j=50.0, source="counter")
    found = only_gpus(tracked(Giving(of_rows(GOOD, package))), [])
    assert (found.total_j, [(row.device, row.headline) for row in found.devices]) == (50.0, [("package-0", True)])


def test_gpus_beside_a_total_of_something_else_are_no_part_of_it() -> None:
    of_the_plug = EnergyMeasurement(
        500.0, 3.0, 2, devices=(replace(GOOD, headline=False), replace(OTHER, headline=False))
    )
    found = only_gpus(of_the_plug, ["GPU-0"])
    assert (found.total_j, [row.device for row in found.devices]) == (500.0, ["GPU-0"])


def test_no_energy_without_a_reason_has_one() -> None:
    (warning,) = tracked(Giving(EnergyMeasurement(None, 3.0, 2))).warnings
    assert str(warning) == "energy_unavailable: fake-energy gave no energy and no reason"


def test_of_a_total_that_was_rounded_the_rows_have_the_last_word() -> None:
    assert tracked(Giving(of_rows(replace(GOOD, energy_j=300.12), total_j=300.1))).total_j == 300.12
    assert tracked(Giving(of_rows(replace(GOOD, energy_j=300.12), total_j=301.0))).total_j is None


def test_readings_that_cannot_be_kept_cost_no_joules() -> None:
    failed = Readings(kind="power", reads=(Reading(1.0, math.nan),))
    trace = DeviceTrace(device="GPU-0", sensor="fake", start_s=0.0, end_s=3.0, facts={}, readings=(failed,))
    found = tracked(Giving(replace(of_rows(GOOD), trace=(trace,))))
    assert (found.total_j, found.trace) == (300.0, ())
    (warning,) = found.warnings
    assert warning.flag == "sidecar_not_written"
    assert "readings.0.reads.0.value nan" in str(warning)


def test_what_a_sensor_said_stays_where_its_figures_cannot_be_read() -> None:
    found = tracked(Giving(of_rows(replace(GOOD, energy_j=math.nan), warnings=("absurd_power: of the board",))))
    assert [warning.flag for warning in found.warnings] == ["absurd_power", "energy_unavailable"]


@pytest.mark.parametrize("error", [SystemExit(0), BaseException("panicked")])
def test_a_sensor_that_would_end_the_process_gives_no_joules_and_a_reason(error: BaseException) -> None:
    class Ending(FakeEnergy):
        def stop_tracking(self, tracker: float) -> EnergyMeasurement:
            raise error

    found = tracked(Ending(FakeClock()))
    assert found.total_j is None
    assert type(error).__name__ in str(found.warnings[0])


@pytest.mark.parametrize("said", ["energy_unavailable: no", ["energy_unavailable: no"]])
def test_a_single_text_is_one_warning(said: Any) -> None:
    (warning,) = tracked(Giving(EnergyMeasurement(None, 1.0, 0, warnings=said))).warnings
    assert (warning.flag, warning.text) == ("energy_unavailable", "no")


def test_each_row_says_who_gave_it_what_it_covers_and_whether_it_is_in_the_total() -> None:
    package = DeviceEnergy(device="package-0", kind="cpu", energy_j=3.0, source="counter")
    memory = DeviceEnergy(device="dram-0", kind="dram", energy_j=1.0, source="counter", sensor="another", scope="host")
    found = tracked(Giving(EnergyMeasurement(3.0, 1.0, 2, devices=(package, memory))))
    assert [(d.sensor, d.scope, d.headline) for d in found.devices] == [
        ("fake-energy", "package", True),
        ("another", "host", False),
    ]


def test_the_scope_of_a_sensor_is_that_of_the_rows_in_its_total() -> None:
    class Meter(Giving):
        scope = "wall"

    plug = DeviceEnergy(device="plug", kind="host", energy_j=900.0, source="integrated")
    memory = DeviceEnergy(device="dram-0", kind="dram", energy_j=1.0, source="counter")
    found = tracked(Meter(EnergyMeasurement(900.0, 2.0, 2, devices=(plug, memory))))
    assert [(d.scope, d.headline) for d in found.devices] == [("wall", True), ("dram", False)]


class Raising(FakeEnergy):
    """Raises when it starts or when it stops."""

    def __init__(self, clock: FakeClock, at: str) -> None:
        super().__init__(clock)
        self.at = at

    def start_tracking(self) -> float:
        if self.at == "start":
            raise RuntimeError("the sensor is busy")
        return super().start_tracking()

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        if self.at == "stop":
            raise RuntimeError("the sensor is busy")
        return super().stop_tracking(tracker)


def test_a_source_that_works_is_passed_through(clock: FakeClock) -> None:
    energy = FakeEnergy(clock, power_w=50.0)
    with Tracking(energy) as tracking:
        clock.sleep(4)
    measured = tracking.measurement
    assert (measured.total_j, measured.duration_sec) == (200.0, 4.0)
    assert energy.log == ["energy on", "energy off"]


@pytest.mark.parametrize("at", ["start", "stop"])
def test_a_source_that_raises_gives_no_joules_and_a_reason(clock: FakeClock, at: str) -> None:
    with Tracking(Raising(clock, at)) as tracking:
        clock.sleep(4)
    reason = MeasurementWarning("energy_unavailable", f"fake-energy could not {at}: the sensor is busy")
    assert tracking.measurement == EnergyMeasurement(None, 0.0, 0, warnings=(reason,))


def test_an_interrupt_stops_the_source(clock: FakeClock) -> None:
    energy = FakeEnergy(clock)
    with pytest.raises(KeyboardInterrupt), Tracking(energy):
        raise KeyboardInterrupt
    assert energy.log == ["energy on", "energy off"]


OF_THE_GPU = MeasurementWarning("absurd_power", "of the GPU", device="GPU-0")
GPU = DeviceEnergy(device="GPU-0", kind="gpu", energy_j=300.0, source="counter", uncertainty_j=2.0)
CPU = DeviceEnergy(device="package-0", kind="cpu", energy_j=80.0, source="counter", uncertainty_j=0.5)
MEMORY = DeviceEnergy(device="dram-0", kind="dram", energy_j=10.0, source="counter")
HEADLINE = EnergyMeasurement(
    300.0, 4.0, 40, per_gpu_j={"GPU-0": 300.0}, devices=(GPU,), uncertainty_j=2.0, warnings=(OF_THE_GPU,)
)


def test_rows_of_another_source_are_listed_after_the_headlines_own_and_not_added() -> None:
    beside = EnergyMeasurement(80.0, 4.0, 2, devices=(CPU, MEMORY), uncertainty_j=0.5)
    assert with_rows_of(HEADLINE, beside) == EnergyMeasurement(
        300.0,
        4.0,
        40,
        per_gpu_j={"GPU-0": 300.0},
        devices=(GPU, replace(CPU, headline=False), replace(MEMORY, headline=False)),
        uncertainty_j=2.0,
        warnings=(OF_THE_GPU,),
    )


def test_a_source_beside_that_was_lost_says_that_the_total_does_not_depend_on_it() -> None:
    said = tuple(map(MeasurementWarning.of, ("energy_unavailable: no", "wrapped")))
    beside = EnergyMeasurement(None, 4.0, 0, devices=(MEMORY,), warnings=said)
    both = with_rows_of(HEADLINE, beside)
    assert (both.total_j, both.devices) == (300.0, (GPU, replace(MEMORY, headline=False)))
    assert list(map(str, both.warnings)) == [
        "absurd_power: of the GPU",
        "not_in_the_total: energy_unavailable: no",
        "not_in_the_total: unnamed: wrapped",
    ]


@pytest.mark.parametrize(
    ("sensor_s", "window_s", "believed"),
    [(10.0, 10.0, True), (5.0, 10.0, True), (20.0, 10.0, True), (4.9, 10.0, False), (20.1, 10.0, False),
     (0.0, 10.0, False), (0.0, 0.5, True)],
)  # fmt: skip
def test_joules_of_less_than_half_or_more_than_twice_the_window_are_none(
    sensor_s: float, window_s: float, believed: bool
) -> None:
    found = of_the_window(replace(HEADLINE, duration_sec=sensor_s), window_s)
    assert (found.total_j, found.devices[0].energy_j) == ((300.0, 300.0) if believed else (None, None))
    flags = [warning.flag for warning in found.warnings]
    assert flags == (["absurd_power"] if believed else ["absurd_power", "energy_unavailable"])
