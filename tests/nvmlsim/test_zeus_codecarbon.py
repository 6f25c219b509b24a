"""Zeus and CodeCarbon on simulated GPUs."""

import pytest

from nvmlsim import Counter, Gpu, Trace
from tests.nvmlsim.processes import Driver, constant, started_ago

ZEUS = """
import json, time
from zeus.monitor import ZeusMonitor
monitor = ZeusMonitor()
windows = []
for length_s in (1.0, 1.37):
    stamps = [time.monotonic()]
    monitor.begin_window("w", sync_execution=False)
    stamps.append(time.monotonic())
    time.sleep(length_s)
    stamps.append(time.monotonic())
    measured = monitor.end_window("w", sync_execution=False)
    stamps.append(time.monotonic())
    windows.append([stamps, measured.gpu_energy])
print(json.dumps(windows))
"""

CODECARBON = """
import json, time
from codecarbon import OfflineEmissionsTracker
tracker = OfflineEmissionsTracker(country_iso_code="FRA", output_methods=[], log_level="error", force_cpu_power=10)
stamps = [time.monotonic()]
tracker.start()
stamps.append(time.monotonic())
time.sleep(2)
stamps.append(time.monotonic())
tracker.stop()
stamps.append(time.monotonic())
data = tracker.final_emissions_data
print(json.dumps([stamps, data.gpu_energy * 3.6e6, data.gpu_model]))
"""

TICK_S = 0.001


def bounds_j(power_w: Trace, epoch_s: float, stamps: list[float]) -> tuple[float, float]:
    """What an exact instrument may say that starts between stamps 0 and 1 and ends between 2 and 3.

    It may be one tick of at most 500 W behind at either end.
    """
    outer_start_s, inner_start_s, inner_end_s, outer_end_s = (stamp - epoch_s for stamp in stamps)
    tick_j = 500 * TICK_S
    least_j = power_w.integral(inner_start_s, inner_end_s) - tick_j
    return least_j, power_w.integral(outer_start_s, outer_end_s) + tick_j


def test_zeus_is_right_with_an_exact_counter(driver: Driver) -> None:
    pytest.importorskip("zeus")
    waves = [Trace.square(100, 500, period_s=period_s) for period_s in (0.05, 0.0437)]
    scenario = started_ago(1, *(Gpu(power_w=wave, counter=Counter(tick_s=TICK_S)) for wave in waves))
    scenario.write(driver.path)
    for stamps, measured_j in driver.run(ZEUS):
        for gpu, wave in enumerate(waves):
            least_j, most_j = bounds_j(wave, scenario.epoch_s, stamps)
            assert least_j <= measured_j[str(gpu)] <= most_j


def test_zeus_inherits_a_counter_that_is_off_by_a_factor(driver: Driver) -> None:
    pytest.importorskip("zeus")
    scenario = started_ago(1, constant(300, counter=Counter(tick_s=TICK_S, gain=0.945)))
    scenario.write(driver.path)
    for stamps, measured_j in driver.run(ZEUS):
        least_j, most_j = bounds_j(Trace.constant(0.945 * 300), scenario.epoch_s, stamps)
        assert least_j <= measured_j["0"] <= most_j


def test_codecarbon_sees_the_gpu(driver: Driver) -> None:
    pytest.importorskip("codecarbon")
    gpu = constant(400, counter=Counter(tick_s=TICK_S))
    scenario = started_ago(1, gpu)
    scenario.write(driver.path)
    stamps, energy_j, model = driver.run(CODECARBON)
    assert model == "1 x NVIDIA H100 80GB HBM3"
    least_j, most_j = bounds_j(gpu.power_w, scenario.epoch_s, stamps)
    assert least_j <= energy_j <= most_j
