"""A machine as plain text: what it has to measure with, line by line as it becomes known."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from llenergymeasure._telling import in_a_line, told
from llenergymeasure.cli.text import environment_line, place_rows
from llenergymeasure.config.loader import FieldOrigin
from llenergymeasure.config.sensors import own_names
from llenergymeasure.core.backends.unproven import NOT_YET_RUN
from llenergymeasure.core.energy_backends import SensorStatus
from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.domain.environment import EnvironmentSnapshot, GpuInfo
from llenergymeasure.domain.in_figures import number
from llenergymeasure.orchestration.advice import Advice
from llenergymeasure.orchestration.inspection import Availability
from llenergymeasure.results.showing.lines import LABEL, wrapped

_FORMATS = ("fp32", "fp16", "bf16")
_ON_CPU = "usable, on the CPU only: it is built without CUDA, so no GPU is used or measured"


def machine(
    environment: EnvironmentSnapshot, native: frozenset[str] | None, visible: VisibleGpus, user_file: Path
) -> Iterator[str]:
    """What is known at once: the machine, its processor, GPUs, and where the user's defaults are looked for.

    Args:
        environment: the snapshot.
        native: the formats that the processor does not emulate; None where the system does not say.
        visible: the GPUs that may be used.
        user_file: the user's file.
    """
    yield wrapped("llem", environment.tool_version)
    yield wrapped("machine", environment_line(environment))
    for label, text in place_rows(environment):
        yield wrapped(label, in_a_line(text))
    yield wrapped("CPU computes", _natively(native))
    if not environment.gpus:
        yield wrapped("GPUs", "none (no NVIDIA driver answered)")
    for gpu in environment.gpus:
        hidden = "" if gpu.uuid in visible.uuids else ", hidden by CUDA_VISIBLE_DEVICES"
        yield wrapped(f"GPU {gpu.index}", in_a_line(f"{_gpu(gpu)}{hidden}"))
    if visible.problem:
        yield wrapped("", in_a_line(visible.problem))
    # Paths are copied, so they are not broken.
    yield f"{'user file':<{LABEL}}{in_a_line(str(user_file))}{'' if user_file.exists() else ' (none yet)'}"


def _natively(native: frozenset[str] | None) -> str:
    if native is None:
        return "the system does not say in which formats"
    emulated = [name for name in _FORMATS if name not in native]
    said = f"{', '.join(name for name in _FORMATS if name in native)} natively"
    return said + (f"; {' and '.join(emulated)} emulated, which is slow" if emulated else "")


def _gpu(gpu: GpuInfo) -> str:
    parts = [gpu.name]
    parts += [] if gpu.memory_total_mb is None else [f"{gpu.memory_total_mb / 1000:.0f} GB"]
    if gpu.power_limit_w is not None:
        of = "" if gpu.power_limit_default_w in (None, gpu.power_limit_w) else f" of {gpu.power_limit_default_w:g} W"
        parts.append(f"power limit {gpu.power_limit_w:g} W{of}")
    if gpu.persistence_mode is not None:
        parts.append(f"persistence mode {'on' if gpu.persistence_mode else 'off'}")
    return ", ".join([*parts, gpu.uuid])


def engine(found: Availability) -> str:
    """An engine, and why it cannot be used if it cannot."""
    where = "" if found.python is None else f" (in an environment of its own: {told(found.python)})"
    version = "" if found.version is None else f" {found.version}"
    usable = (_ON_CPU if found.uses_gpus is False else f"usable{version and ','}{version}") + where
    unproven = "" if found.proven else f"; {NOT_YET_RUN}"
    text = usable if found.problem is None else f"not usable: {found.problem}"
    return wrapped(f"engine {found.name}", in_a_line(text + unproven))


def sensor(found: SensorStatus, seconds: float) -> str:
    """A sensor, with what it gave over so many seconds, or why it cannot be used."""
    if found.problem is not None:
        # What this package's own say of a problem is complete.
        advice = "" if found.name in own_names() else found.advice
        text = f"not usable: {'; '.join(filter(None, [found.problem, advice]))}"
    else:
        given = f"{'no figure' if found.read_w is None else f'{number(found.read_w)} W'} over {seconds:g} s"
        text = f"usable ({'modelled, not sensed' if found.modelled else 'sensed'}): {given}"
    return wrapped(f"energy {found.name}", in_a_line(text))


def chosen(sensors: Sequence[SensorStatus]) -> str:
    """What ``energy.backend: auto`` stands for here."""
    best = next((each.name for each in sensors if each.problem is None and each.name in own_names()), None)
    return wrapped("energy auto", best or "none: results will have no energy")


def model(found: Availability) -> str:
    """A packaged model, and why it cannot be used if it cannot."""
    text = found.name if found.problem is None else f"not usable: {found.problem}"
    return wrapped("packaged model", in_a_line(text))


def advised(found: Sequence[Advice]) -> list[str]:
    """What to do, each command in a line of its own."""
    if not found:
        return [wrapped("advice", "none: nothing was found that speaks against citing numbers of this machine")]
    lines = []
    for each in found:
        lines.append(wrapped("advice", in_a_line(each.why)))
        lines += [f"{'':<{LABEL}}  {each.command}"] if each.command else []
    return lines


def wrong_defaults(problem: str) -> str:
    """What is wrong in the user's file or in a variable; each run will be refused."""
    return wrapped("defaults", f"not usable: {in_a_line(problem)}")


def taken_names(kind: str, taken: Mapping[str, str]) -> list[str]:
    """What other distributions bring under a name of this package's.

    Args:
        kind: as the lines of such things begin.
        taken: who brings each name.
    """
    return [
        wrapped(
            f"{kind} {name}",
            f"not usable: that of {origin} has the name of one that comes with this package; rename it",
        )
        for name, origin in taken.items()
    ]


def packages(environment: EnvironmentSnapshot) -> list[str]:
    """Versions of all that is installed."""
    return [wrapped("package", in_a_line(f"{name} {version}")) for name, version in environment.packages.items()]


def defaults(origins: Sequence[FieldOrigin]) -> str:
    """Every field with the value it has unless an experiment says otherwise, and where that comes from."""
    rows = [(o.name, json.dumps(o.value), in_a_line(o.origin)) for o in origins]
    return "\n" + tabulate(rows, headers=("field", "default here", "from"), disable_numparse=True)
