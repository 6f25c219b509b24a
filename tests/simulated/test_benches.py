"""The benchmarks that need no hardware do run, and see what the simulated cards really do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nvmlsim
from bench.pairs import ALONE, OF_ENGINES, Promise, judged, median_interval, ratios_of
from bench.read_rates import by_read_rate
from bench.simulated_nvml import SimulatedClock, SimulatedNvml
from nvmlsim import Counter, Gpu, Scenario, Trace
from tests.fakes.effort import PATIENCE_S

ROOT = Path(__file__).parents[2]


def _run(script: str, *arguments: str, environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(ROOT / "bench" / script), *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_counter_check_finds_the_tick_and_the_refresh(library: Path, tmp_path: Path) -> None:
    wave = Trace.square(280, 320, period_s=0.37)
    gpu = Gpu(power_w=wave, sensors=nvmlsim.RTX40, counter=Counter(tick_s=0.08), name="NVIDIA GeForce RTX 4090")
    path = tmp_path / "scenario.txt"
    Scenario(gpus=(gpu,)).write(path)
    done = _run(
        "counter_check.py",
        *("--loads", "idle", "--seconds", "1", "--watch-seconds", "2", "--rate-seconds", "0.6"),
        environment=nvmlsim.environment(library, path),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    (seen,) = found["readings"].values()
    assert seen["counter_changes_every_s"] == pytest.approx(0.08, abs=0.01)
    assert seen["power_changes_every_s"] == pytest.approx(0.1, abs=0.02)
    (row,) = found["rows"]
    assert row["source"] == "counter"
    assert row["tick_s"] == pytest.approx(0.08, abs=0.01)
    assert abs(row["energy_j"] - 300 * row["duration_s"]) < 10
    assert row["integral_j"] == pytest.approx(row["energy_j"], rel=0.1)
    (rates,) = (value for name, value in found["read_rates"].items() if name != "load")
    assert [rate["read_every_ms"] for rate in rates["rates"]] == [1, 10, 100, 1000]
    # Two windows of 0.6 s, a tick of 0.08 s at both ends of each.
    assert [rate["energy_j"] for rate in rates["rates"]] == pytest.approx([360.0] * 4, abs=4 * 0.08 * 320 + 10)
    assert rates["apart"] == []
    assert rates["as_the_package_reads"]["mean_power_w"] == pytest.approx(300.0, rel=0.05)


def _counter_at_300_w(clock: SimulatedClock, loses_when_read_within_s: float = 0.0) -> Callable[[], float]:
    """A counter that loses what came since the last read where that was so short a time ago."""
    state = {"read_s": clock(), "joules": 0.0}

    def read_j() -> float:
        since_s = clock() - state["read_s"]
        state["read_s"] = clock()
        if since_s >= loses_when_read_within_s:
            state["joules"] += 300.0 * since_s
        return state["joules"]

    return read_j


def test_a_counter_that_does_not_mind_being_read_has_the_same_energy_at_every_rate() -> None:
    clock = SimulatedClock()
    nvml = SimulatedNvml(Scenario(gpus=(Gpu(power_w=Trace.constant(300.0), counter=Counter(tick_s=0.1)),)), clock)
    handle = nvml.nvmlDeviceGetHandleByIndex(0)

    def read_j() -> float:
        return nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000

    found = by_read_rate(read_j, 0.1, seconds=20.0, clock=clock, sleep=clock.sleep)
    assert [rate["read_every_ms"] for rate in found["rates"]] == [1, 10, 100, 1000]
    assert [rate["mean_power_w"] for rate in found["rates"]] == pytest.approx([300.0] * 4, rel=0.01)
    # 4 ticks of 0.1 s in 40 s.
    assert [rate["edges_pct"] for rate in found["rates"]] == pytest.approx([1.0] * 4, rel=0.01)
    assert found["apart"] == []
    assert [window["read_every_ms"] for window in found["windows"]] == [1, 10, 100, 1000, 1000, 100, 10, 1]


def test_a_counter_that_loses_what_is_read_too_often_is_found_out() -> None:
    clock = SimulatedClock()
    found = by_read_rate(_counter_at_300_w(clock, 0.05), 0.1, seconds=20.0, clock=clock, sleep=clock.sleep)
    assert found["apart"] == [1, 10]
    assert [rate["mean_power_w"] for rate in found["rates"]] == pytest.approx([0.0, 0.0, 300.0, 300.0], abs=0.1)


def test_a_counter_that_does_not_answer_has_no_energy_at_any_rate() -> None:
    clock = SimulatedClock()
    found = by_read_rate(lambda: None, None, seconds=2.0, clock=clock, sleep=clock.sleep)
    assert {(rate["energy_j"], rate["mean_power_w"], rate["apart_pct"]) for rate in found["rates"]} == {
        (None, None, None)
    }
    assert found["apart"] == []


def test_the_accuracy_bench_keeps_its_promises_on_the_injected_clock() -> None:
    done = _run("accuracy.py", "--quick", "--no-realtime")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "share inside the package's own bound" in done.stdout


def test_pairs_are_judged_by_their_median_and_the_interval_of_it() -> None:
    # Of 30 values the 10th from either end: P(Binomial(30, 1/2) < 10) = 0.0214.
    values = [0.9 + 0.01 * i for i in range(30)]
    found = judged(values)
    assert found["median_ratio"] == pytest.approx(0.9 + 0.01 * 14.5)
    assert found["median_ratio_95_interval"] == [pytest.approx(0.99), pytest.approx(1.1)]
    assert found["kept"]
    assert not judged(values[:29])["kept"]
    assert not judged([v - 0.02 for v in values])["kept"]
    assert judged([v - 0.02 for v in values], ALONE)["kept"]
    assert median_interval(values[:5]) is None


def test_engines_promise_the_lower_end_of_ten_pairs() -> None:
    # Of ten values the second from either end: P(Binomial(10, 1/2) < 2) = 0.0107.
    values = [0.5, 0.97, *[0.98] * 7, 5.0]
    found = judged(values, OF_ENGINES)
    assert found["median_ratio_95_interval"] == [0.97, 0.98]
    assert found["kept"]
    assert found["promise"] == "10 pairs or more, and 0.97 the lower end of the median's 95 % interval"
    assert not judged(values[1:], OF_ENGINES)["kept"]
    assert not judged([0.5, 0.9699, *values[2:]], OF_ENGINES)["kept"]
    assert Promise().in_words() == (
        "30 pairs or more, median at least 0.99, and 0.98 the lower end of the median's 95 % interval"
    )


def test_the_sides_of_a_pair_take_turns_in_going_first() -> None:
    order: list[str] = []

    def side(name: str, rate: float) -> Callable[[], float]:
        def run() -> float:
            order.append(name)
            return rate

        return run

    assert ratios_of(side("ours", 3.0), side("theirs", 2.0), 3) == [1.5, 1.5, 1.5]
    assert order == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]


def test_scale_reads_what_it_made_and_says_what_it_cost() -> None:
    done = _run("scale.py", "--sizes", "12", "24", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # The script itself refuses another number of results, and a table without a column for what differs.
    assert [row["n"] for row in found["sizes"]] == [12, 24]
    assert set(found["time_per_result_large_to_small"]) == {"json", "rows", "table", "whole"}
    assert all(row["table_to_json"] > 0 for row in found["sizes"])
    assert all(row["peak_mb"]["table"] > 10 for row in found["sizes"])
