"""Which run of which study a measurement is."""

from collections.abc import Hashable
from dataclasses import dataclass

from llenergymeasure.config.execution import Order


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """The place of a run in its study: ``slot`` counts all runs, ``repeat`` those of its configuration, from 0 on.

    ``order`` says how the runs were ordered. Where that is ``blocks``, each ``block`` has every configuration once.
    """

    study_id: str
    slot: int
    block: int
    repeat: int
    order: Order

    @property
    def pair(self) -> Hashable | None:
        """The same of runs that are compared in pairs; None where the order makes none."""
        return (self.study_id, self.block) if self.order == "blocks" else None
