"""An engine with continuous batching on a simulated clock: what a session must get right before a real one exists."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.domain.inference import FinishReason, ModelDescription, Request, RequestOutput, tokens_digest
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.testing.fakes import FakeClock

END_TOKEN = 0
# Tokens beside the likely one: the end, and 997 that an answer may have.
N_OTHERS = 997


@dataclass
class SimulatedModel(LoadedModelBase):
    """A scheduler of at most ``n_slots`` requests; a step of ``step_s`` gives each of them a token.

    A prompt takes ``prefill_s`` of the step in which it is taken in, which all wait for. Tokens follow from the prompt
    and, where ``samples`` is on, from the seed. ``ends_after`` says after how many tokens a request ends by itself,
    ``failing`` which requests fail in their second step, and a prompt of over ``max_input_tokens`` fails at once. In a
    text the greedy answer to what stands before a token, as to the first request, has a probability of a half, and the
    other tokens share the rest.
    """

    clock: FakeClock
    n_slots: int = 4
    step_s: float = 0.1
    prefill_s: float = 0.0
    samples: bool = False
    ends_after: Mapping[int, int] = field(default_factory=dict)
    failing: frozenset[int] = frozenset()
    max_input_tokens: int = 1000
    devices: tuple[str, ...] = ()
    log: list[str] = field(default_factory=list)
    n_begun: int = 0
    random_seed: int = 0
    is_released: bool = False

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Step by step: take in what may begin, give everybody a token, tell who has ended."""
        _Scheduler(self, requests, load, on_done).run()

    def describe(self) -> ModelDescription:
        """The simulation on its devices."""
        return ModelDescription(engine="simulated", engine_version="1.0", devices=self.devices)

    def capacity(self) -> int:
        """Its slots."""
        return self.n_slots

    def seed(self, random_seed: int) -> None:
        """Where sampling starts from."""
        self.random_seed = random_seed

    def synchronize(self) -> None:
        """Only logged: a simulated device is never behind."""
        self.log.append("synchronize")

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float]:
        """[n - 1] of its tokens."""
        before = (
            Request(index=0, token_ids=tuple(token_ids[:n]), max_output_tokens=1) for n in range(1, len(token_ids))
        )
        return [
            math.log(0.5 if token == self.token(text, 0) else 0.5 / N_OTHERS)
            for token, text in zip(token_ids[1:], before, strict=True)
        ]

    def token(self, request: Request, position: int) -> int:
        """The token at a position of an answer; only the last of one that ends by itself is the end token."""
        if position + 1 == self.ends_after.get(request.index):
            return END_TOKEN
        seed = self.random_seed if self.samples else 0
        return 1 + (sum(request.token_ids) + 31 * request.index + 7 * position + seed) % 997


class SimulatedEngine(EngineBase):
    """An engine that loads one ``SimulatedModel``, and takes requests however they come but in fixed batches."""

    name = "simulated"
    loads = frozenset({"all_at_once", "concurrency", "due_times"})

    def __init__(self, model: SimulatedModel, load: Load | None = None) -> None:
        """``load`` is how requests of an experiment arrive; default all at once."""
        self.model = model
        self._load = load or Load.all_at_once()

    def load_of(self, config: ExperimentConfig) -> Load:  # noqa: ARG002 - the seam's signature
        """What it was made with."""
        return self._load

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002
        """Those of the model."""
        return self.model.devices

    @contextmanager
    def load(self, plan: ExperimentPlan) -> Iterator[SimulatedModel]:  # noqa: ARG002 - the seam's signature
        """The model; it knows when it was given back."""
        self.model.is_released = False
        try:
            yield self.model
        finally:
            self.model.is_released = True


@dataclass
class _Running:
    request: Request
    due_s: float | None
    sent_s: float
    ids: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)


class _Scheduler:
    def __init__(
        self,
        model: SimulatedModel,
        requests: Sequence[Request],
        load: Load,
        on_done: Callable[[RequestOutput], None],
    ) -> None:
        self._model, self._load, self._on_done = model, load, on_done
        self._clock = model.clock
        self._began_s = self._clock()
        self._requests, self._next = requests, 0
        self._closed_s: float | None = None
        self._most = min(model.n_slots, load.n_at_once or model.n_slots)
        self._running: list[_Running] = []

    def run(self) -> None:
        while (self._may_begin() or self._running) and not self._load.cancelled():
            self._take_in()
            if self._running:
                self._step()
            elif self._may_begin():
                # Nothing is due yet.
                self._clock.time_s = max(self._clock(), self._due_s() or 0.0)
        for each in self._running:
            self._on_done(_output(each, "cancelled", self._clock()))

    def _may_begin(self) -> bool:
        if self._next >= len(self._requests):
            return False
        if self._closed_s is None and self._load.closed():
            self._closed_s = self._clock()
        due_s = self._due_s()
        return self._closed_s is None or (due_s is not None and due_s <= self._closed_s)

    def _due_s(self) -> float | None:
        return self._began_s + self._load.due_s[self._next] if self._load.due_s else None

    def _take_in(self) -> None:
        while self._may_begin() and len(self._running) < self._most:
            request, due_s = self._requests[self._next], self._due_s()
            if due_s is not None and due_s > self._clock():
                return
            self._next += 1
            self._model.n_begun += 1
            taken = _Running(request, due_s, self._clock())
            if len(request.token_ids) > self._model.max_input_tokens:
                told = replace(
                    _output(taken, "error", self._clock()),
                    error=f"{len(request.token_ids)} tokens are more than {self._model.max_input_tokens}",
                )
                self._on_done(told)
                continue
            self._clock.time_s += self._model.prefill_s
            self._running.append(taken)

    def _step(self) -> None:
        self._clock.time_s += self._model.step_s
        now_s, ended = self._clock(), []
        for each in self._running:
            request = each.request
            if request.index in self._model.failing and each.ids:
                ended.append((each, replace(_output(each, "error", now_s), error="the cache block was lost")))
                continue
            each.ids.append(self._model.token(request, len(each.ids)))
            each.times_s.append(now_s)
            if each.ids[-1] == END_TOKEN:
                ended.append((each, _output(each, "stop", now_s)))
            elif len(each.ids) == request.max_output_tokens:
                ended.append((each, _output(each, "length", now_s)))
        for each, output in ended:
            self._running.remove(each)
            self._on_done(output)


def _output(each: _Running, finish_reason: FinishReason, now_s: float) -> RequestOutput:
    return RequestOutput(
        index=each.request.index,
        input_tokens=len(each.request.token_ids),
        output_tokens=len(each.ids),
        finish_reason=finish_reason,
        output_digest=tokens_digest(each.ids),
        input_digest=tokens_digest(each.request.token_ids),
        due_s=each.due_s,
        sent_s=each.sent_s,
        first_token_s=each.times_s[0] if each.times_s else None,
        token_times_s=tuple(each.times_s),
        end_s=now_s,
        output_ids=(tuple(each.ids),),
    )
