"""Windows under a load, on a scheduler whose every step is known."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import LoadedModelBase
from llenergymeasure.core.background import at_once, in_a_thread
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.load.traffic import Traffic
from llenergymeasure.core.window.meter import Window
from llenergymeasure.core.window.under_load import measured_under_load
from llenergymeasure.core.window.work import Work
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.domain.window import counts_between
from llenergymeasure.exceptions import ConfigError, ExperimentError
from llenergymeasure.testing import FakeClock, FakeEnergy, FakeSampler, fake_environment
from llenergymeasure.testing.simulated import SimulatedModel

GPU = "GPU-0"


@contextlib.contextmanager
def never(call: Callable[[], None], every_s: float) -> Iterator[None]:
    """Simulated time passes only when the engine works."""
    yield


@dataclass
class Bench:
    """A load on the simulated engine at 100 W; prompts of 10 tokens, answers of 4, a second a step."""

    model: dict[str, Any] = field(default_factory=dict)
    kind: Callable[..., SimulatedModel] = SimulatedModel
    machine_cpu_s: Callable[[Any], Any] = lambda _: None
    aside: Callable[[Callable[[], None]], Future[None]] = at_once
    max_output_tokens: int = 4
    power_w: float | None = None
    grows: bool = False
    sample_s: float = 0.5
    warnings: list[MeasurementWarning] = field(default_factory=list)

    def run(self, **load: Any) -> Window:
        clock, log = FakeClock(), list[str]()
        given: dict[str, Any] = {"n_slots": 8, "step_s": 1.0, "devices": (GPU,), "log": log, **self.model}
        model = self.kind(clock, **given)
        config = ExperimentConfig.model_validate(
            {"model": "any", "load": load, "max_output_tokens": self.max_output_tokens}
        )
        prompts = [Request(index=i, token_ids=(1,) * 10, max_output_tokens=self.max_output_tokens) for i in range(3)]
        work = Work.of(model, Load.all_at_once(), prompts, lambda requests, n: Traffic.of(config, requests, n))
        instruments = Instruments(
            energy=FakeEnergy(clock, 100.0, GPU, log),
            sampler=FakeSampler(self._samples(), log),
            snapshot=fake_environment,
            clock=clock,
            sleep=clock.sleep,
            now=clock.now,
            aside=self.aside,
            machine_cpu_s=self.machine_cpu_s,
            ticking=never,
        )
        plan = ExperimentPlan.of(config, layout=ProcessLayout(), devices=(GPU,))
        return measured_under_load(plan, work, instruments, self.warnings)

    def _samples(self) -> tuple[PowerThermalSample, ...]:
        """Readings for as long as any test takes."""
        if self.power_w is None:
            return ()
        return tuple(
            PowerThermalSample(
                timestamp=i * self.sample_s, power_w=self.power_w * (i if self.grows else 1), gpu_index=0
            )
            for i in range(round(1000 / self.sample_s))
        )


def flags(bench: Bench) -> list[str]:
    return [warning.flag for warning in bench.warnings]


def test_so_many_at_a_time_are_measured_from_when_each_place_has_gone_round_once() -> None:
    # Two at a time, four steps each: the first two end at 4 s, and none begins from 40 s on.
    bench = Bench()
    window = bench.run(concurrency=2, duration_s=40)
    record = window.load
    assert record is not None
    assert (window.lead_in_s, window.duration_sec) == (4.0, 36.0)
    assert (record.kind, record.concurrency, record.rate_per_s) == ("concurrency", 2, None)
    assert (record.began_by, record.ended_by) == ("settled", "duration")
    counts = counts_between(window.output.requests, window.start_s, window.end_s)
    # Two tokens a second, and two prompts of 10 tokens every 4 s: those that began at 4, ..., 32 and 36.
    assert (counts.output_tokens, counts.input_tokens, counts.n_requests) == (72, 180, 18)
    assert window.energy is not None
    assert window.energy.total_j == pytest.approx(3600.0)
    assert len(record.sub_windows_s) == 11
    assert record.sub_windows_s[1] - record.sub_windows_s[0] == pytest.approx(3.6)
    assert flags(bench) == []


def test_what_is_in_flight_when_arrivals_end_goes_on_to_its_end_and_is_no_part_of_the_window() -> None:
    window = Bench({"n_slots": 2}).run(concurrency=2, n=7)
    assert window.load is not None
    # The seventh begins at 12 s, when the third round is over, and all have arrived.
    assert (window.load.n_arrived, window.load.ended_by) == (7, "requests")
    assert (window.lead_in_s, window.duration_sec) == (4.0, 8.0)
    assert {output.finish_reason for output in window.output.requests} == {"length"}
    counts = counts_between(window.output.requests, window.start_s, window.end_s)
    assert (counts.output_tokens, counts.n_requests) == (16, 4)
    assert window.n_begun == 7


def test_arrivals_at_a_steady_rate_wait_for_no_answer() -> None:
    # One a second, each in flight for 4 s or more: four and a bit at a time.
    bench = Bench()
    window = bench.run(rate=1.0, arrival="constant", duration_s=60)
    record = window.load
    assert record is not None
    assert (record.kind, record.rate_per_s, record.n_arrived) == ("rate", 1.0, 59)
    assert record.began_by == "settled"
    # Of "1000000,2000000," and so on to 59 s, worked out by hand.
    said = ",".join(str(1_000_000 * (i + 1)) for i in range(59))
    assert record.arrivals_digest == hashlib.sha256(said.encode()).hexdigest()
    assert window.lead_in_s < 30
    # Eight places are never all taken.
    assert (record.n_most_in_flight, record.unsent_due_s) == (8, ())
    counts = counts_between(window.output.requests, window.start_s, window.end_s)
    assert counts.output_tokens / window.duration_sec == pytest.approx(4.0, rel=0.05)
    assert all(o.due_s is not None and o.sent_s is not None and o.sent_s >= o.due_s for o in window.output.requests)


def test_a_queue_that_grows_never_settles_and_the_window_begins_at_half_of_the_time() -> None:
    # One slot takes a request every 4 s, and one comes every second.
    bench = Bench({"n_slots": 1})
    window = bench.run(rate=1.0, arrival="constant", duration_s=100)
    assert window.load is not None
    assert window.load.began_by == "not_settled"
    assert flags(bench) == ["load_not_settled"]
    # Looked at when a request ends, every 4 s.
    assert 50 <= window.lead_in_s <= 54
    # One at a time; when the 99th has come, at 99 s, 25 have begun, the last of them at 97 s.
    assert window.load.n_most_in_flight == 1
    assert window.load.n_arrived == 99
    waiting_s = window.load.unsent_due_s
    assert waiting_s[-1] == pytest.approx(99.0)
    assert len(waiting_s) == pytest.approx(74, abs=1)


def test_a_drain_that_does_not_end_is_cut_off() -> None:
    # 100 s of arrivals leave 75 waiting: 300 s; as long as the window was, 50 s, they are given.
    window = Bench({"n_slots": 1}).run(rate=1.0, arrival="constant", duration_s=100)
    assert window.n_begun is not None
    assert window.n_begun < 100 - 30
    assert window.output.requests


@pytest.mark.parametrize(("duration_s", "n_begun"), [(100, 38), (20, 13)])
def test_a_drain_is_as_long_as_the_window_was_and_half_a_minute_at_least(duration_s: float, n_begun: int) -> None:
    # One at a time for 4 s each. Of 100 s the window has 50, and 50 more are given: 150 / 4. Of 20 s it has 10 at the
    # most, and 30 are given: 50 / 4.
    window = Bench({"n_slots": 1}).run(rate=1.0, arrival="constant", duration_s=duration_s)
    assert window.n_begun == pytest.approx(n_begun, abs=1)


def test_a_ramp_that_is_given_is_waited_for_and_no_more() -> None:
    window = Bench().run(concurrency=2, duration_s=40, ramp_s=10)
    assert window.load is not None
    assert (window.load.began_by, window.lead_in_s) == ("ramp", 12.0)


def test_all_at_once_are_measured_until_the_engine_has_no_longer_all_places_taken() -> None:
    # 16 requests on 2 slots: a round of 4 s each; when 14 have ended 2 are left, at 28 s, and at 32 s none.
    window = Bench({"n_slots": 2}).run(max=True, n=16)
    assert window.load is not None
    assert (window.lead_in_s, window.load.began_by, window.load.ended_by) == (4.0, "settled", "requests")
    counts = counts_between(window.output.requests, window.start_s, window.end_s)
    assert counts.output_tokens / window.duration_sec == 2.0


def test_a_load_that_was_over_before_a_window_could_begin_says_what_to_raise() -> None:
    with pytest.raises(ExperimentError, match=r"before a window could begin; raise load\.duration_s or load\.n"):
        Bench().run(concurrency=2, n=2, ramp_s=10)


def test_requests_that_fail_mark_the_point_and_all_of_them_end_it() -> None:
    bench = Bench({"failing": frozenset({5, 6, 7})})
    window = bench.run(concurrency=2, duration_s=40)
    assert flags(bench) == ["requests_failed_above_share"]
    assert window.n_failed == 3
    with pytest.raises(ExperimentError, match="all 20 requests failed"):
        Bench({"max_input_tokens": 5}).run(concurrency=2, n=20)


def test_fewer_than_two_arrivals_are_no_load() -> None:
    with pytest.raises(ConfigError, match=r"load: 0 requests arrive within 0\.5 s"):
        Bench().run(rate=0.001, duration_s=0.5)


def test_arrivals_end_as_soon_as_joules_per_token_are_steady() -> None:
    # Constant power for two tokens a second: steady once 30 s are measured, and looked at when requests end.
    bench = Bench(power_w=100.0)
    window = bench.run(concurrency=2, duration_s=400, until_cv=0.2)
    assert window.load is not None
    assert window.load.ended_by == "steady"
    assert 30 <= window.duration_sec <= 80
    assert flags(bench) == []


def test_what_is_steady_at_once_is_measured_for_half_a_minute_all_the_same() -> None:
    # With twenty readings a second parts of a second each could be told apart after fourteen.
    window = Bench(power_w=100.0, sample_s=0.05).run(concurrency=2, duration_s=400, until_cv=0.2)
    assert window.load is not None
    assert window.load.ended_by == "steady"
    assert 30 <= window.duration_sec <= 40


def test_arrivals_that_end_before_that_say_so() -> None:
    unknown = Bench()
    unknown.run(concurrency=2, duration_s=100, until_cv=0.05)
    assert [w.flag for w in unknown.warnings] == ["load_not_steady"]
    assert "was not known" in unknown.warnings[0].text
    uneven = Bench(power_w=1.0, grows=True)
    uneven.run(concurrency=2, duration_s=60, until_cv=0.1)
    assert [w.flag for w in uneven.warnings] == ["load_not_steady"]
    assert "the CV of joules per token was" in uneven.warnings[0].text


@dataclass
class Forgetful(SimulatedModel):
    """Does not tell of every third request."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        super().run(requests, load, lambda output: None if output.index % 3 == 2 else on_done(output))


@dataclass
class Silent(SimulatedModel):
    """Tells of nothing."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        super().run(requests, load, lambda _: None)


@pytest.mark.parametrize(
    "load",
    [
        {"rate": 1.0, "arrival": "constant", "n": 90},
        {"rate": 1.0, "arrival": "constant", "duration_s": 60},
        {"concurrency": 2, "duration_s": 40},
        {"concurrency": 2, "n": 30},
        {"max": True, "n": 30},
    ],
)
def test_requests_that_an_engine_loses_are_missed(load: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match=r"[0-9]+ requests were never told of; the first is 2$"):
        Bench(kind=Forgetful).run(**load)


@pytest.mark.parametrize("load", [{"rate": 1.0, "n": 90}, {"concurrency": 2, "n": 30}, {"max": True, "n": 30}])
def test_an_engine_that_tells_of_nothing_has_no_result(load: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match="the engine told of no request"):
        Bench(kind=Silent).run(**load)


def test_long_requests_that_are_still_in_flight_are_waited_for() -> None:
    # Four a second; every fifth takes a minute, all others half a second: what is in flight grows for that minute.
    lengths = {i: 600 if i % 5 == 4 else 5 for i in range(4000)}
    bench = Bench({"n_slots": 1000, "step_s": 0.1, "ends_after": lengths}, max_output_tokens=1000)
    window = bench.run(rate=4.0, arrival="constant", duration_s=400)
    assert window.load is not None
    assert window.load.began_by == "settled"
    assert window.lead_in_s > 60
    assert flags(bench) == []


@pytest.mark.parametrize(
    "load", [{"concurrency": 2, "n": 2}, {"max": True, "n": 1}, {"rate": 20.0, "n": 10, "ramp_s": 0.6}]
)
def test_a_window_that_would_begin_when_all_have_come_is_none(load: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match="before a window could begin"):
        Bench().run(**load)


def refuses(_: object) -> None:
    raise OSError("no such file")


def test_what_fails_at_an_edge_ends_the_run_with_its_reason() -> None:
    with pytest.raises(ExperimentError, match="no such file"):
        Bench(machine_cpu_s=refuses, aside=in_a_thread).run(concurrency=2, duration_s=40)


def test_an_interruption_is_not_replaced_by_what_fails_at_an_edge() -> None:
    class Interrupted(SimulatedModel):
        def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
            def interrupted(output: RequestOutput) -> None:
                try:
                    on_done(output)
                except OSError:
                    # Ctrl-C comes just when the edge has failed.
                    raise KeyboardInterrupt from None

            super().run(requests, load, interrupted)

    with pytest.raises(KeyboardInterrupt):
        Bench(kind=Interrupted, machine_cpu_s=refuses, aside=in_a_thread).run(concurrency=2, duration_s=40)


def test_with_real_threads_the_clock_opens_and_closes_the_window_where_nothing_ends() -> None:
    """An engine that answers only when it is over: all that looks is what ticks."""

    class Slow(LoadedModelBase):
        def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
            began_s = time.monotonic()
            while not load.closed():
                time.sleep(0.01)
            for index in range(2):
                on_done(
                    RequestOutput(
                        index=index, input_tokens=1, output_tokens=1, finish_reason="length", output_digest="",
                        sent_s=began_s, token_times_s=(time.monotonic(),), end_s=time.monotonic(),
                    )
                )  # fmt: skip

    prompts = [Request(index=0, token_ids=(1,), max_output_tokens=4)]
    given = {"model": "any", "load": {"concurrency": 2, "duration_s": 1.0, "ramp_s": 0.3}}
    config = ExperimentConfig.model_validate(given)
    work = Work.of(Slow(), Load.all_at_once(), prompts, lambda requests, n: Traffic.of(config, requests, n))
    clock = FakeClock()
    instruments = Instruments(energy=FakeEnergy(clock, 100.0, GPU, []), sampler=FakeSampler((), []))
    plan = ExperimentPlan.of(config, layout=ProcessLayout(), devices=(GPU,))
    window = measured_under_load(plan, work, instruments, [])
    assert window.load is not None
    assert (window.load.began_by, window.load.ended_by) == ("ramp", "duration")
    # 0.3 to 1 s; the rest is a busy machine.
    assert 0.3 < window.duration_sec < 5.0
