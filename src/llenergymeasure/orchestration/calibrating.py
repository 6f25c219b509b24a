"""Calibrate the GPUs of this machine, one after the other, with a load of an engine."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from llenergymeasure.config.engines import registry
from llenergymeasure.config.execution import STALL_TIMEOUT_S, ExecutionConfig
from llenergymeasure.core.backends import engine_names, failed_when_asked, get_backend
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.calibration.procedure import LEAST_SECONDS, MOST_SECONDS, SECONDS, calibration_of, record
from llenergymeasure.core.calibration.store import CALIBRATION, keep
from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.gpu.machine import gpu_driver, visible_gpus
from llenergymeasure.domain.energy.calibration import Calibration
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.exceptions import (
    BackendError,
    ConfigError,
    ForeignExitError,
    LLEMError,
    PreFlightError,
    contained,
    first_line,
)
from llenergymeasure.orchestration.device_locks import held
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.processes.importing import LIMIT_S, SILENCE_S
from llenergymeasure.orchestration.processes.interpreters import interpreter_of

GPU = TypeAdapter(GpuInfo)


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What was found of a GPU, and where it is kept; None and why where it could not be written."""

    calibration: Calibration
    path: Path | None
    problem: str | None = None


def calibrate(
    wanted: Sequence[str] = (),
    engine_name: str | None = None,
    seconds: float = SECONDS,
    stall_timeout_s: float | None = STALL_TIMEOUT_S,
    wait_for_devices_s: float | None = None,
) -> Iterator[Calibrated]:
    """Calibrate GPUs, and keep what was found of each as soon as it is. Nobody measures one of them meanwhile.

    Engines are asked, and their load is run and read beside, in a process of its own, which one may end.

    Args:
        wanted: UUIDs, or the driver's indices; none is all that are visible.
        engine_name: whose load; None is the first engine that is installed and has one.
        seconds: how long the load is switched on and off on each.
        stall_timeout_s: how long an engine is waited for without a sign of life, where that is less than five minutes,
            beside the seconds of its load; None is five minutes.
        wait_for_devices_s: how long another that measures a GPU is waited for; None for as long as it takes.

    Raises:
        ConfigError: there is no such GPU or engine, or too few seconds were given.
        PreFlightError: no GPU answers, others are at work on one or measured it all the time, or no engine has a load
            for it.
        BackendError: the load failed, or ended its process.
        ExperimentError: a driver failed, or did not show the load.
    """
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise ConfigError(f"--seconds {seconds:g}: give {LEAST_SECONDS:g} to {MOST_SECONDS:g} s")
    gpus = _chosen(wanted)
    with Asking(seconds + LIMIT_S) as asking:
        elsewhere = _Elsewhere(asking, seconds, min(SILENCE_S, stall_timeout_s or SILENCE_S))
        engine = elsewhere.engine(engine_name)
        for gpu in gpus:
            with held([gpu.uuid], "llem calibrate", wait_for_devices_s):
                found = elsewhere.calibration(gpu, engine)
            yield _kept(found)


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


class _Elsewhere:
    """Engines asked for their loads, and GPUs calibrated with one, in a process of its own."""

    def __init__(self, asking: Asking, seconds: float, silence_s: float) -> None:
        self._asking, self._seconds = asking, seconds
        self._while_asked = ExecutionConfig(stall_timeout_s=silence_s)
        # A load that waits for its GPU, and a thread that reads it, are no signs of life.
        self._while_at_work = ExecutionConfig(stall_timeout_s=seconds + silence_s)

    def engine(self, name: str | None) -> str:
        """The name of the engine whose load is used.

        Raises:
            LLEMError: there is no such engine, or none that can be used.
        """
        if name is not None:
            if (problem := self._load_problem(name)) is not None:
                raise PreFlightError(problem)
            return name
        problems = []
        for each in engine_names():
            try:
                problem = self._load_problem(each)
            except LLEMError as error:
                problem = str(error)
            if problem is None:
                return each
            problems.append(problem)
        raise PreFlightError(f"no engine can work on a GPU here: {'; '.join(problems)}")

    def _load_problem(self, name: str) -> str | None:
        try:
            problem: str | None = self._asking.ask(
                "load_problem", self._while_asked, by=interpreter_of(name), name=name
            )
        except ForeignExitError as error:
            return f"{registry.in_words(name)} cannot be asked: {first_line(error)}"
        return problem

    def calibration(self, gpu: GpuInfo, engine: str) -> Calibration:
        """What is found of a GPU.

        Raises:
            LLEMError: as ``calibrated_here``.
            BackendError: the load ended its process, or does not end.
        """
        given = GPU.dump_json(gpu).decode()
        try:
            answer = self._asking.ask(
                "calibration",
                self._while_at_work,
                by=interpreter_of(engine),
                gpu=given,
                engine=engine,
                seconds=self._seconds,
            )
            return CALIBRATION.validate_json(answer)
        except (ForeignExitError, ValidationError) as error:
            raise _failed(engine, gpu, error) from error


def load_problem(name: str) -> str | None:
    """Why an engine, asked in this process, has no load for a GPU; None if it has one.

    Raises:
        LLEMError: there is none of this name, or it cannot be had.
    """
    engine = get_backend(name)
    try:
        with contained():
            problem = engine.installation_problem()
    except LLEMError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - another distribution's engine raises what it will
        return failed_when_asked(name, error)
    if problem is None and type(engine).switched_load is EngineBase.switched_load:
        return f"the {name} engine has no load to calibrate with"
    return problem


def calibrated_here(gpu: GpuInfo, engine_name: str, seconds: float) -> Calibration:
    """What is found of a GPU with the load of an engine in this process.

    Raises:
        PreFlightError: others are at work on it.
        BackendError: the load failed.
        ExperimentError: a driver failed, or did not show the load.
    """
    engine = get_backend(engine_name)
    try:
        with contained(), engine.switched_load(gpu.uuid) as load:
            found = record(lambda: _opened(gpu), load, seconds)
    except LLEMError:
        raise
    except Exception as error:  # an engine's libraries raise what they will
        raise _failed(engine_name, gpu, error) from error
    return calibration_of(found, load=engine.name, timestamp=time.time())


def _failed(engine: str, gpu: GpuInfo, error: Exception) -> BackendError:
    return BackendError(f"the load of {registry.in_words(engine)} failed on {gpu.uuid}: {first_line(error)}")


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


def _kept(calibration: Calibration) -> Calibrated:
    try:
        return Calibrated(calibration=calibration, path=keep(calibration))
    except OSError as error:
        return Calibrated(calibration=calibration, path=None, problem=str(error))
