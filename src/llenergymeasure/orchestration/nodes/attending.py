"""What a worker does for others of its study: it attends experiments that want more nodes than their own."""

import contextlib
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure._lifeline import tied
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.orchestration.nodes.wanted import Place, group_of_workers, place_in
from llenergymeasure.orchestration.processes.interpreters import interpreter_of
from llenergymeasure.orchestration.processes.process_group import run_to_end
from llenergymeasure.results.attempts import attempts_in
from llenergymeasure.results.study.directory import StudyDirectory

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attendance:
    """Looks for places in the experiments of others, and takes them.

    Args:
        directory: the folder of the study.
        plan: what it is.
    """

    directory: StudyDirectory
    plan: StudyPlan

    @functools.cached_property
    def slots(self) -> Sequence[Slot]:
        """The runs that take several nodes."""
        return [slot for slot in self.plan.slots if self.takes_nodes(slot)]

    def takes_nodes(self, slot: Slot) -> bool:
        """Whether a run takes several nodes."""
        return self.plan.configurations[slot.configuration].values.get("nodes") is not None

    def once(self, is_open: Callable[[Slot], bool]) -> bool:
        """Attend a run, if one wants it; whether one did.

        Args:
            is_open: whether a run may want somebody still, and there is time for it.

        Raises:
            OSError: nothing can be written there.
        """
        for slot in self.slots:
            if not is_open(slot):
                continue
            attempts = attempts_in(self.directory.folder(self.plan, slot))
            place = _place_in(attempts[max(attempts)]) if attempts else None
            if place is not None:
                _log.info("attending experiment %d as node %d", slot.slot + 1, place.index)
                engine = str(self.plan.configurations[slot.configuration].values.get("backend"))
                code = _run(place, engine)
                if code:
                    _log.error("attending ended with exit code %d; the log lies beside the run's own", code)
                return True
        return False


def _place_in(attempt: Path) -> Place | None:
    with contextlib.suppress(OSError):
        return place_in(attempt, group_of_workers(), lambda: visible_gpus().uuids)
    # It is asked again in a moment.
    return None


def _run(place: Place, engine: str) -> int:
    python = interpreter_of(engine)
    command = python.command(
        *tied("llenergymeasure.orchestration.nodes.attendant", str(place.state_dir), str(place.index))
    )
    return run_to_end(command, env=python.environment())
