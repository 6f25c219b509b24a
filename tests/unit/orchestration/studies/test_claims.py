"""Who has which part of a study."""

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from llenergymeasure.orchestration.studies.claims import Claims, Worker


def claims(folder: Path, **fields: float) -> Claims:
    return Claims(folder / "claims", **fields)  # type: ignore[arg-type]


def test_only_one_has_a_part_and_the_next_gets_it_when_it_is_given_back(tmp_path: Path) -> None:
    with claims(tmp_path) as one, claims(tmp_path) as two:
        with one.taken("0003") as mine:
            assert mine is not None
            assert not mine.is_superseded()
            assert (tmp_path / "claims" / "0003.1").exists()
            with two.taken("0003") as theirs:
                assert theirs is None
            with two.taken("0004") as another:
                assert another is not None
        with two.taken("0003") as theirs:
            assert theirs is not None
    assert list((tmp_path / "claims").iterdir()) == []


def test_a_claim_says_who_has_it(tmp_path: Path) -> None:
    with claims(tmp_path) as one, one.taken("0003"):
        written = json.loads((tmp_path / "claims" / "0003.1").read_text(encoding="utf-8"))
        assert (written["pid"], written["host"]) == (os.getpid(), platform.node())
        assert one.holder("0003") == one.worker
        assert one.holder("0004") is None


def of_another(folder: Path, name: str, worker: Worker, age_s: float) -> Path:
    """A claim that somebody else made, without a sign of life for so long."""
    path = folder / "claims" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(asdict(worker)), encoding="utf-8")
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


ELSEWHERE = Worker(name="far-1", host="far", boot_id="b", pid=1, started_s=0.0)


def test_of_another_host_only_the_age_of_its_claim_tells(tmp_path: Path) -> None:
    of_another(tmp_path, "0001.1", ELSEWHERE, age_s=30)
    of_another(tmp_path, "0002.1", ELSEWHERE, age_s=90)
    with claims(tmp_path, stale_s=60) as mine:
        with mine.taken("0001") as fresh:
            assert fresh is None
            assert mine.holder("0001") == ELSEWHERE
        with mine.taken("0002") as old:
            assert old is not None
            assert sorted(path.name for path in (tmp_path / "claims").iterdir()) == ["0001.1", "0002.2"]


def test_one_of_this_host_that_has_ended_is_taken_over_at_once(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    here = Worker.this_process()
    gone = replace(here, pid=ended.pid)
    of_another(tmp_path, "0001.1", gone, age_s=0)
    # The number was given to another process since.
    of_another(tmp_path, "0002.1", replace(here, started_s=here.started_s - 100), age_s=0)
    # Before the machine was started anew the same number may have been anybody's.
    of_another(tmp_path, "0003.1", replace(here, boot_id="earlier"), age_s=0)
    with (
        claims(tmp_path) as mine,
        mine.taken("0001") as first,
        mine.taken("0002") as second,
        mine.taken("0003") as third,
    ):
        assert first is not None
        assert second is not None
        assert third is None


def test_who_stood_still_for_too_long_finds_its_claim_superseded(tmp_path: Path) -> None:
    with claims(tmp_path, heartbeat_s=3600) as slept, claims(tmp_path) as other, slept.taken("0001") as old:
        assert old is not None
        os.utime(old.path, (time.time() - 61, time.time() - 61))
        assert not old.is_superseded()
        with other.taken("0001") as new:
            assert new is not None
            assert old.is_superseded()
            assert not new.is_superseded()
        # The other is through with it, and gave it back.
        assert old.is_superseded()
        with other.taken("0001") as again:
            assert again is not None
            assert again.number == old.number
            assert old.is_superseded()


def test_a_claim_is_kept_fresh_while_its_maker_lives(tmp_path: Path) -> None:
    with claims(tmp_path, heartbeat_s=0.01) as mine, mine.taken("0001") as claim:
        assert claim is not None
        os.utime(claim.path, (1, 1))
        end_s = time.monotonic() + 20
        while claim.path.stat().st_mtime < 2 and time.monotonic() < end_s:
            time.sleep(0.01)
        assert claim.path.stat().st_mtime > 2


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"name": 1}'])
def test_a_claim_that_cannot_be_read_counts_while_it_is_fresh(tmp_path: Path, content: bytes) -> None:
    path = of_another(tmp_path, "0001.1", ELSEWHERE, age_s=0)
    path.write_bytes(content)
    with claims(tmp_path) as mine:
        with mine.taken("0001") as fresh:
            assert fresh is None
        os.utime(path, (1, 1))
        with mine.taken("0001") as old:
            assert old is not None


def test_what_is_still_held_is_given_back_at_the_end(tmp_path: Path) -> None:
    with claims(tmp_path) as mine:
        held = mine.taken("0001")
        assert held.__enter__() is not None
    assert list((tmp_path / "claims").iterdir()) == []


def test_what_the_dead_left_is_removed_when_all_is_done_and_what_the_living_have_is_not(tmp_path: Path) -> None:
    of_another(tmp_path, "0001.1", ELSEWHERE, age_s=90)
    of_another(tmp_path, "0002.1", ELSEWHERE, age_s=30)
    with claims(tmp_path) as mine, mine.taken("0003"):
        mine.forget_the_dead()
        assert sorted(path.name for path in (tmp_path / "claims").iterdir()) == ["0002.1", "0003.1"]


def test_an_interruption_while_a_claim_is_given_back_leaves_none(tmp_path: Path) -> None:
    class Interrupted(Claims):
        n = 0

        def _give_back(self, path: Path) -> None:
            self.n += 1
            if self.n == 1:
                raise KeyboardInterrupt
            super()._give_back(path)

    with pytest.raises(KeyboardInterrupt), Interrupted(tmp_path / "claims") as mine, mine.taken("0001"):
        pass
    assert list((tmp_path / "claims").iterdir()) == []


def test_another_container_on_the_same_host_is_not_known_to_have_ended(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    elsewhere = replace(Worker.this_process(), pid=ended.pid, pid_namespace="pid:[1]")
    of_another(tmp_path, "0001.1", elsewhere, age_s=0)
    with claims(tmp_path) as mine, mine.taken("0001") as claim:
        assert claim is None


def test_what_somebody_else_made_anew_is_not_given_back(tmp_path: Path) -> None:
    with claims(tmp_path) as mine, mine.taken("0001") as claim:
        assert claim is not None
        of_another(tmp_path, "0001.1", ELSEWHERE, age_s=0)
    assert (tmp_path / "claims" / "0001.1").exists()
