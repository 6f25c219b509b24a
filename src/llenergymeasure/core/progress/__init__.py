"""How far a measurement is, for whoever waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llenergymeasure.domain.plan import Shown


class Progress:
    """Is told of phases, one after another, and of what is done in them; this one shows nothing.

    Whoever shows it does so beside what is measured, so it has to cost next to nothing.
    """

    def begin(self, phase: str, *, n: int | None = None, unit: str = "", for_s: float | None = None) -> None:
        """A phase begins, and what came before it has ended.

        Args:
            phase: in a few words.
            n: how many of ``unit`` there are to do; None where nobody knows.
            unit: what is counted.
            for_s: how long it takes at most, in seconds; None where it ends when it is done.
        """

    def done(self, n: int = 1, n_tokens: int = 0) -> None:
        """So many more are done, with so many output tokens."""

    def note(self, text: str) -> None:
        """What else is to be seen of the phase now; empty for nothing."""

    def later(self, seconds: float | None) -> None:
        """How long the experiment takes once this phase is over, as far as is known; None where it is not."""

    def watts(self, read: Callable[[], str] | None) -> None:
        """What reads the power of now, and whose, in words; None where nothing does any more."""

    def at_run(self, n: int, of: int, later_s: float | None) -> None:
        """The ``n``-th run of so many of a study begins; those after it take ``later_s``, None where nobody knows."""

    def handed_on(self) -> "Shown | None":
        """How the process of the run is to show how far it is; None where it is to show nothing."""
        return None

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """While the body runs, the process of a run shows how far that is."""
        yield

    def end(self) -> None:
        """The phase is over, and nothing is shown until the next one."""

    @contextmanager
    def phase(
        self, phase: str, *, n: int | None = None, unit: str = "", for_s: float | None = None
    ) -> Iterator["Progress"]:
        """``begin``, and ``end`` on every way out."""
        self.begin(phase, n=n, unit=unit, for_s=for_s)
        try:
            yield self
        finally:
            self.end()
