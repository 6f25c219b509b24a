"""Who has which part of a study."""

import errno
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pytest

from llenergymeasure._shared_files import FilesOfTheSystem
from llenergymeasure.orchestration.studies.claiming.claim import Claim
from llenergymeasure.orchestration.studies.claiming.claims import Claims
from llenergymeasure.orchestration.studies.claiming.holders import Holders
from llenergymeasure.orchestration.studies.claiming.workers import Worker
from tests.fakes.claiming import ELSEWHERE, ended_by_another, of_another, taken_over


def claims(folder: Path, **fields: float) -> Claims:
    return Claims(folder / "claims", **fields)  # type: ignore[arg-type]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "claims").iterdir())


def gone() -> Worker:
    """A process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    return replace(Worker.this_process(), pid=ended.pid)


def test_only_one_has_a_part_and_the_next_gets_it_when_it_is_given_back(tmp_path: Path) -> None:
    with claims(tmp_path) as one, claims(tmp_path) as two:
        with one.taken("0003") as mine:
            assert mine is not None
            assert not mine.is_superseded()
            assert names_in(tmp_path) == ["0003.1"]
            with two.taken("0003") as theirs:
                assert theirs is None
            with two.taken("0004") as another:
                assert another is not None
        with two.taken("0003") as theirs:
            assert theirs is not None
            assert theirs.number == 3
    # Nothing is ever removed.
    assert names_in(tmp_path) == ["0003.1", "0003.2", "0003.3", "0003.4", "0004.1", "0004.2"]
    assert Holders(tmp_path / "claims").all() == {}


def test_a_claim_says_who_has_it_and_how_it_ended(tmp_path: Path) -> None:
    with claims(tmp_path) as one, one.taken("0003") as claim:
        assert claim is not None
        written = json.loads((tmp_path / "claims" / "0003.1").read_text(encoding="utf-8"))
        assert (written["pid"], written["host"]) == (os.getpid(), platform.node())
        assert Holders(tmp_path / "claims").all() == {"0003": one.worker}
        assert claim.end("finished", "attempt-1")
    written = json.loads((tmp_path / "claims" / "0003.2").read_text(encoding="utf-8"))
    assert written == {"ended": "finished", "attempt": "attempt-1", "by": asdict(one.worker)}
    assert names_in(tmp_path) == ["0003.1", "0003.2"]


def test_of_another_host_only_the_age_of_its_claim_tells(tmp_path: Path) -> None:
    of_another(tmp_path / "claims", "0001.1", age_s=30)
    of_another(tmp_path / "claims", "0002.1", age_s=90)
    with claims(tmp_path, stale_s=60) as mine:
        with mine.taken("0001") as fresh:
            assert fresh is None
        with mine.taken("0002") as old:
            assert old is not None
            assert Holders(tmp_path / "claims").all() == {"0001": ELSEWHERE, "0002": mine.worker}


def test_one_of_this_host_that_has_ended_is_taken_over_at_once(tmp_path: Path) -> None:
    here = Worker.this_process()
    of_another(tmp_path / "claims", "0001.1", gone())
    # The number was given to another process since.
    of_another(tmp_path / "claims", "0002.1", replace(here, started_s=here.started_s - 100))
    # Before the machine was started anew the same number may have been anybody's.
    of_another(tmp_path / "claims", "0003.1", replace(here, boot_id="earlier"))
    with (
        claims(tmp_path) as mine,
        mine.taken("0001") as first,
        mine.taken("0002") as second,
        mine.taken("0003") as third,
    ):
        assert first is not None
        assert second is not None
        assert third is None


def test_another_container_on_the_same_host_is_not_known_to_have_ended(tmp_path: Path) -> None:
    of_another(tmp_path / "claims", "0001.1", replace(gone(), pid_namespace="pid:[1]"))
    with claims(tmp_path) as mine, mine.taken("0001") as claim:
        assert claim is None


class Clock:
    """The time of this machine, as it passes and as a test says."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def test_who_stood_still_for_too_long_finds_its_claim_superseded(tmp_path: Path) -> None:
    with claims(tmp_path, heartbeat_s=3600) as slept, claims(tmp_path) as other, slept.taken("0001") as old:
        assert old is not None
        os.utime(old.path, (time.time() - 61, time.time() - 61))
        assert not old.is_superseded()
        with other.taken("0001") as new:
            assert new is not None
            assert old.is_superseded()
            assert not new.is_superseded()
            assert not old.end("finished", "attempt-1")
            assert not old.has_ended
        # The other is through with it, and gave it back.
        assert old.is_superseded()
    assert names_in(tmp_path) == ["0001.1", "0001.2", "0001.3"]


def test_who_stood_still_and_was_not_missed_says_anew_that_it_has_it(tmp_path: Path) -> None:
    clock = Clock()
    with (
        Claims(tmp_path / "claims", clock=clock, heartbeat_s=3600) as mine,
        mine.taken("0001") as claim,
        mine.taken("0002") as lost,
    ):
        assert claim is not None
        assert lost is not None
        clock.ahead_s = 59
        assert not claim.is_superseded()
        clock.ahead_s = 61
        # What it sees may be old: only what it creates is not.
        assert not claim.is_superseded()
        assert claim.number == 2
        of_another(tmp_path / "claims", "0002.2")
        mine.refresh()
        assert lost.is_superseded()
        assert claim.number == 2
        assert claim.end("finished", "attempt-1")
    assert names_in(tmp_path) == ["0001.1", "0001.2", "0001.3", "0002.1", "0002.2"]


def test_what_was_created_and_not_answered_is_this_ones(tmp_path: Path) -> None:
    with claims(tmp_path) as mine, mine.taken("0001") as claim:
        assert claim is not None
        ended_by_another(tmp_path / "claims", "0001.2", "finished", "attempt-1", worker=mine.worker)
        assert claim.end("finished", "attempt-1")
    assert names_in(tmp_path) == ["0001.1", "0001.2"]


def test_a_claim_is_kept_fresh_while_its_maker_lives(tmp_path: Path) -> None:
    def until_fresh(path: Path) -> None:
        os.utime(path, (1, 1))
        end_s = time.monotonic() + 20
        while path.stat().st_mtime < 2 and time.monotonic() < end_s:
            time.sleep(0.01)
        assert path.stat().st_mtime > 2

    with claims(tmp_path, heartbeat_s=0.01) as mine, mine.taken("0001") as claim:
        assert claim is not None
        until_fresh(claim.path)
        # What was promised takes its time.
        assert claim.end("finished", "attempt-1")
        until_fresh(tmp_path / "claims" / "0001.2")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"name": 1}', b'{"ended": "finished"}', b"7"])
def test_a_claim_that_cannot_be_read_counts_while_it_is_fresh(tmp_path: Path, content: bytes) -> None:
    path = of_another(tmp_path / "claims", "0001.1")
    path.write_bytes(content)
    with claims(tmp_path) as mine:
        with mine.taken("0001") as fresh:
            assert fresh is None
        os.utime(path, (1, 1))
        with mine.taken("0001") as old:
            assert old is not None


def test_what_a_later_version_says_beside_it_is_passed_over(tmp_path: Path) -> None:
    path = of_another(tmp_path / "claims", "0001.1")
    path.write_text(json.dumps({**asdict(ELSEWHERE), "job": 7}), encoding="utf-8")
    assert Holders(tmp_path / "claims").all() == {"0001": ELSEWHERE}


def test_what_is_still_held_is_given_back_at_the_end(tmp_path: Path) -> None:
    with claims(tmp_path) as mine:
        held = mine.taken("0001")
        assert held.__enter__() is not None
    assert names_in(tmp_path) == ["0001.1", "0001.2"]
    assert Holders(tmp_path / "claims").all() == {}


def test_an_interruption_while_a_claim_is_given_back_leaves_none(tmp_path: Path) -> None:
    class Interrupted(Claims):
        n = 0

        def _give_back(self, claim: Claim) -> None:
            self.n += 1
            if self.n == 1:
                raise KeyboardInterrupt
            super()._give_back(claim)

    with pytest.raises(KeyboardInterrupt), Interrupted(tmp_path / "claims") as mine, mine.taken("0001"):
        pass
    assert Holders(tmp_path / "claims").all() == {}


class Asked:
    """Whoever says that some attempts cannot be seen."""

    def __init__(self, missing: Collection[str] | None, *, are_there: bool = True) -> None:
        self.missing, self.are_there, self.of = missing, are_there, list[tuple[str, ...]]()

    def __call__(self, ended: Collection[str]) -> Mapping[str, bool] | None:
        self.of.append(tuple(ended))
        return None if self.missing is None else dict.fromkeys(sorted(set(self.missing) & set(ended)), self.are_there)


def test_who_is_said_to_have_finished_and_cannot_be_seen_to_have_is_waited_for(tmp_path: Path) -> None:
    of_another(tmp_path / "claims", "0001.1")
    path = ended_by_another(tmp_path / "claims", "0001.2", "finished", "attempt-1", age_s=30)
    asked = Asked(["attempt-1"])
    with claims(tmp_path) as mine:
        with mine.taken("0001", asked) as soon:
            assert soon is None
        assert Holders(tmp_path / "claims").of("0001", ["attempt-1"]) == ELSEWHERE
        assert Holders(tmp_path / "claims").of("0001", []) is None
        os.utime(path, (time.time() - 61, time.time() - 61))
        assert Holders(tmp_path / "claims").of("0001", ["attempt-1"]) is None
        with mine.taken("0001", asked) as claim:
            assert claim is not None
            # It may still wake.
            assert claim.overdue == ("attempt-1",)
    assert asked.of == [("attempt-1",), ("attempt-1",)]


@pytest.mark.parametrize(
    ("seen", "is_taken"), [(["attempt-1"], True), (["attempt-2"], False), (["attempt-1", "attempt-2"], True)]
)
def test_of_several_that_are_said_to_have_ended_none_may_be_missing(
    tmp_path: Path, seen: list[str], is_taken: bool
) -> None:
    of_another(tmp_path / "claims", "0001.1")
    ended_by_another(tmp_path / "claims", "0001.2", "failed", "attempt-1")
    of_another(tmp_path / "claims", "0001.3")
    ended_by_another(tmp_path / "claims", "0001.4", "finished", "attempt-2")
    # Its result could not be written: nobody waits for it.
    ended_by_another(tmp_path / "claims", "0001.5", "given_back", "attempt-2")
    with claims(tmp_path) as mine, mine.taken("0001", Asked({"attempt-1", "attempt-2"} - set(seen))) as claim:
        assert (claim is not None) == is_taken


def test_of_what_nothing_is_left_nothing_is_created(tmp_path: Path) -> None:
    of_another(tmp_path / "claims", "0001.1")
    ended_by_another(tmp_path / "claims", "0001.2", "finished", "attempt-1")
    with claims(tmp_path) as mine, mine.taken("0001", Asked(None)) as claim:
        assert claim is None
    assert names_in(tmp_path) == ["0001.1", "0001.2"]


@pytest.mark.parametrize("is_here", [False, True])
def test_an_attempt_that_somebody_took_away_is_made_anew_where_that_is_seen_at_once(
    tmp_path: Path, is_here: bool
) -> None:
    with claims(tmp_path) as mine:
        ended_by_another(tmp_path / "claims", "0001.1", "finished", "attempt-1",
                         worker=mine.worker if is_here else ELSEWHERE)  # fmt: skip
        # As long as it is there it may be about to say so.
        with mine.taken("0001", Asked(["attempt-1"])) as soon:
            assert soon is None
        with mine.taken("0001", Asked(["attempt-1"], are_there=False)) as claim:
            assert (claim is not None) == is_here


def test_a_finisher_of_this_host_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    of_another(tmp_path / "claims", "0001.1", gone())
    ended_by_another(tmp_path / "claims", "0001.2", "finished", "attempt-1", worker=gone())
    with claims(tmp_path) as mine, mine.taken("0001", Asked(["attempt-1"])) as claim:
        assert claim is not None
        assert claim.overdue == ("attempt-1",)


def test_a_torn_file_in_between_may_be_an_ending_and_is_waited_for_while_the_newest_is_fresh(tmp_path: Path) -> None:
    of_another(tmp_path / "claims", "0001.1")
    of_another(tmp_path / "claims", "0001.2").write_bytes(b"")
    of_another(tmp_path / "claims", "0001.3")
    path = ended_by_another(tmp_path / "claims", "0001.4", "given_back")
    with claims(tmp_path) as mine:
        with mine.taken("0001") as soon:
            assert soon is None
        os.utime(path, (1, 1))
        with mine.taken("0001") as claim:
            assert claim is not None


class TestOfOlderVersions:
    """What the version left that removed its claims: the newest of several alone, without an ending."""

    def test_one_that_is_alive_is_seen(self, tmp_path: Path) -> None:
        of_another(tmp_path / "claims", "0001.3")
        with claims(tmp_path) as mine, mine.taken("0001") as claim:
            assert claim is None

    def test_one_that_was_killed_is_taken_over(self, tmp_path: Path) -> None:
        of_another(tmp_path / "claims", "0001.3", age_s=90)
        of_another(tmp_path / "claims", "block-0000.1", gone())
        with claims(tmp_path) as mine:
            for _ in range(2):
                with mine.taken("0001") as claim, mine.taken("block-0000") as block:
                    assert claim is not None
                    assert block is not None
                # As soon as it is given back it is anybody's, with the old one 90 s ago as before.
                os.utime(claim.path, (1, 1))
        assert names_in(tmp_path) == [
            "0001.3", "0001.4", "0001.5", "0001.6", "0001.7",
            "block-0000.1", "block-0000.2", "block-0000.3", "block-0000.4", "block-0000.5",
        ]  # fmt: skip


def test_whoever_sees_less_than_there_is_creates_nothing(tmp_path: Path) -> None:
    with claims(tmp_path) as mine, mine.taken("0001") as claim:
        assert claim is not None
        taken_over(tmp_path / "claims", "0001")
        assert not claim.end("finished", "attempt-1")
    assert names_in(tmp_path) == ["0001.1", "0001.2", "0001.3"]


@dataclass(frozen=True)
class Torn(FilesOfTheSystem):
    """Files of which the creation ends in an error, some of them with nothing in them, while ``raises`` has one."""

    raises: list[BaseException] = field(default_factory=list)
    leaves: bytes | None = None

    def create(self, path: str | Path, content: bytes) -> None:
        """See ``SharedFiles``."""
        if not self.raises or str(path).endswith(".now"):
            super().create(path, content)
            return
        if self.leaves is not None:
            super().create(path, self.leaves)
        raise self.raises.pop(0)


@pytest.mark.parametrize(
    ("leaves", "names"), [(None, []), (b"", ["0001.1", "0001.2"]), (b'{"na', ["0001.1", "0001.2"])]
)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_what_may_have_been_created_when_it_was_ended_is_given_back(
    tmp_path: Path, leaves: bytes | None, names: list[str], error: BaseException
) -> None:
    files = Torn(raises=[error], leaves=leaves)
    with (
        pytest.raises(type(error)),
        Claims(tmp_path / "claims", files=files) as mine,
        mine.taken("0001"),
    ):
        raise AssertionError("it has nothing")
    assert names_in(tmp_path) == names
    with claims(tmp_path) as other, other.taken("0001") as claim:
        # Of a torn one nobody knows whether it is an ending, as long as what came after it is new.
        assert (claim is not None) == (not names)


def test_an_ending_on_a_full_disk_is_an_error_and_others_wait_until_it_is_old(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    files = Torn(raises=[], leaves=b"")
    with Claims(tmp_path / "claims", files=files) as mine, mine.taken("0001") as claim:
        assert claim is not None
        files.raises.append(full)
        with pytest.raises(OSError, match="No space left"):
            claim.end("finished", "attempt-1")
        assert not claim.has_ended
        # Nobody else has that number.
        assert names_in(tmp_path) == ["0001.1", "0001.2"]
    with claims(tmp_path) as other:
        with other.taken("0001") as soon:
            assert soon is None
        for path in (tmp_path / "claims").iterdir():
            os.utime(path, (1, 1))
        with other.taken("0001") as late:
            assert late is not None
