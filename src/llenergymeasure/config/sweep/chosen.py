"""Configurations that a study names by settings: its reference, and the sentinel that is run beside the others."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llenergymeasure.config.errors import name_of, validated
from llenergymeasure.config.execution import SENTINEL
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.reading.layers import sections_elsewhere
from llenergymeasure.config.reading.merging import merged
from llenergymeasure.config.reading.settings import parse_settings
from llenergymeasure.config.reading.yaml_file import printable
from llenergymeasure.config.sweep.equal import flat
from llenergymeasure.config.sweep.exclusions import canonical_value, in_full, text_of
from llenergymeasure.config.sweep.keys import Given, Problems, given_in
from llenergymeasure.exceptions import ConfigError

# As a file has them, or as text: a comma stands between two settings, and may stand in the value of one.
Settings = str | Mapping[str, Any]

_BETWEEN = re.compile(r",(?=\s*[\w.]+\s*=)")
_NO_SETTINGS = ("name", "output_dir")
_MOST_SHOWN = 6


def carried_out(config: StudyConfig) -> list[ExperimentConfig]:
    """The experiments of a study as they are carried out, and the sentinel behind them where there is one.

    Raises:
        ConfigError: the reference is no single configuration, or there can be no sentinel.
        ValidationError: a value of the sentinel is wrong.
    """
    reference_of(config)
    sentinel = sentinel_of(config)
    if sentinel is None:
        return config.carried_out
    return [*config.carried_out, sentinel.model_copy(update={"execution": config.execution.of_one})]


def reference_of(config: StudyConfig) -> int:
    """The place of the experiment that the others are compared with: the first, unless ``execution`` names another.

    Raises:
        ConfigError: its settings are those of none, or of several.
    """
    given = config.execution.reference
    return 0 if given is None else the_one(given, [each.resolved() for each in config.experiments])


def sentinel_of(config: StudyConfig) -> ExperimentConfig | None:
    """What is run at the beginning of every block: the reference with the settings of ``execution.sentinel`` over it.

    Raises:
        ConfigError: there are no blocks, or a setting is none of an experiment.
        ValidationError: a value is wrong.
    """
    given = config.execution.sentinel
    if given is None:
        return None
    called = "execution.sentinel"
    if config.order != "blocks":
        raise ConfigError(
            f"{called}: a sentinel is run at the beginning of every block, and experiments that are listed and run "
            "once keep their order; give execution.order: blocks, or execution.cycles"
        )
    reference = config.experiments[reference_of(config)]
    settings: dict[str, Any] = {}
    for each in [] if isinstance(given, bool) else _given(given, called):
        place = settings
        for part in each.key[:-1]:
            place = place.setdefault(part, {})
        place[each.key[-1]] = each.value
    below = reference.model_dump(exclude_unset=True)
    engine = str(settings.get("backend", reference.backend))
    below = {name: value for name, value in below.items() if name not in sections_elsewhere(below, engine)}
    return validated(
        ExperimentConfig,
        {**merged(below, settings), "name": SENTINEL},
        lambda _: "",
        name=lambda at: name_of(("execution", "sentinel", *at)),
    )


def the_one(given: Settings, configurations: Sequence[Mapping[str, Any]], called: str = "execution.reference") -> int:
    """The place of the only one of [n] configurations that has these settings.

    Args:
        given: the settings.
        configurations: their values, every default filled in.
        called: what the settings are, in an error.

    Raises:
        ConfigError: none has them, or several; what tells the configurations apart is said.
    """
    wanted: dict[str, str] = {}
    for each in _given(given, called):
        name = ".".join(each.key)
        value = in_full(each.key, each.value) if len(each.key) == 1 else each.value
        inner = flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
        wanted |= {name: text_of(tuple(name.split(".")), of) for name, of in inner.items()}
    if not wanted:
        raise ConfigError(f"{called}: this names no setting; give such as precision=fp32,pytorch.batch_size=1")
    flats = [flat(values) for values in configurations]
    found = [place for place, of in enumerate(flats) if all(_has(of, name, text) for name, text in wanted.items())]
    if len(found) == 1:
        return found[0]
    said = printable(", ".join(f"{name}: {text.strip(chr(34))}" for name, text in wanted.items()), 200)
    n = len(configurations)
    apart = _apart([flats[place] for place in found] if found else flats)
    if not found:
        raise ConfigError(f"{called}: none of {n} configurations has {said}; they differ in {apart or 'nothing'}")
    hint = f"name one of the settings that tell them apart: {apart}" if apart else "nothing tells them apart"
    raise ConfigError(f"{called}: {len(found)} of {n} configurations have {said}, and it takes a single one; {hint}")


def _given(given: Settings, called: str) -> list[Given]:
    """The settings, each with the canonical name of its field.

    Raises:
        ConfigError: one is no setting of an experiment.
    """
    settings = parse_settings(_BETWEEN.split(given), called) if isinstance(given, str) else given
    problems = Problems()
    found = list(given_in(settings, (), problems))
    if problems.found:
        lines = (f"{called}.{name_of(at)}: {text}" for at, text in problems.found)
        raise ConfigError("\n".join(lines))
    return found


def _has(values: Mapping[str, Any], name: str, text: str) -> bool:
    """Whether a setting is so; what is not there is null."""
    if name in values:
        return text_of(tuple(name.split(".")), values[name]) == text
    return text == "null" and not any(each.startswith(f"{name}.") for each in values)


def _apart(flats: Sequence[Mapping[str, Any]]) -> str:
    """The settings that are not the same in all of these, with their values, in words."""
    told = []
    for name in dict.fromkeys(name for of in flats for name in of if name not in _NO_SETTINGS):
        values = dict.fromkeys(canonical_value(of.get(name)).strip('"') for of in flats)
        if len(values) > 1:
            more = ", ..." if len(values) > _MOST_SHOWN else ""
            told.append(f"{name} ({', '.join(list(values)[:_MOST_SHOWN])}{more})")
    more = ", ..." if len(told) > _MOST_SHOWN else ""
    return printable(", ".join(told[:_MOST_SHOWN]) + more, 400)
