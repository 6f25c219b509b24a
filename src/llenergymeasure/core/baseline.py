"""Power of the idle machine, and energy with its share taken off."""

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from llenergymeasure._files import write_atomically
from llenergymeasure._host import Host, this_host
from llenergymeasure._locks import locked
from llenergymeasure.core.energy_backends.nvml import NVMLBackend
from llenergymeasure.core.idling.reading import Reading
from llenergymeasure.core.idling.slices import STEADY, Idling, Level, idling_of, measured_idling, with_readings
from llenergymeasure.core.measurement_warnings import baseline_drift_warning, idle_unsteady_warning
from llenergymeasure.domain.metrics import FINITE, DeviceEnergy, EnergyBreakdown, sum_or_none
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.protocols import EnergyBackend

_log = logging.getLogger(__name__)

# A cached baseline is checked for this long before it is used: five slices, whose scatter is the noise that counts.
SPOT_CHECK_S = 5.0
# Whoever holds the lock reads or writes a file of some hundred bytes.
_LOCK_PATIENCE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class BaselineCache:
    """A measured idle baseline. ``timestamp`` is Unix time in seconds.

    ``power_uncertainty_w`` is its bound, ``noise_w`` what another one may be apart, as in ``Level``; one without the
    latter, as of an older version, is not used again. ``reading_by_device`` is what each device was read from.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    power_w: float
    timestamp: float
    duration_sec: float
    source: str
    devices: tuple[str, ...]
    power_by_device_w: dict[str, float] = field(default_factory=dict)
    from_cache: bool = False
    power_uncertainty_w: float | None = None
    uncertainty_by_device_w: dict[str, float] = field(default_factory=dict)
    noise_w: float | None = None
    noise_by_device_w: dict[str, float] = field(default_factory=dict)
    reading_by_device: dict[str, Reading] = field(default_factory=dict)

    @classmethod
    def of_idling(cls, idling: Idling, source: str, timestamp: float) -> Self:
        """What was measured with the sensor of a name, at a moment of Unix time in seconds."""
        devices = idling.by_device.items()
        return cls(
            power_w=idling.whole.power_w,
            timestamp=timestamp,
            duration_sec=idling.duration_sec,
            source=source,
            devices=idling.devices,
            power_by_device_w={name: level.power_w for name, level in devices},
            power_uncertainty_w=idling.whole.uncertainty_w,
            uncertainty_by_device_w={n: lv.uncertainty_w for n, lv in devices if lv.uncertainty_w is not None},
            noise_w=idling.whole.noise_w,
            noise_by_device_w={n: lv.noise_w for n, lv in devices if lv.noise_w is not None},
            reading_by_device=dict(idling.whole.readings),
        )

    @property
    def levels(self) -> dict[str | None, Level]:
        """Power with its bound of each device by itself, and under None of the whole."""
        whole = Level(power_w=self.power_w, uncertainty_w=self.power_uncertainty_w, noise_w=self.noise_w)
        own_w = {device: power_w for device, power_w in self.power_by_device_w.items() if device in self.devices}
        found: dict[str | None, Level] = {None: with_readings(whole, own_w, self.reading_by_device)}
        for device, power_w in self.power_by_device_w.items():
            level = Level(
                power_w=power_w,
                uncertainty_w=self.uncertainty_by_device_w.get(device),
                noise_w=self.noise_by_device_w.get(device),
            )
            found[device] = with_readings(level, {device: power_w}, self.reading_by_device)
        return found

    def beside(self, rows: Sequence[DeviceEnergy]) -> Self | None:
        """The baseline as it may be taken off [n] rows, as ``Level.beside``; None where they cover something else."""
        level = self.levels[None].beside(rows)
        return None if level is None else replace(self, power_uncertainty_w=level.uncertainty_w)

    def of(self, devices: Sequence[str]) -> Self | None:
        """The baseline of some of its devices; None where one was not measured by itself."""
        known = [self.power_by_device_w.get(device) for device in devices]
        power_w = sum_or_none(known)
        if power_w is None:
            return None
        bound_w = sum_or_none([self.uncertainty_by_device_w.get(device) for device in devices])
        return replace(self, power_w=power_w, power_uncertainty_w=bound_w, devices=tuple(devices))


class BaselineStore:
    """Baselines of one session: in memory, and in a file when processes share them, on whatever machines."""

    def __init__(self, path: Path | None = None, host: Host | None = None) -> None:
        self._path = path
        self._host = host or this_host()
        self._known: dict[str, BaselineCache] = {}

    def get(self, key: str) -> BaselineCache | None:
        """The last baseline of this key that was measured on this host; a file that cannot be read holds none."""
        with self._alone():
            self._known.update(self._read())
        return self._known.get(self._of_the_host(key))

    def put(self, key: str, baseline: BaselineCache) -> None:
        """Keep a baseline of this host, and what others have kept meanwhile."""
        with self._alone():
            self._known.update(self._read())
            self._known[self._of_the_host(key)] = baseline
            if self._path is not None:
                text = json.dumps({k: asdict(b) for k, b in self._known.items()})
                with contextlib.suppress(OSError):  # measuring again is all that a lost cache costs
                    write_atomically(self._path, text, durable=False)

    def _of_the_host(self, key: str) -> str:
        return "|".join([self._host.name, self._host.machine_id or "", self._host.boot_id or "", key])

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile; where nothing can be locked, the last one to write is kept."""
        if self._path is None:
            yield
            return
        with locked(self._path.with_suffix(".lock"), _LOCK_PATIENCE_S):
            yield

    def _read(self) -> dict[str, BaselineCache]:
        """What the file holds; an entry that cannot be read is left out, and the others count."""
        if self._path is None:
            return {}
        try:
            records = json.loads(self._path.read_text(encoding="utf-8"))
            entries = list(records.items())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError, AttributeError) as error:
            _log.warning("idle baselines in %s cannot be read and are measured again: %s", self._path, error)
            return {}
        found = {}
        for key, record in entries:
            try:
                found[key] = _BASELINE.validate_python(record)
            except ValidationError as error:
                why = error.errors(include_url=False)[0]["msg"]
                _log.warning("idle baseline %r in %s cannot be read and is measured again: %s", key, self._path, why)
        return found


_BASELINE = TypeAdapter(BaselineCache)
SESSION_BASELINES = BaselineStore()


def _logged(warning: MeasurementWarning) -> None:
    _log.warning("%s", warning)


def measure_baseline_power(  # noqa: PLR0913 - four positions by contract, the rest by name
    device_index: int = 0,
    duration_sec: float = 30.0,
    sample_interval_ms: int = 100,
    cache_ttl_sec: float = 3600.0,
    *,
    energy: EnergyBackend | None = None,
    devices: tuple[str, ...] = (),
    store: BaselineStore | None = None,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
    warn: Callable[[MeasurementWarning], None] = _logged,
) -> BaselineCache | None:
    """Idle power, measured now, or within the last ``cache_ttl_sec`` and still true.

    Args:
        device_index: NVML index of the GPU, when ``energy`` is not given.
        duration_sec: seconds to average over.
        sample_interval_ms: milliseconds between readings of that GPU's power.
        cache_ttl_sec: age in seconds up to which an earlier baseline of the same devices is used.
        energy: what to measure with; it must watch exactly the devices of the experiment.
        devices: UUIDs of those devices, by which a baseline is found again.
        store: where baselines are kept; default this process.
        sleep: waits the given seconds.
        now: Unix time in seconds.
        warn: is told of a baseline that drifted, and why there is none.

    Returns:
        The baseline; None when nothing could be read. One with a disturbance in it is not kept.
    """
    sensor = energy or NVMLBackend(device_index, interval_ms=sample_interval_ms)
    store = store or SESSION_BASELINES
    look = _Look(sensor=sensor, duration_sec=duration_sec, sleep=sleep, warn=warn)
    key = f"{sensor.name}:{','.join(devices) or device_index}:{duration_sec:g}s"
    known = store.get(key)
    age_s = math.inf if known is None else now() - known.timestamp
    if known is not None and 0 <= age_s <= cache_ttl_sec and look.confirms(known, age_s):
        return replace(known, from_cache=True)
    idling = look.in_full()
    if idling is None:
        return None
    baseline = BaselineCache.of_idling(idling, sensor.name, now())
    if idling.disturbance is None:
        store.put(key, baseline)
    return baseline


@dataclass(frozen=True, kw_only=True)
class _Look:
    """Looks at the idle machine with a sensor, for so many seconds where it is in full."""

    sensor: EnergyBackend
    duration_sec: float
    sleep: Callable[[float], None]
    warn: Callable[[MeasurementWarning], None]

    def confirms(self, known: BaselineCache, age_s: float) -> bool:
        """Whether a short measurement says what a baseline says that is ``age_s`` old.

        One that differs by more than the two leave open, or cannot be checked, is to be measured again in full.
        """
        check = idling_of(measured_idling(self.sensor, min(SPOT_CHECK_S, self.duration_sec), self.sleep))
        if check is None:
            return False
        is_true = _still_true(known, check)
        if not is_true and (drift := _drift(known, check, age_s)) is not None:
            self.warn(drift)
        return is_true

    def in_full(self) -> Idling | None:
        """Idle power over the whole time, taken once more if others were at work in it.

        If that is no better, the quiet level that was seen is given with a bound that reaches to the load, and a
        warning says so.
        """
        first = measured_idling(self.sensor, self.duration_sec, self.sleep)
        found = idling_of(first)
        if found is None:
            said = dict.fromkeys(str(warning) for measurement in first for warning in measurement.warnings)
            reasons = "; ".join(said) or "the sensor gave no energy"
            self.warn(MeasurementWarning("baseline_unavailable", reasons, "energy is given unadjusted"))
            return None
        if found.disturbance is None:
            return found
        _log.info("%s; the idle baseline is measured once more", found.disturbance)
        second = measured_idling(self.sensor, self.duration_sec, self.sleep)
        again = idling_of(second)
        # A load that came to stay is steady too.
        is_quiet = again is not None and again.whole.power_w <= (1 + STEADY) * found.whole.power_w
        if again is not None and again.disturbance is None and is_quiet:
            return again
        found = idling_of([*first, *second]) or found
        if found.disturbance is not None:
            self.warn(idle_unsteady_warning(found.disturbance, "before the model was loaded"))
        return found


def _still_true(known: BaselineCache, check: Idling) -> bool:
    """Whether a short look at the idle machine says what its baseline says, device by device."""
    if known.levels[None].open_w is None or check.whole.open_w is None or check.disturbance is not None:
        return False
    pairs = [
        (level, check.whole if name is None else check.by_device.get(name)) for name, level in known.levels.items()
    ]
    # A look that is too short for the reading that the baseline goes by tells nothing of it.
    return not any(now is not None and (not level.is_like(now) or level.differs_from(now)) for level, now in pairs)


def _drift(known: BaselineCache, check: Idling, age_s: float) -> MeasurementWarning | None:
    """What to say of the whole that has drifted far, or else of a device, whose drift the others may hide.

    Nothing where the two were not read alike.
    """
    if not known.levels[None].is_like(check.whole):
        return None
    found = [baseline_drift_warning(known.power_w, check.whole.power_w, age_s)]
    for device, now in check.by_device.items():
        if device in known.power_by_device_w:
            found.append(baseline_drift_warning(known.power_by_device_w[device], now.power_w, age_s, device))
    return next((warning for warning in found if warning is not None), None)


def create_energy_breakdown(
    total_j: float | None,
    baseline: BaselineCache | None,
    duration_sec: float,
    *,
    uncertainty_j: float | None = None,
    now: Callable[[], float] = time.time,
) -> EnergyBreakdown:
    """Energy as sensed and less the baseline: ``total_j - power_w * duration_sec``, negative values kept.

    Args:
        total_j: joules of the window.
        baseline: idle power before the model was loaded.
        duration_sec: seconds of the window.
        uncertainty_j: bound of ``total_j``; the adjusted energy has one where both have.
        now: Unix time in seconds.
    """
    if baseline is None:
        return EnergyBreakdown(raw_j=total_j, adjusted_j=None, baseline_power_w=None, baseline_method="unavailable")
    adjusted_j = None if total_j is None else total_j - baseline.power_w * duration_sec
    if adjusted_j is not None and adjusted_j < 0:
        _log.warning("baseline-adjusted energy is negative: %.3f J", adjusted_j)
    bound_w = baseline.power_uncertainty_w
    idle_bound_j = None if bound_w is None else bound_w * duration_sec
    return EnergyBreakdown(
        raw_j=total_j,
        adjusted_j=adjusted_j,
        baseline_power_w=baseline.power_w,
        baseline_method="cached" if baseline.from_cache else "fresh",
        baseline_timestamp=baseline.timestamp,
        baseline_cache_age_sec=now() - baseline.timestamp if baseline.from_cache else 0.0,
        baseline_power_uncertainty_w=bound_w,
        # Both are of one sensor and may be off to either side together.
        adjusted_uncertainty_j=None if adjusted_j is None else sum_or_none([uncertainty_j, idle_bound_j]),
    )
