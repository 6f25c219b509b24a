"""Error of energy tools against the known truth on simulated NVIDIA GPUs.

``python bench/accuracy.py``; the page that it writes, docs/accuracy.md, says what is run. Exit code 1: the package does
not keep one of its promises. Exit code 2: it could not be run.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.accuracy_grid import Outcome

_ROOT = Path(__file__).parent.parent
_QUICK_LOADS = ("constant", "load inside", "square 50 ms", "decode 23 ms")
_QUICK_CARDS = ("A100", "PERFECT")
_QUICK_PHASES = 4


def main() -> int:
    """Run what was asked for, print tables and verdicts, write what was asked for."""
    from bench import accuracy_report as report
    from bench.accuracy_grid import GRID_TOOLS, OURS
    from bench.accuracy_realtime import REALTIME_TOOLS
    from bench.accuracy_verdicts import groups_of, verdicts
    from bench.results_file import machine, save
    from nvmlsim import BuildError

    args = _arguments(tuple(dict.fromkeys((*GRID_TOOLS, *REALTIME_TOOLS))))
    if args.read is not None:
        result = json.loads(args.read.read_text(encoding="utf-8"))
        groups = report.from_json(result)
        judged = verdicts(groups)
    else:
        try:
            outcomes, run = _measure(args)
        except (BuildError, RuntimeError) as error:
            print(error, file=sys.stderr)
            return 2
        groups, earlier = groups_of(outcomes), None
        if args.realtime_of is not None:
            earlier = json.loads(args.realtime_of.read_text(encoding="utf-8"))
            groups += [group for group in report.from_json(earlier) if group.timing == "real time"]
        judged = verdicts(groups)
        result = {**report.as_json(groups, judged, machine()), "run": run}
        if earlier is not None:
            result["realtime_of"] = report.origin(args.realtime_of, earlier)
    for statistic in ("worst", "mean"):
        for title, table in report.error_tables(groups, statistic=statistic):
            print(f"\n{statistic} absolute error in percent, {title}\n\n{table}")
    if any(group.tool == OURS for group in groups):
        print(f"\nshare inside the package's own bound, percent\n\n{report.bound_table(groups)}")
    print("\n\\* the package's readings do not resolve these: see the named set in docs/accuracy.md\n")
    print("\n".join(report.verdict_lines(judged)) or "the package was not run: nothing to judge")
    if args.save:
        print(f"written: {save('accuracy-quick' if args.quick else 'accuracy', result)}")
    if args.write_docs:
        target = _ROOT / "docs" / "accuracy.md"
        target.write_text(report.page(groups, judged, result), encoding="utf-8")
        print(f"written: {target}")
    return 0 if all(verdict.kept or not verdict.binding for verdict in judged) else 1


def _measure(args: argparse.Namespace) -> "tuple[list[Outcome], dict[str, Any]]":
    """Every outcome, and how they were run."""
    from bench.accuracy_cases import (
        CARDS,
        LIVE_CARDS,
        LIVE_LOADS,
        LOADS,
        N_LIVE_PHASES,
        N_PHASES,
        SHORTER_WINDOWS_S,
        WINDOWS_S,
        cases,
    )
    from bench.accuracy_grid import GRID_TOOLS, run_grid
    from bench.accuracy_realtime import REALTIME_TOOLS, installed, run_realtime

    loads, cards = (_QUICK_LOADS, _QUICK_CARDS) if args.quick else (tuple(LOADS), tuple(CARDS))
    n_phases, n_live, n_windows = (
        (_QUICK_PHASES,) * 2 + (1,) if args.quick else (N_PHASES, N_LIVE_PHASES, len(WINDOWS_S))
    )
    tools = installed(args.tools)
    began_s = time.monotonic()
    grid = list(cases(loads, WINDOWS_S[:n_windows], cards, n_phases))
    chosen = [t for t in GRID_TOOLS if t in tools]
    outcomes = run_grid(grid, chosen, progress=lambda n: _progress("injected clock", n, len(grid)))
    chosen = [t for t in REALTIME_TOOLS if t in tools]
    if chosen and not args.no_realtime and args.realtime_of is None:
        loads = tuple(name for name in LIVE_LOADS if name in loads)
        cards = tuple(name for name in LIVE_CARDS if name in cards)
        live = list(cases(loads, SHORTER_WINDOWS_S[:n_windows], cards, n_live))
        outcomes += run_realtime(live, chosen, progress=lambda n, of: _progress("real time, processes", n, of))
    return outcomes, {"quick": args.quick, "tools": tools, "seconds": round(time.monotonic() - began_s)}


def _arguments(known: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small part of it, under 30 s")
    parser.add_argument("--tools", default=",".join(known), help="which, separated by commas; default all: %(default)s")
    parser.add_argument("--no-realtime", action="store_true", help="only what runs on the injected clock")
    parser.add_argument(
        "--realtime-of", type=Path, metavar="FILE", help="take real time from what --save wrote earlier; not run again"
    )
    parser.add_argument("--save", action="store_true", help="write bench/results/accuracy-<date>.json")
    parser.add_argument("--write-docs", action="store_true", help="write docs/accuracy.md")
    parser.add_argument("--read", type=Path, metavar="FILE", help="show or write what --save wrote; nothing is run")
    args = parser.parse_args()
    args.tools = [name.strip() for name in args.tools.split(",")]
    unknown = [name for name in args.tools if name not in known]
    if unknown:
        parser.error(f"no tool {', '.join(unknown)}; there are {', '.join(known)}")
    if args.quick and args.write_docs:
        parser.error("--write-docs is for the whole run, --quick is a part of it")
    return args


def _progress(what: str, n_done: int, of: int) -> None:
    step = max(1, of // 10)
    if n_done % step == 0 or n_done == of:
        print(f"{what}: {n_done} of {of}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT))
    raise SystemExit(main())
