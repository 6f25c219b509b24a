"""Whether joules per token have become steady while a load goes on; what is reported is worked out afterwards."""

import bisect
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.telemetry import PowerThermalSample

# Parts of the window that are held against each other.
N_PARTS = 10
# In each part there are to be so many readings of every GPU.
_LEAST_READINGS = 5
# Tokens are counted by bins of this length, of which a part has a whole number.
_BIN_S = 0.25


class Steadiness:
    """Counts tokens of requests as they end, so that a look costs little however long the load goes on."""

    def __init__(self, start_s: float) -> None:
        """Begin, at the beginning of the window, in monotonic seconds."""
        self._start_s = start_s
        self._tokens: defaultdict[int, float] = defaultdict(float)
        self._longest_s = 0.0

    def add(self, outputs: Iterable[RequestOutput]) -> None:
        """Count requests that have ended."""
        for output in outputs:
            if not output.succeeded or output.end_s is None or output.end_s <= self._start_s:
                continue
            times_s = output.token_times_s or output.chunk_times_s or (output.end_s,)
            self._longest_s = max(self._longest_s, output.end_s - (output.sent_s or times_s[0]))
            each = output.output_tokens / len(times_s)
            for time_s in times_s:
                self._tokens[int((time_s - self._start_s) // _BIN_S)] += each

    def cv(self, samples: Sequence[PowerThermalSample], now_s: float) -> float | None:
        """The coefficient of variation of joules per output token over equal parts of what is known of the window.

        Tokens are known of requests that have ended: the last part ends before any that is still in flight can have
        begun, as far as those that have ended show how long requests take.

        Args:
            samples: power of the GPUs from before the window on, in the order of their times.
            now_s: now, in monotonic seconds.

        Returns:
            Standard deviation of a sample over mean; None where too little is known: no power, a part without a token.
        """
        n_bins = int((now_s - self._longest_s - self._start_s) // _BIN_S) // N_PARTS
        if n_bins < 1:
            return None
        part_s = n_bins * _BIN_S
        times_s = [sample.timestamp for sample in samples]
        values: list[float] = []
        for part in range(N_PARTS):
            from_s = self._start_s + part * part_s
            power_w = _mean_power_w(
                samples[bisect.bisect_right(times_s, from_s) : bisect.bisect_right(times_s, from_s + part_s)]
            )
            n_tokens = sum(self._tokens.get(each, 0.0) for each in range(part * n_bins, (part + 1) * n_bins))
            if power_w is None or n_tokens <= 0:
                return None
            values.append(power_w * part_s / n_tokens)
        mean = statistics.fmean(values)
        return statistics.stdev(values) / mean if mean > 0 else None


def _mean_power_w(samples: Sequence[PowerThermalSample]) -> float | None:
    """Mean power of all GPUs together; None where one of them was read too seldom, or there is none."""
    of_gpus: dict[int | None, list[float]] = {}
    for sample in samples:
        if sample.power_w is not None:
            of_gpus.setdefault(sample.gpu_index, []).append(sample.power_w)
    if not of_gpus or min(map(len, of_gpus.values())) < _LEAST_READINGS:
        return None
    return sum(map(statistics.fmean, of_gpus.values()))
