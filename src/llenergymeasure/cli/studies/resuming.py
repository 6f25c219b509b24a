"""``llem run --resume``: going on with a study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llenergymeasure.config.execution import checked_workers
from llenergymeasure.config.loader import load_study_config
from llenergymeasure.exceptions import ConfigError, config_error
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.studies.execute import go_on
from llenergymeasure.orchestration.studies.outcome import StudyOutcome


def resumed(
    directory: Path | None, config: Path | None, beside: Sequence[str], check_sums: bool, options: RunOptions,
    workers: Any = None,
) -> StudyOutcome:  # fmt: skip
    """Go on with a study; a file that is given beside it has to say the same.

    Args:
        directory: of the study; None where only ``--check`` was given.
        config: the file, if one was given.
        beside: other options that were given; all of them would change what is run.
        check_sums: hold what has finished against its sums.
        options: how it is carried out.
        workers: how many are to run it here, as it was given; None is as planned.

    Raises:
        ConfigError: what was given does not go together, or is another study.
    """
    if directory is None:
        raise ConfigError("--check goes with --resume DIR; llem verify DIR looks at all of a study")
    if beside:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in beside)
        raise config_error(
            f"{named} cannot go with --resume: what is run stands in the plan of the study; leave it out"
        )
    given = None if config is None else load_study_config(config)
    n = None if workers is None else checked_workers(workers)
    return go_on(directory, options, check_sums=check_sums, given=given, workers=n)
