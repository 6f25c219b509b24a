"""Warm-up in fixed and in convergence mode."""

import io
import itertools
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from pydantic import ValidationError

from llenergymeasure.config.models import WarmupConfig
from llenergymeasure.core.progress import Progress
from llenergymeasure.core.warmup import create_warmup_inference_fn, warmup_until_converged, warmup_warning
from llenergymeasure.core.window.work import Work, unit_runner
from llenergymeasure.domain.inference import Request
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.metrics import WarmupResult
from llenergymeasure.exceptions import BackendError
from llenergymeasure.testing import FakeClock, FakeModel


def _returning(latencies: Iterable[float | Exception]) -> Callable[[], float]:
    turn = iter(latencies)

    def run() -> float:
        value = next(turn)
        if isinstance(value, Exception):
            raise value
        return value

    return run


def _warm(config: WarmupConfig, latencies: Iterable[float | Exception]) -> WarmupResult:
    return warmup_until_converged(_returning(latencies), config, show_progress=False)


def test_disabled_is_converged_at_once_and_runs_nothing() -> None:
    result = _warm(WarmupConfig(enabled=False), [])
    assert (result.converged, result.iterations_completed, result.latencies_ms) == (True, 0, ())


def test_fixed_mode_runs_its_count_whatever_the_latencies() -> None:
    result = _warm(WarmupConfig(n_warmup=3), [900.0, 10.0, 400.0, 1.0])
    assert (result.converged, result.iterations_completed) == (True, 3)
    assert result.latencies_ms == (900.0, 10.0, 400.0)


def test_convergence_looks_at_the_last_window_only() -> None:
    config = WarmupConfig(n_warmup=2, min_prompts=2, window_size=2, cv_threshold=0.05)
    result = _warm(config, [100.0, 50.0, 100.0, 100.0, 7.0])
    assert (result.converged, result.iterations_completed, result.final_cv) == (True, 4, 0.0)
    assert (result.target_cv, result.max_prompts) == (0.05, 20)


def test_the_coefficient_of_variation_is_the_population_deviation_over_the_mean() -> None:
    # 90 and 110: each 10 from the mean of 100
    config = WarmupConfig(n_warmup=2, min_prompts=2, window_size=2, cv_threshold=0.15)
    assert _warm(config, [90.0, 110.0]).final_cv == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("n_warmup", "min_prompts", "window_size", "cap", "expected"),
    [(7, 2, 2, 20, 7), (1, 8, 2, 20, 8), (1, 2, 9, 20, 9), (7, 2, 2, 4, 4), (5, 5, 5, 5, 5)],
)
def test_steady_latencies_still_take_the_least_number_or_the_cap(
    n_warmup: int, min_prompts: int, window_size: int, cap: int, expected: int
) -> None:
    config = WarmupConfig(n_warmup=n_warmup, min_prompts=min_prompts, window_size=window_size, max_warmup_prompts=cap)
    result = _warm(config, itertools.repeat(100.0))
    assert (result.converged, result.iterations_completed) == (True, expected)


def test_latencies_that_never_settle_end_at_the_cap_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    # 100 and 200: each 50 from the mean of 150
    config = WarmupConfig(window_size=2, max_warmup_prompts=9)
    result = _warm(config, itertools.cycle([100.0, 200.0]))
    assert (result.converged, result.iterations_completed, result.max_prompts) == (False, 9, 9)
    assert result.final_cv == pytest.approx(1 / 3)
    assert "CV 0.333, target 0.05" in caplog.text


def test_a_cap_under_the_window_is_refused_where_convergence_is_looked_for() -> None:
    with pytest.raises(ValidationError, match=r"max_warmup_prompts: 3 ends warm-up before there are window_size: 5"):
        WarmupConfig(window_size=5, max_warmup_prompts=3)
    assert WarmupConfig(window_size=5, max_warmup_prompts=3, convergence_detection=False).max_warmup_prompts == 3


def test_runs_that_fail_do_not_count_towards_the_least_number() -> None:
    config = WarmupConfig(n_warmup=1, min_prompts=4, window_size=2, max_warmup_prompts=9)
    result = _warm(config, [100.0, RuntimeError("once"), 100.0, 100.0, RuntimeError("twice"), 100.0, 100.0])
    assert (result.converged, result.iterations_completed, result.n_failed) == (True, 4, 2)


@pytest.mark.parametrize(
    "error",
    [
        BackendError("x"),
        RuntimeError("x"),
        ValueError("x"),
        OSError("x"),
        IndexError("x"),
        KeyError("x"),
        AssertionError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_prompt_that_fails_is_logged_and_skipped(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    result = _warm(WarmupConfig(n_warmup=3), [10.0, error, 30.0])
    assert (result.converged, result.iterations_completed, result.n_failed) == (True, 2, 1)
    assert result.latencies_ms == (10.0, 30.0)
    assert "warm-up prompt 2 failed" in caplog.text


def test_an_interruption_is_no_failed_prompt() -> None:
    def interrupted() -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        warmup_until_converged(interrupted, WarmupConfig(), show_progress=False)


def test_failed_prompts_are_no_latencies_of_the_window() -> None:
    config = WarmupConfig(n_warmup=1, min_prompts=1, window_size=2, max_warmup_prompts=10)
    result = _warm(config, [100.0, RuntimeError("x"), 100.0, 100.0])
    assert (result.converged, result.iterations_completed, result.n_failed) == (True, 2, 1)


def test_a_warm_up_of_which_nothing_succeeded_has_not_converged() -> None:
    result = _warm(WarmupConfig(n_warmup=2), [RuntimeError("x"), RuntimeError("x")])
    assert (result.converged, result.iterations_completed, result.n_failed, result.final_cv) == (False, 0, 2, None)
    assert str(warmup_warning(result)).startswith("warmup_failed: none of 2")


@pytest.mark.parametrize("show", [True, False])
def test_progress_goes_to_a_terminal_when_it_is_wanted(show: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    warmup_until_converged(_returning([1.0, 1.0]), WarmupConfig(n_warmup=2), show_progress=show)
    assert ("warming up" in terminal.getvalue()) == show


def test_each_run_is_told_with_its_variation_against_the_target() -> None:
    class Heard(Progress):
        def __init__(self) -> None:
            self.said: list[object] = []

        def begin(self, phase: str, *, n: int | None = None, unit: str = "", for_s: float | None = None) -> None:
            self.said.append((phase, n, unit))

        def done(self, n: int = 1, n_tokens: int = 0) -> None:
            self.said.append(n)

        def note(self, text: str) -> None:
            self.said.append(text)

        def end(self) -> None:
            self.said.append("end")

    heard = Heard()
    config = WarmupConfig(
        n_warmup=1, convergence_detection=True, window_size=3, min_prompts=3, max_warmup_prompts=9, cv_threshold=0.05
    )
    warmup_until_converged(_returning([100.0, 100.0, 100.0]), config, progress=heard)
    assert heard.said == [("warming up", 9, "runs at most"), 1, 1, "CV 0.000, target 0.05", 1, "end"]


def test_a_run_takes_the_next_unit_and_lasts_until_the_device_is_done(clock: FakeClock) -> None:
    class SlowToFinish(FakeModel):
        def synchronize(self) -> None:
            clock.time_s += 0.5
            super().synchronize()

    model = SlowToFinish(clock, batch_s=0.25)
    requests = [Request(index=i, token_ids=(1,), max_output_tokens=4) for i in range(2)]
    run = unit_runner(Work.of(model, Load.in_batches(1), requests), clock)
    assert [run() for _ in range(3)] == [750.0, 750.0, 750.0]
    assert model.log == ["generate", "synchronize"] * 3


def test_a_model_from_outside_is_warmed_up_with_a_text_until_its_tokens_can_be_read() -> None:
    log: list[Any] = []

    class Inputs(dict[str, int]):
        def to(self, device: str) -> "Inputs":
            log.append(device)
            return self

    class Model:
        device = "cpu"

        def generate(self, input_ids: int, max_new_tokens: int) -> "Model":
            log.append((input_ids, max_new_tokens))
            return self

        def tolist(self) -> None:
            log.append("read")

    def tokenizer(text: str, return_tensors: str) -> Inputs:
        log.append((text, return_tensors))
        return Inputs(input_ids=7)

    run = create_warmup_inference_fn(Model(), tokenizer, "hello", max_new_tokens=5)
    assert run() >= 0.0
    assert log == [("hello", "pt"), "cpu", (7, 5), "read"]
