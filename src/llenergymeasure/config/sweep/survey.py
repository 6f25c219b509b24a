"""Which combinations of a grid can be run: each is validated once, and what is wrong is told once.

A value that no combination could have is an error of the file. A combination that cannot be is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.reading.merging import merged
from llenergymeasure.config.sweep.exclusions import Exclusion, Exclusions
from llenergymeasure.config.sweep.failures import Failures, Ground
from llenergymeasure.config.sweep.grid import Combination, Grid
from llenergymeasure.config.sweep.left_out import LeftOut, plain


@dataclass
class Survey:
    """What came of a grid: experiments with what was varied in each, and what is left out or wrong.

    The bits of ``excluded_by`` are the numbers of the exclusions that something falls under.
    """

    experiments: list[tuple[ExperimentConfig, dict[str, Any]]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    excluded_by: int = 0


def surveyed(grid: Grid, ground: Ground, exclusions: Sequence[Exclusion], is_broken: bool) -> Survey:
    """Every combination of a grid, validated.

    Args:
        grid: the combinations.
        ground: what they stand on.
        exclusions: those that the file leaves out.
        is_broken: something of the grid is wrong and not in it; what is only missing is no error then.

    Raises:
        ConfigError: a value is a secret that is written out.
    """
    found = Survey()
    failures, excluding = Failures(grid, ground), Exclusions(exclusions)
    stacks: dict[str, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = {}
    for each in grid.combinations():
        if each.engine not in stacks:
            stacks[each.engine] = ground.stack(each.engine)
        values = _fields_of(each, grid, *stacks[each.engine])
        matching = excluding.matching(each.engine, values) if exclusions else 0
        if matching:
            found.excluded_by |= matching
            first = exclusions[(matching & -matching).bit_length() - 1]
            found.left_out.append(_left_out(grid, each, "excluded", f"exclude: {first.in_words}"))
            continue
        config, reason = failures.tried(each, values)
        if config is None:
            found.left_out.append(_left_out(grid, each, "invalid", reason))
        else:
            found.experiments.append((config, grid.settings_of(each)))
    found.wrong = failures.certain(also_missing=not is_broken)
    if not found.experiments and not found.wrong and failures.n_tried and not is_broken:
        found.wrong = failures.all_of_them()
    return found


def _fields_of(
    each: Combination, grid: Grid, below: Mapping[str, Any], above: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    values = merged(below, grid.nested(each, of_the_file=True))
    for source in above:
        values = merged(values, source)
    of_flags = grid.nested(each, of_the_file=False)
    return merged(values, of_flags) if of_flags else values


def _left_out(grid: Grid, each: Combination, kind: Literal["invalid", "excluded"], reason: str) -> LeftOut:
    return LeftOut(kind=kind, settings=plain(grid.settings_of(each)), reason=reason)
