"""What the simulated machine is, as dataclasses, and the file that says so to the library."""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, Self

from nvmlsim._trace import Trace, check_period, to_ns

# The library's: a cap that is none, and a time before anything.
_NO_CAP_W, _LONGEST_S = 1e6, 1e8
TRACES = (
    "power_w",
    "temperature_c",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "throttle_bits",
    "memory_used_mb",
    "gpu_utilisation_pct",
    "memory_utilisation_pct",
)


@dataclass(frozen=True)
class Sensor:
    """Shows, from each refresh to the next, the mean power of the ``window_s`` before that refresh, times ``gain``.

    Refreshes are at ``phase_s + k * update_s`` for every whole k. With a window shorter than the update it is a
    part-time sensor.
    """

    update_s: float
    window_s: float
    phase_s: float = 0.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        check_period("an update", self.update_s)
        check_period("a window", self.window_s)
        to_ns(self.phase_s)


@dataclass(frozen=True, kw_only=True)
class Sensors:
    """The power readings of a card; None is a field that the driver does not support.

    Args:
        instant: NVML_FI_DEV_POWER_INSTANT, field 186.
        average: NVML_FI_DEV_POWER_AVERAGE, field 185.
        power_usage: which of them nvmlDeviceGetPowerUsage gives; None: that function is not supported.
    """

    instant: Sensor | None = None
    average: Sensor | None = None
    power_usage: Literal["instant", "average"] | None = None

    def with_phase(self, phase_s: float) -> Self:
        """The same card, switched on at another moment."""
        return self._changed(phase_s=phase_s)

    def with_gain(self, gain: float) -> Self:
        """Another card of this model: its readings are off by a factor."""
        return self._changed(gain=gain)

    def _changed(self, **changes: float) -> Self:
        both = {name: getattr(self, name) for name in ("instant", "average")}
        return replace(self, **{name: replace(s, **changes) for name, s in both.items() if s is not None})


# (update, window) as measured by Yang, Adamek, Armour, SC24, arXiv 2312.02741. What nvmlDeviceGetPowerUsage gives is
# from NVIDIA's documentation of it: a one-second average on Ampere and later except GA100, instantaneous elsewhere.
_ONE_SECOND = Sensor(0.1, 1.0)
V100 = Sensors(instant=Sensor(0.02, 0.01), power_usage="instant")
A100 = Sensors(instant=Sensor(0.1, 0.025), average=Sensor(0.1, 0.025), power_usage="instant")
H100 = Sensors(instant=Sensor(0.1, 0.025), average=_ONE_SECOND, power_usage="average")
RTX40 = Sensors(instant=Sensor(0.1, 0.1), average=_ONE_SECOND, power_usage="average")
# No card is like this: for tests of everything but the sensor.
PERFECT = Sensors(instant=Sensor(0.001, 0.001), average=Sensor(0.001, 0.001), power_usage="instant")


@dataclass(frozen=True, kw_only=True)
class Counter:
    """The energy counter. It changes only at its ticks, ``phase_s + k * tick_s``, faults included.

    Args:
        tick_s: seconds between ticks; about 0.1 on real cards.
        phase_s: where the ticks lie.
        gain: what is counted over what was drawn.
        offset_mj: what it shows at scenario time 0 (and before): what the card drew since its driver was loaded.
        fed_by: a part-time sensor whose readings it adds up, each times the sensor's update; None: the truth.
        resets_s: times at which it starts again from 0.
        stuck_s: (from, until) spans in which ticks do not happen; the next tick makes up for them.
        jumps: (time in seconds, joules) added at a time; joules may be negative. Nothing goes below 0.
    """

    tick_s: float = 0.1
    phase_s: float = 0.0
    gain: float = 1.0
    offset_mj: int = 781_234_567_890
    fed_by: Sensor | None = None
    resets_s: tuple[float, ...] = ()
    stuck_s: tuple[tuple[float, float], ...] = ()
    jumps: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        check_period("a tick", self.tick_s)
        if not 0 <= self.offset_mj <= 9 * 10**15:
            raise ValueError(f"an offset of {self.offset_mj} mJ is not between 0 and 9e15")


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that the driver lists on a GPU from ``from_s`` until ``until_s``; memory None is 'not available'."""

    pid: int
    memory_mb: int | None = None
    kind: Literal["compute", "graphics"] = "compute"
    from_s: float | None = None
    until_s: float | None = None


# An idle card. The library's defaults for a file that does not say.
_ROOM, _SLOW, _FAST, _NOTHING = map(Trace.constant, (30, 345, 2619, 0))

Architecture = Literal["kepler", "maxwell", "pascal", "volta", "turing", "ampere", "ada", "hopper", "blackwell"]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One card. Its true power is ``power_w``; everything else is what the driver says about it.

    ``mig`` and ``c2c`` None: the driver answers 'not supported'. ``counter`` None: no energy counter.
    ``module_gain`` is what the module of a C2C card draws over what its GPU draws; the counter is the module's where
    its own gain is as much.
    """

    power_w: Trace
    sensors: Sensors = H100
    counter: Counter | None = field(default_factory=Counter)
    name: str = "NVIDIA H100 80GB HBM3"
    uuid: str | None = None
    architecture: Architecture = "hopper"
    compute_capability: tuple[int, int] = (9, 0)
    memory_total_mb: int = 85_520
    power_limit_w: int = 700
    power_limit_default_w: int = 700
    power_limit_min_w: int = 200
    power_limit_max_w: int = 700
    max_sm_clock_mhz: int = 1980
    max_memory_clock_mhz: int = 2619
    persistence: bool = True
    mig: bool | None = False
    c2c: bool | None = None
    module_gain: float = 1.0
    compute_mode: int = 0
    temperature_c: Trace = _ROOM
    sm_clock_mhz: Trace = _SLOW
    memory_clock_mhz: Trace = _FAST
    throttle_bits: Trace = _NOTHING
    memory_used_mb: Trace = _NOTHING
    gpu_utilisation_pct: Trace = _NOTHING
    memory_utilisation_pct: Trace = _NOTHING
    processes: tuple[Process, ...] = ()
    lost_at_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Calls that fail or are slow. Every selector that is given must hold; times are half-open, counts inclusive.

    Args:
        symbol: a function without its version suffix ("nvmlDeviceGetPowerUsage"; "nvmlInit" is every way to start),
            one field ("field.186"), or "*" for every function.
        error: the nvmlReturn_t to answer with; None: the call succeeds.
        slow_s: seconds the call sleeps; what it answers is as of its end.
        from_call: the first call affected, counted from 1 in each process.
        to_call: the last one; None: all from then on.
        from_s: scenario time from which calls are affected.
        until_s: scenario time until which they are.
        gpu: index of the only GPU affected; calls are then counted on that GPU.
    """

    symbol: str
    error: int | None = None
    slow_s: float | None = None
    from_call: int | None = None
    to_call: int | None = None
    from_s: float | None = None
    until_s: float | None = None
    gpu: int | None = None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A machine with simulated GPUs.

    Args:
        gpus: in the driver's order.
        faults: the first that meets a call gives its error; delays add up.
        epoch_s: CLOCK_MONOTONIC (time.monotonic()) at scenario time 0; default: when the scenario is made.
        driver: version of the driver.
        cuda: version of CUDA, 1000 major + 10 minor.
        unloaded_at_s: from this time on the driver is gone: nvmlInit answers 9 (driver not loaded), all other functions
            ``unloaded_error``.
        unloaded_error: 1 (uninitialised) or 9.
    """

    gpus: tuple[Gpu, ...]
    faults: tuple[Fault, ...] = ()
    epoch_s: float = field(default_factory=time.monotonic)
    driver: str = "570.86.15"
    cuda: int = 12080
    unloaded_at_s: float | None = None
    unloaded_error: int = 1

    def uuid(self, index: int) -> str:
        """UUID of a GPU: its own, or the one the library makes from its index."""
        return self.gpus[index].uuid or f"GPU-00000000-0000-4000-8000-{index:012x}"

    def text(self) -> str:
        """The scenario file."""
        return "".join(f"{line}\n" for line in _lines(self))

    def write(self, path: Path) -> None:
        """Write the scenario file, replacing one that is in use as a whole."""
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.text())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def append_step(path: Path, gpu: int, quantity: str, value: float, *, at_monotonic_s: float | None = None) -> None:
    """Add one step to a scenario in use, in one write: what a fake workload does when it starts or stops.

    Args:
        path: the scenario file.
        gpu: index of the GPU.
        quantity: "power_w" or another of the traces.
        value: what holds from then on.
        at_monotonic_s: CLOCK_MONOTONIC; default now. What was read after this time but before the step was written did
            not see it, so a time slightly ahead is better than one that has passed.
    """
    at_s = (time.monotonic() if at_monotonic_s is None else at_monotonic_s) - _epoch_s(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, f"gpu {gpu} {quantity} {_number(at_s)} {_number(value)}\n".encode())
    finally:
        os.close(descriptor)


def read_power_w(path: Path) -> dict[int, Trace]:
    """The true power of each GPU as a scenario file now has it, appended steps included.

    The truth for a test that must not load the library: in a process that has loaded it, every later
    "libnvidia-ml.so.1" is the simulated one.
    """
    steps: dict[int, list[tuple[float, float]]] = {}
    caps: dict[int, list[tuple[float, float]]] = {}
    repeats: dict[int, tuple[float, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        match line.split():
            case ["gpu", index, "power_w", time_s, power_w, *_] if line.endswith("\n"):
                steps.setdefault(int(index), []).append((float(time_s), float(power_w)))
            case ["gpu", index, "power_cap_w", time_s, cap_w, *_] if line.endswith("\n"):
                caps.setdefault(int(index), []).append((float(time_s), float(cap_w)))
            case ["gpu", index, "repeat", "power_w", start_s, period_s, *_] if line.endswith("\n"):
                repeats[int(index)] = (float(start_s), float(period_s))
    traces = {index: Trace(tuple(of_gpu), repeats.get(index)) for index, of_gpu in steps.items()}
    return {index: _capped(trace, caps.get(index, ())) for index, trace in traces.items()}


def _capped(power_w: Trace, caps: Iterable[tuple[float, float]]) -> Trace:
    """The lower of a trace that does not repeat and of caps, none before the first of [n] (time in seconds, watts)."""
    cap_w = Trace(((-_LONGEST_S, _NO_CAP_W), *caps))
    if len(cap_w.steps) == 1:
        return power_w
    times_s = sorted({time_s for time_s, _ in (*power_w.steps, *cap_w.steps)})
    return Trace(tuple((time_s, min(power_w.value(time_s), cap_w.value(time_s))) for time_s in times_s))


def _epoch_s(path: Path) -> float:
    with path.open(encoding="utf-8") as lines:
        return next((float(line.split()[1]) for line in lines if line.startswith("epoch_s ")), 0.0)


# ---- Lines ----


def _lines(scenario: Scenario) -> Iterator[str]:
    yield f"epoch_s {_number(scenario.epoch_s)}"
    yield f"driver {scenario.driver}"
    yield f"cuda {scenario.cuda}"
    if scenario.unloaded_at_s is not None:
        yield f"unloaded {_number(scenario.unloaded_at_s)} {scenario.unloaded_error}"
    for index, gpu in enumerate(scenario.gpus):
        for line in _gpu_lines(gpu):
            yield f"gpu {index} {line}"
    for fault in scenario.faults:
        yield f"fault {fault.symbol}{_options(fault, without=('symbol',))}"


def _gpu_lines(gpu: Gpu) -> Iterator[str]:
    yield f"name {gpu.name}"
    if gpu.uuid is not None:
        yield f"uuid {gpu.uuid}"
    yield f"architecture {gpu.architecture}"
    yield f"compute_capability {_numbers(gpu.compute_capability)}"
    yield f"memory_total_mb {gpu.memory_total_mb}"
    limits = (gpu.power_limit_w, gpu.power_limit_default_w, gpu.power_limit_min_w, gpu.power_limit_max_w)
    yield f"power_limits_w {_numbers(limits)}"
    yield f"max_clocks_mhz {gpu.max_sm_clock_mhz} {gpu.max_memory_clock_mhz}"
    yield f"compute_mode {gpu.compute_mode}"
    for word in ("persistence", "mig", "c2c"):
        yield f"{word} {_SUPPORT[getattr(gpu, word)]}"
    if gpu.module_gain != 1:
        yield f"module_gain {_number(gpu.module_gain)}"
    if gpu.lost_at_s is not None:
        yield f"lost {_number(gpu.lost_at_s)}"
    yield from _instrument_lines(gpu)
    for quantity in TRACES:
        trace: Trace = getattr(gpu, quantity)
        for step in trace.steps:
            yield f"{quantity} {_numbers(step)}"
        if trace.repeat is not None:
            yield f"repeat {quantity} {_numbers(trace.repeat)}"
    for process in gpu.processes:
        yield f"process {process.kind}{_options(process, without=('kind',))}"


_SUPPORT = {True: "on", False: "off", None: "unsupported"}


def _instrument_lines(gpu: Gpu) -> Iterator[str]:
    for which, sensor in (("instant", gpu.sensors.instant), ("average", gpu.sensors.average)):
        if sensor is not None:
            yield f"sensor {which}{_options(sensor)}"
    yield f"power_usage {gpu.sensors.power_usage or 'unsupported'}"
    counter = gpu.counter
    if counter is None:
        return
    fed = "" if counter.fed_by is None else _options(counter.fed_by, prefix="fed_")
    yield f"counter{_options(counter, without=('fed_by', 'resets_s', 'stuck_s', 'jumps'))}{fed}"
    yield from (f"counter_reset {_number(time_s)}" for time_s in counter.resets_s)
    yield from (f"counter_stuck {_numbers(span)}" for span in counter.stuck_s)
    yield from (f"counter_jump {_numbers(jump)}" for jump in counter.jumps)


def _options(entry: Sensor | Counter | Process | Fault, *, without: tuple[str, ...] = (), prefix: str = "") -> str:
    values = {f.name: getattr(entry, f.name) for f in fields(entry) if f.name not in without}
    return "".join(f" {prefix}{name}={_number(value)}" for name, value in values.items() if value is not None)


def _numbers(values: Iterable[float]) -> str:
    return " ".join(map(_number, values))


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))  # also of a number from numpy
