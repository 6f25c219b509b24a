"""The rest between two runs: until the GPUs are back where they were before the first, or the time is over."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llenergymeasure._host import Host, this_host
from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.core.gpu.machine import told_by
from llenergymeasure.results.study.events import Events, events_in

_LOOK_S = 1.0
# The event that says where a GPU stood.
_REFERENCE = "reference"


@dataclass(frozen=True)
class Standing:
    """Temperature in degrees Celsius and power in watts of a GPU; None where it does not tell."""

    temperature_c: float | None
    power_w: float | None


Read = Callable[[Sequence[str]], Mapping[str, Standing]]


def standing_of(uuids: Sequence[str]) -> Mapping[str, Standing]:
    """Where these GPUs stand now; those that do not answer are left out."""
    return told_by(uuids, lambda device: Standing(device.temperature_c(), device.power_w()))


@dataclass(frozen=True)
class References:
    """Where the GPUs of this host stood before the first run of a study on them, kept in its events.

    What was written before the host was started is not known any more, and nothing where a system has no number of a
    boot.
    """

    events: Events
    host: Host = field(default_factory=this_host)

    def known(self) -> dict[str, Standing]:
        """What workers of this host and boot have kept so far, by UUID; of several the first."""
        if self.events.file is None or self.host.boot_id is None:
            return {}
        found: dict[str, Standing] = {}
        for _, uuid, standing in sorted(self._kept(events_in(self.events.file.parent)), key=lambda each: each[0]):
            found.setdefault(uuid, standing)
        return found

    def keep(self, uuid: str, standing: Standing) -> None:
        """Keep where a GPU stands."""
        self.events.add(
            _REFERENCE, host=self.host.name, boot_id=self.host.boot_id, gpu=uuid,
            temperature_c=standing.temperature_c, power_w=standing.power_w,
        )  # fmt: skip

    def _kept(self, events: Iterator[Mapping[str, Any]]) -> Iterator[tuple[float, str, Standing]]:
        for event in events:
            if event.get("event") != _REFERENCE:
                continue
            try:
                if (event["host"], event["boot_id"]) == (self.host.name, self.host.boot_id):
                    standing = Standing(_number(event["temperature_c"]), _number(event["power_w"]))
                    yield datetime.fromisoformat(event["time"]).timestamp(), str(event["gpu"]), standing
            except (KeyError, TypeError, ValueError):
                continue


@dataclass
class Gap:
    """The rest between two runs, made by whoever has locked the devices of the next one.

    Args:
        execution: how long, and what ends it.
        references: where the GPUs stood before anything was run on them.
        read: where GPUs stand now.
        sleep: waits the given seconds.
        clock: monotonic seconds.
    """

    execution: StudyExecutionConfig
    references: References
    read: Read = standing_of
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _before: dict[str, Standing] = field(default_factory=dict)
    _begun: set[str] = field(default_factory=set)
    _is_first: bool = True

    def rest(self, uuids: Sequence[str], *, after_others: bool = False, has_others: bool = False) -> str | None:
        """Wait, before a run on some GPUs; what ended it, in words, and None where there is nothing to wait for.

        Args:
            uuids: of the GPUs.
            after_others: others have just used them, so that the first run rests too.
            has_others: others use them now, so that where they stand is no reference.
        """
        is_first, self._is_first = self._is_first and not after_others, False
        pause_s = self.execution.pause_s
        if not pause_s:
            return None
        if self.execution.gate_temperature_c is None:
            return None if is_first else self._whole()
        self._recall(uuids)
        is_cold = is_first and not any(self._tells(uuid) for uuid in uuids)
        if not (after_others or has_others):
            self._refer([uuid for uuid in uuids if uuid not in self._begun])
        self._begun.update(uuids)
        if is_cold:
            return None
        unknown = [uuid for uuid in uuids if uuid not in self._before]
        if not unknown and any(self._tells(uuid) for uuid in uuids):
            return self._gated(uuids)
        whole = self._whole()
        if not has_others:
            # Colder than after a whole pause it does not get.
            self._refer(unknown)
        if unknown and (has_others or any(self._tells(uuid) for uuid in uuids)):
            return f"{whole}; where {', '.join(unknown)} stood before the first run is not known"
        return f"{whole}; no GPU tells its temperature"

    def _recall(self, uuids: Sequence[str]) -> None:
        """Know what other workers have kept, this one's predecessors too."""
        if any(uuid not in self._before for uuid in uuids):
            self._before = {**self.references.known(), **self._before}

    def _refer(self, uuids: Sequence[str]) -> None:
        """Read where GPUs stand, of which that is not known, and keep it."""
        unknown = [uuid for uuid in uuids if uuid not in self._before]
        if unknown:
            for uuid, standing in self.read(unknown).items():
                self._before[uuid] = standing
                self.references.keep(uuid, standing)

    def _tells(self, uuid: str) -> bool:
        return uuid in self._before and self._before[uuid].temperature_c is not None

    def _whole(self) -> str:
        self.sleep(self.execution.pause_s)
        return f"the pause of {self.execution.pause_s:g} s was over"

    def _gated(self, uuids: Sequence[str]) -> str:
        pause_s, began_s = self.execution.pause_s, self.clock()
        while (above := self._above(uuids)) is not None:
            left_s = began_s + pause_s - self.clock()
            if left_s <= 0:
                return f"the pause of {pause_s:g} s was over, and {above}"
            self.sleep(min(_LOOK_S, left_s))
        return f"temperature and power were back after {self.clock() - began_s:.0f} s"

    def _above(self, uuids: Sequence[str]) -> str | None:
        """What is not back yet; None where all is."""
        most_c, most_pct = self.execution.gate_temperature_c, self.execution.gate_power_pct
        now = self.read(uuids)
        for uuid in uuids:
            before, here = self._before[uuid], now.get(uuid, Standing(None, None))
            if before.temperature_c is not None and most_c is not None:
                if here.temperature_c is None:
                    return f"{uuid} no longer tells its temperature"
                if here.temperature_c > before.temperature_c + most_c:
                    return f"{uuid} was at {here.temperature_c:.0f} C, and at {before.temperature_c:.0f} C before"
            if before.power_w is not None:
                if here.power_w is None:
                    return f"{uuid} no longer tells its power"
                if here.power_w > before.power_w * (1 + most_pct / 100):
                    return f"{uuid} drew {here.power_w:.0f} W, and {before.power_w:.0f} W before"
        return None


def _number(value: Any) -> float | None:
    """A finite number, or None as such.

    Raises:
        ValueError: it is none.
        TypeError: likewise.
    """
    if value is not None and not math.isfinite(float(value)):
        raise ValueError("no finite number")
    return None if value is None else float(value)
