"""What every field of a result means: its unit, its formula and the version of that.

This is the one place where it is written. The page of the documentation and the JSON schema are made from it, every
result says by it which versions it was made with, and a test holds it complete. A formula that changes gets a new
version here, so that it cannot hide under the same name.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache

from llenergymeasure.domain.meaning import joules, surroundings, under_load, work
from llenergymeasure.domain.meaning.base import Formula, Meanings

# By the name of the class, in the order of the page.
FIELDS: Mapping[str, Meanings] = {
    "ExperimentResult": {**joules.RESULT, **work.RESULT, **surroundings.RESULT},
    "DeviceEnergy": joules.DEVICE_ENERGY,
    "EnergyBreakdown": joules.ENERGY_BREAKDOWN,
    "AttachedLog": joules.ATTACHED_LOG,
    "ProcessSummary": joules.PROCESS_SUMMARY,
    "Aggregation": work.AGGREGATION,
    "LatencyStatistics": work.LATENCY_STATISTICS,
    "Distribution": work.DISTRIBUTION,
    "InFlight": work.IN_FLIGHT,
    "QualityResult": work.QUALITY_RESULT,
    "LoadResult": under_load.LOAD_RESULT,
    "FlightResult": under_load.FLIGHT_RESULT,
    "SendingResult": under_load.SENDING_RESULT,
    "OverloadResult": under_load.OVERLOAD_RESULT,
    "SubWindow": under_load.SUB_WINDOW,
    "PromisesResult": under_load.PROMISES_RESULT,
    "PromisedLatency": under_load.PROMISED_LATENCY,
    "ClassesResult": under_load.CLASSES_RESULT,
    "ClassEnergy": under_load.CLASS_ENERGY,
    "FlopsResult": work.FLOPS_RESULT,
    "FlopsTerms": work.FLOPS_TERMS,
    "PhasesResult": joules.PHASES_RESULT,
    "PhaseResult": joules.PHASE_RESULT,
    "Estimate": joules.ESTIMATE,
    "PhasePair": joules.PHASE_PAIR,
    "PhaseReading": joules.PHASE_READING,
    "WarmupResult": work.WARMUP_RESULT,
    "ThermalThrottleInfo": work.THERMAL_THROTTLE,
    "EnvironmentSnapshot": surroundings.ENVIRONMENT,
    "Job": surroundings.JOB,
    "NodeShare": surroundings.NODE_SHARE,
    "GpuInfo": surroundings.GPU_INFO,
    "Calibration": surroundings.CALIBRATION,
    "ReadingProperties": surroundings.READING_PROPERTIES,
    "ModelDescription": surroundings.MODEL,
    "RunKey": surroundings.RUN_KEY,
}

# Where in a result classes with formulas stand; each in one place, so that a formula has one name.
_PLACES = {
    "ExperimentResult": "",
    "DeviceEnergy": "energy_devices.",
    "EnergyBreakdown": "energy_breakdown.",
    "LatencyStatistics": "latency_stats.",
    "QualityResult": "quality.",
    "LoadResult": "load.",
    "FlightResult": "load.in_flight.",
    "SendingResult": "load.sending.",
    "OverloadResult": "load.overload.",
    "SubWindow": "load.sub_windows.",
    "PromisesResult": "load.slo.",
    "PromisedLatency": "load.slo.promised.",
    "ClassEnergy": "load.request_energy.classes.",
    "FlopsResult": "flops_result.",
    "PhasesResult": "phases.",
    "WarmupResult": "warmup_result.",
    "ThermalThrottleInfo": "thermal_throttle.",
}

# By the place in a result, such as ``energy_breakdown.adjusted_j``.
FORMULAS: Mapping[str, Formula] = {
    f"{_PLACES[kind]}{name}": meaning.formula
    for kind, fields in FIELDS.items()
    for name, meaning in fields.items()
    if meaning.formula is not None
}


_NAME = re.compile(r"`([a-z0-9_.]+)`")


@cache
def rests_on(place: str) -> frozenset[str]:
    """The places of all formulas that a figure comes of, its own and those of the fields in them, to the last.

    Two figures are comparable where the versions of all of these are equal. Of a field that is read there are none.
    """
    found: set[str] = set()
    open_ = [place] if place in FORMULAS else []
    while open_:
        place = open_.pop()
        if place not in found:
            found.add(place)
            open_ += _named_in(FORMULAS[place].text, place.rpartition(".")[0])
    return frozenset(found)


def _named_in(text: str, section: str) -> Iterator[str]:
    """The places of the formulas that a formula has the names of, which stands in a section of the result.

    A name is one of its own section, or else of the whole result, or else of whatever section has it.
    """
    for name in _NAME.findall(text):
        own = f"{section}.{name}" if section else name
        near = next((place for place in (own, name) if place in FORMULAS), None)
        yield from [near] if near else (place for place in FORMULAS if place.endswith(f".{name}"))


def definitions_in(revision: int) -> dict[str, int]:
    """The version of each formula that files of a revision were written with, by the place of its field."""
    versions = {place: formula.version_in(revision) for place, formula in FORMULAS.items()}
    return {place: version for place, version in versions.items() if version is not None}
