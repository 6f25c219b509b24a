"""Two that measure the same device: one waits for the other, and is told who that is."""

import json
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from llenergymeasure import _machine_folder
from llenergymeasure._machine_folder import FOLDER_VARIABLE, locked_among_users
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import PreFlightError
from llenergymeasure.orchestration import device_locks
from llenergymeasure.orchestration.device_locks import devices_of, held
from llenergymeasure.testing import FakeClock
from tests.unit.orchestration.conftest import plan_of


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the locks; nothing has been said yet."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "locks"))
    monkeypatch.setattr(device_locks, "_said", set())
    return tmp_path / "locks"


def test_what_is_locked_are_the_gpus_or_else_the_host_and_nothing_where_nothing_is_read() -> None:
    plan = plan_of()
    assert devices_of(replace(plan, devices=("GPU-b", "GPU-a", "GPU-b"))) == ("GPU-a", "GPU-b")
    assert devices_of(plan) == ("host",)
    config = ExperimentConfig.model_validate({"model": "a/model", "energy": {"backend": None}})
    assert devices_of(replace(ExperimentPlan.of(config), devices=("GPU-a",))) == ()


def test_the_second_is_told_who_has_it_and_does_not_begin(locks: Path) -> None:
    with held(["GPU-a"], "the first study"):
        began_s = time.monotonic()
        with (
            pytest.raises(
                PreFlightError, match=rf"GPU-a is being measured by process {os.getpid()} of .*the first study"
            ),
            held(["GPU-a"], "the second", patience_s=0.2),
        ):
            raise AssertionError("two at a time")
        assert time.monotonic() - began_s >= 0.2
        with held(["GPU-b"], "another device", patience_s=0):
            pass
    with held(["GPU-a"], "the second", patience_s=0):
        pass
    assert sorted(path.name for path in locks.iterdir() if path.suffix != ".turn") == ["GPU-a.lock", "GPU-b.lock"]


def test_who_waits_goes_on_when_the_other_is_through(caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []
    first_has_it, go = threading.Event(), threading.Event()

    def first() -> None:
        with held(["GPU-a"], "first") as waited:
            first_has_it.set()
            go.wait(30)
            order.append(f"first, waited: {waited}")

    def second() -> None:
        with held(["GPU-a"], "second") as waited:
            order.append(f"second, waited: {waited}")

    caplog.set_level(logging.INFO)
    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert first_has_it.wait(30)
    threads[1].start()
    end_s = time.monotonic() + 30
    while "waiting for GPU-a" not in caplog.text and time.monotonic() < end_s:
        time.sleep(0.01)
    assert "waiting for GPU-a, which is being measured by process" in caplog.text
    go.set()
    for thread in threads:
        thread.join(30)
    assert order == ["first, waited: False", "second, waited: True"]


def test_who_measures_again_and_again_leaves_a_device_to_those_who_wait() -> None:
    order: list[str] = []
    first_has_it, second_waits = threading.Event(), threading.Event()

    def first() -> None:
        for _ in range(3):
            with held(["GPU-a"], "first", sleep=lambda _: time.sleep(0.01)):
                order.append("first")
                first_has_it.set()
                assert second_waits.wait(30)

    def second() -> None:
        assert first_has_it.wait(30)

        def sleep(_: float) -> None:
            second_waits.set()
            # The first one is sooner there than this one looks again.
            time.sleep(0.2)

        with held(["GPU-a"], "second", sleep=sleep):
            order.append("second")

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert order == ["first", "second", "first", "first"]


def test_who_stands_still_while_it_waits_keeps_nobody_from_a_device_for_long(locks: Path) -> None:
    with held(["GPU-a"], "before"):
        pass
    clock = FakeClock()
    with (
        locked_among_users(locks / "GPU-a.turn") as turn,
        held(["GPU-a"], "mine", clock=clock, sleep=clock.sleep) as waited,
    ):
        assert (turn, waited) == (True, True)
        # Ten looks, a second apart.
        assert clock() == 10


def test_a_lock_of_one_that_was_killed_is_free(locks: Path) -> None:
    code = (
        "import os, signal\n"
        "from llenergymeasure.orchestration.device_locks import held\n"
        "with held(['GPU-a'], 'doomed'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    # What it said of itself is still there, and is of nobody.
    (word,) = locks.glob("*.json")
    assert json.loads(word.read_text(encoding="utf-8"))["what"] == "doomed"
    with held(["GPU-a"], "next", patience_s=5):
        assert json.loads(word.read_text(encoding="utf-8"))["what"] == "next"


def test_all_users_may_use_the_locks_and_nobody_may_take_them_away(locks: Path) -> None:
    before = os.umask(0o077)
    try:
        with held(["GPU-a"], "mine"):
            assert stat.S_IMODE(locks.stat().st_mode) == 0o1777
            assert stat.S_IMODE((locks / "GPU-a.lock").stat().st_mode) == 0o666
    finally:
        os.umask(before)


def test_where_nothing_can_be_locked_it_is_said_once_and_measured(
    locks: Path, caplog: pytest.LogCaptureFixture
) -> None:
    locks.write_text("a file", encoding="utf-8")
    for _ in range(2):
        with held(["GPU-a"], "mine", patience_s=0):
            pass
    assert caplog.text.count("GPU-a cannot be locked") == 1
    assert FOLDER_VARIABLE in caplog.text


def test_a_link_in_place_of_the_folder_is_not_followed(
    locks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "theirs").mkdir()
    locks.symlink_to(tmp_path / "theirs")
    with held(["GPU-a"], "mine"):
        pass
    assert "it is a link" in caplog.text
    assert list((tmp_path / "theirs").iterdir()) == []


def test_in_a_container_it_is_said_that_nobody_outside_sees_the_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mark = tmp_path / "mark"
    mark.touch()
    monkeypatch.setattr(device_locks, "_IN_A_CONTAINER", (mark,))
    with held(["GPU-a"], "mine"):
        pass
    assert "container" not in caplog.text, "the folder was chosen"
    monkeypatch.setattr(_machine_folder, "_SHARED", tmp_path)
    monkeypatch.delenv(FOLDER_VARIABLE)
    with held(["GPU-a"], "mine"), held([], "nothing"):
        pass
    assert caplog.text.count("seen by nobody outside of it") == 1


def test_a_name_of_a_device_leads_nowhere_else(locks: Path) -> None:
    with held(["../../x"], "mine"):
        pass
    assert [path.name for path in locks.glob("*.lock")] == ["..-..-x.lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser may become others")
def test_three_users_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where pytest keeps its folders nobody else may look.
    shared = tempfile.mkdtemp(dir="/tmp")
    Path(shared).chmod(0o777)
    monkeypatch.setenv(FOLDER_VARIABLE, f"{shared}/locks")
    code = (
        "import os, sys\n"
        "from llenergymeasure.exceptions import PreFlightError\n"
        "from llenergymeasure.orchestration.device_locks import held\n"
        "os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))\n"
        "try:\n"
        "    with held(['GPU-a'], 'theirs', patience_s=0.2):\n"
        "        print('held', flush=True)\n"
        "        sys.stdin.read()\n"
        "except PreFlightError as error:\n"
        "    print(error, flush=True)\n"
    )

    def of_user(number: int) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", code, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    # The folder is the first one's, the lock the second one's.
    with held(["GPU-other"], "mine"):
        pass
    with of_user(12345) as second:
        assert second.stdout is not None
        assert second.stdin is not None
        assert second.stdout.readline() == "held\n"
        with pytest.raises(PreFlightError, match="GPU-a is being measured by"), held(["GPU-a"], "mine", patience_s=0.2):
            pass
        with of_user(23456) as third:
            assert third.stdout is not None
            assert "GPU-a is being measured by" in third.stdout.readline()
        second.stdin.close()
    with of_user(23456) as third:
        assert third.stdout is not None
        assert third.stdin is not None
        assert third.stdout.readline() == "held\n"
        third.stdin.close()
    shutil.rmtree(shared)
