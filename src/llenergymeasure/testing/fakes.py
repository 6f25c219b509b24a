"""Fakes for every seam, for our own tests and for people who write an engine or a sensor.

Each appends what is asked of it to a ``log`` that fakes can share, so that a test can state the
order of things. ``FakeClock`` makes time pass only when somebody sleeps or works.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.core.checkpoint.source import Checkpoint
from llenergymeasure.core.prompts.tokenise import PreparedRequests
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.inference import (
    InferenceOutput,
    ModelDescription,
    ModelIdentity,
    Prompt,
    Request,
    RequestOutput,
    tokens_digest,
)
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    EnergyMeasurement,
    EnergySource,
    FlopsResult,
    WarmupResult,
)
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """A clock in seconds that moves when told to."""

    def __init__(self, start_s: float = 0.0, log: list[str] | None = None) -> None:
        self.time_s = start_s
        self.log = log if log is not None else []

    def __call__(self) -> float:
        """The time."""
        return self.time_s

    def sleep(self, seconds: float) -> None:
        """Let time pass, and log it."""
        self.log.append(f"sleep {seconds:g}")
        self.time_s += seconds

    def now(self) -> datetime:
        """UTC, counted from 2026-01-01."""
        return datetime.fromtimestamp(_EPOCH.timestamp() + self.time_s, UTC)


@dataclass
class FakeModel(LoadedModelBase):
    """A ``LoadedModel`` that takes ``batch_s`` for a batch and says ``n_tokens`` tokens for each request of it.

    Any of ``n_vocabulary`` tokens is as probable as any other; None knows no probabilities.
    """

    clock: FakeClock
    log: list[str] = field(default_factory=list)
    batch_size: int = 2
    n_tokens: int = 4
    batch_s: float = 1.0
    devices: tuple[str, ...] = ()
    fail_at_batch: int | None = None
    error: BaseException = field(default_factory=lambda: RuntimeError("the device went away"))
    to_warn: tuple[MeasurementWarning, ...] = ()
    n_vocabulary: int | None = None
    n_batches: int = 0
    known_as: ModelIdentity = field(default_factory=ModelIdentity)

    def seed(self, random_seed: int) -> None:
        """Only logged."""
        self.log.append(f"seed {random_seed}")

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """One batch after another, by the load."""
        for batch in load.units_of(requests):
            if load.cancelled():
                return
            for output in self.generate(batch):
                on_done(output)

    def generate(self, requests: Sequence[Request]) -> list[RequestOutput]:
        """Let time pass, or raise at the batch that was asked for."""
        self.log.append("generate")
        self.n_batches += 1
        if self.n_batches == self.fail_at_batch:
            raise self.error
        lengths = [min(request.max_output_tokens, self.n_tokens) for request in requests]
        step_s, sent_s = self.batch_s / self.n_tokens, self.clock()
        self.clock.time_s += step_s * max(lengths)
        return [
            fake_output(request, sent_s, [sent_s + step_s * (i + 1) for i in range(length)])
            for request, length in zip(requests, lengths, strict=True)
        ]

    def synchronize(self) -> None:
        """Only logged."""
        self.log.append("synchronize")

    def flops(self, output: InferenceOutput) -> FlopsResult | None:
        """A thousand per token."""
        self.log.append("flops")
        value = 1000.0 * (output.input_tokens + output.output_tokens)
        return FlopsResult(value=value, method="fake", confidence="low")

    def peak_memory_mb(self) -> float | None:
        """Always 64 MB."""
        return 64.0

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float] | None:
        """The same for every token; asked for as many as are logged."""
        self.log.append(f"log-probs {len(token_ids)}")
        return None if self.n_vocabulary is None else [-math.log(self.n_vocabulary)] * (len(token_ids) - 1)

    def warnings(self) -> tuple[MeasurementWarning, ...]:
        """What it was made with."""
        return self.to_warn

    def describe(self) -> ModelDescription:
        """The fake engine on its devices."""
        return ModelDescription(engine="fake", engine_version="1.0", devices=self.devices)

    def identity(self) -> ModelIdentity:
        """What it was made with."""
        self.log.append("identity")
        return self.known_as


def words_as_tokens(config: ExperimentConfig, prompts: Sequence[Prompt], checkpoint: Checkpoint) -> PreparedRequests:  # noqa: ARG001
    """Tokenises without a checkpoint: as many tokens as a prompt has words, or as a random one asks for."""
    requests = [
        Request(
            index=prompt.index,
            token_ids=tuple(range(prompt.n_random_tokens or len(prompt.text.split()))),
            messages=prompt.messages,
            max_output_tokens=prompt.output_tokens or config.max_output_tokens,
        )
        for prompt in prompts
    ]
    return PreparedRequests(requests=tuple(requests))


def fake_output(request: Request, sent_s: float, times_s: Sequence[float]) -> RequestOutput:
    """What a request gave whose tokens, 0, 1, 2 and so on, came at these times."""
    ids = tuple(range(len(times_s)))
    return RequestOutput(
        index=request.index,
        input_tokens=len(request.token_ids),
        output_tokens=len(ids),
        finish_reason="length",
        output_digest=tokens_digest(ids),
        input_digest=tokens_digest(request.token_ids),
        sent_s=sent_s,
        first_token_s=times_s[0] if times_s else None,
        token_times_s=tuple(times_s),
        end_s=times_s[-1] if times_s else sent_s,
        output_ids=(ids,),
    )


class FakeEngine(EngineBase):
    """An ``InferenceBackend`` that loads one ``FakeModel``."""

    name = "fake"

    def __init__(
        self, model: FakeModel, layout: ProcessLayout | None = None, to_caution: Sequence[MeasurementWarning] = ()
    ) -> None:
        self.model = model
        self.to_caution = list(to_caution)
        self.layout = layout or ProcessLayout()

    loads = frozenset({"batches"})

    def load_of(self, config: ExperimentConfig) -> Load:  # noqa: ARG002 - the seam's signature
        """Batches as large as the model takes them."""
        return Load.in_batches(self.model.batch_size)

    def processes(self, config: ExperimentConfig) -> ProcessLayout:  # noqa: ARG002 - the seam's signature
        """What it was made with."""
        return self.layout

    def cautions(self, config: ExperimentConfig) -> list[MeasurementWarning]:  # noqa: ARG002 - the seam's signature
        """What it was made with."""
        return self.to_caution

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002
        """Those of the model."""
        return self.model.devices

    @contextmanager
    def load(self, plan: ExperimentPlan) -> Iterator[FakeModel]:  # noqa: ARG002 - the seam's signature
        """Log loading and unloading around the body."""
        self.model.log.append("load")
        try:
            yield self.model
        finally:
            self.model.log.append("unload")


class FakeEnergy:
    """An ``EnergyBackend`` of constant power."""

    def __init__(
        self,
        clock: FakeClock,
        power_w: float | None = 100.0,
        device: str = "GPU-0",
        log: list[str] | None = None,
        source: EnergySource = "integrated",
    ) -> None:
        self.name = "fake-energy"
        self.source: EnergySource = source
        self.clock = clock
        self.power_w = power_w
        self.device = device
        self.log = log if log is not None else []

    def is_available(self) -> bool:
        """Whether it has a power."""
        return self.power_w is not None

    def start_tracking(self) -> float:
        """The time."""
        self.log.append("energy on")
        return self.clock()

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        """Power times time; without power no energy and a reason."""
        self.log.append("energy off")
        seconds = self.clock() - tracker
        if self.power_w is None:
            return EnergyMeasurement(
                None, seconds, 0, warnings=(MeasurementWarning("energy_unavailable", "the fake lost its sensor"),)
            )
        joules = self.power_w * seconds
        row = DeviceEnergy(device=self.device, kind="gpu", energy_j=joules, source=self.source)
        return EnergyMeasurement(joules, seconds, 2, per_gpu_j={self.device: joules}, devices=(row,))


class FakeSampler:
    """A ``TelemetrySampler`` that gives the samples it was made with."""

    def __init__(self, samples: Sequence[PowerThermalSample] = (), log: list[str] | None = None) -> None:
        self.samples = list(samples)
        self.log = log if log is not None else []

    def start(self) -> None:
        """Only logged."""
        self.log.append("sampler on")

    def stop(self) -> None:
        """Only logged."""
        self.log.append("sampler off")

    def get_samples(self) -> list[PowerThermalSample]:
        """The samples."""
        return list(self.samples)


class FakeLauncher:
    """A ``Launcher`` that makes raw results, or raises, instead of running anything."""

    def __init__(self, run: Callable[[ExperimentPlan], RawProcessResult] | None = None) -> None:
        self.plans: list[ExperimentPlan] = []
        self._run = run or fake_process_result

    def launch(self, plan: ExperimentPlan) -> list[RawProcessResult]:
        """One process."""
        self.plans.append(plan)
        return [self._run(plan)]


class MemoryRepository:
    """A ``ResultsRepository`` that keeps results in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[Path, ExperimentResult] = {}

    def save(self, result: ExperimentResult, output_dir: Path) -> Path:
        """Keep it under its folder."""
        path = output_dir / "result.json"
        self.kept[path] = result
        return path

    def load(self, path: Path) -> ExperimentResult:
        """The result kept there."""
        return self.kept[path]


def fake_environment() -> EnvironmentSnapshot:
    """A machine that does not exist."""
    return EnvironmentSnapshot(
        python_version="3.11.0",
        platform="Linux-fake",
        cpu_model="Fake CPU",
        n_cpus=4,
        memory_total_mb=16000.0,
        cuda_version=None,
        driver_version=None,
        packages={"torch": "0.0"},
        tool_version="0.0",
    )


def fake_process_result(plan: ExperimentPlan) -> RawProcessResult:
    """One request of 3 input and 4 output tokens in 2 s, without energy."""
    request = RequestOutput(
        index=0,
        input_tokens=3,
        output_tokens=4,
        sent_s=10.0,
        first_token_s=10.5,
        end_s=12.0,
        finish_reason="length",
        output_digest=tokens_digest((1, 2, 3, 4)),
        input_digest=tokens_digest((5, 6, 7)),
        token_times_s=(10.5, 11.0, 11.5, 12.0),
        output_ids=((1, 2, 3, 4),),
    )
    return RawProcessResult(
        experiment_id=plan.experiment_id,
        name=plan.config.display_name,
        measurement_config_hash=plan.config_hash,
        effective_config=plan.config.resolved(),
        run_key=plan.run_key,
        environment_snapshot=fake_environment(),
        model=ModelDescription(engine="fake", engine_version="1.0"),
        prompts_digest="0" * 64,
        requests=(request,),
        start_time=_EPOCH,
        end_time=_EPOCH,
        window_start_s=10.0,
        window_end_s=12.0,
        warmup_result=WarmupResult(
            converged=True, final_cv=None, iterations_completed=1, target_cv=0.05, max_prompts=1
        ),
        measurement_warnings=(MeasurementWarning("energy_unavailable", "this is a fake"),),
    )
