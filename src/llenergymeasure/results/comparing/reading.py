"""Groups of saved results, by the paths that name them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.sentinel import is_of_a_sentinel
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.comparing.groups import Group, by_configuration
from llenergymeasure.results.reading import Skipped, files_in, results_of
from llenergymeasure.results.statistics import runs


@dataclass
class Found:
    """Groups that were read, and what was left out, each once."""

    groups: list[Group] = field(default_factory=list)
    left_out: list[Skipped] = field(default_factory=list)


def read_groups(named: Sequence[str | Path]) -> Found:
    """A group for each of [n] names, or one for each configuration that lies under it.

    Names are as for ``results_in``. What has no result that can be used is left out, and told. A file is read once,
    under however many names it lies. So are runs of the sentinel of a study, unless there is nothing else under a name.

    Raises:
        ConfigError: a name is of nothing, or there is no result under it that can be used; or the first name, which the
            others are held against, has several configurations under it.
    """
    found, reader = Found(), _Reader()
    for number, name in enumerate(named):
        groups = reader.groups_of(str(name))
        if number == 0 and len(groups) > 1:
            labels = ", ".join(group.label for group in groups)
            raise config_error(
                f"{name}: the others are held against the first, which has {len(groups)} configurations ({labels}); "
                "name the results of one of them first"
            )
        found.groups += groups
    found.left_out = list(dict.fromkeys(reader.skipped))
    return found


class _Reader:
    """Results that were read, by their files; of one that cannot be used None."""

    def __init__(self) -> None:
        self.skipped: list[Skipped] = []
        self._known: dict[str, ExperimentResult | None] = {}

    def groups_of(self, name: str) -> list[Group]:
        skipped: list[Skipped] = []
        results: list[tuple[str, ExperimentResult]] = []
        for file in files_in(name, skipped.append):
            if file.key not in self._known:
                self._known[file.key] = next(results_of([file], skipped.append), None)
            result = self._known[file.key]
            if result is not None:
                results.append((str(Path(file.file).parent), result))
        self.skipped += skipped
        if not results:
            why = f": {skipped[0]}" if skipped else ""
            more = f", and {len(skipped) - 1} more" if len(skipped) > 1 else ""
            raise config_error(f"results {name}: there is no result in it that can be used{why}{more}")
        return by_configuration(name, self._without_sentinels(name, results))

    def _without_sentinels(
        self, name: str, results: list[tuple[str, ExperimentResult]]
    ) -> list[tuple[str, ExperimentResult]]:
        """Those that are no runs of a sentinel; all where all are, for then they are what was asked for."""
        others = [(run, result) for run, result in results if not is_of_a_sentinel(result)]
        n_left = len(results) - len(others)
        if not others or not n_left:
            return results
        why = f"{runs(n_left)} of the sentinel of a study, which is in no comparison"
        self.skipped.append(Skipped(Path(name), why, damaged=False))
        return others
