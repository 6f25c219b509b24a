"""The order of a measurement, and what happens when a part of it fails."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import BaselineConfig, ExperimentConfig, WarmupConfig
from llenergymeasure.core.checkpoint.source import Checkpoint
from llenergymeasure.core.energy_backends import RAPLBackend
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.machine_load import CpuTimes
from llenergymeasure.core.peers import POLL_S, Alone
from llenergymeasure.core.prompts.tokenise import PreparedRequests
from llenergymeasure.core.session import measure_here, run_session
from llenergymeasure.core.state import ExperimentState
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.inference import InferenceOutput, ModelIdentity, Prompt, Request, RequestOutput
from llenergymeasure.domain.machine.place import Job
from llenergymeasure.domain.metrics import FlopsResult
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning, validity_of
from llenergymeasure.exceptions import ConfigError, ExperimentError, PreFlightError
from llenergymeasure.protocols import EnergyBackend
from llenergymeasure.testing import (
    FakeClock,
    FakeEnergy,
    FakeEngine,
    FakeModel,
    FakeSampler,
    fake_environment,
    words_as_tokens,
)
from tests.fakes.traced import TracedEnergy

GPU = "GPU-0"
# Windows of idling on the fakes' clock, in slices: the baseline's 30 s, the floor's 60, and three after the window.
BASELINE = ["energy on", "sleep 1", "sleep 1", "sleep 1", "energy off"] * 10
FLOOR = ["energy on", *["sleep 1"] * 5, "energy off"] * 12
AFTER = ["energy on", "sleep 1", "energy off"] * 3


class LoggingPeers(Alone):
    """Peers that are always there already."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def wait(self, point: str, poll_s: float = POLL_S) -> None:
        self.log.append(f"together: {point}")


@dataclass
class Bench:
    """A session on fakes that share one log and one clock."""

    log: list[str] = field(default_factory=list)
    power_w: float | None = 100.0
    modelled: bool = False
    with_energy: bool = True
    samples: list[PowerThermalSample] = field(default_factory=list)
    states: list[ExperimentState] = field(default_factory=list)
    fail_at_batch: int | None = None
    error: BaseException = field(default_factory=lambda: RuntimeError("the device went away"))
    engine_devices: tuple[str, ...] = (GPU,)
    beside: EnergyBackend | None = None
    idle_gpus: tuple[str, ...] = ()
    layout: ProcessLayout = field(default_factory=ProcessLayout)
    process_index: int = 0
    to_caution: tuple[MeasurementWarning, ...] = ()
    engine: type[FakeEngine] = FakeEngine

    def __post_init__(self) -> None:
        self.clock = FakeClock(log=self.log)
        self.model = FakeModel(
            self.clock,
            self.log,
            devices=self.engine_devices,
            fail_at_batch=self.fail_at_batch,
            error=self.error,
        )
        self.energy = FakeEnergy(self.clock, self.power_w, GPU, self.log)

    def snapshot(self) -> EnvironmentSnapshot:
        self.log.append("snapshot")
        return fake_environment()

    def tokenise(self, config: ExperimentConfig, prompts: Sequence[Prompt], checkpoint: Checkpoint) -> PreparedRequests:
        self.log.append("prepare")
        return words_as_tokens(config, prompts, checkpoint)

    def run(self, config: ExperimentConfig, output_dir: Path | None = None, **more: Any) -> RawProcessResult:
        plan = ExperimentPlan(
            config=config,
            experiment_id="x",
            config_hash="0" * 16,
            devices=(GPU,),
            output_dir=output_dir,
            layout=self.layout,
            process_index=self.process_index,
        )
        instruments = Instruments(
            energy=self.energy if self.with_energy else None,
            energy_absent_reason=None if self.with_energy else "nothing answered",
            modelled=self.modelled,
            sampler=FakeSampler(self.samples, self.log),
            beside=self.beside,
            idle_gpus=self.idle_gpus,
            clock=self.clock,
            sleep=self.clock.sleep,
            now=self.clock.now,
            on_state=self.states.append,
            peers=LoggingPeers(self.log) if self.layout.n_processes > 1 else Alone(),
            **{"tokenise": self.tokenise, "snapshot": self.snapshot, **more},
        )
        return run_session(plan, self.engine(self.model, to_caution=self.to_caution), instruments)


def config(n: int = 4, n_warmup: int = 1, **fields: object) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {"model": "fake", "n": n, "warmup": {"n_warmup": n_warmup}, "energy": {"backend": "nvml"}, **fields}
    )


def test_joules_of_more_than_the_job_was_given_are_told() -> None:
    # Of a host of four processors.
    part = replace(fake_environment(), job=Job(scheduler="slurm", job_id="7", n_cpus=2))
    bench = Bench()
    of_gpu = bench.run(config(), snapshot=lambda: part)
    assert of_gpu.environment_snapshot.job == part.job
    assert "neighbours_in_energy" not in {warning.flag for warning in of_gpu.measurement_warnings}
    shards = replace(part, job=Job(scheduler="slurm", job_id="7", n_cpus=4, n_gpu_shards=1))
    told = {warning.flag for warning in Bench().run(config(), snapshot=lambda: shards).measurement_warnings}
    assert "neighbours_in_energy" in told


def test_what_others_take_of_the_processors_in_the_window_is_told() -> None:
    # Ten seconds of one of four processors for each look, of which others have half.
    looks = iter(CpuTimes(at_s=10 * i, n_cpus=4, busy_s=10 * i, own_s=5 * i) for i in range(9))
    asked: list[frozenset[int]] = []
    bench = Bench()

    def look(pids: Iterable[int]) -> CpuTimes:
        asked.append(frozenset(pids))
        bench.log.append("look at the processors")
        return next(looks)

    raw = bench.run(config(), machine_cpu_s=look)
    assert raw.foreign_cpu_pct == pytest.approx(12.5)
    assert asked == [{os.getpid()}] * 2
    window = bench.log[bench.log.index("seed 42") :]
    assert window.index("look at the processors") < window.index("energy on")
    assert window.index("look at the processors", 3) > window.index("energy off")


def test_what_the_engine_cautions_against_stands_in_the_result() -> None:
    caution = MeasurementWarning("slow_precision", "it is emulated", "use another")
    assert caution in Bench(to_caution=(caution,)).run(config()).measurement_warnings


def test_an_engine_that_nobody_has_run_yet_makes_a_figure_questionable() -> None:
    class Unproven(FakeEngine):
        hardware_proven = False

    said = [w.flag for w in Bench(engine=Unproven).run(config()).measurement_warnings]
    assert "engine_unproven" in said
    assert validity_of(["engine_unproven"]).verdict == "questionable"
    assert "engine_unproven" not in [w.flag for w in Bench().run(config()).measurement_warnings]


def test_the_whole_order_with_the_default_floor_and_nobody_waiting() -> None:
    bench = Bench()
    bench.run(config())
    assert bench.log == [
        "snapshot",
        *BASELINE,
        "load",
        "prepare",
        "identity",
        *("generate", "synchronize"),
        "sampler on",
        *FLOOR,
        "seed 42",
        "energy on",
        *("generate", "generate", "synchronize"),
        *("energy off", *AFTER, "sampler off"),
        "flops",
        "unload",
    ]
    assert bench.states == ["initialising", "measuring", "done"]


def test_energy_time_and_tokens_belong_to_the_same_window() -> None:
    raw = Bench().run(config(n=6))
    # Three batches of two requests, one second and four tokens each, at 100 W.
    assert raw.duration_sec == 3.0
    assert raw.instrument_cpu_s is None  # no GPU was read, which is not the same as at no cost
    assert (raw.end_time - raw.start_time).total_seconds() == 3.0
    assert raw.counts.output_tokens == 24
    assert raw.energy is not None
    assert raw.energy.total_j == 300.0
    assert raw.energy_breakdown is not None
    assert raw.energy_breakdown.baseline_power_w == pytest.approx(100.0)
    assert raw.energy_breakdown.adjusted_j == pytest.approx(0.0)
    assert raw.idle_loaded_power_w == pytest.approx(100.0)
    assert raw.warmup_result.thermal_floor_wait_s == 60.0


@pytest.mark.parametrize("error", [RuntimeError("CUDA error"), ValueError("bad"), MemoryError()])
def test_inference_that_fails_in_the_middle_stops_everything(error: Exception) -> None:
    bench = Bench(fail_at_batch=3, error=error)  # one warm-up batch, then the second measured one
    with pytest.raises(ExperimentError, match="inference failed") as caught:
        bench.run(config())
    assert caught.value.__cause__ is error
    assert bench.log[-3:] == ["energy off", "sampler off", "unload"]
    assert bench.states == ["initialising", "measuring", "failed"]


def test_ctrl_c_in_the_window_stops_everything_too() -> None:
    bench = Bench(fail_at_batch=2, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        bench.run(config())
    assert bench.log[-3:] == ["energy off", "sampler off", "unload"]
    assert bench.states[-1] == "failed"


@pytest.mark.parametrize("modelled", [True, False])
def test_nobody_waits_for_physics_that_nobody_measures(modelled: bool) -> None:
    bench = Bench(modelled=modelled, with_energy=modelled)
    raw = bench.run(config())
    assert not [entry for entry in bench.log if entry.startswith("sleep")]
    assert raw.warmup_result.thermal_floor_wait_s == 0.0
    assert raw.idle_loaded_power_w is None


def test_modelled_energy_is_said_to_be_modelled() -> None:
    bench = Bench(modelled=True)
    bench.energy.source = "modelled"
    raw = bench.run(config())
    assert [w.flag for w in raw.measurement_warnings if "energy" in str(w)] == ["energy_modelled"]


def test_a_possible_model_that_read_a_sensor_is_not_called_modelled() -> None:
    raw = Bench(modelled=True).run(config())  # the fake's joules are integrated
    flags = [w.flag for w in raw.measurement_warnings]
    assert "energy_modelled" not in flags
    assert "idle_unavailable" in flags


def test_rows_that_are_modelled_are_said_to_be_whatever_the_sensor_says_of_itself() -> None:
    bench = Bench()
    bench.energy.source = "modelled"
    raw = bench.run(config())
    (said,) = [w for w in raw.measurement_warnings if w.flag == "energy_modelled"]
    # Idle power was measured here, so nothing is said of it.
    assert said.advice == ""


def test_no_energy_source_is_a_reason_and_not_a_zero() -> None:
    raw = Bench(with_energy=False).run(config())
    assert raw.energy is None
    assert raw.energy_breakdown is None
    assert any(str(w).startswith("energy_unavailable: nothing answered;") for w in raw.measurement_warnings)


def test_a_lost_sensor_costs_the_joules_and_nothing_else() -> None:
    bench = Bench(power_w=None)
    raw = bench.run(config())
    assert raw.counts.output_tokens == 16
    assert raw.energy is not None
    assert raw.energy.total_j is None
    flags = [w.flag for w in raw.measurement_warnings]
    assert "energy_unavailable" in flags
    assert "baseline_unavailable" in flags
    assert bench.log[-1] == "unload"


class _RaisingEnergy(FakeEnergy):
    def start_tracking(self) -> float:
        raise OSError("driver unloaded")


def test_a_sensor_that_raises_at_the_start_costs_the_joules_only() -> None:
    bench = Bench()
    bench.energy = _RaisingEnergy(bench.clock, 100.0, GPU, bench.log)
    raw = bench.run(
        config(),
    )
    assert raw.energy is not None
    assert raw.energy.total_j is None
    assert any("could not start: driver unloaded" in str(w) for w in raw.measurement_warnings)


def test_flops_that_cannot_be_counted_are_absent_with_a_reason() -> None:
    bench = Bench()

    class Uncounted(FakeModel):
        def flops(self, output: InferenceOutput) -> FlopsResult | None:
            raise AttributeError("no such layer")

    bench.model = Uncounted(bench.clock, bench.log, devices=(GPU,))
    raw = bench.run(config())
    assert raw.flops_result is None
    assert "flops_unavailable: AttributeError: no such layer" in list(map(str, raw.measurement_warnings))


def test_what_was_loaded_is_known_by_commit_and_digest_with_what_could_not_be_read() -> None:
    bench = Bench()
    bench.model.known_as = ModelIdentity(
        revision="c0ffee",
        weights_digest="sha256:1",
        warnings=(MeasurementWarning("adapter_digest_unavailable", "lost"),),
    )
    raw = bench.run(config())
    assert (raw.identity.revision, raw.identity.weights_digest) == ("c0ffee", "sha256:1")
    assert "adapter_digest_unavailable: lost" in list(map(str, raw.measurement_warnings))


def test_an_identity_that_cannot_be_had_is_absent_with_a_reason() -> None:
    class Anonymous(FakeModel):
        def identity(self) -> ModelIdentity:
            raise OSError("disk gone")

    bench = Bench()
    bench.model = Anonymous(bench.clock, bench.log, devices=bench.engine_devices)
    raw = bench.run(config())
    assert raw.identity == ModelIdentity()
    assert "weights_digest_unavailable: OSError: disk gone" in list(map(str, raw.measurement_warnings))


def test_what_is_wrong_with_the_prompts_is_told_as_it_is() -> None:
    def wordless(*_: object) -> PreparedRequests:
        raise ExperimentError("no words here")

    with pytest.raises(ExperimentError, match=r"^no words here$"):
        Bench().run(config(), tokenise=wordless)


def test_a_template_that_fails_is_told_in_our_words() -> None:
    def broken(*_: object) -> PreparedRequests:
        raise KeyError("role")

    with pytest.raises(ExperimentError, match="the prompts could not be tokenised: KeyError: 'role'"):
        Bench().run(config(), tokenise=broken)


def test_a_required_baseline_that_cannot_be_had_is_an_error_before_loading() -> None:
    bench = Bench(power_w=None)
    with pytest.raises(ExperimentError, match=r"baseline\.required"):
        bench.run(config(baseline={"required": True}))
    assert "load" not in bench.log
    assert bench.states == ["initialising", "failed"]


def test_energy_of_other_gpus_than_the_engine_used_is_refused() -> None:
    bench = Bench(engine_devices=("GPU-1",), samples=[PowerThermalSample(timestamp=31.5, power_w=9.0, gpu_index=0)])
    raw = bench.run(config())
    assert (raw.energy, raw.energy_breakdown, raw.idle_loaded_power_w) == (None, None, None)
    assert any("runs on GPU-1, the sensors watch GPU-0" in str(w) for w in raw.measurement_warnings)
    assert raw.thermal_throttle is None
    assert raw.warmup_result.thermal_floor_wait_s == 0.0
    assert bench.log.count("energy on") == len(BASELINE) / 5


# On the fakes' clock: the baseline until 30 s, a warm-up batch, the floor from 31 to 91, two batches until 93, and 3
# s after them. 60 W without the model, 90 W with it, 348 W at work.
OWN = [(0.0, 60.0), (30.0, 348.0), (31.0, 90.0), (91.0, 348.0), (93.0, 90.0)]


def beside_a_neighbour(from_s: float, until_s: float, more_w: float) -> ExperimentResult:
    """A run on a GPU on which somebody else takes so much more for some time."""
    bench = Bench()
    times = sorted({*(since_s for since_s, _ in OWN), from_s, until_s})
    steps = [
        (at_s, [w for since_s, w in OWN if since_s <= at_s][-1] + (more_w if from_s <= at_s < until_s else 0.0))
        for at_s in times
    ]
    bench.energy = TracedEnergy(bench.clock, {GPU: steps}, bound_w=0.5)  # type: ignore[assignment]
    return ExperimentResult.from_processes([bench.run(config())])


def about_idling(result: ExperimentResult) -> list[str]:
    return [w.flag for w in result.warnings if "idle" in w.flag or "baseline" in w.flag]


def test_what_is_left_beyond_idling_has_a_bound() -> None:
    result = beside_a_neighbour(200.0, 200.0, 0.0)
    assert (result.total_energy_j, result.energy_adjusted_j, result.energy_net_of_loaded_idle_j) == pytest.approx(
        (696.0, 576.0, 516.0)
    )
    # 0.5 W of the sensor's for 2 s in the window, and as much in each window of idling.
    assert result.energy_breakdown is not None
    assert (result.energy_breakdown.baseline_power_uncertainty_w, result.idle_loaded_power_uncertainty_w) == (
        pytest.approx((0.5, 0.5))
    )
    assert result.energy_breakdown.adjusted_uncertainty_j == pytest.approx(2.0)
    assert result.energy_net_of_loaded_idle_uncertainty_j == pytest.approx(2.0)
    assert about_idling(result) == []


@pytest.mark.parametrize(
    ("from_s", "until_s", "flags"),
    [
        (45.0, 65.0, ["idle_unsteady"]),
        (66.0, 91.0, ["idle_unsteady"]),
        (84.0, 300.0, ["idle_unsteady", "idle_changed"]),
        (91.0, 300.0, ["idle_changed"]),
        (92.0, 300.0, ["idle_changed"]),
        (30.5, 91.5, ["idle_changed"]),  # all of the floor
        (0.0, 30.5, ["idle_changed"]),  # all of the baseline
    ],
)
def test_a_neighbours_load_is_seen_by_its_power(from_s: float, until_s: float, flags: list[str]) -> None:
    result = beside_a_neighbour(from_s, until_s, 250.0)
    assert about_idling(result) == flags
    assert result.validity == "questionable"
    assert set(flags) <= set(result.validity_flags)


@pytest.mark.parametrize(("from_s", "until_s"), [(45.0, 65.0), (66.0, 91.0), (31.0, 60.0)])
def test_a_neighbours_load_in_a_part_of_the_floor_does_not_become_idle(from_s: float, until_s: float) -> None:
    result = beside_a_neighbour(from_s, until_s, 250.0)
    # As without it.
    assert result.energy_net_of_loaded_idle_j == pytest.approx(516.0)
    assert result.energy_adjusted_j == pytest.approx(576.0)


def test_a_card_that_is_still_warm_after_the_window_is_no_neighbour() -> None:
    bench = Bench()
    steps = [*OWN[:-1], (93.0, 130.0), (94.0, 110.0), (95.0, 100.0)]
    bench.energy = TracedEnergy(bench.clock, {GPU: steps})  # type: ignore[assignment]
    assert about_idling(ExperimentResult.from_processes([bench.run(config())])) == []


def test_without_warmup_the_floor_stays() -> None:
    bench = Bench()
    raw = bench.run(config(warmup={"enabled": False}))
    assert raw.warmup_result.thermal_floor_wait_s == 60.0
    assert bench.log.count("generate") == 2
    assert raw.warmup_result.iterations_completed == 0


def test_what_was_seen_in_the_window_is_kept_and_nothing_is_written(tmp_path: Path) -> None:
    # The window is from 91 to 94 s: an idle baseline of 30 s, a batch of warm-up, 60 s of thermal floor before it.
    times = [*range(30, 91), *(91.05 + i / 10 for i in range(25)), 94.5]
    bench = Bench(samples=[PowerThermalSample(timestamp=t, power_w=100.0, gpu_index=0) for t in times])
    raw = bench.run(config(n=5), output_dir=tmp_path)
    assert [s.timestamp for s in raw.samples] == times[61:86]
    assert [(r.index, r.output_tokens, r.e2e_s, r.batch) for r in raw.requests] == [
        (0, 4, 1.0, 0), (1, 4, 1.0, 0), (2, 4, 1.0, 1), (3, 4, 1.0, 1), (4, 4, 1.0, 2),
    ]  # fmt: skip
    assert {r.latencies_s for r in raw.requests} == {(0.25, 0.5, 0.75, 1.0)}
    assert list(tmp_path.iterdir()) == []


def test_gpus_that_the_engine_leaves_alone_are_named() -> None:
    said = Bench(idle_gpus=("NVIDIA H100",)).run(config()).measurement_warnings
    (warning,) = [w for w in said if str(w).startswith("gpus_not_used")]
    assert "NVIDIA H100" in str(warning)
    assert not [w for w in Bench().run(config()).measurement_warnings if str(w).startswith("gpus_not_used")]


def test_settings_that_change_nothing_are_warned_about() -> None:
    raw = Bench().run(config(decoder={"temperature": 0.7}))
    (said,) = [w for w in raw.measurement_warnings if str(w).startswith("dormant_fields: ")]
    assert "decoder.temperature (it needs do_sample)" in str(said)


def test_warmup_that_never_settles_is_a_warning() -> None:
    bench = Bench()
    seconds = iter([1.0, 5.0] * 50)

    class Unsteady(FakeModel):
        def generate(self, requests: Sequence[Request]) -> list[RequestOutput]:
            self.batch_s = next(seconds)
            return super().generate(requests)

    bench.model = Unsteady(bench.clock, bench.log, devices=(GPU,))
    raw = bench.run(config(warmup={"convergence_detection": True, "max_warmup_prompts": 6}))
    assert raw.warmup_result.iterations_completed == 6
    assert not raw.warmup_result.converged
    assert any(str(w).startswith("warmup_not_converged") for w in raw.measurement_warnings)


def test_defaults_are_those_of_the_contract() -> None:
    assert WarmupConfig().thermal_floor_seconds == 60.0
    assert BaselineConfig().duration_seconds == 30.0


def test_processors_have_rows_beside_the_gpus_and_are_not_in_the_total(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    for name, text in {"name": "package-0", "max_energy_range_uj": "262143328850", "energy_uj": "5000000"}.items():
        (zone / name).write_text(text)

    class Drawing(FakeModel):
        def generate(self, requests: Sequence[Request]) -> list[RequestOutput]:
            (zone / "energy_uj").write_text(str(int((zone / "energy_uj").read_text()) + 20_000_000))
            return super().generate(requests)

    bench = Bench()
    bench.model = Drawing(bench.clock, bench.log, devices=(GPU,))
    bench.beside = RAPLBackend(tmp_path, clock=bench.clock)
    raw = bench.run(config())
    assert raw.energy is not None
    gpu, package = raw.energy.devices
    # Two batches of a second at 100 W, and of 20 J of the processor's each.
    assert (raw.energy.total_j, gpu.energy_j) == (200.0, 200.0)
    assert (package.device, package.kind, package.energy_j) == ("package-0", "cpu", 40.0)


def test_several_processes_go_from_step_to_step_together() -> None:
    bench = Bench(layout=ProcessLayout.of(2, "data"), process_index=1)
    bench.run(config())
    assert bench.log == [
        "snapshot",
        "together: idle",
        *BASELINE,
        "together: load",
        "load",
        "prepare",
        "identity",
        *("generate", "synchronize"),
        "together: floor",
        "sampler on",
        *FLOOR,
        "together: settled",
        "seed 43",
        "together: start",
        "energy on",
        *("generate", "synchronize"),
        "energy off",
        "together: end",
        *AFTER,
        "sampler off",
        "flops",
        "together: left",
        "unload",
    ]


def test_phases_are_measured_after_the_window_in_pairs_whose_order_takes_turns() -> None:
    bench = Bench()
    raw = bench.run(config(n=2, phases={"enabled": True, "n_pairs": 4}))
    after = bench.log[bench.log.index("synchronize", bench.log.index("seed 42")) + 1 :]
    a_window = ["seed 42", "energy on", "generate", "synchronize", "energy off"]
    assert after == ["energy off", *AFTER, *(a_window * 8), "sampler off", "flops", "unload"]
    found = raw.phases
    assert found is not None
    # A batch of 4 steps takes 1 s at 100 W: a quarter for the first token, three for the others.
    assert (found.n_pairs, found.n_requests) == (4, 2)
    assert found.prefill.energy_j is not None
    assert found.decode.energy_j is not None
    assert found.prefill.energy_j.value == pytest.approx(25.0)
    assert found.decode.energy_j.value == pytest.approx(75.0)
    assert found.prefill.duration_sec.value == pytest.approx(0.25)
    assert found.decode.tokens_per_second is not None
    assert found.decode.tokens_per_second.value == pytest.approx(6 / 0.75)
    assert found.decode.status == "resolved"
    # The measured window is what it is without them.
    plain = Bench().run(config(n=2))
    assert (raw.duration_sec, raw.requests) == (plain.duration_sec, plain.requests)
    assert raw.energy == plain.energy


def test_phases_may_use_fewer_batches_and_need_one_process() -> None:
    raw = Bench().run(config(n=6, phases={"enabled": True, "n_batches": 2}))
    assert raw.phases is not None
    assert raw.phases.n_requests == 4
    shared = Bench(layout=ProcessLayout.of(2, "data")).run(config(n=6, phases=True))
    assert shared.phases is None
    assert [w.flag for w in shared.measurement_warnings if "phases" in str(w)] == ["phases_unavailable"]


def test_phases_that_fail_cost_only_themselves() -> None:
    # One batch warms up, two are measured; the fifth is in the first pair.
    raw = Bench(fail_at_batch=5).run(config(n=4, phases=True))
    assert raw.phases is None
    assert len(raw.requests) == 4
    assert [
        w
        for w in raw.measurement_warnings
        if str(w).startswith("phases_unavailable: RuntimeError: the device went away")
    ]


def test_a_window_of_the_run_has_the_energy_and_the_tokens_of_its_batches_only() -> None:
    # Batches of 1 s and two requests: the second and third of five are measured.
    part = {"methodology": "windowed", "window_start_s": 0.5, "window_length_s": 1.5}
    bench = Bench()
    raw = bench.run(config(n=10, measurement=part))
    assert bench.log[bench.log.index("seed 42") + 1 :] == [
        *("generate", "synchronize"),
        "seed 42",
        "energy on",
        *("generate", "generate", "synchronize"),
        *("energy off", *AFTER, "sampler off", "flops", "unload"),
    ]
    assert [(r.index, r.batch) for r in raw.requests] == [(2, 0), (3, 0), (4, 1), (5, 1)]
    assert raw.energy is not None
    assert raw.energy.total_j == pytest.approx(200.0)
    assert raw.duration_sec == pytest.approx(2.0)
    assert (raw.measurement_methodology, raw.n_requests_excluded) == ("windowed", 6)
    assert raw.steady_state_window == pytest.approx((1.0, 3.0))


def test_something_is_measured_however_late_the_window_begins() -> None:
    raw = Bench().run(config(n=4, measurement={"methodology": "windowed", "window_start_s": 100.0}))
    assert [r.index for r in raw.requests] == [2, 3]
    assert raw.n_requests_excluded == 2
    assert [w.flag for w in raw.measurement_warnings if str(w).startswith("window")] == ["window_not_reached"]


@pytest.mark.parametrize(("n", "start_s"), [(2, 0.0), (4, 0.5)])
def test_a_window_that_begins_with_the_last_batch_is_what_was_asked_for(n: int, start_s: float) -> None:
    raw = Bench().run(config(n=n, measurement={"methodology": "windowed", "window_start_s": start_s}))
    assert len(raw.requests) == 2
    assert not [w for w in raw.measurement_warnings if str(w).startswith("window")]


def test_phases_of_a_part_run_the_batches_of_that_part() -> None:
    part = {"methodology": "windowed", "window_start_s": 0.5, "window_length_s": 1.5}
    raw = Bench().run(config(n=10, measurement=part, phases=True))
    assert raw.phases is not None
    assert raw.phases.n_requests == len(raw.requests) == 4


def test_what_the_sensor_says_in_the_windows_of_phases_is_told() -> None:
    bench = Bench(power_w=None)
    raw = bench.run(config(n=2, phases=True))
    assert raw.phases is not None
    assert raw.phases.decode.energy_j is None
    assert [w for w in raw.measurement_warnings if w.where == "in a window of phases"]


class OneTokenModel(FakeModel):
    """A model that compiles when it is asked for single tokens, and always says what its weights are."""

    n_graphs: int = 0

    def seed(self, random_seed: int) -> None:
        super().seed(random_seed)
        self.n_graphs = 0

    def generate(self, requests: Sequence[Request]) -> list[RequestOutput]:
        self.n_graphs += sum(r.max_output_tokens == 1 for r in requests)
        return super().generate(requests)

    def warnings(self) -> tuple[MeasurementWarning, ...]:
        compiled = MeasurementWarning("compiled_in_window", f"{self.n_graphs} graphs", "be warm")
        drawn = MeasurementWarning("random_weights", "drawn", "read some")
        return (drawn, compiled) if self.n_graphs else (drawn,)


def test_what_is_compiled_in_a_window_of_phases_is_told_and_what_was_so_before_is_not_told_twice() -> None:
    bench = Bench()
    bench.model = OneTokenModel(bench.clock, bench.log, devices=bench.engine_devices)
    said = bench.run(config(n=2, phases=True)).measurement_warnings
    assert [str(w) for w in said if w.flag.startswith(("random", "compiled"))] == [
        "random_weights: drawn; read some",
        "compiled_in_window: 2 graphs; be warm [in a window of phases]",
    ]


def test_a_steady_state_is_measured_from_where_it_begins_and_says_what_was_left_out() -> None:
    steady = {"methodology": "steady_state", "n_steady_batches": 2}
    raw = Bench().run(config(n=12, measurement=steady))
    assert [r.index for r in raw.requests] == list(range(4, 12))
    assert raw.n_requests_excluded == 4
    assert raw.steady_state_window == pytest.approx((2.0, 6.0))
    assert not [w for w in raw.measurement_warnings if "steady" in str(w)]


def test_one_of_several_runs_its_share_and_leaves_the_files_to_whoever_puts_them_together(tmp_path: Path) -> None:
    # A window of 1 s starts at 91 s.
    samples = [PowerThermalSample(timestamp=t, power_w=100.0, gpu_index=0) for t in (90.5, 91.5, 92.5)]
    bench = Bench(layout=ProcessLayout.of(3, "data"), process_index=2, samples=samples)
    raw = bench.run(config(n=5), output_dir=tmp_path)
    assert (raw.process_index, raw.n_processes, raw.parallelism) == (2, 3, "data")
    assert [r.index for r in raw.requests] == [2]
    assert [s.timestamp for s in raw.samples] == [91.5]
    assert list(tmp_path.iterdir()) == []
    whole = Bench(layout=ProcessLayout.of(3, "tensor"), process_index=2).run(config(n=5))
    assert [r.index for r in whole.requests] == [0, 1, 2, 3, 4]
    assert whole.prompts_digest == raw.prompts_digest == Bench().run(config(n=5)).prompts_digest


def test_a_dataset_that_is_too_small_to_be_shared_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("one\ntwo\n", encoding="utf-8")
    bench = Bench(layout=ProcessLayout.of(3, "data"), process_index=2)
    with pytest.raises(ConfigError, match=r"2 prompts cannot be shared by 3 processes \(data parallel\)"):
        bench.run(config(dataset=str(tmp_path / "two.txt")))


def test_a_warmup_that_fails_where_others_take_part_ends_the_experiment() -> None:
    bench = Bench(layout=ProcessLayout.of(2, "tensor"), fail_at_batch=2)
    with pytest.raises(ExperimentError, match="warm-up failed: the device went away"):
        bench.run(config(n_warmup=5))
    assert bench.log.count("generate") == 2
    alone = Bench(fail_at_batch=2)
    assert alone.run(config(n_warmup=5)).warmup_result.n_failed == 1


def test_an_experiment_of_several_processes_is_not_measured_in_one() -> None:
    bench = Bench()
    with pytest.raises(ConfigError, match=r"needs 2 processes \(data parallel\) and was started as one"):
        measure_here(config(), FakeEngine(bench.model, ProcessLayout.of(2, "data")))
    assert bench.log == []


def test_an_error_that_the_caller_is_handling_is_no_affair_of_the_engine() -> None:
    clock, left = FakeClock(), list[BaseException | None]()
    instruments = Instruments(
        energy=None,
        sampler=FakeSampler(),
        snapshot=fake_environment,
        clock=clock,
        sleep=clock.sleep,
        tokenise=words_as_tokens,
    )

    class Watching(FakeEngine):
        @contextmanager
        def load(self, plan: ExperimentPlan) -> Iterator[FakeModel]:
            try:
                yield self.model
            except BaseException as error:
                left.append(error)
                raise
            left.append(None)

    try:
        raise ValueError("of the first try")
    except ValueError:
        run_session(ExperimentPlan.of(config()), Watching(FakeModel(clock)), instruments)
    assert left == [None]


def test_the_engine_gets_values_and_the_result_has_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PROXY_PW", "hunter2hunter2")
    seen: list[ExperimentConfig] = []

    def tokenise(config: ExperimentConfig, prompts: Sequence[Prompt], checkpoint: Checkpoint) -> PreparedRequests:
        seen.append(config)
        return words_as_tokens(config, prompts, checkpoint)

    (tmp_path / "p.txt").write_text("one\ntwo\n", encoding="utf-8")
    passed = {"proxies": {"https": "http://me:${PROXY_PW}@proxy"}}
    given = config(n=2, model="~/m", dataset={"path": "~/p.txt"}, passthrough_kwargs=passed)
    raw = Bench().run(given, tokenise=tokenise)
    assert (seen[0].model, seen[0].dataset.path) == (f"{tmp_path}/m", tmp_path / "p.txt")
    assert seen[0].passthrough_kwargs == {"proxies": {"https": "http://me:hunter2hunter2@proxy"}}
    assert raw.effective_config == given.resolved()
    assert (raw.effective_config["model"], raw.effective_config["passthrough_kwargs"]) == ("~/m", passed)
    assert "hunter2" not in raw.model_dump_json()


def test_a_variable_that_is_not_set_ends_it_before_anything_is_loaded() -> None:
    bench = Bench()
    with pytest.raises(PreFlightError, match="NOT_SET_HERE"):
        bench.run(config(model="${NOT_SET_HERE}/m"))
    assert "load" not in bench.log
