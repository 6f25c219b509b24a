"""One experiment, carried out: a folder that has its final name once it is whole."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from llenergymeasure._folders import working_folder
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import TimedOutError
from llenergymeasure.orchestration.attempt import examined, kept_of, measured, planned
from llenergymeasure.orchestration.interruptions import held_back, noted_when_interrupted
from llenergymeasure.orchestration.keeping import Kept, keep_logs
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.output_folder import output_folder
from llenergymeasure.orchestration.prompts_at_hand import at_hand, keep_prompts
from llenergymeasure.results.persistence import publish, stamped_name

_log = logging.getLogger(__name__)


def execute_experiment(config: ExperimentConfig, options: RunOptions | None = None) -> Kept:
    """Run one experiment: a study of one, in a folder that has its final name once it is whole.

    An interruption has a note of what was kept, and so has the error of one that was ended because it took too long.

    Raises:
        LLEMError: it could not be run; nothing is left behind, but the log of one that took too long.
        OSError: there is no place to begin in.
    """
    options = options or RunOptions()
    kept: Kept | None = None
    with noted_when_interrupted(lambda: _where(kept)), contextlib.ExitStack() as stack:
        ((chosen, found),) = examined(stack.enter_context(at_hand([config])), config.output_dir, options)
        parent, name = output_folder(config.output_dir), stamped_name(chosen.config.display_name, options.now())
        at = None if parent is None else stack.enter_context(working_folder(parent, name))
        if at is not None:
            keep_prompts([config], at, durable=False)
        plan = planned(chosen, found, options, at)
        with _log_kept(plan, parent or Path(), name):
            raws, interruption = measured(plan, options)
        with held_back():
            # Where nothing is to be written, nothing is finished either.
            kept = kept_of(plan, raws, options, lambda folder: publish(folder, parent or Path(), name))
            if kept.problem is not None:
                _log.error("%s", kept.problem)
        if interruption is not None:
            raise interruption
    assert kept is not None
    return kept


@contextlib.contextmanager
def _log_kept(plan: ExperimentPlan, parent: Path, name: str) -> Iterator[None]:
    """One that is ended from outside has told nobody what it was doing: its log is kept."""
    try:
        yield
    except TimedOutError as error:
        with held_back():
            error.add_note(keep_logs(plan, str(error), parent, name))
        raise


def _where(kept: Kept | None) -> str:
    return "nothing was kept" if kept is None or kept.directory is None else f"the result is in {kept.directory}"
