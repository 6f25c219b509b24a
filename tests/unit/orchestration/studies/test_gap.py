"""The rest between two runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from pydantic import ValidationError

from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.orchestration.studies.gap import Gap, Standing, standing_of
from llenergymeasure.testing import FakeClock


@dataclass
class Card:
    """A card that cools by so many degrees, and falls by so many watts, in a second after its work."""

    cools_c: float = 2.0
    falls_w: float = 50.0
    clock: FakeClock = field(default_factory=FakeClock)
    warm: bool = False
    gone: bool = False
    n_reads: int = 0

    def work(self) -> None:
        self.warm, self.ended_s = True, self.clock()

    def read(self) -> Mapping[str, Standing]:
        self.n_reads += 1
        if self.gone:
            return {}
        if not self.warm:
            return {"GPU-a": Standing(40.0, 60.0)}
        since_s = self.clock() - self.ended_s
        return {"GPU-a": Standing(max(40.0, 80 - self.cools_c * since_s), max(60.0, 300 - self.falls_w * since_s))}

    def gap(self, **execution: float) -> Gap:
        return Gap(StudyExecutionConfig(**execution), self.read, self.clock.sleep, self.clock)  # type: ignore[arg-type]


def rested_s(card: Card, gap: Gap) -> tuple[float, str | None]:
    card.work()
    began_s = card.clock()
    return (ended := gap.rest(), card.clock() - began_s)[1], ended


def test_without_a_pause_nobody_waits_or_reads() -> None:
    card = Card()
    assert rested_s(card, card.gap()) == (0, None)
    assert card.n_reads == 0


def test_a_gate_without_a_pause_ends_nothing_and_is_refused() -> None:
    with pytest.raises(ValidationError, match="pause_s is 0; give the longest pause too"):
        StudyExecutionConfig(gate_temperature_c=3)


def test_without_a_gate_the_pause_is_whole() -> None:
    card = Card()
    assert rested_s(card, card.gap(pause_s=60)) == (60, "the pause of 60 s was over")
    assert card.n_reads == 0


@pytest.mark.parametrize(
    ("cools_c", "falls_w", "rest_s"),
    [
        # Temperature is back within 3 degrees at 43: (80 - 43) / 2 = 18.5 s, seen at the next second.
        (2.0, 50.0, 19),
        # Power is back within 10 % at 66 W: (300 - 66) / 9 = 26 s.
        (2.0, 9.0, 26),
    ],
)
def test_the_gap_ends_when_temperature_and_power_are_back(cools_c: float, falls_w: float, rest_s: float) -> None:
    card = Card(cools_c=cools_c, falls_w=falls_w)
    gap = card.gap(pause_s=60, gate_temperature_c=3)
    assert rested_s(card, gap) == (rest_s, f"temperature and power were back after {rest_s} s")


def test_or_when_the_time_is_over_and_that_is_said() -> None:
    card = Card(cools_c=0.1)
    time_s, ended = rested_s(card, card.gap(pause_s=60, gate_temperature_c=3))
    assert (time_s, ended) == (60, "the pause of 60 s was over, and GPU-a was at 74 C, and at 40 C before")
    slow = Card(cools_c=100, falls_w=1)
    _, ended = rested_s(slow, slow.gap(pause_s=60, gate_temperature_c=3, gate_power_pct=20))
    assert ended == "the pause of 60 s was over, and GPU-a drew 240 W, and 60 W before"


def test_a_sensor_that_is_lost_or_was_never_there_makes_the_pause_whole() -> None:
    lost = Card()
    gap = lost.gap(pause_s=20, gate_temperature_c=3)
    lost.gone = True
    assert rested_s(lost, gap) == (20, "the pause of 20 s was over, and GPU-a no longer tells its temperature")
    never = Card(gone=True)
    assert rested_s(never, never.gap(pause_s=20, gate_temperature_c=3)) == (
        20, "the pause of 20 s was over; no GPU tells its temperature",
    )  # fmt: skip
    assert standing_of([]) == {}
