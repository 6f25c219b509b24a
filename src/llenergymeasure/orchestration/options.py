"""How experiments and studies are carried out by this process: with which launcher, for whom, and by which clock."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.progress import Progress
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.orchestration.foreign_load import Look, others_on
from llenergymeasure.orchestration.preflight.check import check
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.studies.gap import Read, standing_of
from llenergymeasure.orchestration.studies.until import Until
from llenergymeasure.protocols import Launcher, ResultsRepository
from llenergymeasure.results.persistence import JsonRepository


class Arrivals(Protocol):
    """Whoever wants the results of a study as they arrive; it raises nothing."""

    def planned(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """The settings of all experiments, as results will have them, before the first is run."""

    def finished(self, result: ExperimentResult) -> None:
        """A result that is kept, between two experiments."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to carry something out; nothing here changes what is measured.

    ``log_level`` is from which level on measuring processes tell where they stand; None: nothing. ``arrivals`` is told
    of each result as soon as it is there, ``progress`` of how far everything is. ``look`` finds who else uses devices,
    ``standing`` how warm GPUs are; ``until`` says for what there is no time any more. Clocks give
    seconds: ``clock`` is monotonic, ``file_time_s`` as the times of files are, ``now`` is UTC.
    """

    arrivals: Arrivals | None = None
    progress: Progress = field(default_factory=Progress)
    log_level: int | None = None
    launcher: Launcher | None = None
    repository: ResultsRepository = field(default_factory=JsonRepository)
    preflight: Callable[[Sequence[ExperimentConfig], Path | None, Asking], Sequence[ExaminedExperiment]] = check
    look: Look = others_on
    standing: Read = standing_of
    until: Until = field(default_factory=Until)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    file_time_s: Callable[[], float] = time.time
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
