"""What results differ in beside their figures, and what makes their figures different things."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.metrics import DeviceEnergy, counted_devices
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.warnings import in_words
from llenergymeasure.results.cards.where import Machine, Where
from llenergymeasure.results.comparing.groups import Group
from llenergymeasure.results.differences import settings_of
from llenergymeasure.results.rows.settings import same

_OF_THE_MACHINE = (
    "platform", "cpu_model", "n_cpus", "memory_total_mb", "python_version", "cuda_version", "driver_version",
    "tool_version", "host",
)  # fmt: skip
_OF_A_GPU = (
    "name", "memory_total_mb", "power_limit_w", "power_limit_default_w", "persistence_mode", "mig_mode",
    "compute_capability",
)  # fmt: skip
_DIGESTS = ("prompts_digest", "inputs_digest", "outputs_digest")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something in which results differ: of each group the values that its runs have; None is not set, or not known."""

    kind: str
    name: str
    values: tuple[tuple[Any, ...], ...]


def sensors_of(result: ExperimentResult) -> tuple[str, ...]:
    """What read the energy of a result, with how and what it read; nothing where there is no energy."""
    if result.total_energy_j is None:
        return ()
    backend = result.energy_backend or "unknown"
    counted = counted_devices(result.energy_devices)
    return tuple(sorted({_reading(device, backend) for device in counted})) or (backend,)


def _reading(device: DeviceEnergy, backend: str) -> str:
    """One call has two meanings on GPUs, so the field counts; elsewhere it is a file whose number changes by itself."""
    field = f" of {device.field}" if device.kind == "gpu" and device.field else ""
    return f"{device.sensor or backend} ({device.source}{field})"


def scopes_of(result: ExperimentResult) -> tuple[str, ...]:
    """What the energy of a result covers; nothing where there is none."""
    if result.total_energy_j is None:
        return ()
    return tuple(sorted({device.covers for device in counted_devices(result.energy_devices)}))


def devices_of(result: ExperimentResult) -> tuple[str, ...]:
    """The devices behind the energy of a result; a processor has no number of its own, so its model stands for it."""
    if result.total_energy_j is None:
        return ()
    model = result.environment_snapshot.cpu_model or "unknown processor"
    counted = counted_devices(result.energy_devices)
    return tuple(sorted(d.device if d.kind == "gpu" else f"{d.device} of {model}" for d in counted))


def devices_in(group: Group) -> set[tuple[str, ...]]:
    """The devices behind the energy of each run of a group."""
    return {devices_of(result) for result in group.results}


def where_of(result: ExperimentResult) -> Where:
    """On which cards a result was measured."""
    about = result.environment_snapshot
    return Where(
        gpu_uuids_of(result), devices_of(result), sensors_of(result), Machine(about.host or "", about.boot_id or "")
    )


def gpu_uuids_of(result: ExperimentResult) -> tuple[str, ...]:
    """The GPUs that were used, or that were read where the engine does not tell; nothing of a CPU."""
    used = {*result.model.devices} or {row.device for row in result.energy_devices if row.kind == "gpu"}
    return tuple(sorted(used))


def kind_of(result: ExperimentResult) -> str:
    """The kind of the cards that were used, or of the processor where none was."""
    about, used = result.environment_snapshot, gpu_uuids_of(result)
    names = sorted(gpu.name for gpu in about.gpus if gpu.uuid in used)
    return ", ".join(names) or about.cpu_model or "unknown"


def of_several_kinds(results: Sequence[ExperimentResult]) -> str | None:
    """Why runs of one configuration have no mean, where they were on different kinds of device."""
    kinds = dict.fromkeys(map(kind_of, results))
    return None if len(kinds) == 1 else f"they were on different kinds of device: {' / '.join(kinds)}"


def objections(groups: Sequence[Group]) -> list[str]:
    """Why the figures of groups are different things: sensors, scopes, and which part of a run the window is."""
    results = [result for group in groups for result in group.results]
    of_energy = [result for result in results if result.total_energy_j is not None]
    found: dict[str, set[tuple[str, ...]]] = {
        "their energy was read by different sensors": {sensors_of(result) for result in of_energy},
        "their energy covers different things": {scopes_of(result) for result in of_energy},
        "their windows are different parts of a run": {(result.measurement_methodology,) for result in results},
    }
    return [
        f"{what}: {' / '.join(sorted(', '.join(value) or 'unknown' for value in values))}"
        for what, values in found.items()
        if len(values) > 1
    ]


def overloaded_at_times(results: Sequence[ExperimentResult]) -> str | None:
    """Why runs of one configuration have no mean, where a queue grew in some of them and not in others."""
    loads = [result.load for result in results if result.load is not None]
    n = sum(load.overload is not None and load.overload.overloaded for load in loads)
    return (
        f"{n} of {len(loads)} were overloaded, and of a queue that grows there is no mean"
        if 0 < n < len(loads)
        else None
    )


def differing(groups: Sequence[Group]) -> tuple[Fact, ...]:
    """What groups, or the runs of one, differ in: settings, environment, sensor, scope, tokens, validity."""
    known = [[_facts(result) for result in group.results] for group in groups]
    names = dict.fromkeys(name for group in known for facts in group for name in facts)
    facts = [
        Fact(kind=kind, name=name, values=tuple(_distinct(of.get((kind, name)) for of in group) for group in known))
        for kind, name in names
    ]
    return tuple(fact for fact in facts if len(_distinct(value for of in fact.values for value in of)) > 1)


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    found: list[Any] = []
    for value in values:
        if not any(same(value, other) for other in found):
            found.append(value)
    return tuple(found)


def _facts(result: ExperimentResult) -> Mapping[tuple[str, str], Any]:
    environment = result.environment_snapshot
    facts: dict[tuple[str, str], Any] = {("settings", name): value for name, value in settings_of(result).items()}
    facts |= {("environment", name): getattr(environment, name) for name in _OF_THE_MACHINE}
    facts[("environment", "gpus")] = [_gpu(gpu) for gpu in environment.gpus]
    facts[("environment", "engine")] = f"{result.model.engine} {result.model.engine_version or 'of unknown version'}"
    facts |= {("environment", f"engine.{name}"): value for name, value in environment.engine.items()}
    facts |= {("environment", f"package.{name}"): value for name, value in environment.packages.items()}
    facts[("sensor", "sensor")] = list(sensors_of(result))
    facts[("sensor", "devices")] = list(devices_of(result))
    facts[("scope", "scope")] = list(scopes_of(result))
    facts[("scope", "window")] = result.measurement_methodology
    facts |= {("tokens", name): getattr(result, name) for name in _DIGESTS}
    facts[("tokens", "output_tokens")] = result.output_tokens
    flags = f" ({', '.join(dict.fromkeys(result.validity_flags))})" if result.validity_flags else ""
    facts[("validity", "validity")] = in_words(result.validity) + flags
    return facts


def _gpu(gpu: GpuInfo) -> str:
    """A GPU without its number, which is told with the devices, and without what changes by itself."""
    told = [f"{name} {value}" for name in _OF_A_GPU[1:] if (value := getattr(gpu, name)) is not None]
    return ", ".join([gpu.name, *told])
