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
    before = time.monotonic()
    monitor.begin_window("w", sync_execution=False)
    time.sleep(length_s)
    measured = monitor.end_window("w", sync_execution=False)
    windows.append([before, time.monotonic(), measured.gpu_energy])
print(json.dumps(windows))
"""

CODECARBON = """
import json, time
from codecarbon import OfflineEmissionsTracker
tracker = OfflineEmissionsTracker(country_iso_code="FRA", output_methods=[], log_level="error", force_cpu_power=10)
tracker.start()
before = time.monotonic()
time.sleep(2)
tracker.stop()
after = time.monotonic()
data = tracker.final_emissions_data
print(json.dumps([before, after, data.gpu_energy * 3.6e6, data.gpu_model]))
"""


def test_zeus_is_right_with_an_exact_counter(driver: Driver) -> None:
    pytest.importorskip("zeus")
    waves = [Trace.square(100, 500, period_s=period_s) for period_s in (0.05, 0.0437)]
    scenario = started_ago(1, *(Gpu(power_w=wave, counter=Counter(tick_s=0.001)) for wave in waves))
    scenario.write(driver.path)
    for start_s, end_s, measured_j in driver.run(ZEUS):
        for gpu, wave in enumerate(waves):
            true_j = wave.integral(start_s - scenario.epoch_s, end_s - scenario.epoch_s)
            # One tick of 500 W at each edge is 1 J of about 300; the rest is what the calls themselves take.
            assert measured_j[str(gpu)] == pytest.approx(true_j, rel=0.01)


def test_zeus_inherits_a_counter_that_is_off_by_a_factor(driver: Driver) -> None:
    pytest.importorskip("zeus")
    started_ago(1, constant(300, counter=Counter(tick_s=0.001, gain=0.945))).write(driver.path)
    for start_s, end_s, measured_j in driver.run(ZEUS):
        assert measured_j["0"] == pytest.approx(0.945 * 300 * (end_s - start_s), rel=0.01)


def test_codecarbon_sees_the_gpu(driver: Driver) -> None:
    pytest.importorskip("codecarbon")
    started_ago(1, constant(400, counter=Counter(tick_s=0.001))).write(driver.path)
    start_s, end_s, energy_j, model = driver.run(CODECARBON)
    assert model == "1 x NVIDIA H100 80GB HBM3"
    assert energy_j == pytest.approx(400 * (end_s - start_s), rel=0.1)
