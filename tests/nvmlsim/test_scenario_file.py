"""The scenario file, while processes use it."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import nvmlsim
from nvmlsim import PERFECT, Counter, Fault, Gpu, Scenario, Trace
from tests.fakes.effort import PATIENCE_S
from tests.nvmlsim.plain import traces
from tests.nvmlsim.processes import UNKNOWN, Driver, constant, started_ago


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gpu 0 colour red", "unknown word 'colour'"),
        ("colour red", "unknown word 'colour'"),
        ("gpu 0", "the line ends too early"),
        ("gpu 0 power_w 5", "the line ends too early"),
        ("gpu 0 power_w 5 100 1", "'1' is one word too many"),
        ("gpu 0 power_w 5 1oo", "'1oo' is not a number"),
        ("gpu 0 power_w nan 1", "'nan' is not a number"),
        ("gpu 0 power_w 5 -1", "-1 is not between"),
        ("gpu 0 power_w 1e10 1", "out of range"),
        ("epoch_s 1e10", "out of range"),
        ("gpu 64 power_w 0 1", "index is from 0 to 63"),
        ("gpu 2 power_w 0 1", "gpu 1 has no power_w"),
        ("gpu 0 sensor instant update_s=0.1", "needs update_s and window_s"),
        ("gpu 0 sensor instant update_s=0 window_s=1", "out of range"),
        ("gpu 0 sensor instant width_s=1", "unknown option 'width_s'"),
        ("gpu 0 sensor instant 0.1", "not of the form name=value"),
        ("gpu 0 counter phase_s=1", "needs tick_s"),
        ("gpu 0 counter tick_s=1 fed_update_s=1", "together with fed_window_s"),
        ("gpu 0 counter tick_s=1 offset_mj=-1", "offset_mj is from 0"),
        ("gpu 0 repeat power_w 0 0.00009", "out of range"),
        ("gpu 0 architecture stone-age", "unknown word 'stone-age'"),
        ("gpu 0 process compute memory_mb=1", "needs pid"),
        ("gpu 0 persistence unsupported", "unknown word 'unsupported'"),
        ("fault nvmlDeviceGetLuck error=1", "unknown word 'nvmlDeviceGetLuck'"),
        ("fault nvmlDeviceGetCount", "needs error or slow_s"),
        ("fault nvmlDeviceGetCount error=1.5", "is not a count"),
        ("fault nvmlDeviceGetCount slow_s=-1", "slow_s is from 0 to a million"),
        ("fault field.83 slow_s=1", "one field cannot be slow"),
        ("gpu 0 name " + 100 * "x", "longer than 95 bytes"),
        ("gpu 0 name " + 40 * "x ", "more than 32 words"),
    ],
)
def test_a_wrong_line_makes_init_fail_and_is_named(driver: Driver, line: str, message: str) -> None:
    driver.path.write_text(f"gpu 0 power_w 0 1\n# a remark\n\n{line}\n")
    client = driver.client(init=False)
    assert client.code("nvmlInit") == UNKNOWN
    stderr = client.stderr()
    assert f"nvmlsim: {driver.path}:4: " in stderr
    assert message in stderr


def test_every_line_the_readme_shows_is_understood(driver: Driver) -> None:
    readme = Path(nvmlsim.__file__).with_name("README.md").read_text()
    shown = readme.split("```text\n")[1].split("```")[0]
    # Its driver is unloaded after 90 s, on a machine that was started long before that too.
    begun, n_begun = re.subn(r"^epoch_s \S+", f"epoch_s {time.monotonic()}", shown, flags=re.MULTILINE)
    assert n_begun == 1
    driver.path.write_text(begun)
    assert driver.client().value("nvmlDeviceGetName", 0) == "NVIDIA A100-SXM4-80GB"


def test_a_missing_file_makes_init_fail(driver: Driver) -> None:
    client = driver.client(init=False)
    assert client.code("nvmlInit") == UNKNOWN
    assert f"{driver.path}: No such file" in client.stderr()


def test_a_missing_variable_makes_init_fail(driver: Driver) -> None:
    folder = nvmlsim.environment(driver.library, driver.path)["LD_LIBRARY_PATH"]
    program = "import pynvml\ntry: pynvml.nvmlInit()\nexcept pynvml.NVMLError as error: print(error.value)"
    environment = {**os.environ, "LD_LIBRARY_PATH": folder}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout == f"{UNKNOWN}\n"
    assert "NVMLSIM_SCENARIO: the environment variable is not set" in done.stderr


def test_a_changed_file_is_read_again_and_a_broken_one_is_an_error_until_it_is_mended(driver: Driver) -> None:
    good = started_ago(10, constant(100, sensors=PERFECT))
    client = driver.start(good)
    seen = [client.call("nvmlDeviceGetPowerUsage", 0)]
    for change in (lambda: driver.path.write_text("nonsense\n"), driver.path.unlink, lambda: good.write(driver.path)):
        change()
        seen.append(client.call("nvmlDeviceGetPowerUsage", 0))
    assert seen == [(0, 100_000), (UNKNOWN, None), (UNKNOWN, None), (0, 100_000)]
    stderr = client.stderr()
    assert "unknown word 'nonsense'" in stderr
    assert "No such file" in stderr


def test_a_file_that_was_away_is_read_when_it_is_back(driver: Driver) -> None:
    client = driver.start(started_ago(10, constant(100, sensors=PERFECT)))
    away = driver.path.with_suffix(".away")
    seen = client.codes("PowerUsage", 1)
    for source, target in ((driver.path, away), (away, driver.path)):
        source.rename(target)
        seen += client.codes("PowerUsage", 1)
    assert seen == [0, UNKNOWN, 0]


def test_a_broken_file_is_complained_about_once(driver: Driver) -> None:
    client = driver.start(started_ago(10, constant(100)))
    driver.path.write_text("nonsense\n")
    assert client.codes("PowerUsage", 5) == [UNKNOWN] * 5
    assert client.stderr().count("nonsense") == 1


def test_a_last_line_without_its_end_is_not_read_yet(driver: Driver) -> None:
    client = driver.start(started_ago(10, constant(100, sensors=PERFECT)))
    seen = []
    with driver.path.open("a") as file:
        for piece in ("gpu 0 pow", "er_w 1 25", "0\n"):
            file.write(piece)
            file.flush()
            seen.append(client.value("nvmlDeviceGetPowerUsage", 0))
    assert seen == [100_000, 100_000, 250_000]


def test_what_is_appended_within_one_tick_of_the_file_time_s_is_seen(driver: Driver) -> None:
    client = driver.start(started_ago(10, constant(100, sensors=PERFECT)))
    assert client.value("nvmlDeviceGetPowerUsage", 0) == 100_000
    before = driver.path.stat()
    with driver.path.open("a") as file:
        file.write("gpu 0 power_w 1 250\n")
    os.utime(driver.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert client.value("nvmlDeviceGetPowerUsage", 0) == 250_000


def test_a_workload_appends_its_power_while_it_runs(driver: Driver) -> None:
    gpu = constant(100, sensors=PERFECT, counter=Counter(tick_s=0.001, offset_mj=0))
    scenario = started_ago(1, gpu)
    client = driver.start(scenario)
    now_s = time.monotonic()
    nvmlsim.append_step(driver.path, 0, "power_w", 600, at_monotonic_s=now_s + 0.1)
    nvmlsim.append_step(driver.path, 0, "power_w", 100, at_monotonic_s=now_s + 0.2)
    nvmlsim.append_step(driver.path, 0, "temperature_c", 66)
    assert client.value("nvmlDeviceGetTemperature", 0, 0) == 66
    expected_j = 100 * 0.9 + 600 * 0.1
    assert client.value("nvmlsim_true_energy_j", 0, now_s, now_s + 1) == pytest.approx(expected_j, abs=1e-4)
    since_epoch_s = now_s - scenario.epoch_s
    with driver.path.open("a") as file:
        file.write("gpu 0 power_w 0 7")  # still being written
    truth = nvmlsim.read_power_w(driver.path)[0]
    assert truth.integral(since_epoch_s, since_epoch_s + 1) == pytest.approx(expected_j, abs=1e-4)


@settings(deadline=None)
@given(trace=traces())
def test_power_is_read_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, trace: Trace) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.txt"
    Scenario(gpus=(constant(7), Gpu(power_w=trace))).write(path)
    assert nvmlsim.read_power_w(path) == {0: Trace.constant(7), 1: trace}


def test_writing_replaces_a_file_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "scenario.txt"
    Scenario(gpus=(constant(1),)).write(path)
    before = path.read_text()
    wrong: Any = object()
    with pytest.raises(TypeError):
        Scenario(gpus=(constant(1),), faults=(Fault(symbol="*", error=wrong),)).write(path)
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["scenario.txt"]


def test_threads_read_while_the_scenario_is_rewritten(driver: Driver) -> None:
    Scenario(gpus=(constant(100, sensors=PERFECT),)).write(driver.path)
    n_calls, values = driver.run(f"""
import json, sys, threading, time
from pathlib import Path
import pynvml
sys.path.insert(0, {str(Path(nvmlsim.__file__).parent.parent)!r})
from nvmlsim import PERFECT, Gpu, Scenario, Trace
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
values, end, n_calls = set(), time.monotonic() + 1.0, [0] * 8
def read(i):
    while time.monotonic() < end:
        values.add(pynvml.nvmlDeviceGetPowerUsage(gpu))
        n_calls[i] += 1
threads = [threading.Thread(target=read, args=(i,)) for i in range(8)]
for thread in threads: thread.start()
while time.monotonic() < end:
    for power_w in (100, 250):
        Scenario(gpus=(Gpu(power_w=Trace.constant(power_w), sensors=PERFECT),)).write(Path({str(driver.path)!r}))
        time.sleep(0.002)
for thread in threads: thread.join()
print(json.dumps([n_calls, sorted(values)]))
""")
    assert values == [100_000, 250_000]
    assert min(n_calls) > 0


def test_a_child_forked_while_other_threads_call_can_go_on(driver: Driver) -> None:
    fault = Fault(symbol="nvmlDeviceGetPowerUsage", slow_s=0.002)
    Scenario(gpus=(constant(100, sensors=PERFECT),), faults=(fault,)).write(driver.path)
    codes = driver.run("""
import json, os, threading, pynvml
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
done = threading.Event()
def busy():
    while not done.is_set(): pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads: thread.start()
codes = []
for _ in range(20):
    pid = os.fork()
    if pid == 0: os._exit(0 if pynvml.nvmlDeviceGetPowerUsage(gpu) == 100_000 else 1)
    codes.append(os.waitpid(pid, 0)[1])
done.set()
print(json.dumps(codes))
""")
    assert codes == [0] * 20
