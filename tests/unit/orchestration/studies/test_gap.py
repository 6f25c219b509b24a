"""The rest between two runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from llenergymeasure._host import Host
from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.orchestration.studies.gap import Gap, References, Standing, standing_of
from llenergymeasure.results.study.events import Events, events_in
from llenergymeasure.testing import FakeClock

HERE = Host(name="here", machine_id="m", boot_id="boot-1")


@dataclass
class Card:
    """A card that cools by so many degrees, and falls by so many watts, in a second after its work.

    ``events`` are those of the study, where there is a folder for them.
    """

    cools_c: float = 2.0
    falls_w: float = 50.0
    clock: FakeClock = field(default_factory=FakeClock)
    events: Events | None = None
    warm: bool = False
    gone: bool = False
    n_reads: int = 0

    def work(self) -> None:
        self.warm, self.ended_s = True, self.clock()

    def read(self, uuids: Sequence[str]) -> Mapping[str, Standing]:
        self.n_reads += 1
        if self.gone:
            return {}
        standing = Standing(40.0, 60.0)
        if self.warm:
            since_s = self.clock() - self.ended_s
            standing = Standing(max(40.0, 80 - self.cools_c * since_s), max(60.0, 300 - self.falls_w * since_s))
        return dict.fromkeys(uuids, standing)

    def gap(self, host: Host = HERE, **execution: float) -> Gap:
        """That of a worker which begins now."""
        references = References(self.events or Events(None, self.clock.now), host)
        given = StudyExecutionConfig(**execution)  # type: ignore[arg-type]
        return Gap(given, references, self.read, self.clock.sleep, self.clock)

    def rested_s(self, gap: Gap, *uuids: str, **others: bool) -> tuple[float, str | None]:
        """How long the rest before a run took, and what ended it."""
        began_s = self.clock()
        ended = gap.rest(uuids or ("GPU-a",), **others)
        return self.clock() - began_s, ended


def rested_s(card: Card, gap: Gap) -> tuple[float, str | None]:
    """The rest between the first run and the next."""
    if not card.warm:
        assert card.rested_s(gap) == (0, None)
    card.work()
    return card.rested_s(gap)


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
    assert lost.rested_s(gap) == (0, None)
    lost.work()
    lost.gone = True
    assert lost.rested_s(gap) == (20, "the pause of 20 s was over, and GPU-a no longer tells its temperature")
    never = Card(gone=True)
    assert rested_s(never, never.gap(pause_s=20, gate_temperature_c=3)) == (
        20, "the pause of 20 s was over; no GPU tells its temperature",
    )  # fmt: skip
    assert standing_of([]) == {}


WHOLE = "the pause of 60 s was over"


def test_the_first_run_rests_too_where_others_have_just_used_its_devices() -> None:
    card = Card()
    assert card.rested_s(card.gap(pause_s=60)) == (0, None)
    gap = card.gap(pause_s=60)
    assert card.rested_s(gap, after_others=True) == (60, WHOLE)
    assert card.rested_s(gap) == (60, WHOLE)
    assert card.rested_s(card.gap(pause_s=0), after_others=True) == (0, None)


def test_after_others_a_warm_card_is_no_reference_and_one_that_rested_is() -> None:
    card = Card()
    card.work()
    gap = card.gap(pause_s=60, gate_temperature_c=3)
    # Where it stood before is not known, so the whole pause is waited; by then it is cold, at 40 C and 60 W.
    said = f"{WHOLE}; where GPU-a stood before the first run is not known"
    assert card.rested_s(gap, after_others=True) == (60, said)
    card.work()
    assert card.rested_s(gap) == (19, "temperature and power were back after 19 s")


def test_while_others_use_a_card_where_it_stands_is_no_reference() -> None:
    card = Card(cools_c=0)
    card.work()
    gap = card.gap(pause_s=60, gate_temperature_c=3)
    assert card.rested_s(gap, after_others=True, has_others=True)[1] == (
        f"{WHOLE}; where GPU-a stood before the first run is not known"
    )
    assert card.n_reads == 0
    # They are gone, and it has cooled.
    card.warm = False
    assert card.rested_s(gap)[1] == f"{WHOLE}; where GPU-a stood before the first run is not known"
    card.cools_c = 2
    card.work()
    assert card.rested_s(gap) == (19, "temperature and power were back after 19 s")


@pytest.fixture
def kept(tmp_path: Path) -> Card:
    """A card of a study with a folder, on which a worker has run once: it stood at 40 C and 60 W before."""
    card = Card()
    card.events = Events(tmp_path / "events" / "first.jsonl", card.clock.now)
    assert card.rested_s(card.gap(pause_s=60, gate_temperature_c=3)) == (0, None)
    card.work()
    return card


def going_on(card: Card, host: Host = HERE) -> Gap:
    """That of another worker which goes on with the study."""
    assert card.events is not None
    assert card.events.file is not None
    card.events = Events(card.events.file.with_name("another.jsonl"), card.clock.now)
    return card.gap(host, pause_s=60, gate_temperature_c=3)


def test_who_goes_on_takes_a_warm_card_for_what_it_is(kept: Card) -> None:
    gap = going_on(kept)
    # Its first run rests as the next of the first worker would have.
    assert kept.rested_s(gap) == (19, "temperature and power were back after 19 s")
    kept.work()
    assert kept.rested_s(gap) == (19, "temperature and power were back after 19 s")
    assert kept.events is not None
    assert kept.events.file is not None
    assert not kept.events.file.exists(), "only the first reference is kept"


@pytest.mark.parametrize(
    "host", [replace(HERE, boot_id="boot-2"), replace(HERE, name="there"), replace(HERE, boot_id=None)]
)
def test_a_reference_of_another_host_or_boot_is_none(kept: Card, host: Host) -> None:
    gap = going_on(kept, host)
    assert kept.rested_s(gap) == (0, None)
    # Read anew it is 80 C and 300 W, as the card was left.
    assert kept.rested_s(gap) == (0, "temperature and power were back after 0 s")


def test_another_gpu_has_a_reference_of_its_own(kept: Card) -> None:
    assert kept.rested_s(going_on(kept), "GPU-b") == (0, None)
    assert kept.events is not None
    assert kept.events.file is not None
    told = [event for event in events_in(kept.events.file.parent) if event["event"] == "reference"]
    fields = ("host", "boot_id", "gpu", "temperature_c", "power_w")
    assert [tuple(event[name] for name in fields) for event in told] == [
        ("here", "boot-1", "GPU-b", 80.0, 300.0), ("here", "boot-1", "GPU-a", 40.0, 60.0),
    ]  # fmt: skip


def test_of_several_references_the_first_counts_and_what_is_torn_does_not(kept: Card) -> None:
    assert kept.events is not None
    assert kept.events.file is not None
    kept.clock.time_s = 5
    later = Events(kept.events.file.with_name("a-later-one.jsonl"), kept.clock.now)
    References(later, HERE).keep("GPU-a", Standing(70.0, 200.0))
    later.add("reference", host="here", boot_id="boot-1", gpu="GPU-b", temperature_c="warm", power_w=None)
    later.add("reference", host="here", boot_id="boot-1", gpu="GPU-c", temperature_c=float("nan"), power_w=None)
    later.add("reference", host="here", boot_id="boot-1", gpu="GPU-d", temperature_c=None, power_w=50)
    found = References(later, HERE).known()
    assert found == {"GPU-a": Standing(40.0, 60.0), "GPU-d": Standing(None, 50.0)}
