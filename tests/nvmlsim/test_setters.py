"""Power limits and locked clocks, set through nvidia-ml-py: every process sees them, and power follows the cap."""

import pytest

import nvmlsim
from nvmlsim import PERFECT, Fault, Gpu, Trace
from tests.nvmlsim.processes import INVALID_ARGUMENT, NO_PERMISSION, NOT_SUPPORTED, Driver, constant, started_ago

SET_LIMIT, LOCK_SM = "nvmlDeviceSetPowerManagementLimit", "nvmlDeviceSetGpuLockedClocks"
SM, MEMORY = 1, 2


def test_power_is_never_above_a_limit_that_was_set(driver: Driver) -> None:
    # 300 W, from 100 s on 150 W: a limit of 250 W from about 50 s on leaves 300, 250, 150.
    gpu = Gpu(power_w=Trace(((0, 300), (100, 150))), sensors=PERFECT)
    client = driver.start(started_ago(50, gpu))
    assert client.value("nvmlDeviceGetCurrentClocksThrottleReasons", 0) == 0
    client.value(SET_LIMIT, 0, 250_000)
    for name in ("PowerManagementLimit", "EnforcedPowerLimit"):
        assert client.value(f"nvmlDeviceGet{name}", 0) == 250_000
    assert client.value("nvmlDeviceGetPowerManagementDefaultLimit", 0) == 700_000
    assert client.value("nvmlDeviceGetCurrentClocksThrottleReasons", 0) == 4
    truth = nvmlsim.read_power_w(driver.path)[0]
    assert [truth.value(t_s) for t_s in (-1, 40, 60, 99, 101)] == [300, 300, 250, 250, 150]
    epoch_s = float(driver.path.read_text().split()[1])
    told_j = client.value("nvmlsim_true_energy_j", 0, epoch_s + 90, epoch_s + 110)
    assert told_j == pytest.approx(10 * 250 + 10 * 150)
    assert truth.integral(90, 110) == pytest.approx(told_j)


def test_what_one_process_has_set_others_see_and_set_back(driver: Driver) -> None:
    first = driver.start(started_ago(10, constant(400, power_limit_w=500), constant(400)))
    first.value(SET_LIMIT, 0, 312_500)
    second = driver.client()
    assert second.value("nvmlDeviceGetPowerManagementLimit", 0) == 312_500
    assert second.value("nvmlDeviceGetPowerManagementLimit", 1) == 700_000
    second.value(SET_LIMIT, 0, 500_000)
    assert first.value("nvmlDeviceGetPowerManagementLimit", 0) == 500_000
    assert first.value("nvmlDeviceGetCurrentClocksThrottleReasons", 0) == 0


def test_clocks_are_locked_and_given_free(driver: Driver) -> None:
    client = driver.start(started_ago(10, constant(100, sm_clock_mhz=Trace.constant(1755))))
    client.value(LOCK_SM, 0, 1200, 1200)
    client.value("nvmlDeviceSetMemoryLockedClocks", 0, 1309, 1309)
    assert [client.value("nvmlDeviceGetClockInfo", 0, kind) for kind in (SM, MEMORY)] == [1200, 1309]
    assert [client.value("nvmlDeviceGetMaxClockInfo", 0, kind) for kind in (SM, MEMORY)] == [1980, 2619]
    client.value("nvmlDeviceResetGpuLockedClocks", 0)
    client.value("nvmlDeviceResetMemoryLockedClocks", 0)
    assert [client.value("nvmlDeviceGetClockInfo", 0, kind) for kind in (SM, MEMORY)] == [1755, 2619]


def test_supported_clocks(driver: Driver) -> None:
    client = driver.start(started_ago(10, constant(100, max_sm_clock_mhz=255)))
    assert client.value("nvmlDeviceGetSupportedMemoryClocks", 0) == [2619, 1310]
    assert client.value("nvmlDeviceGetSupportedGraphicsClocks", 0, 2619) == [255, 240, 225, 210]


def test_what_is_out_of_range_is_refused(driver: Driver) -> None:
    client = driver.start(started_ago(10, constant(100)))
    assert [client.code(SET_LIMIT, 0, mw) for mw in (199_999, 700_001)] == [INVALID_ARGUMENT] * 2
    assert client.code(LOCK_SM, 0, 1995, 1995) == INVALID_ARGUMENT
    assert client.value("nvmlDeviceGetPowerManagementLimit", 0) == 700_000


def test_a_setter_may_be_forbidden_or_missing(driver: Driver) -> None:
    faults = (Fault(symbol=SET_LIMIT, error=NO_PERMISSION), Fault(symbol=LOCK_SM, error=NOT_SUPPORTED))
    client = driver.start(started_ago(10, constant(100), faults=faults))
    assert client.code(SET_LIMIT, 0, 250_000) == NO_PERMISSION
    assert client.code(LOCK_SM, 0, 1200, 1200) == NOT_SUPPORTED
    assert client.value("nvmlDeviceGetPowerManagementLimit", 0) == 700_000


def test_a_cap_cannot_go_with_power_that_repeats(driver: Driver) -> None:
    client = driver.start(started_ago(10, Gpu(power_w=Trace.square(100, 300, period_s=0.1))))
    assert client.code(SET_LIMIT, 0, 250_000) == NOT_SUPPORTED
    assert "power_cap_w" not in driver.path.read_text()
