"""How far a run is, as it stands on stderr."""

import io
import logging
import os
import re
import sys
import termios
import threading
import time
from collections.abc import Callable

import pytest

from llenergymeasure.core.progress import Progress
from llenergymeasure.core.progress.shown import ShownProgress, beside_progress, in_words, showing, shown_as
from llenergymeasure.domain.plan import Shown, ShownAs
from llenergymeasure.orchestration.status import status_handler


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines_of(clock: Clock, kind: ShownAs = "lines", **fields: object) -> tuple[ShownProgress, io.StringIO]:
    stream = io.StringIO()
    return ShownProgress(Shown(kind=kind, **fields), stream=stream, clock=clock), stream  # type: ignore[arg-type]


def drawn(progress: ShownProgress, stream: io.StringIO) -> str:
    """The line that is due now."""
    stream.seek(0)
    stream.truncate()
    progress._draw()
    return stream.getvalue()


def test_a_phase_without_an_end_tells_how_long_it_has_taken(clock: Clock) -> None:
    progress, stream = lines_of(clock)
    progress.begin("loading with pytorch")
    clock.now_s += 75
    assert drawn(progress, stream) == "llem: loading with pytorch: 1 min 15 s so far\n"


def test_requests_tokens_watts_and_what_is_left(clock: Clock) -> None:
    progress, stream = lines_of(clock)
    progress.begin("measuring", n=64, unit="requests")
    assert drawn(progress, stream) == "llem: measuring: 0 of 64 requests\n"
    clock.now_s += 20
    progress.done(8, 512)
    progress.done(8, 512)
    progress.watts(lambda: "GPU 0 312 W")
    # 16 took 20 s, so 48 take 60 s; 1,024 tokens in 20 s are 51.2 a second.
    told = "llem: measuring: 16 of 64 requests, 51.2 tok/s, GPU 0 312 W, 1 min left of this\n"
    assert drawn(progress, stream) == told
    clock.now_s += 5
    progress.later(30.0)
    assert drawn(progress, stream).endswith("GPU 0 312 W, 1 min 25 s left\n")
    clock.now_s += 300
    progress.later(None)
    # It takes longer than anybody thought.
    assert drawn(progress, stream).endswith("GPU 0 312 W\n")


def test_a_phase_of_a_known_length_counts_down(clock: Clock) -> None:
    progress, stream = lines_of(clock)
    progress.begin("thermal floor", for_s=60.0)
    clock.now_s += 48.2
    progress.later(100.0)
    assert drawn(progress, stream) == "llem: thermal floor: 1 min 52 s left\n"
    progress.later(None)
    assert drawn(progress, stream) == "llem: thermal floor: 12 s left of this\n"


def test_warm_up_shows_its_variation_against_the_target(clock: Clock) -> None:
    progress, stream = lines_of(clock)
    progress.begin("warming up", n=20, unit="runs at most")
    clock.now_s += 4
    progress.done()
    progress.note("CV 0.081, target 0.05")
    told = "llem: warming up: 1 of 20 runs at most, CV 0.081, target 0.05, 1 min 16 s left of this\n"
    assert drawn(progress, stream) == told


def test_a_run_of_a_study_says_which_and_what_comes_after_it(clock: Clock) -> None:
    progress, stream = lines_of(clock)
    progress.at_run(3, 20, 1000.0)
    assert progress.handed_on() == Shown(kind="lines", number=3, n_runs=20, later_s=1000.0)
    progress.begin("measuring", n=2, unit="requests")
    clock.now_s += 10
    progress.done(1, 10)
    assert drawn(progress, stream) == (
        "llem: 3 of 20, measuring: 1 of 2 requests, 1 tok/s, 10 s left of this, 16 min 50 s of the study\n"
    )


def test_between_phases_nothing_is_shown(clock: Clock) -> None:
    progress, stream = lines_of(clock)
    assert drawn(progress, stream) == ""
    with progress.phase("loading"):
        assert drawn(progress, stream) != ""
    assert drawn(progress, stream) == ""


def test_what_is_shown_is_one_line_of_plain_text(clock: Clock) -> None:
    progress, stream = lines_of(clock)
    progress.begin("loading \x1b[31m\nred")
    told = drawn(progress, stream)
    assert told.count("\n") == 1
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7501, "2 h 5 min"),
        (86400, "24 h"),
    ],
)
def test_seconds_in_words(seconds: float, text: str) -> None:
    assert in_words(seconds) == text


@pytest.mark.parametrize(
    ("stream", "environ", "kind"),
    [
        (io.StringIO(), {"TERM": "xterm"}, "lines"),
        (Terminal(), {"TERM": "xterm"}, "bar"),
        (Terminal(), {"TERM": "dumb"}, "lines"),
        (Terminal(), {}, "lines"),
        (Terminal(), {"TERM": ""}, "lines"),
    ],
)
def test_a_bar_is_for_terminals_that_can_go_back(stream: io.StringIO, environ: dict[str, str], kind: ShownAs) -> None:
    assert shown_as(stream, environ) == kind


def seen(stream: io.StringIO, until: Callable[[str], bool]) -> str:
    """What a stream has, once it has what is waited for."""
    for _ in range(500):
        if until(stream.getvalue()):
            break
        time.sleep(0.01)
    return stream.getvalue()


def test_a_bar_goes_on_by_itself_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, before = Terminal(), threading.active_count()
    with ShownProgress(Shown(kind="bar"), stream=stream) as progress:
        progress.begin("measuring", n=4, unit="requests")
        progress.done(1, 10)
        # Not drawn by this thread.
        assert "1 of 4 requests" in seen(stream, lambda text: "1 of 4 requests" in text)
    told = stream.getvalue()
    assert "\n" not in told
    assert re.fullmatch(r" *", told.rstrip("\r").rsplit("\r", 1)[-1])
    assert threading.active_count() == before


def test_a_line_of_the_log_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    handler = status_handler(logging.INFO)
    with ShownProgress(Shown(kind="bar")) as progress:
        progress.begin("checking")
        handler.emit(logging.makeLogRecord({"levelno": logging.INFO, "msg": "a line of the log"}))
    on_screen = [part.rsplit("\r", 1)[-1] for part in stream.getvalue().split("\n")]
    assert on_screen[0] == "llem: a line of the log"


class OfAWidth(Terminal):
    """A terminal so wide, of an encoding; 0 is one that does not say."""

    def __init__(self, columns: int, encoding: str = "utf-8") -> None:
        super().__init__()
        self._ours, self._theirs = os.openpty()
        self.become(columns)
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def become(self, columns: int) -> None:
        termios.tcsetwinsize(self._theirs, (24, columns))

    def fileno(self) -> int:
        return self._theirs

    def close(self) -> None:
        os.close(self._ours)
        os.close(self._theirs)
        super().close()

    def drawn(self) -> list[str]:
        """What was written, each time that the line began again."""
        return self.getvalue().split("\r")


def measuring(stream: OfAWidth, clock: Clock, name: str = "measuring") -> ShownProgress:
    progress = ShownProgress(Shown(kind="bar"), stream=stream, clock=clock)
    progress.watts(lambda: "GPU 0 312 W")
    progress.begin(name, n=64, unit="requests")
    clock.now_s += 20
    progress.done(16, 1024)
    progress._draw()
    return progress


# A line leaves the last column free, and two for the ^C of whoever interrupts.
@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (20, "measuring: 16 of 64"[:17]),
        (39, "measuring: 16 of 64 requests, 51.2 t"),
        (59, "llem: measuring: 16 of 64 requests, 51.2 tok/s, GPU 0 31"),
        (80, "llem: measuring |#####               | 16 of 64 requests, 51.2 tok/s, GPU 0 3"),
        (200, "llem: measuring |#####               | 16 of 64 requests, 51.2 tok/s, GPU 0 312 W, 1 min left of this"),
        # What is usual, where nobody says.
        (0, "llem: measuring |#####               | 16 of 64 requests, 51.2 tok/s, GPU 0 3"),
    ],
)
def test_a_bar_has_as_much_as_a_line_takes(clock: Clock, columns: int, told: str) -> None:
    stream = OfAWidth(columns, "ascii")
    progress = measuring(stream, clock)
    assert stream.drawn()[-1] == told
    progress.end()
    stream.close()


def test_what_an_encoding_lacks_takes_the_columns_of_its_escape(clock: Clock) -> None:
    stream = OfAWidth(80, "ascii")
    progress = measuring(stream, clock, "loading mod\u00e8le \u6a21")
    line = stream.drawn()[-1]
    assert line.startswith(r"llem: loading mod\xe8le \u6a21 |#####")
    assert len(line) == 77
    progress.end()
    stream.close()


def test_letters_that_are_as_wide_as_two_count_twice(clock: Clock) -> None:
    stream = OfAWidth(60)
    progress = measuring(stream, clock, "\u6a21" * 40)
    assert stream.drawn()[-1] == "llem: " + "\u6a21" * 25
    progress.end()
    stream.close()


def test_a_terminal_that_has_become_narrower_gets_no_line_that_wraps(clock: Clock) -> None:
    stream = OfAWidth(200)
    progress = measuring(stream, clock)
    before = len(stream.getvalue())
    stream.become(30)
    progress._draw()
    progress.end()
    assert max(map(len, stream.getvalue()[before:].split("\r"))) == 29
    stream.close()


def test_what_the_terminal_writes_for_ctrl_c_goes_with_the_bar(clock: Clock) -> None:
    stream = OfAWidth(80)
    progress = measuring(stream, clock)
    n_shown = len(stream.drawn()[-1])
    stream.write("^C")
    progress.end()
    # Written over to its end, and back.
    assert stream.drawn()[-2:] == [" " * (n_shown + 2), ""]
    stream.close()


def test_the_bar_of_a_process_that_was_ended_is_taken_away(clock: Clock) -> None:
    stream = OfAWidth(40)
    progress = ShownProgress(Shown(kind="bar"), stream=stream, clock=clock)
    with progress.elsewhere():
        stream.write("a bar that ended by itself")
    assert "\r" not in stream.getvalue()
    with pytest.raises(KeyboardInterrupt), progress.elsewhere():
        raise KeyboardInterrupt
    assert stream.drawn()[-2:] == [" " * 39, ""]
    stream.close()


def test_lines_of_a_process_that_was_ended_stay(clock: Clock) -> None:
    progress, stream = lines_of(clock)
    with pytest.raises(KeyboardInterrupt), progress.elsewhere():
        raise KeyboardInterrupt
    assert stream.getvalue() == ""


def test_a_terminal_that_takes_nothing_holds_up_nobody_who_counts(clock: Clock) -> None:
    full, free = threading.Event(), threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            full.set()
            free.wait(20)
            return len(text)

    progress = ShownProgress(Shown(kind="lines"), stream=Stuck(), clock=clock)
    progress.begin("measuring", n=4, unit="requests")
    drawing = threading.Thread(target=progress._draw)
    drawing.start()
    try:
        assert full.wait(10)
        began_s = time.monotonic()
        progress.done(1, 10)
        progress.note("still here")
        assert time.monotonic() - began_s < 5
    finally:
        free.set()
        drawing.join()


def test_a_stream_that_is_closed_ends_nothing() -> None:
    stream = Terminal()
    with ShownProgress(Shown(kind="bar"), stream=stream) as progress:
        progress.begin("checking")
        stream.close()
        progress.begin("loading")
        time.sleep(0.6)
        assert progress._thread is not None
        assert progress._thread.is_alive()


def test_nothing_is_shown_where_nothing_is_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    with showing(None) as progress, beside_progress():
        assert type(progress) is Progress
        with progress.phase("loading"):
            progress.done()
            progress.note("x")
        assert progress.handed_on() is None
    assert capsys.readouterr() == ("", "")
