"""A run with its measured part: the window is opened and closed by what the run itself shows."""

import logging
from collections.abc import Callable
from dataclasses import replace

from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.window.dither import Dither, dither_warnings
from llenergymeasure.core.window.edges import EdgesBeside, in_flight_at, never_began
from llenergymeasure.core.window.failures import check_failures
from llenergymeasure.core.window.meter import Window, WindowMeter
from llenergymeasure.core.window.part import MeasuredPart, measured_part
from llenergymeasure.core.window.told import Told
from llenergymeasure.core.window.work import Work, inference
from llenergymeasure.domain.inference import InferenceOutput, RequestOutput
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.domain.window import InFlight, touches

_log = logging.getLogger(__name__)


def measured_run(
    plan: ExperimentPlan, work: Work, instruments: Instruments, warnings: list[MeasurementWarning]
) -> Window:
    """Run everything and measure the part that the experiment asks for.

    Raises:
        ExperimentError: inference failed, or too many requests did.
    """
    part = measured_part(plan.config.measurement, work.units, instruments.clock)
    # What comes behind the window is not known to be short.
    asked_more = plan.config.phases.enabled or plan.config.quality is not None
    instruments.progress.later(None if asked_more else 0.0)
    with instruments.progress.phase("measuring", n=len(work.requests), unit="requests"):
        run = _Run(plan, work, part, instruments)
        window = run.to_its_end()
    check_failures(run.done, len(work.requests), warnings, are_rows=work.load.kind == "due_times")
    warnings.extend(dither_warnings(plan, work.load))
    warnings.extend(part.warnings(window.duration_sec))
    return window


class _Run:
    """Told of each request that has ended, it opens the window where the part begins and closes it where it ends.

    Where the load has pauses, edges lie in them, and sensors look for theirs while the next unit runs: a device that
    idled before it would be colder than the load makes it. Where requests are always in flight nothing may wait, so
    sensors are started and stopped beside the run.
    """

    def __init__(self, plan: ExperimentPlan, work: Work, part: MeasuredPart, instruments: Instruments) -> None:
        self._told = Told(
            work.requests,
            lambda: self._cancelled,
            instruments.clock,
            plan.config.decoder.num_return_sequences,
        )
        self.done: list[RequestOutput] = []
        self._plan, self._work, self._part, self._instruments = plan, work, part, instruments
        self._clock = instruments.clock
        self._meter = WindowMeter(instruments)
        self._dither = Dither.of(plan, work.load, instruments)
        self._edges = EdgesBeside(instruments, self._meter)
        self._cancelled = False
        self._n_before = 0
        self._n_at_close: int | None = None
        self._n_units = 0
        self._n_units_before = 0
        self._unit: list[RequestOutput] = []
        self._began_s = self._unit_began_s = self._clock()

    def to_its_end(self) -> Window:
        """Run, and give the window.

        Raises:
            ExperimentError: inference failed.
        """
        work = self._work
        with self._edges.closing_on_every_way_out(), inference():
            if self._part.begins() or self._only_one_is_left(0):
                self._open()
            opened_before_all = self._meter.is_open
            load = replace(work.load, cancelled=lambda: self._cancelled)
            work.model.run(work.requests, load, self._on_done)
            self._edges.wait()
            cut_short = self._meter.has_closed
            if self._meter.is_open and not cut_short:
                work.model.synchronize()
                self._meter.close()
            self._told.check()
        return self._filled(is_cut=not work.load.has_pauses and not (opened_before_all and not cut_short))

    def _on_done(self, output: RequestOutput) -> None:
        work, output = self._work, self._told.take(output)
        if work.load.has_pauses and self._meter.is_open:
            output = replace(output, batch=self._n_units - self._n_units_before)
        self.done.append(output)
        self._instruments.progress.done(1, output.output_tokens)
        self._unit.append(output)
        unit_is_over = len(self._unit) == len(work.units[min(self._n_units, len(work.units) - 1)])
        if unit_is_over:
            self._end_unit()
        if (unit_is_over or not work.load.has_pauses) and not self._edges.is_near:
            self._look_at_the_part()
        if unit_is_over and self._meter.is_open and not self._meter.has_closed:
            self._pause()

    def _end_unit(self) -> None:
        if self._work.load.has_pauses and not self._meter.is_open:
            self._work.model.synchronize()
        now_s = self._clock()
        if not self._meter.is_open:
            self._part.saw(InferenceOutput(requests=tuple(self._unit)), now_s - self._unit_began_s)
        self._n_units += 1
        self._unit, self._unit_began_s = [], now_s

    def _pause(self) -> None:
        """Break the step of batches and sensor, where that is asked for; the pause is in the window."""
        if self._dither is None or len(self.done) == len(self._work.requests):
            return
        began_s = self._clock()
        self._instruments.sleep(self._dither.next_s())
        self._meter.window.dither_pause_s = (self._meter.window.dither_pause_s or 0.0) + self._clock() - began_s
        self._unit_began_s = self._clock()

    def _look_at_the_part(self) -> None:
        """Open or close the window, if it is time."""
        if self._meter.has_closed or len(self.done) == len(self._work.requests):
            return
        if not self._meter.is_open:
            if self._part.begins() or self._only_one_is_left(len(self.done)):
                self._at_the_edge(self._open)
        elif self._part.ends(self._clock() - self._meter.window.start_s):
            self._at_the_edge(self._cut_off)

    def _only_one_is_left(self, n_done: int) -> bool:
        """Whether only one unit, or one request where there are no pauses, is left to be measured."""
        if self._work.load.has_pauses:
            return self._n_units >= len(self._work.units) - 1
        return n_done >= len(self._work.requests) - 1

    def _open(self) -> None:
        if self._work.load.has_pauses and self._n_units:
            # What was drawn and compiled before the part is not the part's.
            self._work.model.seed(self._plan.seed)
        _log.info("measuring")
        self._n_before, self._n_units_before = len(self.done), self._n_units
        # Before the run the device idles anyway; between its units it is not to.
        self._meter.open(at_once=bool(self._n_units) and self._work.load.has_pauses)
        self._unit_began_s = self._clock()

    def _cut_off(self) -> None:
        """End the window before the run has ended; what is not begun yet is left out."""
        if self._work.load.has_pauses:
            self._work.model.synchronize()
        self._meter.close()
        self._cancelled, self._n_at_close = True, len(self.done)

    def _at_the_edge(self, call: Callable[[], None]) -> None:
        if self._work.load.has_pauses:
            call()
        else:
            self._edges.begin(call)

    def _filled(self, *, is_cut: bool) -> Window:
        window, work = self._meter.window, self._work
        seen = self.done[self._n_before : self._n_at_close]
        window.lead_in_s = window.start_s - self._began_s
        window.units = work.units[self._n_units_before : self._n_units]
        if is_cut:
            began = [output for output in self.done if not never_began(output)]
            seen = [output for output in began if touches(output, window.start_s, window.end_s)]
            window.in_flight = InFlight(
                n_at_start=sum(in_flight_at(output, window.start_s) for output in seen),
                n_at_end=sum(in_flight_at(output, window.end_s) for output in seen),
            )
            indices = {output.index for output in seen}
            requests = [request for request in work.requests if request.index in indices]
            window.units = work.load.units_of(requests, work.n_at_work)
        window.output = InferenceOutput(requests=tuple(seen))
        window.n_failed = sum(output.error is not None for output in seen)
        return window
