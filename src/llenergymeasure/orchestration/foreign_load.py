"""Whoever else uses what is to be measured is waited for, by what the warnings about it go by too."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.gpu.machine import told_by
from llenergymeasure.core.gpu.processes import foreign_processes, listed, own_pids
from llenergymeasure.core.machine_load import CpuTimes, cpu_times, foreign_cpu_pct
from llenergymeasure.core.measurement_warnings import FOREIGN_CPU_PCT
from llenergymeasure.domain.warnings import on_its_side
from llenergymeasure.orchestration.device_locks import HOST
from llenergymeasure.protocols import GpuDriver

_log = logging.getLogger(__name__)

# A card tells how busy it was in up to the last second (nvml.h): what one look sees may have been our own last run.
_LOOK_S = 2.0
_SAID_EVERY_S = 60.0


@dataclass(frozen=True)
class Seen:
    """Others that use some devices now, in words, and devices that do not tell."""

    others: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quiet:
    """What came of waiting for others.

    ``in_words`` is how it ended; ``had_others`` says whether there were any, ``has_others`` whether there still are.
    """

    in_words: str
    had_others: bool = False
    has_others: bool = False


Look = Callable[[Sequence[str]], Seen]


def others_on(
    devices: Sequence[str],
    driver: GpuDriver | None = None,
    times: Callable[[Iterable[int]], CpuTimes] = cpu_times,
    sleep: Callable[[float], None] = time.sleep,
) -> Seen:
    """Who else uses some devices now.

    In a container a driver may count processes as the host does. None of ours is on a GPU before a run, but where runs
    share this process (``launcher: in_process``).

    Args:
        devices: UUIDs of GPUs, or the host, whose load is looked at for two seconds.
        driver: that of the GPUs; default this machine's.
        times: what the processors have done so far, and which part of it processes did.
        sleep: waits the given seconds.
    """
    others, untold = list[str](), list[str]()
    gpus = [device for device in devices if device != HOST]
    told = told_by(gpus, _use_of, driver)
    for uuid in gpus:
        use = told.get(uuid)
        if use is None:
            untold.append(f"{uuid} tells neither its processes nor its use")
        elif use:
            others.append(f"{uuid} has {use}")
    if HOST in devices:
        own = {os.getpid()}
        before = times(own)
        sleep(_LOOK_S)
        load_pct = foreign_cpu_pct(before, times(own))
        if load_pct is None:
            untold.append("the system does not tell its load")
        elif load_pct > FOREIGN_CPU_PCT:
            others.append(f"others take {on_its_side(load_pct, FOREIGN_CPU_PCT, 0)} % of this machine's processors")
    return Seen(tuple(others), tuple(untold))


def _use_of(device: GpuDeviceBase) -> str | None:
    """What others do on a GPU, in words; none if nothing, None where it does not tell."""
    pids, used_pct = device.running_pids(), device.utilisation_pct()
    foreign = foreign_processes(pids, None, own_pids()).pids_before_load
    if foreign:
        return f"other processes ({listed(foreign)})"
    if used_pct:
        return f"work of others ({used_pct:.0f} % of the last moments)"
    return None if pids is None and used_pct is None else ""


def wait_for_quiet(
    devices: Sequence[str],
    patience_s: float,
    look: Look = others_on,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Quiet | None:
    """Wait until nobody else uses some devices, or patience is over; both are said.

    Args:
        devices: UUIDs of GPUs, or the host.
        patience_s: how long to wait; 0 does not look.
        look: finds who uses them.
        clock: monotonic seconds.
        sleep: waits the given seconds.

    Returns:
        What came of it; None where nobody looked.
    """
    if not devices or not patience_s:
        return None
    began_s, said_s, n_seen = clock(), None, 0
    while (seen := look(devices)).others:
        n_seen += 1
        who, now_s = "; ".join(seen.others), clock()
        left_s = began_s + patience_s - now_s
        if left_s <= 0:
            _log.warning("measured all the same after %g s (execution.wait_for_quiet_s): %s", patience_s, who)
            return Quiet(f"not quiet: {who}", had_others=True, has_others=True)
        if n_seen > 1 and (said_s is None or now_s - said_s >= _SAID_EVERY_S):
            said_s = now_s
            _log.info("waiting until nobody else uses what is measured: %s", who)
        sleep(min(_LOOK_S, left_s))
    if seen.untold:
        return Quiet(f"not known to be quiet: {'; '.join(seen.untold)}", had_others=n_seen > 1)
    ended = Quiet(f"quiet after {clock() - began_s:.0f} s", had_others=n_seen > 1)
    _log.info("%s", ended.in_words)
    return ended
