"""Calibrate the GPUs of this machine, one after the other, with a load of an engine."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure.core.backends import engine_names, failed_when_asked, get_backend
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.calibration.procedure import LEAST_SECONDS, MOST_SECONDS, SECONDS, calibration_of, record
from llenergymeasure.core.calibration.store import keep
from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.gpu.machine import gpu_driver, visible_gpus
from llenergymeasure.domain.energy.calibration import Calibration
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.exceptions import (
    BackendError,
    ConfigError,
    LLEMError,
    PreFlightError,
    contained,
)


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What was found of a GPU, and where it is kept; None and why where it could not be written."""

    calibration: Calibration
    path: Path | None
    problem: str | None = None


def calibrate(
    wanted: Sequence[str] = (), engine_name: str | None = None, seconds: float = SECONDS
) -> Iterator[Calibrated]:
    """Calibrate GPUs, and keep what was found of each as soon as it is.

    Args:
        wanted: UUIDs, or the driver's indices; none is all that are visible.
        engine_name: whose load; None is the first engine that is installed and has one.
        seconds: how long the load is switched on and off on each.

    Raises:
        ConfigError: there is no such GPU or engine, or too few seconds were given.
        PreFlightError: no GPU answers, others are at work on one, or no engine has a load for it.
        ExperimentError: a driver failed, or did not show the load.
    """
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise ConfigError(f"--seconds {seconds:g}: give {LEAST_SECONDS:g} to {MOST_SECONDS:g} s")
    gpus = _chosen(wanted)
    engine = _engine(engine_name)
    for gpu in gpus:
        yield _kept(_calibrated(gpu, engine, seconds))


def _chosen(wanted: Sequence[str]) -> list[GpuInfo]:
    visible = visible_gpus()
    if not visible.gpus:
        raise PreFlightError(f"there is no GPU to calibrate: {visible.problem or 'none answered'}")
    if not wanted:
        return list(visible.gpus)
    by_name = {str(gpu.index): gpu for gpu in visible.gpus} | {gpu.uuid: gpu for gpu in visible.gpus}
    missing = [name for name in wanted if name not in by_name]
    if missing:
        known = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in visible.gpus)
        raise ConfigError(f"there is no GPU {', '.join(missing)}; this process sees {known}")
    return list({by_name[name].uuid: by_name[name] for name in wanted}.values())


def _engine(name: str | None) -> EngineBase:
    if name is not None:
        engine = get_backend(name)
        if (problem := engine.installation_problem()) is not None:
            raise PreFlightError(problem)
        return engine
    problems = []
    for each in engine_names():
        try:
            engine = get_backend(each)
            with contained():
                problem = engine.installation_problem()
        except LLEMError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - another distribution's engine raises what it will; the next is asked
            problem = failed_when_asked(each, error)
        else:
            if problem is None and type(engine).switched_load is EngineBase.switched_load:
                problem = f"the {each} engine has no load to calibrate with"
        if problem is None:
            return engine
        problems.append(problem)
    raise PreFlightError(f"no engine can work on a GPU here: {'; '.join(problems)}")


def _check_alone(device: GpuDeviceBase) -> None:
    others = sorted(set(device.running_pids() or ()) - {os.getpid()})
    if others:
        raise PreFlightError(
            f"other processes are on {device.uuid} (PID {', '.join(map(str, others))}), and their load would be "
            "taken for ours; stop them, or choose another GPU with --gpu"
        )


@contextmanager
def _opened(gpu: GpuInfo) -> Iterator[tuple[GpuDeviceBase, str | None]]:
    """The GPU, on which nobody else is at work from beginning to end."""
    with gpu_driver().opened() as driver:
        (device,) = driver.find([gpu.uuid], gpu.index)
        _check_alone(device)
        yield device, driver.version()
        _check_alone(device)


def _calibrated(gpu: GpuInfo, engine: EngineBase, seconds: float) -> Calibration:
    try:
        with contained(), engine.switched_load(gpu.uuid) as load:
            found = record(lambda: _opened(gpu), load, seconds)
    except LLEMError:
        raise
    except Exception as error:  # an engine's libraries raise what they will
        raise BackendError(f"the load of the {engine.name} engine failed on {gpu.uuid}: {error}") from error
    return calibration_of(found, load=engine.name, timestamp=time.time())


def _kept(calibration: Calibration) -> Calibrated:
    try:
        return Calibrated(calibration=calibration, path=keep(calibration))
    except OSError as error:
        return Calibrated(calibration=calibration, path=None, problem=str(error))
