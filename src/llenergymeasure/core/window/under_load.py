"""A run under a load, and the window in it: from when what is in flight has settled to when no more requests arrive."""

import itertools
import logging
import threading
import time
from dataclasses import replace

from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.load.arrival_times import LEAST_WINDOW_S
from llenergymeasure.core.load.settling import InFlightCourse
from llenergymeasure.core.load.steadiness import N_PARTS, Steadiness
from llenergymeasure.core.load.traffic import Traffic
from llenergymeasure.core.window.edges import EdgesBeside, in_flight_at, never_began
from llenergymeasure.core.window.failures import check_failures
from llenergymeasure.core.window.meter import Window, WindowMeter
from llenergymeasure.core.window.told import Told
from llenergymeasure.core.window.work import Work, inference
from llenergymeasure.domain.inference import InferenceOutput, RequestOutput
from llenergymeasure.domain.load_record import BeganBy, EndedBy, LoadRecord, digest_of
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.warnings import MeasurementWarning, on_its_side
from llenergymeasure.domain.window import InFlight, touches
from llenergymeasure.exceptions import ExperimentError

_log = logging.getLogger(__name__)

# How often it is looked whether the window begins or ends.
_LOOK_S = 0.02
# How long requests in flight have to end once no more arrive: as long as the window was, and no less than this.
_LEAST_DRAIN_S = 30.0
# How often it is looked whether joules per token are steady.
_LOOK_AT_CV_S = 1.0


def measured_under_load(
    plan: ExperimentPlan, work: Work, instruments: Instruments, warnings: list[MeasurementWarning]
) -> Window:
    """Run what comes, and measure from when the load has settled until no more requests arrive.

    Raises:
        ExperimentError: inference failed, or every request did.
    """
    traffic = work.traffic
    assert traffic is not None
    # How many come is not always known.
    by_number = traffic.ends.n is not None or traffic.load.kind != "concurrency"
    n = len(traffic.requests) if by_number else None
    with instruments.progress.phase("measuring", n=n, unit="requests", for_s=None if n else traffic.ends.most_s):
        run = _Run(plan, work, traffic, instruments)
        window = run.to_its_end()
    check_failures(run.done, len(run.done), warnings, are_rows=True)
    if window.load is not None and window.load.began_by == "not_settled":
        seen = "what was in flight still grew or fell" if traffic.load.due_s else "not each place had been taken anew"
        warnings.append(
            MeasurementWarning(
                "load_not_settled",
                f"{seen} when half of the arrivals were over, after {window.lead_in_s:.1f} s, and the window began",
                "raise load.duration_s or load.n, or lower the load",
            )
        )
    if traffic.config.until_cv is not None and window.load is not None and window.load.ended_by != "steady":
        warnings.append(_not_steady(run.cv, traffic.config.until_cv, window.duration_sec))
    return window


def _not_steady(cv: float | None, most: float, window_s: float) -> MeasurementWarning:
    seen = (
        "how joules per token vary was not known, as without a GPU that is sampled, or a token in every part"
        if cv is None
        else f"the CV of joules per token was {on_its_side(cv, most, 3)} over ten parts, and {most:g} was asked for"
    )
    return MeasurementWarning(
        "load_not_steady", f"{seen} when the window ended, after {window_s:.1f} s", "raise load.duration_s"
    )


class _Run:
    """Told of each request that has ended, and looking at the clock, it opens the window, closes it and ends the load.

    Nothing may wait while requests are in flight: sensors are started and stopped beside the run.
    """

    def __init__(self, plan: ExperimentPlan, work: Work, traffic: Traffic, instruments: Instruments) -> None:
        self.done: list[RequestOutput] = []
        self.window_s = 0.0
        self.cv: float | None = None
        self._next_look_s = 0.0
        self._plan, self._work, self._traffic, self._instruments = plan, work, traffic, instruments
        self._clock = instruments.clock
        self._meter, self._course = WindowMeter(instruments), InFlightCourse()
        self._told = Told(
            traffic.requests,
            lambda: self._cancelled,
            instruments.clock,
            plan.config.decoder.num_return_sequences,
            all_are_to_come=False,
        )
        self._looking = threading.Lock()
        self._edges = EdgesBeside(instruments, self._meter)
        self._began_s = self._clock()
        self._began_by: BeganBy | None = None
        self._ended_by: EndedBy | None = None
        self._ended_s: float | None = None
        self._n_arrived = 0
        self._cancelled = False
        self._is_closing = False
        self._cpu_s: tuple[float, float] | None = None
        self._ended: set[int] = set()
        self._oldest = 0
        self._steadiness: Steadiness | None = None
        self._n_seen = 0

    def to_its_end(self) -> Window:
        """Run, and give the window.

        Raises:
            ExperimentError: inference failed, or the load was over before a window could begin.
        """
        work, traffic = self._work, self._traffic
        load = replace(traffic.load, closed=self._is_closed, cancelled=lambda: self._cancelled)
        with self._edges.closing_on_every_way_out(), inference():
            self._began_s = self._clock()
            with self._instruments.ticking(self._look, _LOOK_S):
                work.model.run(traffic.requests, load, self._on_done)
            self._edges.wait()
            if self._meter.is_open and not self._meter.has_closed:
                if self._ended_s is None:
                    self._end_arrivals("requests")
                self._close()
            self._told.check()
            self._refuse_what_was_lost()
        self._refuse_no_window()
        window = self._filled()
        window.load = self._record()
        return window

    def _refuse_what_was_lost(self) -> None:
        """Look whether every request was told of that must have begun, and one of them was answered.

        Raises:
            ExperimentError: one was not, or none was.
        """
        if not self.done:
            raise ExperimentError("the engine told of no request")
        if all(output.error is not None for output in self.done):
            raise ExperimentError(
                f"inference failed: all {len(self.done)} requests failed; the first: {self.done[0].error}"
            )
        if self._cancelled:
            return
        told = {output.index for output in self.done}
        missing = self._traffic.missing(told, self._n_arrived, closed=self._is_closed())
        # Where no window could begin, nobody has counted what arrived.
        if missing and (self._ended_s is not None or not told):
            raise ExperimentError(
                "what the engine told cannot be counted: "
                f"{len(missing)} requests were never told of; the first is {missing[0]}"
            )

    def _refuse_no_window(self) -> None:
        """Look whether there is a window in which the load went on.

        Raises:
            ExperimentError: there is none.
        """
        window = self._meter.window
        ends_s = [output.end_s for output in self.done if output.end_s is not None]
        if self._meter.has_closed and self._began_by is not None and window.duration_sec > 0:
            if not ends_s or window.start_s < max(ends_s):
                return
            raise ExperimentError(
                f"the load was over {window.start_s - max(ends_s):.2f} s before sensors had started; raise "
                "load.duration_s or load.n"
            )
        ramp_s = self._traffic.config.ramp_s
        other = "" if ramp_s is None else f", or lower load.ramp_s: {ramp_s:g}"
        raise ExperimentError(
            f"the load was over after {self._clock() - self._began_s:.2f} s, before a window could begin; raise "
            f"load.duration_s or load.n{other}"
        )

    def _on_done(self, output: RequestOutput) -> None:
        output = self._told.take(output)
        self.done.append(output)
        self._ended.add(output.index)
        # Of this thread, which sends and receives where another process computes: from the last before the window on.
        cpu_s = time.thread_time()
        if not self._meter.is_open:
            self._cpu_s = (cpu_s, cpu_s)
        elif not self._meter.has_closed:
            self._cpu_s = (self._cpu_s[0] if self._cpu_s else cpu_s, cpu_s)
        self._course.ended(output.e2e_s if output.succeeded else None)
        self._instruments.progress.done(1, output.output_tokens)
        self._look()

    def _look(self) -> None:
        """Open the window, close it or give up on what is left, if it is time; asked by two threads, one looks."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._look_now(self._clock())
        finally:
            self._looking.release()

    def _look_now(self, now_s: float) -> None:
        if self._edges.has_failed:
            # It says why, to whoever runs this.
            self._cancelled = True
            self._edges.wait()
        elapsed_s, n_ended = now_s - self._began_s, len(self.done)
        if self._began_by is None:
            self._look_for_the_beginning(now_s, elapsed_s, n_ended)
            return
        if self._ended_s is None and (why := self._why_it_ends(now_s, elapsed_s, n_ended)) is not None:
            self._end_arrivals(why)
        # A sensor that is slow to start keeps nothing open but the window.
        if self._ended_s is None or self._edges.is_near:
            return
        if not self._is_closing:
            self._is_closing = True
            self._edges.begin(self._close)
        elif now_s > self._ended_s + max(self.window_s, _LEAST_DRAIN_S):
            self._cancelled = True

    def _look_for_the_beginning(self, now_s: float, elapsed_s: float, n_ended: int) -> None:
        self._course.note(now_s, self._traffic.n_arrived(elapsed_s, n_ended) - n_ended)
        while self._oldest in self._ended:
            self._oldest += 1
        if not self._traffic.arrivals_are_over(elapsed_s, n_ended):
            self._began_by = self._why_it_begins(elapsed_s, n_ended)
        if self._began_by is not None:
            _log.info("measuring")
            self._edges.begin(self._open)

    def _why_it_begins(self, elapsed_s: float, n_ended: int) -> BeganBy | None:
        traffic = self._traffic
        if traffic.config.ramp_s is not None:
            return "ramp" if elapsed_s >= traffic.config.ramp_s else None
        has_settled = not traffic.load.due_s or self._course.has_settled(traffic.oldest_s(elapsed_s, self._oldest))
        if has_settled and traffic.first_have_ended(n_ended):
            return "settled"
        return "not_settled" if traffic.half_is_over(elapsed_s, n_ended) else None

    def _why_it_ends(self, now_s: float, elapsed_s: float, n_ended: int) -> EndedBy | None:
        ends = self._traffic.ends
        if self._is_steady(now_s):
            return "steady"
        if self._traffic.arrivals_are_over(elapsed_s, n_ended):
            return "requests" if ends.most_s is None or elapsed_s < ends.most_s else "duration"
        if ends.window_s is None or self._edges.is_near:
            return None
        return "duration" if now_s - self._meter.window.start_s >= ends.window_s else None

    def _is_steady(self, now_s: float) -> bool:
        """Whether joules per token vary as little as was asked for; looked at once a second."""
        most = self._traffic.config.until_cv
        if most is None or self._edges.is_near:
            return False
        start_s = self._meter.window.start_s
        window_s = now_s - start_s
        if window_s < LEAST_WINDOW_S or now_s < self._next_look_s:
            return False
        self._next_look_s = now_s + _LOOK_AT_CV_S
        if self._steadiness is None:
            self._steadiness = Steadiness(start_s)
        n_ended = len(self.done)
        self._steadiness.add(self.done[self._n_seen : n_ended])
        self._n_seen = n_ended
        self.cv = self._steadiness.cv(self._instruments.sampler.get_samples(), now_s)
        return self.cv is not None and self.cv < most

    def _end_arrivals(self, why: EndedBy) -> None:
        """From now on none arrives."""
        now_s = self._clock()
        self._n_arrived = self._traffic.n_arrived(now_s - self._began_s, len(self.done))
        # The engine's thread goes by both.
        self._ended_by = why
        self._ended_s = now_s

    def _is_closed(self) -> bool:
        # Where their number ends them, the last may still have to begin.
        return self._ended_s is not None and self._ended_by != "requests"

    def _open(self) -> None:
        self._meter.open(at_once=True)

    def _close(self) -> None:
        self._meter.close()
        self.window_s = self._meter.window.duration_sec

    def _filled(self) -> Window:
        window = self._meter.window
        began = [output for output in self.done if not never_began(output)]
        seen = [output for output in began if touches(output, window.start_s, window.end_s)]
        window.lead_in_s = window.start_s - self._began_s
        window.in_flight = InFlight(
            n_at_start=sum(in_flight_at(output, window.start_s) for output in seen),
            n_at_end=sum(in_flight_at(output, window.end_s) for output in seen),
        )
        window.output = InferenceOutput(requests=tuple(seen))
        window.n_failed = sum(output.error is not None for output in seen)
        window.n_begun = len(began)
        return window

    def _record(self) -> LoadRecord:
        window, traffic = self._meter.window, self._traffic
        assert self._began_by is not None
        assert self._ended_by is not None
        assert self._ended_s is not None
        part_s = window.duration_sec / N_PARTS
        return LoadRecord(
            kind=traffic.config.kind,
            began_s=self._began_s,
            ended_s=self._ended_s,
            n_arrived=self._n_arrived,
            rate_per_s=traffic.rate_per_s(),
            concurrency=traffic.config.concurrency,
            began_by=self._began_by,
            ended_by=self._ended_by,
            sub_windows_s=(*(window.start_s + i * part_s for i in range(N_PARTS)), window.end_s),
            generator_cpu_s=self._generator_cpu_s(),
            n_most_in_flight=self._most_in_flight(),
            unsent_due_s=self._unsent_due_s(window.end_s),
            arrivals_digest=digest_of(traffic.load.due_s),
        )

    def _generator_cpu_s(self) -> float | None:
        if self._work.model.computes_here or self._cpu_s is None:
            return None
        began_s, ended_s = self._cpu_s
        return ended_s - began_s

    def _most_in_flight(self) -> int | None:
        """How many the engine begins at a time, by what it says; None where it began more, and so takes them all."""
        most = self._work.n_at_work
        begins_s = [o.sent_s for o in self.done if o.sent_s is not None]
        ends_s = [o.end_s for o in self.done if o.sent_s is not None and o.end_s is not None]
        # At one moment, what ends does so before something begins.
        events = sorted([*((time_s, -1) for time_s in ends_s), *((time_s, 1) for time_s in begins_s)])
        peak = max(itertools.accumulate(change for _, change in events), default=0)
        return None if most is None or peak > most else most

    def _unsent_due_s(self, ended_s: float) -> tuple[float, ...]:
        """When requests were due that had not begun when the window ended, in monotonic seconds."""
        due_s = self._traffic.load.due_s[: self._n_arrived]
        begun = {output.index for output in self.done if output.sent_s is not None and output.sent_s <= ended_s}
        return tuple(self._began_s + wait_s for index, wait_s in enumerate(due_s) if index not in begun)
