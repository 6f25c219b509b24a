"""Each fault of the driver in turn: the experiment completes, and its joules are right, or null with the reason.

Most cases run side by side, started when the first of them is asked for.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import util
from pathlib import Path
from typing import Any

import pytest

import nvmlsim
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.results.verification.verify import verify
from nvmlsim import Counter, Fault, Gpu, Process, Sensor, Sensors, Trace
from tests.fakes.bundles import bundle_of
from tests.simulated.conftest import Crew, Measuring, Outcome

HAS_ZEUS = util.find_spec("zeus") is not None
IDLE_W, LOAD_W = 60.0, 380.0
LOAD = f"gpu 0 power_w {{now}} {LOAD_W}"
NO_PERMISSION, UNKNOWN = 4, 999
COUNTER = "nvmlDeviceGetTotalEnergyConsumption"

USEFUL = 0.4
# What a figure does not depend on: with any of these failing it must be there.
HARMLESS = (
    "nvmlShutdown",
    "nvmlSystemGetDriverVersion",
    "nvmlSystemGetCudaDriverVersion",
    "nvmlDeviceGetHandleByUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetArchitecture",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetFieldValues",
    "field.186",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetPersistenceMode",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetPowerManagementDefaultLimit",
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses",
)

# What a driver that tells the truth slowly, seldom or all the time shows: none of it is a reason to refuse a counter.
TRUE_COUNTERS: dict[str, Gpu] = {
    "without ticks": Gpu(power_w=Trace.constant(IDLE_W), counter=Counter(tick_s=0.0005)),
    "ticks of half a second": Gpu(power_w=Trace.constant(IDLE_W), counter=Counter(tick_s=0.45)),
}

# Without these there is no figure, or another one.
NEEDED = (
    "nvmlInit",
    "nvmlDeviceGetCount",
    "nvmlDeviceGetHandleByIndex",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetIndex",
    COUNTER,
)
# Every function of the driver that a measurement calls, as nvmlsim names them.
CALLS = (*NEEDED, *HARMLESS)

LIES = {
    "reset": ("gpu 0 counter_reset {now}", "went back"),
    "stuck": ("gpu 0 counter_stuck {now} 1000000", "stood still"),
    "jump": ("gpu 0 counter_jump {now} 500000", "jumped"),
    "refused": (f"fault {COUNTER} error={NO_PERMISSION} from_s={{now}}", "could not be read at an edge"),
}
LOSSES = {
    "lost": "gpu 0 lost {now}",
    "driver unloaded": "unloaded {now} 1",
    "driver not loaded": "unloaded {now} 9",
}
HELD_UP = (COUNTER, "nvmlDeviceGetFieldValues", "nvmlDeviceGetTemperature")
TELEMETRY = (
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetMigMode",
)


def card(**more: Any) -> Gpu:
    """A card that idles."""
    return Gpu(power_w=Trace.constant(IDLE_W), **more)


def sees_everything() -> Gpu:
    """A card that idles, with a power sensor that sees all of the time."""
    return card(sensors=nvmlsim.RTX40, name="NVIDIA GeForce RTX 4090", architecture="ada")


def without_counter(power: Sensor, **more: Any) -> Gpu:
    """A card with power alone to go by; it idles unless said."""
    return Gpu(**{"power_w": Trace.constant(IDLE_W), **more}, counter=None, sensors=power_alone(power))


def power_alone(power: Sensor) -> Sensors:
    """One field, of this sensor."""
    return Sensors(instant=power, power_usage="instant")


# As a GH200 whose driver tells both: its counter is the module's, with processor and memory.
IN_A_MODULE = card(sensors=nvmlsim.RTX40, c2c=True, module_gain=1.4, counter=Counter(gain=1.4))
# Works and rests, 1.5 s each, and its sensor was last refreshed before it began to.
FROZEN = without_counter(
    Sensor(1000.0, 0.1, phase_s=-1.0),
    power_w=Trace.square(IDLE_W, LOAD_W, period_s=3.0),
    gpu_utilisation_pct=Trace.square(0, 100, period_s=3.0),
)


def case(*gpus: Gpu, faults: tuple[Fault, ...] = (), **request: Any) -> Callable[[Measuring], Outcome]:
    """A measurement, to be run when a process is free; the load begins with the measured window."""
    asked = {"in_window": LOAD, **request}
    return lambda process: process.run(*(gpus or (card(),)), faults=faults, **asked)


CASES = {
    **{f"{call} from the start": case(faults=(Fault(symbol=call, error=UNKNOWN),), backend="auto") for call in CALLS},
    **{
        f"{call} in the window": case(in_window=f"{LOAD}\nfault {call} error={UNKNOWN} from_s={{now}}")
        for call in CALLS
    },
    **{f"healthy, {backend}": case(backend=backend) for backend in ("nvml", "zeus")},
    **{f"module, {backend}": case(IN_A_MODULE, backend=backend) for backend in ("nvml", "zeus")},
    **{
        f"{lie}, {backend}": case(sees_everything(), backend=backend, in_window=f"{LOAD}\n{line}", batch_s=0.5)
        for lie, (line, _) in LIES.items()
        for backend in ("nvml", "zeus")
    },
    **{
        f"{loss}, {backend}": case(backend=backend, in_window=f"{LOAD}\n{line}")
        for loss, line in LOSSES.items()
        for backend in ("nvml", "zeus")
    },
    "lost early": case(card(lost_at_s=0.0), backend="auto"),
    "slow": case(in_window=f"{LOAD}\nfault nvmlDeviceGetTemperature slow_s=0.25 from_s={{now}}", batch_s=1.0),
    "no permission": case(faults=tuple(Fault(symbol=name, error=NO_PERMISSION) for name in TELEMETRY)),
    "MIG": case(card(mig=True), backend="auto"),
    "one of two lost": case(card(), card(), n_gpus=2, in_window=f"{LOAD}\ngpu 1 lost {{now}}"),
    **{f"{name} counter": case(gpu) for name, gpu in TRUE_COUNTERS.items()},
    "says nothing": case(without_counter(Sensor(0.1, 0.1, gain=0.0))),
    "frozen": case(FROZEN, in_window="", batch_s=1.6),
    "eight slow ones": case(
        *(card(counter=Counter(phase_s=n / 80)) for n in range(8)),
        n_gpus=8,
        in_window="\n".join(LOAD.replace("gpu 0", f"gpu {n}") for n in range(8)),
        faults=(Fault(symbol="*", slow_s=0.005),),
    ),
    "limit raised": case(card(power_limit_w=200), in_window=f"{LOAD}\ngpu 0 power_limits_w 400 400 100 400"),
    "stranger": case(card(processes=(Process(pid=1, memory_mb=500),))),
}


@pytest.fixture(scope="module")
def outcomes(crew: Crew[Measuring]) -> "dict[str, Future[Outcome]]":
    """Every case, being run."""
    return {name: crew.submit(run) for name, run in CASES.items()}


Outcomes = dict[str, "Future[Outcome]"]


def assert_right_or_null(outcome: Outcome) -> float | None:
    """The joules of the GPU: within their own bound, or null with a reason."""
    total_j = None if outcome.raw["energy"] is None else outcome.raw["energy"]["total_j"]
    if total_j is None:
        assert "energy_unavailable" in outcome.flags
        return None
    if all(row["kind"] != "gpu" for row in outcome.rows):
        assert outcome.raw["model"]["devices"] == []
        return None
    assert abs(total_j - outcome.true_j[0]) <= outcome.raw["energy"]["uncertainty_j"]
    return float(total_j)


@pytest.mark.parametrize("when", ["from the start", "in the window"])
@pytest.mark.parametrize("call", CALLS)
def test_an_error_in_any_call_gives_the_right_number_or_none(outcomes: Outcomes, call: str, when: str) -> None:
    outcome = outcomes[f"{call} {when}"].result()
    measured = assert_right_or_null(outcome)
    assert measured is not None or call not in HARMLESS, outcome.said
    assert len(outcome.raw["requests"]) == 2


@pytest.mark.parametrize("call", [None, COUNTER])
def test_the_bound_is_useful_with_the_counter_and_with_power_alone(measuring: Measuring, call: str | None) -> None:
    # Alone: on a busy machine ticks and samples are further apart, and the bound is rightly wider.
    fault = "" if call is None else f"\nfault {call} error={UNKNOWN} from_s={{now}}"
    outcome = measuring.run(card(), in_window=LOAD + fault)
    assert assert_right_or_null(outcome) is not None
    # Two ticks of 0.1 s at 380 W are the worst that an untimed counter can be off, 76 J of 304; a step that is
    # sampled every 0.1 s leaves as much.
    assert outcome.raw["energy"]["uncertainty_j"] <= USEFUL * outcome.true_j[0]


@pytest.mark.parametrize("backend", ["nvml", "zeus"])
def test_without_faults_the_number_is_there(outcomes: Outcomes, backend: str) -> None:
    outcome = outcomes[f"healthy, {backend}"].result()
    # One tick of 0.1 s at 380 W is 38 J of 304; the headline's are timed, whichever sensor is selected.
    assert assert_right_or_null(outcome) == pytest.approx(outcome.true_j[0], abs=10)
    assert outcome.raw["energy_backend"] == backend
    row, *beside = outcome.rows
    assert (row["device"], row["source"], row["sensor"], row["headline"]) == (
        outcome.uuids[0], "counter", "nvml", True,
    )  # fmt: skip
    assert [(other["sensor"], other["headline"]) for other in beside] == [("zeus", False)] * (backend == "zeus")
    assert outcome.raw["instrument_cpu_s"] > 0


@pytest.mark.parametrize("backend", ["nvml", "zeus"])
def test_the_counter_of_a_module_is_not_taken_for_its_gpus(outcomes: Outcomes, backend: str) -> None:
    outcome = outcomes[f"module, {backend}"].result()
    # The counter would say 40 % more.
    assert assert_right_or_null(outcome) is not None
    row, *beside = outcome.rows
    assert (row["scope"], row["source"], row["sensor"], row["headline"]) == ("gpu", "integrated", "nvml", True)
    assert [(other["sensor"], other["scope"], other["headline"]) for other in beside] == (
        [("zeus", "module", False)] * (backend == "zeus")
    )
    assert "it covers the module, and what is read of power the gpu" in outcome.said


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("backend", ["nvml", "zeus"])
def test_a_counter_that_lies_is_replaced_by_the_integral(outcomes: Outcomes, backend: str, lie: str) -> None:
    outcome = outcomes[f"{lie}, {backend}"].result()
    assert assert_right_or_null(outcome) is not None
    assert outcome.rows[0]["source"] == "integrated"
    assert LIES[lie][1] in outcome.said


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("backend", ["nvml", "zeus"])
def test_a_gpu_or_driver_lost_in_the_window_leaves_no_number_and_says_so(
    outcomes: Outcomes, backend: str, loss: str
) -> None:
    outcome = outcomes[f"{loss}, {backend}"].result()
    assert outcome.raw["energy"]["total_j"] is None
    assert "energy_unavailable" in outcome.flags
    assert len(outcome.raw["requests"]) == 2


def test_a_gpu_that_was_lost_early_is_not_measured(outcomes: Outcomes) -> None:
    outcome = outcomes["lost early"].result()
    assert outcome.raw["model"]["devices"] == []
    assert all(row["kind"] != "gpu" for row in outcome.rows)
    assert outcome.raw["environment_snapshot"]["gpus"] == []


def test_slow_calls_in_a_longer_window_cost_neither_window_nor_number(outcomes: Outcomes) -> None:
    outcome = outcomes["slow"].result()
    assert assert_right_or_null(outcome) is not None
    assert outcome.seconds == pytest.approx(2.0, abs=0.2)


def test_no_permission_for_anything_but_power_and_energy_costs_only_the_telemetry(outcomes: Outcomes) -> None:
    outcome = outcomes["no permission"].result()
    assert assert_right_or_null(outcome) is not None
    assert outcome.raw["thermal_throttle"] is None


def test_a_gpu_in_slices_gives_no_number(outcomes: Outcomes) -> None:
    outcome = outcomes["MIG"].result()
    assert outcome.raw["energy"] is None
    assert "MIG" in outcome.said


def test_one_of_two_gpus_lost_leaves_no_total_and_the_other_ones_row(outcomes: Outcomes) -> None:
    outcome = outcomes["one of two lost"].result()
    assert outcome.raw["energy"]["total_j"] is None
    first, second = outcome.rows
    assert first["energy_j"] == pytest.approx(outcome.true_j[0], abs=first["uncertainty_j"])
    assert second["energy_j"] is None


@pytest.mark.parametrize("name", TRUE_COUNTERS)
def test_a_counter_that_tells_the_truth_is_not_refused(outcomes: Outcomes, name: str) -> None:
    outcome = outcomes[f"{name} counter"].result()
    assert assert_right_or_null(outcome) is not None
    assert outcome.rows[0]["source"] == "counter", outcome.said


def test_eight_slow_gpus_are_measured_by_their_counters(outcomes: Outcomes) -> None:
    outcome = outcomes["eight slow ones"].result()
    assert {row["source"] for row in outcome.rows} == {"counter"}, outcome.said
    for row, true_j in zip(outcome.rows, outcome.true_j, strict=True):
        assert row["energy_j"] == pytest.approx(true_j, abs=row["uncertainty_j"])


def test_a_power_limit_that_is_raised_in_the_window_costs_no_counter(outcomes: Outcomes) -> None:
    # 380 W are more than half as much again as 200 W.
    outcome = outcomes["limit raised"].result()
    assert assert_right_or_null(outcome) is not None
    assert outcome.rows[0]["source"] == "counter", outcome.said
    assert "absurd_power" not in outcome.flags


def test_power_that_is_always_nothing_gives_no_number(outcomes: Outcomes) -> None:
    outcome = outcomes["says nothing"].result()
    assert outcome.raw["energy"]["total_j"] is None
    assert "absurd ones left out" in outcome.said


def test_power_that_stands_still_from_idle_to_load_gives_no_number(outcomes: Outcomes) -> None:
    outcome = outcomes["frozen"].result()
    assert outcome.raw["energy"]["total_j"] is None
    assert "stood still at 60 W" in outcome.said


@pytest.mark.parametrize("name", CASES)
def test_whatever_happened_is_worked_out_again_from_the_files(outcomes: Outcomes, name: str, tmp_path: Path) -> None:
    measured = outcomes[name].result().raw
    raw = RawProcessResult.model_validate({field: value for field, value in measured.items() if field != "took_s"})
    bundle_of(tmp_path, [raw])
    assert [str(found) for found in verify(tmp_path).findings if found.kind != "not verifiable"] == []


def test_another_process_on_the_gpu_is_told(outcomes: Outcomes) -> None:
    assert "foreign_process" in outcomes["stranger"].result().flags
    assert "foreign_process" not in outcomes["healthy, nvml"].result().flags


def test_two_processes_that_measure_one_gpu_at_once_are_both_right(library: Path, tmp_path: Path) -> None:
    processes = [Measuring(library, tmp_path) for _ in range(2)]
    try:
        scenario = nvmlsim.Scenario(gpus=(Gpu(power_w=Trace.constant(LOAD_W)),))
        scenario.write(tmp_path / "scenario.txt")
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda process: process.run_on(scenario, batch_s=1.0), processes))
    finally:
        for process in processes:
            process.close()
    for outcome in found:
        assert assert_right_or_null(outcome) is not None
        assert outcome.rows[0]["device"] == outcome.uuids[0]
    assert max(o.raw["window_start_s"] for o in found) < min(o.raw["window_end_s"] for o in found)


@pytest.mark.parametrize("by_uuid", [False, True])
def test_of_two_gpus_only_the_visible_one_is_measured(library: Path, tmp_path: Path, by_uuid: bool) -> None:
    """By ``auto``, in a process of its own: Zeus keeps what it saw first, and reads indices only."""
    gpus = (Gpu(power_w=Trace.constant(700)), card())
    visible = nvmlsim.Scenario(gpus=gpus).uuid(1) if by_uuid else "1"
    process = Measuring(library, tmp_path)
    try:
        outcome = process.run(*gpus, visible=visible, in_window=LOAD.replace("gpu 0", "gpu 1"), backend="auto")
    finally:
        process.close()
    row, *beside = outcome.rows
    assert (row["device"], row["sensor"], row["source"]) == (outcome.uuids[1], "nvml", "counter")
    assert row["energy_j"] == pytest.approx(outcome.true_j[1], abs=row["uncertainty_j"])
    assert [other["headline"] for other in beside] == [False] * (outcome.raw["energy_backend"] == "zeus")
    assert outcome.raw["energy_backend"] == ("zeus" if HAS_ZEUS and not by_uuid else "nvml")


@pytest.mark.parametrize("backend", ["nvml", "zeus"])
@pytest.mark.parametrize("call", HELD_UP)
def test_a_call_of_two_seconds_delays_the_end_by_one_at_most_and_the_workload_never(
    measuring: Measuring, call: str, backend: str
) -> None:
    # Alone, for seconds are looked at.
    quick = measuring.run(card(), in_window=LOAD, backend=backend)
    slow = measuring.run(card(), in_window=f"{LOAD}\nfault {call} slow_s=2 from_s={{now}}", backend=backend)
    assert slow.seconds == pytest.approx(quick.seconds, abs=0.1)
    assert slow.raw["took_s"] - quick.raw["took_s"] < 1.3
    # Temperature is read twice a second only, so that the window may end before the call that is slow.
    # Zeus may come through where only the sampler is held up, with nothing to bound its figure.
    if backend == "nvml":
        assert assert_right_or_null(slow) is None or call == "nvmlDeviceGetTemperature"
    elif slow.raw["energy"]["total_j"] is not None:
        assert slow.raw["energy"]["total_j"] == pytest.approx(slow.true_j[0], abs=76)
