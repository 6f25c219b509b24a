"""Settings from several places as one: the higher over the lower, section by section."""

import functools
from collections.abc import Mapping
from typing import Any

from llenergymeasure.config.decoder import DecoderConfig
from llenergymeasure.config.engines import EngineSection, registry
from llenergymeasure.config.fields import keys_of, model_in, takes_mapping, type_of
from llenergymeasure.config.measurement import PhasesConfig, WarmupConfig, with_implied
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.quality import QualityConfig
from llenergymeasure.config.random_prompts import full_length
from llenergymeasure.config.workload import DATASET_SOURCES, OF_ONE_SOURCE, DatasetConfig

# A preset says how to sample, so a new one takes the place of all that was said of it before.
_OF_SAMPLING = {"preset", "do_sample", *(name for name, wakers in DecoderConfig.needs.items() if "do_sample" in wakers)}


# Of sections that may be given as something shorter.
_SHORTHANDS = {"phases": PhasesConfig.from_shorthand, "quality": QualityConfig.from_shorthand}
_SECTIONS = frozenset(
    name
    for name, field in ExperimentConfig.model_fields.items()
    if name != "dataset" and model_in(field.annotation) is not None
)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top: fields of an experiment, in the forms that a file may give them."""
    result = dict(base)
    for key, value in over.items():
        given, below = value, result.get(key)
        if key in _SHORTHANDS:
            given, below = _SHORTHANDS[key](given), _SHORTHANDS[key](below)
        is_engine = registry.is_section(key)
        if (is_engine or key in _SECTIONS) and isinstance(given, Mapping) and not isinstance(below, Mapping | None):
            continue  # a wrong value in place of a section must not be hidden by what lies over it
        if key == "dataset":
            result[key] = _dataset(below, given)
        elif key == "decoder" and isinstance(given, Mapping):
            result[key] = _sections(_decoder_below(below, given), given)
        elif key == "warmup" and isinstance(given, Mapping):
            result[key] = _sections(_without_aliases(below, given), with_implied(given))
        elif is_engine and isinstance(given, Mapping):
            result[key] = _sections(below, given, whole=_mappings_of(key))
        else:
            result[key] = _sections(below, given)
    return result


def _sections(below: Any, given: Any, whole: frozenset[str] = frozenset()) -> Any:
    """A section over a section field by field, those in ``whole`` as they are; anything else replaces."""
    if not isinstance(below, Mapping) or not isinstance(given, Mapping):
        return given
    result = dict(below)
    for key, value in given.items():
        result[key] = value if key in whole else _sections(below.get(key), value)
    return result


def _dataset(below: Any, given: Any) -> Any:
    """A new source takes the place of the old one and of what was said of it, and leaves order and the like."""
    if isinstance(below, str):
        below = DatasetConfig.from_shorthand(below)
    full = DatasetConfig.from_shorthand(given) if isinstance(given, str) else given
    if not isinstance(below, Mapping) or not isinstance(full, Mapping):
        return given
    if isinstance(below.get("random"), Mapping) and isinstance(full.get("random"), Mapping):
        given = full = {**full, "random": _lengths(below["random"], full["random"])}
    replaced = {*DATASET_SOURCES, *OF_ONE_SOURCE} if full.keys() & set(DATASET_SOURCES) else set()
    rest = {key: value for key, value in below.items() if key not in replaced}
    return {**rest, **full} if rest else given


def _lengths(below: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Lengths over lengths: a new distribution, which a plain integer is too, takes the place of all that was said."""
    result = dict(below)
    for key, length in given.items():
        over, under = full_length(length), full_length(below.get(key))
        is_part = isinstance(over, Mapping) and isinstance(under, Mapping) and "distribution" not in over
        result[key] = {**under, **over} if is_part else length
    return result


def _decoder_below(below: Any, given: Mapping[str, Any]) -> Any:
    if given.get("preset") is None or not isinstance(below, Mapping):
        return below
    return {key: value for key, value in below.items() if key not in _OF_SAMPLING}


def _without_aliases(below: Any, given: Mapping[str, Any]) -> Any:
    """What lies below without fields that are given under another name."""
    if not isinstance(below, Mapping):
        return below
    names = keys_of(WarmupConfig)
    set_above = {names.get(key) for key in given}
    return {key: value for key, value in below.items() if key in given or names.get(key) not in set_above}


def _mappings_of(engine: str) -> frozenset[str]:
    """Fields of a section that are mappings of the user's own keys: half of one and half of another is neither."""
    return _mappings_in(registry.section_class(engine) or EngineSection)


@functools.cache
def _mappings_in(section: type[EngineSection]) -> frozenset[str]:
    return frozenset(name for name in section.model_fields if takes_mapping(type_of(section, name)))
