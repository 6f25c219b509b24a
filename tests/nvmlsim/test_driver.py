"""The functions of the driver, called through nvidia-ml-py."""

import time
from dataclasses import replace
from typing import Any

import nvmlsim
from nvmlsim import PERFECT, Counter, Gpu, Process, Scenario, Sensor, Sensors, Trace
from tests.nvmlsim.processes import (
    AVERAGE,
    ENERGY,
    INSTANT,
    INVALID_ARGUMENT,
    NOT_FOUND,
    NOT_SUPPORTED,
    UNINITIALIZED,
    Driver,
    constant,
    started_ago,
)


def test_what_a_card_is(driver: Driver) -> None:
    first = constant(
        100,
        name="NVIDIA A100-SXM4-40GB",
        uuid="GPU-11111111-2222-3333-4444-555555555555",
        architecture="ampere",
        compute_capability=(8, 0),
        power_limit_w=350,
        power_limit_default_w=400,
        power_limit_min_w=100,
        power_limit_max_w=410,
        persistence=False,
        mig=True,
        compute_mode=3,
    )
    second = constant(100, mig=None, c2c=True)
    scenario = started_ago(1, first, second)
    client = driver.start(scenario)
    own_uuid = "GPU-00000000-0000-4000-8000-000000000001"
    expected: dict[str, tuple[Any, Any]] = {
        "Index": (0, 1),
        "MinorNumber": (0, 1),
        "Name": ("NVIDIA A100-SXM4-40GB", "NVIDIA H100 80GB HBM3"),
        "UUID": (first.uuid, own_uuid),
        "Architecture": (7, 9),  # NVML_DEVICE_ARCH_AMPERE, _HOPPER
        "CudaComputeCapability": ([8, 0], [9, 0]),
        "EnforcedPowerLimit": (350_000, 700_000),
        "PowerManagementLimit": (350_000, 700_000),
        "PowerManagementDefaultLimit": (400_000, 700_000),
        "PowerManagementLimitConstraints": ([100_000, 410_000], [200_000, 700_000]),
        "PersistenceMode": (0, 1),
        "ComputeMode": (3, 0),
    }
    found = {name: tuple(client.value(f"nvmlDeviceGet{name}", gpu) for gpu in (0, 1)) for name in expected}
    assert found == expected
    assert [scenario.uuid(0), scenario.uuid(1)] == [first.uuid, own_uuid]
    assert client.call("nvmlDeviceGetMigMode", 0) == (0, [1, 1])
    assert client.code("nvmlDeviceGetMigMode", 1) == NOT_SUPPORTED
    assert client.code("nvmlDeviceGetC2cModeInfoV", 0) == NOT_SUPPORTED
    assert client.value("nvmlDeviceGetC2cModeInfoV", 1) == {"isC2cEnabled": 1}
    pci = client.value("nvmlDeviceGetPciInfo", 1)
    assert (pci["busId"], pci["busIdLegacy"], pci["bus"]) == ("00000000:02:00.0", "0000:02:00.0", 2)


def test_memory(driver: Driver) -> None:
    client = driver.start(started_ago(1, constant(1, memory_total_mb=42_000, memory_used_mb=Trace.constant(1_500))))
    expected = {"total": 42_000_000_000, "free": 40_500_000_000, "used": 1_500_000_000}
    assert client.value("nvmlDeviceGetMemoryInfo", 0) == expected
    version = 0x02000028
    assert client.value("nvmlDeviceGetMemoryInfo", 0, version) == {**expected, "reserved": 0, "version": version}
    mismatch = 25
    assert client.code("nvmlDeviceGetMemoryInfo", 0, 0x03000028) == mismatch


def test_versions(driver: Driver) -> None:
    client = driver.start(started_ago(1, constant(1), driver="535.104.05", cuda=12020))
    assert client.value("nvmlSystemGetDriverVersion") == "535.104.05"
    assert client.value("nvmlSystemGetNVMLVersion") == "12.535.104.05"
    assert client.value("nvmlSystemGetCudaDriverVersion") == client.value("nvmlSystemGetCudaDriverVersion_v2") == 12020


def test_what_changes_in_time(driver: Driver) -> None:
    gpu = Gpu(
        power_w=Trace.constant(100),
        temperature_c=Trace(((0, 40), (50, 71))),
        sm_clock_mhz=Trace(((0, 300), (50, 1755))),
        memory_clock_mhz=Trace(((0, 1215), (150, 9))),
        throttle_bits=Trace(((0, 1), (50, 4))),
        gpu_utilisation_pct=Trace.constant(97),
        memory_utilisation_pct=Trace.constant(41),
    )
    scenario = started_ago(10, gpu)
    client = driver.start(scenario)

    def state() -> list[Any]:
        return [
            client.value("nvmlDeviceGetTemperature", 0, 0),
            client.value("nvmlDeviceGetTemperatureV", 0, 0),
            *(client.value("nvmlDeviceGetClockInfo", 0, kind) for kind in (0, 1, 2)),
            client.value("nvmlDeviceGetCurrentClocksThrottleReasons", 0),
            client.value("nvmlDeviceGetCurrentClocksEventReasons", 0),
        ]

    assert state() == [40, 40, 300, 300, 1215, 1, 1]
    replace(scenario, epoch_s=scenario.epoch_s - 90).write(driver.path)  # it is 90 s later
    assert state() == [71, 71, 1755, 1755, 1215, 4, 4]
    assert client.value("nvmlDeviceGetUtilizationRates", 0) == {"gpu": 97, "memory": 41}
    assert [client.value("nvmlDeviceGetMaxClockInfo", 0, kind) for kind in (0, 1, 2)] == [1980, 1980, 2619]
    assert client.code("nvmlDeviceGetClockInfo", 0, 3) == NOT_SUPPORTED
    assert client.code("nvmlDeviceGetTemperature", 0, 1) == INVALID_ARGUMENT


def test_running_processes(driver: Driver) -> None:
    processes = (
        Process(pid=11, memory_mb=500),
        Process(pid=12),
        Process(pid=13, kind="graphics", memory_mb=1),
        Process(pid=14, until_s=5),
        Process(pid=15, from_s=500),
    )
    client = driver.start(started_ago(10, constant(100, processes=processes), constant(100)))
    compute = client.value("nvmlDeviceGetComputeRunningProcesses", 0)
    assert [(p["pid"], p["usedGpuMemory"]) for p in compute] == [(11, 500_000_000), (12, None)]
    assert [p["pid"] for p in client.value("nvmlDeviceGetGraphicsRunningProcesses", 0)] == [13]
    assert client.value("nvmlDeviceGetComputeRunningProcesses", 1) == []


def test_power_and_energy_fields(driver: Driver) -> None:
    sensors = Sensors(instant=Sensor(0.1, 0.1), average=Sensor(0.1, 0.1, gain=2), power_usage="average")
    counter = Counter(tick_s=1000, offset_mj=10**12)
    client = driver.start(started_ago(1, constant(150, sensors=sensors, counter=counter), constant(1, counter=None)))
    assert client.value("nvmlDeviceGetPowerUsage", 0) == 300_000
    assert client.value("nvmlDeviceGetTotalEnergyConsumption", 0) == 10**12
    uint, ulonglong = 1, 3
    found = client.fields(0, ENERGY, INSTANT, AVERAGE, 1)
    assert found[:3] == [(0, ulonglong, 10**12), (0, uint, 150_000), (0, uint, 300_000)]
    assert found[3][0] == NOT_SUPPORTED
    assert client.code("nvmlDeviceGetTotalEnergyConsumption", 1) == client.fields(1, ENERGY)[0][0] == NOT_SUPPORTED
    assert client.code("nvmlDeviceGetFieldValues", 0, []) == INVALID_ARGUMENT


def test_power_usage_is_one_of_the_two_fields(driver: Driver) -> None:
    both = Sensors(instant=Sensor(0.1, 0.1), average=Sensor(0.1, 0.1, gain=2))
    cards = [constant(150, sensors=replace(both, power_usage=usage)) for usage in ("instant", "average", None)]
    client = driver.start(started_ago(1, *cards))
    answers = [client.call("nvmlDeviceGetPowerUsage", gpu) for gpu in range(3)]
    assert answers == [(0, 150_000), (0, 300_000), (NOT_SUPPORTED, None)]


def test_power_by_scope(driver: Driver) -> None:
    client = driver.start(started_ago(1, constant(150, sensors=PERFECT), constant(150, sensors=PERFECT, c2c=True)))
    gpu, module, memory = 0, 1, 2
    codes = [[client.fields(i, (INSTANT, scope))[0][0] for scope in (gpu, module, memory)] for i in (0, 1)]
    assert codes == [[0, NOT_SUPPORTED, NOT_SUPPORTED], [0, 0, NOT_SUPPORTED]]


def test_a_module_draws_more_than_its_gpu(driver: Driver) -> None:
    card = constant(150, sensors=PERFECT, c2c=True, module_gain=1.4, counter=Counter(gain=1.4))
    client = driver.start(started_ago(1, card))
    gpu, module = 0, 1
    assert [client.fields(0, (INSTANT, scope))[0][-1] for scope in (gpu, module)] == [150_000, 210_000]


def test_unsupported_power(driver: Driver) -> None:
    only_average = Sensors(average=Sensor(0.1, 1))
    only_instant = Sensors(instant=Sensor(0.1, 1), power_usage="average")
    client = driver.start(started_ago(1, constant(1, sensors=only_average), constant(1, sensors=only_instant)))
    assert [code for code, *_ in client.fields(0, INSTANT, AVERAGE)] == [NOT_SUPPORTED, 0]
    assert [code for code, *_ in client.fields(1, INSTANT, AVERAGE)] == [0, NOT_SUPPORTED]
    assert [client.code("nvmlDeviceGetPowerUsage", gpu) for gpu in (0, 1)] == [NOT_SUPPORTED, NOT_SUPPORTED]


def test_a_live_card_shows_what_python_computes_for_that_moment(driver: Driver) -> None:
    sensor = Sensor(0.02, 0.007)
    gpu = Gpu(
        power_w=Trace.square(100, 500, period_s=0.013),
        sensors=Sensors(instant=sensor, power_usage="instant"),
        counter=Counter(tick_s=0.02),
    )
    scenario = started_ago(0.5, gpu)
    client = driver.start(scenario)
    distinct: set[tuple[int, int]] = set()
    while len(distinct) < 10:
        before_s = time.monotonic() - scenario.epoch_s
        names = ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetTotalEnergyConsumption")
        shown = client.value(names[0], 0), client.value(names[1], 0)
        after_s = time.monotonic() - scenario.epoch_s
        powers_mw = [round(nvmlsim.sensor_power_w(gpu, sensor, t) * 1000) for t in (before_s, after_s)]
        earlier, later = zip(powers_mw, [nvmlsim.counter_mj(gpu, t) for t in (before_s, after_s)], strict=True)
        if earlier == later:  # no refresh and no tick in between
            assert shown == earlier
            distinct.add(shown)
        time.sleep(0.003)


def test_two_processes_see_the_same_card(driver: Driver) -> None:
    wave = Trace.square(100, 500, period_s=0.05)
    gpu = Gpu(power_w=wave, sensors=PERFECT, counter=Counter(tick_s=0.001))
    first = driver.start(started_ago(1, gpu, replace(gpu, counter=Counter(tick_s=1000))))
    second = driver.client()
    chain = []
    for client in (first, second) * 20:
        chain.append(client.value("nvmlDeviceGetTotalEnergyConsumption", 0))
        time.sleep(0.0011)  # at least one tick
    assert chain == sorted(set(chain))
    still = [client.value("nvmlDeviceGetTotalEnergyConsumption", 1) for client in (first, second)]
    assert still[0] == still[1]


def test_nothing_works_before_init_and_after_the_last_shutdown(driver: Driver) -> None:
    Scenario(gpus=(constant(1),)).write(driver.path)
    client = driver.client(init=False)
    for _ in range(2):
        client.value("nvmlInit")
    client.value("nvmlShutdown")
    assert client.value("nvmlDeviceGetCount") == 1
    client.value("nvmlShutdown")
    assert client.code("nvmlDeviceGetCount") == UNINITIALIZED
    assert client.code("nvmlShutdown") == UNINITIALIZED


def test_devices_that_do_not_exist(driver: Driver) -> None:
    client = driver.start(started_ago(1, constant(1)))
    assert client.code("nvmlDeviceGetHandleByIndex", 1) == INVALID_ARGUMENT
    assert client.code("nvmlDeviceGetHandleByIndex", 10_000) == INVALID_ARGUMENT
    assert client.code("nvmlDeviceGetHandleByUUID", "GPU-nobody") == NOT_FOUND


def test_a_handle_by_uuid(driver: Driver) -> None:
    scenario = started_ago(1, constant(100, sensors=PERFECT), constant(200, sensors=PERFECT))
    client = driver.start(scenario)
    assert [client.value("nvmlDeviceGetHandleByUUID", scenario.uuid(i)) for i in (1, 0)] == [1, 0]


def test_sixty_four_gpus(driver: Driver) -> None:
    client = driver.start(started_ago(1, *(constant(100 + i, sensors=PERFECT) for i in range(64))))
    assert [client.value("nvmlDeviceGetPowerUsage", i) for i in (0, 8, 63)] == [100_000, 108_000, 163_000]
