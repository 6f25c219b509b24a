"""Groups of saved results, by the paths that name them."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llenergymeasure._paths import expanded, unnameable
from llenergymeasure._telling import in_a_line
from llenergymeasure.domain.experiment import ExperimentResult
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.comparing.groups import Group, by_configuration
from llenergymeasure.results.persistence import RESULT_FILE, RUNS_DIR, load_result, result_file

_MOST_SHOWN = 80


@dataclass
class Found:
    """Groups that were read, the file of each run by its name, and a line for each result that was left out."""

    groups: list[Group] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def read_groups(named: Sequence[str | Path]) -> Found:
    """A group for each of [n] names, or one for each configuration that lies under it.

    A name is a result (its folder, its ``result.json``, an experiment of a study), a study, a folder of results and
    studies, or a pattern of such names (``*``, ``?``, ``[...]``). Of a study and of a folder what has no result that
    can be read is left out, and told.

    Raises:
        ConfigError: a name is of nothing, a result that is named itself cannot be read, or the first name, which the
            others are held against, has several configurations under it.
    """
    found = Found()
    for number, name in enumerate(named):
        groups = _groups_of(str(name), found)
        if number == 0 and len(groups) > 1:
            labels = ", ".join(group.label for group in groups)
            raise ConfigError(
                f"{name}: the others are held against the first, which has {len(groups)} configurations ({labels}); "
                "name the results of one of them first"
            )
        found.groups += groups
    return found


def _groups_of(name: str, found: Found) -> list[Group]:
    problem = unnameable(name)
    if problem is not None:
        raise ConfigError(f"result {in_a_line(name[:_MOST_SHOWN])}: {problem}")
    path = expanded(Path(name))
    try:
        is_pattern = glob.has_magic(name) and not path.exists()
        # It may begin at the root, which pathlib's patterns may not.
        places = sorted(map(Path, glob.glob(str(path)))) if is_pattern else [path]  # noqa: PTH207
        if not places:
            raise ConfigError(f"results {name}: nothing is called so")
        files = [file for place in places for file in _files_in(place)]
    except OSError as error:
        raise ConfigError(f"results {name}: cannot be looked for: {error.strerror or error}") from None
    is_single = len(files) == 1 and len(places) == 1
    # By where a file really is: under two names it is still one run.
    results: dict[Path, tuple[Path, ExperimentResult]] = {}
    for file in files:
        try:
            results.setdefault(file.resolve(), (file, load_result(file)))
        except ConfigError as error:
            if is_single:
                raise
            found.left_out.append(str(error))
    if not results:
        raise ConfigError(f"results {name}: there is no result in it that can be read")
    found.files |= {str(file.parent): file for file, _ in results.values()}
    return by_configuration(name, [(str(file.parent), result) for file, result in results.values()])


def _files_in(place: Path) -> list[Path]:
    """The ``result.json`` files that a path stands for; of an experiment that failed the one that is not there."""
    if not place.is_dir():
        return [place]
    if not (place / RESULT_FILE).exists() and (place / RUNS_DIR).is_dir():
        return [result_file(run) for run in _folders(place / RUNS_DIR)]
    own = result_file(place)
    if own.exists() or own.parent != place:
        return [own]
    below = [file for child in _folders(place) for file in _results_below(child)]
    return below or [own]


def _results_below(child: Path) -> list[Path]:
    """The results of a folder in a folder of results; of one that is neither result nor study none."""
    if not (child / RESULT_FILE).exists() and (child / RUNS_DIR).is_dir():
        return _files_in(child)
    own = result_file(child)
    return [own] if own.exists() or own.parent != child else []


def _folders(place: Path) -> Iterator[Path]:
    """Folders in a folder in the order of their names, without hidden ones, in which something is under way."""
    return (child for child in sorted(place.iterdir()) if child.is_dir() and not child.name.startswith("."))
