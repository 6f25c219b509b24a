"""Whether joules per token have become steady while a load goes on; what is reported is worked out afterwards."""

import statistics
from collections.abc import Sequence

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.window import counts_between

# Parts of the window that are held against each other.
N_PARTS = 10
# In each part there are to be so many readings of every GPU.
_LEAST_READINGS = 5


def cv_of_j_per_token(
    samples: Sequence[PowerThermalSample], done: Sequence[RequestOutput], start_s: float, now_s: float
) -> float | None:
    """The coefficient of variation of joules per output token over equal parts of what is known of a window.

    Tokens are known of requests that have ended: the last part ends before any that is still in flight can have begun,
    as far as those that have ended show how long requests take.

    Args:
        samples: power of the GPUs, from before the window on.
        done: the requests that have ended.
        start_s: when the window began, in monotonic seconds.
        now_s: now.

    Returns:
        Standard deviation over mean; None where too little is known: no power, or a part without a token.
    """
    took_s = [o.end_s - o.sent_s for o in done if o.end_s is not None and o.sent_s is not None]
    known_s = now_s - max(took_s, default=0.0) - start_s
    if known_s <= 0:
        return None
    part_s = known_s / N_PARTS
    values: list[float] = []
    for i in range(N_PARTS):
        from_s, to_s = start_s + i * part_s, start_s + (i + 1) * part_s
        n_tokens = counts_between(done, from_s, to_s).output_tokens
        power_w = _mean_power_w([s for s in samples if from_s < s.timestamp <= to_s])
        if power_w is None or n_tokens == 0:
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
