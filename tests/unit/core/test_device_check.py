"""Which GPUs count once the engine has said where the model lies."""

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.baseline import BaselineCache
from llenergymeasure.core.device_check import Watched, watch_the_model
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.domain.inference import ModelDescription
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, only_gpus
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.testing import FakeClock, FakeEnergy, FakeSampler

A, B, C = "GPU-a", "GPU-b", "GPU-c"
IDLE = BaselineCache(
    power_w=150.0,
    timestamp=0.0,
    duration_sec=30.0,
    source="nvml",
    devices=(A, B, C),
    power_by_device_w={A: 60.0, B: 50.0, C: 40.0},
)


def _watch(
    used: tuple[str, ...], baseline: BaselineCache | None = IDLE, *, required: bool = False
) -> tuple[Watched, Instruments]:
    config = ExperimentConfig.model_validate({"model": "m", "baseline": {"required": required}})
    plan = ExperimentPlan(config=config, experiment_id="x", config_hash="0", devices=(A, B, C))
    instruments = Instruments(energy=FakeEnergy(FakeClock()), sampler=FakeSampler())
    model = ModelDescription(engine="fake", engine_version=None, devices=used)
    return watch_the_model(plan, model, instruments, baseline), instruments


def test_all_of_the_watched_gpus_in_any_order_change_nothing() -> None:
    watched, instruments = _watch((C, A, B))
    assert watched.plan.devices == (A, B, C)
    assert watched.instruments is instruments
    assert watched.baseline is IDLE


def test_some_of_them_narrow_plan_and_baseline_and_the_sensors_go_on() -> None:
    watched, instruments = _watch((A, C))
    assert watched.plan.devices == (A, C)
    assert watched.instruments is instruments
    assert watched.baseline is not None
    assert (watched.baseline.power_w, watched.baseline.devices) == (100.0, (A, C))


def test_a_baseline_that_does_not_know_its_parts_is_none_of_them() -> None:
    whole = BaselineCache(power_w=150.0, timestamp=0.0, duration_sec=30.0, source="nvml", devices=(A, B, C))
    assert _watch((A,), whole)[0].baseline is None
    assert _watch((A,), whole)[0].warnings[0].flag == "baseline_unavailable"
    assert _watch((A,), None)[0].baseline is None
    assert _watch((A,), None)[0].warnings == _watch((A,))[0].warnings == ()


@pytest.mark.parametrize("used", [(), ("GPU-z",), (A, "GPU-z")])
def test_other_devices_are_measured_by_nothing_and_the_reason_names_both(used: tuple[str, ...]) -> None:
    watched, _ = _watch(used)
    blind = watched.instruments
    assert (blind.energy, watched.baseline) == (None, None)
    assert (used[-1] if used else "the CPU") in (blind.energy_absent_reason or "")
    assert f"the sensors watch {A}, {B}, {C}" in (blind.energy_absent_reason or "")
    blind.sampler.start()
    assert blind.sampler.get_samples() == []


@pytest.mark.parametrize(("used", "baseline"), [(("GPU-z",), IDLE), ((A,), None)])
def test_a_required_baseline_of_other_devices_is_an_error(
    used: tuple[str, ...], baseline: BaselineCache | None
) -> None:
    with pytest.raises(ExperimentError, match=r"baseline\.required is true, but .* the sensors watch GPU-a"):
        _watch(used, baseline, required=True)
    assert _watch((A,), required=True)[0].plan.devices == (A,)


def test_joules_of_gpus_that_took_no_part_are_not_in_the_total() -> None:
    rows = (
        DeviceEnergy(device=A, kind="gpu", energy_j=10.0, source="counter", uncertainty_j=0.5),
        DeviceEnergy(device=B, kind="gpu", energy_j=None, source="counter"),
        DeviceEnergy(device="package-0", kind="cpu", energy_j=7.0, source="counter"),
    )
    said = (
        MeasurementWarning("energy_unavailable", f"{B} was lost"),
        MeasurementWarning("counter_disagreement", "far apart", device=B),
        MeasurementWarning("absurd_power", "3 readings", device=A),
        MeasurementWarning("zeus_refused", "nothing of a card"),
    )
    whole = EnergyMeasurement(None, 2.0, 20, per_gpu_j={A: 10.0}, devices=rows, warnings=said)
    assert only_gpus(whole, (A, B)) is whole
    assert only_gpus(whole, (A,)) == EnergyMeasurement(
        10.0, 2.0, 20, per_gpu_j={A: 10.0}, devices=(rows[0], rows[2]), uncertainty_j=0.5, warnings=said[2:]
    )


def test_a_gpu_whose_name_begins_with_anothers_keeps_no_warning_of_its_own_when_it_is_left_out() -> None:
    rows = tuple(DeviceEnergy(device=f"GPU-{i}", kind="gpu", energy_j=10.0, source="counter") for i in (1, 10))
    said = tuple(MeasurementWarning("absurd_power", "3 readings", device=row.device) for row in rows)
    whole = EnergyMeasurement(20.0, 2.0, 20, devices=rows, warnings=said)
    assert only_gpus(whole, ("GPU-1",)).warnings == said[:1]
    assert only_gpus(whole, ("GPU-10",)).warnings == said[1:]


def test_what_leaves_no_energy_of_those_in_use_stays() -> None:
    rows = (
        DeviceEnergy(device=A, kind="gpu", energy_j=None, source="counter"),
        DeviceEnergy(device=B, kind="gpu", energy_j=1.0, source="counter"),
    )
    lost = MeasurementWarning("energy_unavailable", f"{A} was lost")
    whole = EnergyMeasurement(None, 2.0, 20, devices=rows, warnings=(lost,))
    assert only_gpus(whole, (A,)).warnings == (lost,)
    assert only_gpus(whole, (B,)).warnings == ()
