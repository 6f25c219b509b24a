"""Waiting is exact and costs nothing."""

import selectors
import socket
import time

from llenergymeasure.core.backends.server import ServerBackend
from llenergymeasure.core.backends.server.waiting import Waiting
from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.testing.fake_server import FakeServer, FakeSettings
from tests.unit.core.backends.server.conftest import config_of, requests_of


def test_a_wait_is_not_rounded_up_to_milliseconds() -> None:
    took_s = []
    with selectors.DefaultSelector() as selector, Waiting(selector, exact=True) as wait:
        for _ in range(100):
            began_s = time.monotonic()
            assert wait.ready(0.0003) == []
            took_s.append(time.monotonic() - began_s)
    # The best of many, since others use this machine; epoll would take a millisecond each time.
    assert 0.0003 <= min(took_s) < 0.0009


def test_what_is_ready_is_told_at_once_and_what_was_waited_for_is_named() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, selectors.DefaultSelector() as selector, Waiting(selector, exact=False) as wait:
        selector.register(ours, selectors.EVENT_READ, "data")
        assert wait.ready(0.0) == []
        theirs.send(b"x")
        assert [key.data for key in wait.ready(60.0)] == ["data"]


def test_a_selector_without_a_file_of_its_own_waits_by_itself() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, selectors.PollSelector() as selector, Waiting(selector, exact=False) as wait:
        selector.register(ours, selectors.EVENT_READ, "data")
        theirs.send(b"x")
        assert [key.data for key in wait.ready(60.0)] == ["data"]


def test_nothing_is_done_while_nothing_comes() -> None:
    done = list[RequestOutput]()
    with (
        FakeServer(FakeSettings(ttft_s=1.0)) as server,
        ServerBackend().load(ExperimentPlan.of(config_of(server.url))) as model,
    ):
        began_s = time.process_time()
        model.run(requests_of(1, 1), Load.all_at_once(), done.append)
        used_s = time.process_time() - began_s
    assert done[0].succeeded
    # It looks twenty times in the second whether the run was cancelled.
    assert used_s < 0.2
