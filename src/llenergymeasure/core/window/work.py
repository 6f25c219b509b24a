"""What a loaded model is given to do: requests, how they arrive, and the units in which that is looked at."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Integral

from llenergymeasure.core.backends.base import LoadedModelBase
from llenergymeasure.core.load.traffic import Traffic
from llenergymeasure.core.window.told import Told
from llenergymeasure.domain.inference import InferenceOutput, Request
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import ExperimentError, LLEMError, contained, in_one_line


@dataclass(frozen=True, kw_only=True)
class Work:
    """A model with the requests it is to run.

    ``traffic`` is what comes in the measured run, where that is asked for; None is the requests under ``load``, which
    else only warm up. ``units`` are the requests by what is at work at the same time under ``load``: batches, or as
    many as run beside each other. ``n_at_work`` is how many the engine says that it works on at a time.
    """

    model: LoadedModelBase
    load: Load
    units: tuple[tuple[Request, ...], ...]
    n_at_work: int | None = None
    traffic: Traffic | None = None

    @classmethod
    def of(
        cls,
        model: LoadedModelBase,
        load: Load,
        requests: Sequence[Request],
        traffic: Callable[[Sequence[Request], int | None], Traffic] | None = None,
    ) -> "Work":
        """The work of running [n] requests under a load.

        Args:
            model: runs them.
            load: how they arrive, where nothing else is asked for.
            requests: one for each prompt.
            traffic: makes what comes of them and of the engine's capacity, where it is asked for.

        Raises:
            ExperimentError: the engine's capacity is no number of requests.
        """
        with inference():
            capacity = model.capacity()
        if capacity is not None and (not isinstance(capacity, Integral) or isinstance(capacity, bool) or capacity < 1):
            raise ExperimentError(
                f"the engine says that it works on {capacity!r} requests at a time; that has to be 1 or more, or None "
                "where it does not know"
            )
        n_at_work = None if capacity is None else int(capacity)
        comes = None if traffic is None else traffic(requests, n_at_work)
        load = load if comes is None else comes.for_warm_up()
        units = tuple(load.units_of(requests, n_at_work))
        return cls(model=model, load=load, units=units, n_at_work=n_at_work, traffic=comes)

    @property
    def requests(self) -> tuple[Request, ...]:
        """All requests, in their order."""
        return tuple(itertools.chain.from_iterable(self.units))

    def expected_s(self, unit_s: float) -> float:
        """About how long all of it takes, where a unit takes ``unit_s``."""
        if self.traffic is not None:
            return self.traffic.expected_s(unit_s)
        return max(self.load.due_s) + unit_s if self.load.due_s else len(self.units) * unit_s

    def only(self, units: Iterable[Sequence[Request]]) -> "Work":
        """The same with other units."""
        return replace(self, units=tuple(map(tuple, units)))

    def run(self) -> InferenceOutput:
        """Run everything to its end and wait for the device.

        Raises:
            ExperimentError: a request failed.
        """
        told = Told(self.requests, self.load.cancelled)
        self.model.run(self.requests, self.load, told.note)
        self.model.synchronize()
        told.check()
        failed = next((output for output in told.outputs if output.error is not None), None)
        if failed is not None:
            raise ExperimentError(f"request {failed.index} failed: {failed.error}")
        return InferenceOutput(requests=tuple(told.outputs))


def unit_runner(work: Work, clock: Callable[[], float] = time.monotonic) -> Callable[[], float]:
    """A function that runs the next unit by itself and returns its latency in milliseconds.

    Units have the shape of what is measured, so that what is compiled and cached here is what the measurement will
    use. One in which a request fails raises.
    """
    turn = itertools.cycle(work.units)
    alone = replace(work, load=work.load.of_one_unit())

    def run_single_inference() -> float:
        start_s = clock()
        alone.only([next(turn)]).run()
        return (clock() - start_s) * 1000

    return run_single_inference


@contextmanager
def inference() -> Iterator[None]:
    """What goes wrong in it ends the experiment.

    Raises:
        ExperimentError: an engine raised whatever its libraries raise.
    """
    try:
        with contained():
            yield
    except LLEMError:
        raise
    except Exception as error:
        raise ExperimentError(f"inference failed: {in_one_line(error)}") from error
