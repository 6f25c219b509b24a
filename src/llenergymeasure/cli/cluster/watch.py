"""``llem studies DIR --watch``: the same place of a terminal again and again, or a line for whatever changes."""

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from llenergymeasure._telling import in_a_line
from llenergymeasure.cli.streams import show
from llenergymeasure.core.progress.bar import goes_back
from llenergymeasure.domain.in_figures import duration
from llenergymeasure.orchestration.cluster.submissions import JOBS_DIR, folder_of, submissions_of
from llenergymeasure.orchestration.cluster.submitting import in_words
from llenergymeasure.orchestration.cluster.watched import Seen, SeenWorker, Watching
from llenergymeasure.results.showing import tables

TERMINAL_EVERY_S, LINES_EVERY_S = 2.0, 10.0
_MOST_LINES = 10
_UP_AND_CLEAR = "\x1b[{n}A\x1b[J"


def watch(
    path: Path, *, stream: IO[str] | None = None, sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:  # fmt: skip
    """Show a study until it is over; 1 where something failed or is left.

    Raises:
        ConfigError: there is no study.
    """
    out = stream or sys.stdout
    is_terminal, watching = goes_back(out, os.environ), Watching(path, clock)
    n_shown, last = 0, ""
    while True:
        seen = watching.look()
        if is_terminal:
            lines = _as_block(seen)
            if n_shown:
                out.write(_UP_AND_CLEAR.format(n=n_shown))
            show("\n".join(lines))
            n_shown = len(lines)
        elif (line := _as_line(seen)) != last:
            last = line
            show(f"{time.strftime('%H:%M:%S')} {line}")
        if seen.is_over:
            if not is_terminal:
                show("\n".join(_at_the_end(seen)))
            return int(seen.standing.state != "finished" or bool(seen.standing.failed))
        with contextlib.suppress(BrokenPipeError):
            out.flush()
        sleep(TERMINAL_EVERY_S if is_terminal else LINES_EVERY_S)


def _as_block(seen: Seen) -> list[str]:
    """What stands on a terminal: cut to its width, so that it is known how many lines it takes."""
    standing, (width, height) = seen.standing, shutil.get_terminal_size()
    lines = [f"{standing.path}: {standing.state}", f"  {seen.standing.in_words}{_left(seen)}", *_jobs(seen)]
    if seen.workers:
        rows = [_row(each, seen) for each in seen.workers]
        table = tables.plain(["worker", "job", "since", "runs", "does", "power", "heard"], rows, ["left"] * 7)
        lines += table.splitlines()
    lines += _at_the_end(seen) if seen.is_over else []
    most = max(4, height - 1)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"  and {len(lines) - most + 1} more lines"]
    return [in_a_line(line)[: max(20, width - 1)] for line in lines]


def _row(worker: SeenWorker, seen: Seen) -> list[str]:
    signs, plan = worker.signs, seen.standing.plan
    runs = ", ".join(plan.folder_of(slot) for slot in worker.slots)
    node = f" ({signs.node})" if signs.node and signs.node != signs.host else ""
    return [
        f"{signs.pid} on {signs.host}{node}",
        signs.job or "-",
        duration(max(0.0, signs.seen_s - signs.since_s)),
        runs or "-",
        signs.doing + (f", {', '.join(dict.fromkeys(signs.gpus))}" if signs.gpus else ""),
        "-" if signs.power_w is None else f"{signs.power_w:,.0f} W",
        f"silent for {duration(worker.silent_s)}" if worker.is_silent else f"{duration(worker.silent_s)} ago",
    ]


def _as_line(seen: Seen) -> str:
    """What is told where lines stay: only what changes is worth one."""
    workers = [
        f"{each.signs.job or each.signs.pid} on {each.signs.node or each.signs.host}"
        + (f": {', '.join(f'{slot.slot:04d}' for slot in each.slots)}" if each.slots else "")
        + (", silent" if each.is_silent else "")
        for each in seen.workers
    ]
    power_w = [each.signs.power_w for each in seen.workers if each.signs.power_w is not None]
    drawn = [f"{sum(power_w):,.0f} W"] if power_w else []
    jobs = [each.strip() for each in _jobs(seen)] if not seen.workers else []
    return in_a_line("; ".join([seen.standing.in_words, *workers, *jobs, *drawn]) + _left(seen))


def _jobs(seen: Seen) -> list[str]:
    if seen.unasked is not None:
        return [f"  jobs are not known: {seen.unasked}"]
    return [f"  {each.in_words}: {in_words(list(jobs))}" for each, jobs in seen.jobs or () if jobs]


def _left(seen: Seen) -> str:
    return "" if seen.left_s is None or seen.is_over else f"; about {duration(seen.left_s)} left"


def _at_the_end(seen: Seen) -> list[str]:
    standing = seen.standing
    if standing.state == "finished":
        return [f"it is through: {seen.standing.in_words}; llem show {shlex.quote(str(standing.path))}"]
    said = [f"a worker stopped: {in_a_line(each)}" for each in seen.stopped[:_MOST_LINES]]
    return [
        *said,
        f"nobody runs it: {seen.standing.in_words}; go on with: llem submit --resume {shlex.quote(str(standing.path))}",
        *(f"what its jobs wrote, and why they ended, is in {in_a_line(str(each))}" for each in _logs(standing.path)),
    ]


def _logs(study: Path) -> list[Path]:
    """The folder of logs of the last submission; none where nothing was submitted."""
    return [folder_of(study, each.number) / JOBS_DIR for each in submissions_of(study)[-1:]]
