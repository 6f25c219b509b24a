"""Inference before the measurement, until the engine runs steadily."""

import logging
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from llenergymeasure.config.models import WarmupConfig
from llenergymeasure.core.progress import Progress
from llenergymeasure.core.progress.shown import ShownProgress, shown_as
from llenergymeasure.domain.metrics import WarmupResult
from llenergymeasure.domain.plan import Shown
from llenergymeasure.domain.warnings import MeasurementWarning, on_its_side
from llenergymeasure.exceptions import contained

_log = logging.getLogger(__name__)


def create_warmup_inference_fn(
    model: Any, tokenizer: Any, prompt: str, max_new_tokens: int = 32
) -> Callable[[], float]:
    """A function that generates once from a prompt and returns the latency in milliseconds.

    For models outside of this package's engines; a session warms up with units of the measured load.

    Args:
        model: a transformers model that generates.
        tokenizer: its tokenizer.
        prompt: the text to go on from.
        max_new_tokens: most tokens of an answer.
    """
    inputs = tokenizer(prompt, return_tensors="pt").to(model.device)

    def run_single_inference() -> float:
        start_s = time.monotonic()
        answer = model.generate(**inputs, max_new_tokens=max_new_tokens)
        answer.tolist()  # reading the tokens waits for whatever device they are on
        return (time.monotonic() - start_s) * 1000

    return run_single_inference


def warmup_until_converged(
    run_single_inference: Callable[[], float],
    config: WarmupConfig,
    *,
    show_progress: bool = True,
    progress: Progress | None = None,
) -> WarmupResult:
    """Warm up for a fixed count, or until latencies are steady.

    Args:
        run_single_inference: runs once and returns milliseconds; an exception skips that run.
        config: counts and thresholds.
        show_progress: show the coefficient of variation against its target on stderr.
        progress: is told of it instead; None is one of its own.

    Returns:
        What happened; ``converged`` is False when latencies never became steady, or no run succeeded.
    """
    if not config.enabled:
        return _result(config, [], 0, converged=True)
    least, most = _limits(config)
    latencies: list[float] = []
    converged = not config.convergence_detection
    done = 0
    shown_here = ShownProgress(Shown(kind=shown_as(sys.stderr))) if show_progress and progress is None else None
    told = progress or shown_here or Progress()
    with (
        shown_here or nullcontext(),
        told.phase("warming up", n=most, unit="runs at most" if least < most else "runs") as shown,
    ):
        while done < most:
            done += 1
            try:
                with contained():
                    latencies.append(run_single_inference())
            except Exception as error:  # noqa: BLE001 - engines raise whatever their libraries raise
                _log.warning("warm-up prompt %d failed and is skipped: %s", done, error)
            cv = cv_of_last(latencies, config.window_size)
            if cv is not None and config.convergence_detection:
                shown.note(f"CV {cv:.3f}, target {config.cv_threshold:g}")
            shown.done()
            if config.convergence_detection and len(latencies) >= least and cv is not None and cv < config.cv_threshold:
                converged = True
                break
    result = _result(config, latencies, done - len(latencies), converged=converged and bool(latencies))
    warning = warmup_warning(result)
    if warning is not None:
        _log.warning("%s", warning)
    return result


def warmup_warning(result: WarmupResult) -> MeasurementWarning | None:
    """What a reader has to know about a warm-up that did not do its work; None if it did."""
    if result.converged:
        return None
    if not result.iterations_completed:
        return MeasurementWarning(
            "warmup_failed", f"none of {result.n_failed} warm-up runs succeeded", "measured cold, see the log"
        )
    cv = "unknown" if result.final_cv is None else on_its_side(result.final_cv, result.target_cv, 3)
    return MeasurementWarning(
        "warmup_not_converged",
        f"latencies still varied after {result.iterations_completed} runs (CV {cv}, target {result.target_cv:g})",
        "raise warmup.max_warmup_prompts or warmup.cv_threshold",
    )


def _limits(config: WarmupConfig) -> tuple[int, int]:
    if not config.convergence_detection:
        return config.n_warmup, config.n_warmup
    most = config.max_warmup_prompts
    return min(max(config.n_warmup, config.min_prompts, config.window_size), most), most


def cv_of_last(values: Sequence[float], window_size: int) -> float | None:
    """Population standard deviation over mean of the last ``window_size`` of [n] values; None if there are fewer."""
    if len(values) < window_size:
        return None
    window = values[-window_size:]
    mean = statistics.fmean(window)
    return statistics.pstdev(window) / mean if mean > 0 else None


def _result(config: WarmupConfig, latencies: Sequence[float], n_failed: int, *, converged: bool) -> WarmupResult:
    return WarmupResult(
        converged=converged,
        final_cv=cv_of_last(latencies, config.window_size),
        iterations_completed=len(latencies),
        n_failed=n_failed,
        target_cv=config.cv_threshold,
        max_prompts=_limits(config)[1],
        latencies_ms=tuple(latencies),
    )
