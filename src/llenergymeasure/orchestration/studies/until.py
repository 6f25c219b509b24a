"""For how long a worker takes runs of a study."""

from llenergymeasure.domain.study.plan import Slot


class Until:
    """Says, before each run, whether there is time for it; here there always is."""

    def no_time_for(self, slot: Slot) -> str | None:
        """Why a run is not to be begun any more, in words; None where it is. Another, a shorter one, may be."""

    def as_options(self) -> list[str]:
        """How a worker that is started is told the same, as options of ``llem worker``."""
        return []

    def took(self, slot: Slot, seconds: float) -> None:
        """A run finished, which took so long."""
