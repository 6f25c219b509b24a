"""Windows that begin and end while requests are in flight, on a scheduler whose every step is known."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.background import at_once, in_a_thread
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.prompts.tokenise import PreparedRequests
from llenergymeasure.core.session import run_session
from llenergymeasure.core.window.work import Work
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.window import InFlight, counts_between
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.testing import (
    FakeClock,
    FakeEnergy,
    FakeEngine,
    FakeModel,
    FakeSampler,
    fake_environment,
    words_as_tokens,
)
from llenergymeasure.testing.simulated import SimulatedEngine, SimulatedModel
from tests.fakes.searching import GPU_W, Searching

# Two at a time, a second a step. The first ends at 3 s and the third begins, the second at 5 and the fourth begins, the
# third at 7, the fourth at 9.
LENGTHS = (3, 5, 4, 4)


@dataclass
class Bench:
    """A session on the simulated engine at 100 W."""

    lengths: Sequence[int] = LENGTHS
    load: Load | None = None
    model: Callable[..., SimulatedModel] = SimulatedModel
    fields: dict[str, Any] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def run(self, **measurement: Any) -> RawProcessResult:
        clock = FakeClock(log=self.log)
        given: dict[str, Any] = {"n_slots": 2, "step_s": 1.0, "devices": ("GPU-0",), "log": self.log, **self.fields}
        model = self.model(clock, **given)
        requests = [
            Request(index=i, token_ids=(1,) * (10 + i), max_output_tokens=n) for i, n in enumerate(self.lengths)
        ]
        instruments = Instruments(
            energy=FakeEnergy(clock, 100.0, "GPU-0", self.log),
            sampler=FakeSampler((), self.log),
            snapshot=fake_environment,
            clock=clock,
            sleep=clock.sleep,
            now=clock.now,
            tokenise=lambda *_: PreparedRequests(requests=tuple(requests)),
            aside=at_once,
        )
        config = ExperimentConfig.model_validate(
            {
                "model": "simulated",
                "n": len(requests),
                "warmup": {"enabled": False},
                "baseline": {"enabled": False},
                "measurement": measurement,
            }
        )
        plan = ExperimentPlan.of(config, devices=("GPU-0",))
        return run_session(plan, SimulatedEngine(model, self.load), instruments)


def test_the_whole_run_has_no_edges_in_flight_and_ends_when_the_device_has() -> None:
    bench = Bench()
    raw = bench.run()
    assert raw.in_flight is None
    assert (raw.counts.n_requests, raw.counts.input_tokens, raw.counts.output_tokens) == (4, 10 + 11 + 12 + 13, 16)
    assert raw.duration_sec == 9.0
    assert raw.energy is not None
    assert raw.energy.total_j == 900.0
    after = ["energy on", "sleep 1", "energy off"] * 3
    assert bench.log[-13:] == ["energy on", "synchronize", "energy off", *after, "sampler off"]


def test_a_window_that_begins_in_flight_has_the_tokens_that_came_in_it() -> None:
    raw = Bench().run(methodology="windowed", window_start_s=2.5)
    # From 3 s, when the first has ended, to 9: two tokens of the second, all eight of the others, whose prompts were
    # read then; the second's was before.
    assert raw.duration_sec == 6.0
    assert (raw.counts.n_requests, raw.counts.input_tokens, raw.counts.output_tokens) == (3, 12 + 13, 10)
    assert raw.energy is not None
    assert raw.energy.total_j == 600.0
    assert raw.in_flight == InFlight(n_at_start=1, n_at_end=0)
    assert [r.index for r in raw.requests] == [1, 2, 3]
    assert raw.steady_state_window == (3.0, 9.0)


def test_a_window_that_ends_in_flight_cuts_the_run_off_and_waits_for_no_device() -> None:
    bench = Bench()
    raw = bench.run(methodology="windowed", window_start_s=2.5, window_length_s=3.0)
    # To 7 s, the first end of a request after three seconds: two tokens of the second, four and two of the others.
    assert raw.duration_sec == 4.0
    assert (raw.counts.n_requests, raw.counts.input_tokens, raw.counts.output_tokens) == (2, 12 + 13, 8)
    assert raw.energy is not None
    assert raw.energy.total_j == 400.0
    assert raw.in_flight == InFlight(n_at_start=1, n_at_end=1)
    assert [(r.index, r.finish_reason) for r in raw.requests] == [(1, "length"), (2, "length"), (3, "cancelled")]
    assert "synchronize" not in bench.log[bench.log.index("sampler on") :]
    assert raw.flops_result is None
    flags = [warning.flag for warning in raw.measurement_warnings]
    assert "flops_unavailable" in flags
    assert "window_not_reached" not in flags


def test_latencies_are_those_of_requests_that_ended_in_the_window() -> None:
    from llenergymeasure.domain.result import ExperimentResult

    raw = Bench().run(methodology="windowed", window_start_s=2.5, window_length_s=3.0)
    result = ExperimentResult.from_processes([raw])
    assert result.requests_in_flight == InFlight(n_at_start=1, n_at_end=1)
    assert result.latency_stats is not None
    assert result.latency_stats.e2e_s is not None
    # The second took 5 s, the third 4; the fourth was cut off.
    assert (result.latency_stats.e2e_s.n, result.latency_stats.e2e_s.mean) == (2, 4.5)
    assert result.tokens_per_second == 2.0
    assert result.energy_per_output_token_j == 50.0
    assert result.energy_per_request_j == 200.0


def test_at_most_one_at_a_time_leaves_nothing_in_flight_between() -> None:
    raw = Bench(load=Load.at_most(1)).run(methodology="windowed", window_start_s=2.5)
    # One after another: 3, 8, 12, 16 s.
    assert (raw.duration_sec, raw.counts.output_tokens) == (13.0, 13)
    assert raw.in_flight == InFlight(n_at_start=0, n_at_end=0)


def test_latency_under_arrivals_counts_from_when_a_request_was_due() -> None:
    raw = Bench(load=Load.at_due_times([0.0, 0.0, 1.0, 20.0])).run()
    by_index = {r.index: r for r in raw.requests}
    began_s = raw.window_start_s
    assert [by_index[i].due_s for i in range(4)] == [began_s, began_s, began_s + 1, began_s + 20]
    # The third waits for a slot until 3 s and ends at 7; the fourth begins when it is due.
    assert (by_index[2].ttft_s, by_index[2].e2e_s) == (3.0, 6.0)
    assert (by_index[3].ttft_s, by_index[3].e2e_s) == (1.0, 4.0)
    assert raw.duration_sec == 24.0


def test_a_steady_state_is_looked_for_in_units_of_the_scheduler() -> None:
    # Twelve of three tokens, two at a time: units of two every three seconds.
    raw = Bench(lengths=(3,) * 12).run(methodology="steady_state", n_steady_batches=2)
    assert raw.duration_sec == 12.0
    assert raw.counts.output_tokens == 24
    assert [w.flag for w in raw.measurement_warnings if "steady" in w.flag] == []


def test_one_failed_request_is_a_row_and_a_warning() -> None:
    raw = Bench(fields={"failing": frozenset({2})}).run()
    assert [(r.index, r.error) for r in raw.requests if r.error] == [(2, "the cache block was lost")]
    assert (raw.n_requests_failed, raw.counts.n_requests) == (1, 3)
    (told,) = [w for w in raw.measurement_warnings if w.flag.startswith("requests_failed")]
    assert str(told).startswith("requests_failed: 1 of 4 requests failed; the first, 2: the cache block was lost")


@pytest.mark.parametrize("load", [None, Load.at_most(2)])
def test_more_than_one_and_a_percent_end_the_experiment(load: Load | None) -> None:
    with pytest.raises(ExperimentError, match=r"inference failed: 2 of 4 requests failed; the first, 1: the cache"):
        Bench(load=load, fields={"failing": frozenset({1, 2})}).run()


def test_of_two_hundred_two_may_fail() -> None:
    raw = Bench(lengths=(2,) * 200, fields={"failing": frozenset({7, 8})}).run()
    assert raw.n_requests_failed == 2


def test_under_arrivals_failures_mark_the_point() -> None:
    arriving = Load.at_due_times([0.0] * 4)
    raw = Bench(load=arriving, fields={"failing": frozenset({1, 2})}).run()
    assert [w.flag for w in raw.measurement_warnings if "requests" in w.flag] == ["requests_failed_above_share"]


class Mute(SimulatedModel):
    """Tells nobody of anything."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        super().run(requests, load, lambda _: None)


def test_an_engine_that_tells_of_no_request_in_a_window_is_an_error() -> None:
    with pytest.raises(ExperimentError, match="4 of 4 requests were never told of; the first is 0"):
        Bench(model=Mute).run(methodology="windowed", window_start_s=2.5)


class Dying(SimulatedModel):
    """Fails as a whole after the first request has ended."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        def tell(output: RequestOutput) -> None:
            on_done(output)
            raise RuntimeError("the engine core died")

        super().run(requests, load, tell)


@pytest.mark.parametrize("start_s", [0.0, 2.5])
def test_sensors_are_stopped_when_the_engine_dies(start_s: float) -> None:
    bench = Bench(model=Dying)
    with pytest.raises(ExperimentError, match="inference failed: RuntimeError: the engine core died"):
        bench.run(methodology="windowed", window_start_s=start_s)
    assert bench.log[-2:] == ["energy off", "sampler off"]
    assert bench.log.count("energy on") == bench.log.count("energy off")


def test_a_request_without_times_of_tokens_belongs_where_it_ended() -> None:
    def one(**fields: Any) -> RequestOutput:
        given = {"index": 0, "input_tokens": 5, "output_tokens": 7, "finish_reason": "stop", "output_digest": ""}
        return RequestOutput(**{**given, **fields})

    inside, before, failed = one(end_s=2.0), one(end_s=1.0), one(end_s=2.5, finish_reason="error", error="x")
    found = counts_between([inside, before, failed], 1.0, 3.0)
    assert (found.n_requests, found.input_tokens, found.output_tokens) == (1, 10, 14)


def test_several_answers_are_counted_each_by_its_own_length() -> None:
    request = RequestOutput(
        index=0, input_tokens=5, output_tokens=5, finish_reason="length", output_digest="", end_s=3.0,
        token_times_s=(1.0, 2.0, 3.0), output_ids=((1, 2, 3), (4, 5)),
    )  # fmt: skip
    found = counts_between([request], 1.5, 2.5)
    assert (found.n_requests, found.input_tokens, found.output_tokens) == (0, 0, 2)


class RealClock(FakeClock):
    """The machine's own clock; letting time pass is waiting for it."""

    def __call__(self) -> float:
        return time.monotonic()

    @property
    def time_s(self) -> float:
        return time.monotonic()

    @time_s.setter
    def time_s(self, value: float) -> None:
        time.sleep(max(0.0, value - time.monotonic()))


def test_in_real_time_the_edges_come_beside_the_run() -> None:
    clock, log = RealClock(), list[str]()
    model = SimulatedModel(clock, n_slots=2, step_s=0.02, devices=("GPU-0",))
    requests = [Request(index=i, token_ids=(1,), max_output_tokens=4 + i) for i in range(8)]
    config = ExperimentConfig.model_validate(
        {
            "model": "simulated",
            "warmup": {"enabled": False},
            "baseline": {"enabled": False},
            "measurement": {"methodology": "windowed", "window_start_s": 0.1, "window_length_s": 0.2},
        }
    )
    instruments = Instruments(
        energy=FakeEnergy(clock, 100.0, log=log),
        modelled=True,
        sampler=FakeSampler(()),
        snapshot=fake_environment,
        tokenise=lambda *_: PreparedRequests(requests=tuple(requests)),
    )
    plan = ExperimentPlan.of(config, devices=("GPU-0",))
    raw = run_session(plan, SimulatedEngine(model), instruments)
    times_s = [time_s for r in raw.requests for time_s in r.token_times_s]
    inside = [time_s for time_s in times_s if raw.window_start_s < time_s <= raw.window_end_s]
    assert raw.counts.output_tokens == len(inside)
    assert 0 < len(inside) < sum(r.max_output_tokens for r in requests)
    assert raw.duration_sec >= 0.2
    assert raw.energy is not None
    assert raw.energy.total_j == pytest.approx(100.0 * raw.duration_sec, abs=1.0)
    assert log == ["energy on", "energy off"]


def test_an_edge_beside_the_run_raises_what_it_raised() -> None:
    def fail() -> None:
        raise OSError("driver gone")

    with pytest.raises(OSError, match="driver gone"):
        in_a_thread(fail).result(10)
    with pytest.raises(OSError, match="driver gone"):
        at_once(fail).result()
    assert in_a_thread(lambda: 7).result(10) == at_once(lambda: 7).result() == 7


def test_what_is_told_after_the_window_has_closed_is_not_in_it() -> None:
    class Deaf(FakeModel):
        """Goes on when it is cancelled."""

        def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
            super().run(requests, replace(load, cancelled=lambda: False), on_done)

    clock = FakeClock()
    model = Deaf(clock=clock, batch_size=1, batch_s=10.0)
    config = ExperimentConfig.model_validate(
        {
            "model": "fake",
            "n": 9,
            "warmup": {"enabled": False},
            "measurement": {"methodology": "windowed", "window_start_s": 20, "window_length_s": 30},
        }
    )
    instruments = Instruments(
        energy=None,
        sampler=FakeSampler(),
        snapshot=fake_environment,
        clock=clock,
        sleep=clock.sleep,
        now=clock.now,
        tokenise=words_as_tokens,
    )
    raw = run_session(ExperimentPlan.of(config), FakeEngine(model), instruments)
    assert (raw.window_start_s, raw.window_end_s) == (20.0, 50.0)
    assert [output.index for output in raw.requests] == [2, 3, 4]
    assert (raw.counts.n_requests, raw.n_requests_excluded) == (3, 6)


@pytest.mark.parametrize("capacity", [0, -1, 2.5, "4"])
def test_a_capacity_that_is_none_is_an_error(capacity: Any) -> None:
    class Odd(FakeModel):
        def capacity(self) -> Any:
            return capacity

    with pytest.raises(ExperimentError, match=f"works on {capacity!r} requests at a time"):
        Work.of(Odd(clock=FakeClock()), Load.all_at_once(), [Request(index=0, token_ids=(1,), max_output_tokens=1)])


def test_requests_that_only_waited_are_not_in_flight_when_they_are_told_as_cancelled() -> None:
    class Thorough(SimulatedModel):
        """Tells at the end also of those that it never began."""

        def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
            told: set[int] = set()

            def tell(output: RequestOutput) -> None:
                told.add(output.index)
                on_done(output)

            super().run(requests, load, tell)
            for request in requests:
                if request.index not in told:
                    on_done(
                        RequestOutput(
                            index=request.index,
                            input_tokens=0,
                            output_tokens=0,
                            finish_reason="cancelled",
                            output_digest="",
                        )
                    )

    part = {"methodology": "windowed", "window_start_s": 2.5, "window_length_s": 3.0}
    quiet, thorough = (
        Bench(lengths=(*LENGTHS, 4, 4, 4), model=model).run(**part) for model in (SimulatedModel, Thorough)
    )
    assert thorough.in_flight == quiet.in_flight == InFlight(n_at_start=1, n_at_end=1)
    assert [r.index for r in thorough.requests] == [r.index for r in quiet.requests]
    assert thorough.counts == quiet.counts


@pytest.mark.parametrize(
    "measurement",
    [
        {"methodology": "windowed", "window_start_s": 1.5},
        {"methodology": "windowed", "window_start_s": 1.5, "window_length_s": 1.0},
        {"methodology": "steady_state", "n_steady_batches": 2},
    ],
    ids=["windowed", "windowed and cut off", "steady state"],
)
def test_the_device_does_not_idle_before_the_measured_batch_while_an_edge_is_looked_for(
    measurement: dict[str, Any],
) -> None:
    clock = FakeClock()
    model = FakeModel(clock, batch_size=1, batch_s=1.0, devices=("GPU-0",))
    config = ExperimentConfig.model_validate(
        {
            "model": "fake",
            "n": 6,
            "warmup": {"enabled": False},
            "baseline": {"enabled": False},
            "measurement": measurement,
        }
    )
    instruments = Instruments(
        energy=Searching(clock),
        sampler=FakeSampler(),
        snapshot=fake_environment,
        clock=clock,
        sleep=clock.sleep,
        now=clock.now,
        tokenise=words_as_tokens,
        aside=at_once,
    )
    raw = run_session(ExperimentPlan.of(config, devices=("GPU-0",)), FakeEngine(model), instruments)
    assert raw.steady_state_window is not None
    # Two batches of a second were run before it, and nothing between them and the third.
    assert raw.steady_state_window[0] == pytest.approx(2.0)
    assert raw.requests[0].sent_s == pytest.approx(raw.window_start_s)
    assert raw.energy is not None
    assert raw.energy.total_j == pytest.approx(GPU_W * raw.duration_sec)
    assert raw.energy.duration_sec == pytest.approx(raw.duration_sec)
