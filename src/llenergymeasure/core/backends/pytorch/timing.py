"""When each token of a batch was there, and whether torch was compiling meanwhile."""

import sys
import time
from typing import Any


class StepClock:
    """Stamps each generation step; handed to ``generate`` as a stopping criterion that never stops.

    A step brings one token, or several when tokens were drafted, so the length is kept beside the time. On a
    CPU it is called when the step's tokens are there. On CUDA it is called when the step was queued, and
    transformers may queue the next one before the device is done; events in the stream give the real times
    without making the host wait. A step that transformers undoes at the end of a batch leaves a stamp too
    many, which no row's own tokens reach.
    """

    def __init__(self, *, on_cuda: bool) -> None:
        self._on_cuda = on_cuda
        self._stamps: list[Any] = []
        self._lengths: list[int] = []
        self._never: Any = None
        self._origin_s = time.monotonic()
        if on_cuda:
            self._origin = self._event()

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - the library's signature
        """Stamp this step; False for every row."""
        self._stamps.append(self._event() if self._on_cuda else time.monotonic())
        self._lengths.append(input_ids.shape[1])
        if self._never is None:
            import torch

            self._never = torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
        return self._never

    def token_times(self, prompt_width: int) -> list[float]:
        """When each token after the padded prompt was there, in seconds of ``time.monotonic``."""
        times: list[float] = []
        for time_s, length in zip(self._times_s(), self._lengths, strict=True):
            times += [time_s] * (length - prompt_width - len(times))
        return times

    def _times_s(self) -> list[float]:
        if not self._on_cuda:
            return list(self._stamps)
        if self._stamps:
            self._stamps[-1].synchronize()
        return [self._origin_s + self._origin.elapsed_time(event) / 1000 for event in self._stamps]

    @staticmethod
    def _event() -> Any:
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


class CompileWatch:
    """Counts the graphs that torch.compile makes."""

    def __init__(self) -> None:
        self._before = self._graphs()

    def restart(self) -> None:
        """Count from now on."""
        self._before = self._graphs()

    def count(self) -> int:
        """Graphs compiled since the start."""
        return self._graphs() - self._before

    @staticmethod
    def _graphs() -> int:
        # Where nothing was compiled the compiler has not been imported, and is not for this.
        dynamo = sys.modules.get("torch._dynamo.utils")
        return 0 if dynamo is None else int(dynamo.counters["stats"]["unique_graphs"])
