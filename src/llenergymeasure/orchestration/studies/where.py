"""Where paths of a study are read from: the working directory in which it was planned, wherever it is gone on with.

The texts of a plan stay as they were given, for configurations are known by their hashes, and those are over the texts.
"""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from llenergymeasure._machine_folder import FOLDER_VARIABLE
from llenergymeasure._paths import expanded, shortened
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.names.in_use import relative_in
from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.exceptions import config_error

_log = logging.getLogger(__name__)


def working_directory_of(configs: Iterable[ExperimentConfig]) -> str | None:
    """The working directory as a plan has it, with ``~`` for the home directory; None where no path depends on it.

    Raises:
        PreFlightError: a variable that is named is not set.
    """
    return shortened(str(Path.cwd())) if any(relative_in(config) for config in configs) else None


def _hold_variables() -> None:
    """Let variables that name folders go on to mean those that they mean here, in all that is started too."""
    for name in (FOLDER_VARIABLE, "PYTHONPATH"):
        given = os.environ.get(name)
        if given:
            places = [str(Path(place).absolute()) if place else place for place in given.split(os.pathsep)]
            os.environ[name] = os.pathsep.join(places)


@contextlib.contextmanager
def where_planned(plan: StudyPlan) -> Iterator[None]:
    """Be in the working directory in which a study was planned, where its paths depend on it.

    It is that of the whole process, so threads that do other things meanwhile do them there; processes that are
    started, engines and datasets then find what was planned by the names that stand in the plan.

    Raises:
        ConfigError: there is no such folder here, or it cannot be entered.
    """
    if plan.working_directory is None:
        yield
        return
    there = expanded(plan.working_directory)
    before = Path.cwd()
    _hold_variables()
    try:
        os.chdir(there)
    except OSError as error:
        raise config_error(
            f"the study was planned in {there} and names files or folders from there on, and that cannot be entered "
            f"here: {error.strerror or error}; go on where it is, or put the same files there"
        ) from None
    if Path.cwd() != before:
        _log.info("paths in the plan are read from %s, where the study was planned", there)
    try:
        yield
    finally:
        # The one before may be gone.
        with contextlib.suppress(OSError):
            os.chdir(before)
