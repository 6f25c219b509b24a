"""What a study begins with, whoever runs it: a plan, in a folder with everything that it needs."""

import logging
import shlex
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure._folders import working_folder
from llenergymeasure.config.models import StudyConfig
from llenergymeasure.config.sweep.chosen import carried_out
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.output_folder import output_folder
from llenergymeasure.orchestration.preflight.check import check_room
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.prompts_at_hand import keep_prompts
from llenergymeasure.orchestration.studies.planning import plan_of
from llenergymeasure.orchestration.studies.standing import unfinished_like
from llenergymeasure.orchestration.studies.where import working_directory_of
from llenergymeasure.results.persistence import create_directory, stamped_name
from llenergymeasure.results.study.directory import StudyDirectory

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BegunStudy:
    """A study of which nothing has been run; ``path`` is its folder as it was given."""

    path: Path
    directory: StudyDirectory
    plan: StudyPlan


def refuse_shared_process(config: StudyConfig) -> None:
    """Raise where repeats would share a process.

    Raises:
        ConfigError: they would.
    """
    if config.execution.launcher == "in_process" and config.most_runs > 1:
        raise ConfigError(
            "execution.launcher: in_process cannot go with several cycles: runs that share a process are no "
            "repeats, and an interval over them would be too narrow; leave it out, or give cycles: 1 and no sentinel"
        )


def begin_study(
    config: StudyConfig, found: Sequence[tuple[Settled, ExaminedExperiment]], options: RunOptions, stack: ExitStack
) -> BegunStudy:
    """Plan a study, and write it down where it is to be kept.

    Args:
        config: the study.
        found: what it carries out, with nothing left to the machine, and what preflight found of each.
        options: how it is carried out.
        stack: takes a folder that is to be removed, where nothing is to be kept.

    Raises:
        LLEMError: there is no room for what it writes, or a variable that is named is not set.
        OSError: there is no place to begin in.
    """
    chosen, parent = [each for each, _ in found], output_folder(config.output_dir)
    check_room([each.config for each in chosen], [each for _, each in found], config.most_runs, config.output_dir)
    start = options.now()
    plan = plan_of(config, chosen, start, working_directory_of(each.config for each in chosen))
    if parent is not None:
        _name_unfinished(plan, parent)
        path = create_directory(parent, stamped_name(config.name, start))
    else:
        # Processes of one study share their idle baseline, also when nothing is to be kept.
        path = stack.enter_context(working_folder(Path(tempfile.gettempdir()), "llenergymeasure"))
        path.chmod(0o700)
    directory = StudyDirectory(path.absolute())
    # Before the plan, so that none is without them.
    keep_prompts(carried_out(config), directory.path)
    if parent is not None:
        directory.write(plan, config)
        _log.info("what finishes is kept in %s", path)
    return BegunStudy(path, directory, plan)


def _name_unfinished(plan: StudyPlan, parent: Path) -> None:
    for other in unfinished_like(plan, parent):
        _log.warning(
            "an unfinished study of the same plan is in %s (%d of %d runs finished); this is a new one: go on "
            "with that by llem run --resume %s",
            other.path, other.n_finished, other.n_planned, shlex.quote(str(other.path)),
        )  # fmt: skip
