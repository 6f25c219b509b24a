"""Repeats of one configuration, as what is compared."""

from collections.abc import Sequence
from dataclasses import dataclass

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.sentinel import is_of_a_sentinel
from llenergymeasure.exceptions import config_error


@dataclass(frozen=True, kw_only=True)
class Group:
    """Repeats of one configuration: [n] results, each of a launch of its own, and what each is called.

    Raises:
        ConfigError: there is no result, one is there twice, they are of several configurations, or some of them only
            are of the sentinel of a study.
    """

    label: str
    results: tuple[ExperimentResult, ...]
    runs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.results:
            raise config_error(f"{self.label}: there are no results to compare")
        ids = [result.experiment_id for result in self.results]
        if not self.runs:
            object.__setattr__(self, "runs", tuple(ids))
        twice = next((run for run, i in zip(self.runs, ids, strict=True) if ids.count(i) > 1), None)
        if twice is not None:
            raise config_error(f"{self.label}: run {twice} is in it twice; it counts once")
        hashes = dict.fromkeys(result.measurement_config_hash for result in self.results)
        if len(hashes) > 1:
            raise config_error(
                f"{self.label}: there are {len(hashes)} configurations in it ({', '.join(hashes)}); "
                "only runs of the same one are repeats"
            )
        n_of_sentinels = sum(map(is_of_a_sentinel, self.results))
        if n_of_sentinels not in (0, len(self.results)):
            raise config_error(
                f"{self.label}: {n_of_sentinels} of its {len(self.results)} runs are of the sentinel of their study, "
                "and no repeats of the others; leave them out"
            )


def by_configuration(label: str, results: Sequence[tuple[str, ExperimentResult]]) -> list[Group]:
    """A group for each configuration among [n] named results, in the order in which each came first.

    Raises:
        ConfigError: there is no result, or one is there twice.
    """
    found: dict[str, list[tuple[str, ExperimentResult]]] = {}
    for run, result in results:
        found.setdefault(result.measurement_config_hash, []).append((run, result))
    if len(found) <= 1:
        return [_group(label, results)]
    return [_group(f"{label}: {_called(key, runs, found)}", runs) for key, runs in found.items()]


def _group(label: str, results: Sequence[tuple[str, ExperimentResult]]) -> Group:
    return Group(label=label, results=tuple(r for _, r in results), runs=tuple(run for run, _ in results))


def _called(
    key: str,
    runs: Sequence[tuple[str, ExperimentResult]],
    found: dict[str, list[tuple[str, ExperimentResult]]],
) -> str:
    """What a configuration is called, with its hash where others are called so too."""
    name = runs[0][1].name
    alike = [other for other in found.values() if other[0][1].name == name]
    return name if len(alike) == 1 else f"{name} {key}"
