"""Everything that can go wrong with a driver."""

from dataclasses import replace

import pytest

import nvmlsim
from nvmlsim import PERFECT, Counter, Fault, Scenario
from tests.nvmlsim.processes import (
    AVERAGE,
    DRIVER_NOT_LOADED,
    ENERGY,
    GPU_IS_LOST,
    INSTANT,
    NO_PERMISSION,
    TIMEOUT,
    UNINITIALIZED,
    UNKNOWN,
    Driver,
    constant,
    started_ago,
)


def test_errors_from_a_call_on_and_between_two_calls(driver: Driver) -> None:
    faults = (
        Fault(symbol="nvmlDeviceGetPowerUsage", error=TIMEOUT, from_call=3),
        Fault(symbol="nvmlDeviceGetTotalEnergyConsumption", error=UNKNOWN, from_call=2, to_call=3),
    )
    client = driver.start(started_ago(1, constant(1), faults=faults))
    assert client.codes("PowerUsage", 4) == [0, 0, TIMEOUT, TIMEOUT]
    assert client.codes("TotalEnergyConsumption", 5) == [0, UNKNOWN, UNKNOWN, 0, 0]
    assert driver.client().codes("PowerUsage", 3) == [0, 0, TIMEOUT]  # each process counts its own


def test_calls_keep_their_number_when_the_scenario_changes(driver: Driver) -> None:
    fault = Fault(symbol="nvmlDeviceGetPowerUsage", error=TIMEOUT, from_call=3)
    scenario = started_ago(1, constant(1), faults=(fault,))
    client = driver.start(scenario)
    assert client.codes("PowerUsage", 2) == [0, 0]
    replace(scenario, gpus=(constant(2),)).write(driver.path)
    assert client.codes("PowerUsage", 1) == [TIMEOUT]


def test_errors_on_one_gpu_count_its_calls(driver: Driver) -> None:
    fault = Fault(symbol="nvmlDeviceGetPowerUsage", error=TIMEOUT, from_call=2, gpu=1)
    client = driver.start(started_ago(1, constant(1), constant(1), faults=(fault,)))
    assert client.codes("PowerUsage", 3) == [0, 0, 0]
    assert client.codes("PowerUsage", 2, gpu=1) == [0, TIMEOUT]


def test_errors_in_a_span_of_time(driver: Driver) -> None:
    fault = Fault(symbol="nvmlDeviceGetPowerUsage", error=TIMEOUT, from_s=100, until_s=200)
    scenario = started_ago(50, constant(1), faults=(fault,))
    client = driver.start(scenario)
    seen = client.codes("PowerUsage", 1)
    for later_s in (100, 200):
        replace(scenario, epoch_s=scenario.epoch_s - later_s).write(driver.path)
        seen += client.codes("PowerUsage", 1)
    assert seen == [0, TIMEOUT, 0]


def test_the_first_fault_that_meets_a_call_gives_its_error(driver: Driver) -> None:
    faults = (
        Fault(symbol="nvmlDeviceGetPowerUsage", error=TIMEOUT, to_call=1),
        Fault(symbol="*", error=UNKNOWN, gpu=0, from_call=3),  # its handle and its index come before
    )
    client = driver.start(started_ago(1, constant(1), constant(1), faults=faults))
    assert client.codes("PowerUsage", 2) == [TIMEOUT, UNKNOWN]
    assert client.codes("UUID", 1) == [UNKNOWN]
    assert client.codes("UUID", 1, gpu=1) == [0]


def test_no_permission_for_anything(driver: Driver) -> None:
    fault = Fault(symbol="*", error=NO_PERMISSION, from_call=5)  # init, count, a handle and its index come before
    client = driver.start(started_ago(1, constant(1), faults=(fault,)))
    system = [client.code(name) for name in ("nvmlSystemGetDriverVersion", "nvmlDeviceGetCount", "nvmlShutdown")]
    assert [*system, *client.codes("UUID", 1)] == [NO_PERMISSION] * 4


def test_one_field_fails_and_the_others_do_not(driver: Driver) -> None:
    fault = Fault(symbol="field.186", error=NO_PERMISSION, from_call=2)
    client = driver.start(started_ago(1, constant(1), faults=(fault,)))
    seen = [[code for code, *_ in client.fields(0, ENERGY, INSTANT, AVERAGE)] for _ in range(2)]
    assert seen == [[0, 0, 0], [0, NO_PERMISSION, 0]]


def test_init_fails(driver: Driver) -> None:
    fault = Fault(symbol="nvmlInit_v2", error=NO_PERMISSION, to_call=1)
    Scenario(gpus=(constant(1),), faults=(fault,)).write(driver.path)
    client = driver.client(init=False)
    assert [client.code("nvmlInit"), client.code("nvmlInit")] == [NO_PERMISSION, 0]


def test_a_slow_call_answers_with_the_value_of_its_end_and_holds_nobody_up(driver: Driver) -> None:
    gpu = constant(100, sensors=PERFECT, counter=Counter(tick_s=0.001, offset_mj=0))
    fault = Fault(symbol="nvmlDeviceGetTotalEnergyConsumption", slow_s=0.4, to_call=1)
    scenario = started_ago(1, gpu, faults=(fault,))
    scenario.write(driver.path)
    took_s, energy_mj, end_s, n_others = driver.run("""
import json, threading, time, pynvml
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
n_others = 0
done = threading.Event()
def others():
    global n_others
    while not done.is_set():
        pynvml.nvmlDeviceGetPowerUsage(gpu)
        n_others += 1
        time.sleep(0.001)
thread = threading.Thread(target=others)
thread.start()
start = time.monotonic()
energy_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
end = time.monotonic()
done.set()
thread.join()
print(json.dumps([end - start, energy_mj, end, n_others]))
""")
    assert took_s >= 0.4
    assert n_others > 20
    true_mj = nvmlsim.true_energy_j(gpu, 0, end_s - scenario.epoch_s) * 1000
    assert true_mj - 10_000 < energy_mj <= true_mj  # 100 W: less than 100 ms behind its end, and not ahead


def test_a_signal_does_not_shorten_a_slow_call(driver: Driver) -> None:
    fault = Fault(symbol="nvmlDeviceGetPowerUsage", slow_s=0.3)
    started_ago(1, constant(1), faults=(fault,)).write(driver.path)
    took_s = driver.run("""
import json, signal, time, pynvml
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
start = time.monotonic()
pynvml.nvmlDeviceGetPowerUsage(gpu)
took_s = time.monotonic() - start
# A signal while the interpreter ends would find no handler, and end the process.
signal.setitimer(signal.ITIMER_REAL, 0)
print(json.dumps(took_s))
""")
    assert took_s >= 0.3


def test_a_lost_gpu(driver: Driver) -> None:
    scenario = started_ago(10, constant(1, lost_at_s=100), constant(1))
    client = driver.start(scenario)
    assert client.codes("PowerUsage", 1) == [0]
    replace(scenario, epoch_s=scenario.epoch_s - 100).write(driver.path)
    names = ("PowerUsage", "TotalEnergyConsumption", "UUID", "Index", "MemoryInfo", "HandleByIndex")
    assert {code for name in names for code in client.codes(name, 1)} == {GPU_IS_LOST}
    assert client.code("nvmlDeviceGetHandleByUUID", scenario.uuid(0)) == GPU_IS_LOST
    assert client.codes("PowerUsage", 1, gpu=1) == [0]
    assert client.value("nvmlDeviceGetCount") == 2


@pytest.mark.parametrize("error", [UNINITIALIZED, DRIVER_NOT_LOADED])
def test_an_unloaded_driver(driver: Driver, error: int) -> None:
    scenario = started_ago(10, constant(1), unloaded_at_s=100, unloaded_error=error)
    client = driver.start(scenario)
    assert client.codes("PowerUsage", 1) == [0]
    replace(scenario, epoch_s=scenario.epoch_s - 100).write(driver.path)
    calls = [client.code(name) for name in ("nvmlDeviceGetCount", "nvmlSystemGetDriverVersion", "nvmlShutdown")]
    assert [*calls, *client.codes("PowerUsage", 1)] == [error] * 4
    assert client.code("nvmlInit") == DRIVER_NOT_LOADED


def test_faults_of_the_counter(driver: Driver) -> None:
    counter = Counter(tick_s=10, offset_mj=10**9, resets_s=(100,), stuck_s=((200, 300),), jumps=((400, 500.0),))
    scenario = started_ago(51, constant(10, counter=counter))
    client = driver.start(scenario)
    shown = []
    for later_s in (0, 100, 200, 300, 400):
        replace(scenario, epoch_s=scenario.epoch_s - later_s).write(driver.path)
        shown.append(client.value("nvmlDeviceGetTotalEnergyConsumption", 0))
    # 10 W, at 50, 150, 250, 350 and 450 s. On top: 500 J. Since the reset at 100 s: 500 J; 900 J, the last tick being
    # at 190 s; 2500 J; 3500 J and 500 J.
    assert shown == [10**9 + 500_000, 500_000, 900_000, 2_500_000, 4_000_000]
