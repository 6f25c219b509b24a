"""Knobs in a session: when they are set, what is read back, and what of it stands in the result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llenergymeasure.config.device import Knob
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.knobs.notes import Notes
from llenergymeasure.core.session import run_session
from llenergymeasure.domain.environment import EnvironmentSnapshot, GpuInfo
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.telemetry import SW_POWER_CAP, SW_THERMAL_SLOWDOWN, PowerThermalSample
from llenergymeasure.exceptions import ExperimentError, PreFlightError
from llenergymeasure.testing import (
    FakeClock,
    FakeEnergy,
    FakeEngine,
    FakeModel,
    FakeSampler,
    fake_environment,
    words_as_tokens,
)
from llenergymeasure.testing.gpus import FakeGpuDriver, FakeTunableGpuDevice

UUID = "ACME-1"
ALL: Mapping[Knob, float] = {"power_limit_w": 250.0, "sm_clock_mhz": 600, "memory_clock_mhz": 900}


class Logged(FakeTunableGpuDevice):
    """One that says when it is turned, between all else."""

    def __init__(self, log: list[str]) -> None:
        super().__init__(UUID)
        self.log = log

    def turn(self, knob: Knob, value: float | None) -> None:
        super().turn(knob, value)
        self.log.append(f"{knob} {value:g}" if value is not None else f"{knob} free")


@dataclass
class Disturbed(FakeModel):
    """A model beside which somebody else turns a knob when the window begins."""

    card: FakeTunableGpuDevice | None = None
    turned: Mapping[str, Any] = field(default_factory=dict)

    def seed(self, random_seed: int) -> None:
        super().seed(random_seed)
        for name, value in self.turned.items():
            setattr(self.card, name, value)


@dataclass
class Case:
    """A session on one fake card."""

    log: list[str] = field(default_factory=list)
    reasons: int = 0
    turned_in_the_window: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.card = Logged(self.log)
        self.model = Disturbed(
            self.clock, devices=(UUID,), log=self.log, card=self.card, turned=self.turned_in_the_window
        )

    def run(self, knobs: Mapping[Any, float] | None = None, devices: Sequence[str] = (UUID,)) -> RawProcessResult:
        config = ExperimentConfig.model_validate(
            {"model": "m", "n": 4, "warmup": {"n_warmup": 1}, "energy": {"backend": "nvml"}, "device": knobs}
        )
        samples = [
            PowerThermalSample(0.5 * i, 200.0, 50.0, sm_utilisation=99, throttle_reasons=self.reasons, gpu_index=0)
            for i in range(1000)
        ]
        instruments = Instruments(
            energy=FakeEnergy(self.clock, log=self.log),
            sampler=FakeSampler(samples, self.log),
            snapshot=self.snapshot,
            clock=self.clock,
            sleep=self.clock.sleep,
            now=self.clock.now,
            driver=FakeGpuDriver(self.card),
            tokenise=words_as_tokens,
        )
        plan = ExperimentPlan.of(config, devices=devices)
        return run_session(plan, FakeEngine(self.model), instruments)

    def snapshot(self) -> EnvironmentSnapshot:
        gpu = GpuInfo(index=0, uuid=UUID, name="Acme 1000", power_limit_w=400.0, power_limit_default_w=400.0)
        return replace(fake_environment(), gpus=(gpu,))


def flags(raw: RawProcessResult) -> set[str]:
    return {warning.flag for warning in raw.measurement_warnings}


def test_they_are_set_after_the_idle_baseline_and_back_when_the_model_has_gone() -> None:
    case = Case()
    case.run(ALL)
    turned = [
        f"power_limit_w {case.card.turned[0][1]:g}",
        "power_limit_w 250",
        "sm_clock_mhz 600",
        "memory_clock_mhz 900",
    ]
    first, last = case.log.index("power_limit_w 250"), case.log.index("memory_clock_mhz free")
    # The limit that was there is written first, to see whether that is allowed.
    assert turned[0] == "power_limit_w 400"
    assert case.log[first : first + 3] == turned[1:]
    assert "energy on" in case.log[:first]
    assert case.log[last:] == ["memory_clock_mhz free", "sm_clock_mhz free", "power_limit_w 400"]
    assert case.log[last - 1] == "unload"
    assert case.log.index("load") > first
    assert not Notes().any()


def test_the_limit_in_force_stands_in_the_result_and_nothing_is_wrong_with_it() -> None:
    raw = Case(reasons=SW_POWER_CAP).run(ALL)
    (gpu,) = raw.environment_snapshot.gpus
    assert (gpu.power_limit_w, gpu.power_limit_default_w) == (250, 400)
    assert raw.effective_config["device"] == ALL
    assert "power_limit_reached" in flags(raw)
    assert flags(raw) & {"gpu_throttled", "power_cap_below_default", "device_setting_differs"} == set()


def test_a_cap_that_nobody_asked_for_and_heat_under_one_are_faults() -> None:
    assert "gpu_throttled" in flags(Case(reasons=SW_POWER_CAP).run())
    # A limit on clocks asks for no limit on power.
    assert "gpu_throttled" in flags(Case(reasons=SW_POWER_CAP).run({"sm_clock_mhz": 600}))
    hot = Case(reasons=SW_POWER_CAP | SW_THERMAL_SLOWDOWN).run({"power_limit_w": 250})
    assert {"gpu_throttled", "power_limit_reached"} <= flags(hot)
    (warning,) = [warning for warning in hot.measurement_warnings if warning.flag == "gpu_throttled"]
    assert "power cap" not in warning.text


@pytest.mark.parametrize(
    ("knobs", "changed", "told"),
    [
        ({"power_limit_w": 250}, {"limit_w": 300.0},
         "device.power_limit_w: 250 was asked for, and it was read back as 250, 300"),
        ({"sm_clock_mhz": 600}, {"locked_mhz": {}}, None),
    ],
)  # fmt: skip
def test_a_knob_that_is_not_as_asked_is_told(
    knobs: dict[str, float], changed: dict[str, Any], told: str | None
) -> None:
    case = Case(turned_in_the_window=changed)
    found = [w for w in case.run(knobs).measurement_warnings if w.flag == "device_setting_differs"]
    assert [warning.text for warning in found] == ([] if told is None else [f"{told} on GPU 0"])
    assert all(warning.device == UUID for warning in found)


def test_a_clock_that_never_was_as_asked_is_told() -> None:
    class Stubborn(Logged):
        def knob_value(self, knob: Knob) -> float | None:
            return {"sm_clock_mhz": 500.0, "memory_clock_mhz": None}.get(knob, self.limit_w)

    case = Case()
    case.card = Stubborn(case.log)
    raw = case.run({"sm_clock_mhz": 600, "memory_clock_mhz": 900})
    assert [w.text for w in raw.measurement_warnings if w.flag == "device_setting_differs"] == [
        "device.sm_clock_mhz: 600 was asked for, and it was read back as 500, 500 on GPU 0",
        "device.memory_clock_mhz: 900 was asked for, and it could not be read back on GPU 0",
    ]


def test_without_knobs_nothing_is_turned_or_noted() -> None:
    case = Case()
    raw = case.run()
    assert case.card.turned == []
    assert raw.environment_snapshot.gpus[0].power_limit_w == 400
    assert raw.effective_config["device"] is None


def test_what_cannot_be_set_ends_it_before_the_model_is_loaded() -> None:
    case = Case()
    with pytest.raises(PreFlightError, match="no GPU is used"):
        case.run({"power_limit_w": 250}, devices=())
    with pytest.raises(PreFlightError, match="50 W is out of its range, 100 to 400 W"):
        case.run({"power_limit_w": 50})
    assert "load" not in case.log


def test_an_engine_that_fails_leaves_the_card_as_it_was() -> None:
    case = Case()
    # The first batch is the warm-up's.
    case.model.fail_at_batch = 2
    with pytest.raises(ExperimentError, match="the device went away"):
        case.run(ALL)
    assert (case.card.limit_w, set(case.card.locked_mhz.values())) == (400, {None})
    assert not Notes().any()
