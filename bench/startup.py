"""How long ``llem --help``, ``--version`` and a completion take, beside ``python -c pass`` and a published release.

    python bench/startup.py [--rounds 30] [--save]

This checkout and the release are installed alike, with their base dependencies alone, each into an environment of its
own that is thrown away, from whatever index pip is set to. All ways run in turns, in an order that changes, so that
what else the machine does touches all of them: ratios of wall time, not times. A release that cannot be had is left
out, and told. Exit code 1: a command takes more than a third of what that of the release does.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
RELEASE = "llenergymeasure==0.7.0"
# How many times as long the release has to take, in the median and at the lower end of its interval.
LEAST_TIMES = 3.0


@dataclass(frozen=True)
class Command:
    """What is started, and what its environment has beside what every process gets."""

    words: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


# What is compared with the release, which has no completion.
SHARED = {"help": ("--help",), "version": ("--version",)}
_COMPLETION = {"_LLEM_COMPLETE": "bash_complete", "COMP_WORDS": "llem run --prec", "COMP_CWORD": "2"}


def main() -> int:
    """Install, take turns, print, write what was asked for."""
    from bench.results_file import machine, save

    args = _arguments()
    result: dict[str, Any] = {"bench": "startup", "release": RELEASE}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, theirs = _installed(folder / "ours", str(_ROOT)), _release(folder / "release")
        commands = _commands(ours, theirs)
        result |= _compared(_in_turns(commands, args.rounds, folder))
    result["machine"] = machine()
    print(json.dumps(result, indent=2))
    if args.save:
        print(f"written: {save('startup', result)}")
    return 0 if all(found["kept"] for found in result["release_over_ours"].values()) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="how often each way is run")
    parser.add_argument("--save", action="store_true", help="write bench/results/startup-<date>.json")
    return parser.parse_args()


def _installed(folder: Path, what: str) -> Path:
    """A new environment's folder of programs, with one distribution and what it cannot do without.

    Raises:
        subprocess.CalledProcessError: it cannot be had.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraints = ["--constraint", str(_ROOT / "constraints.txt")]
    subprocess.run([*pip, *constraints, what], check=True)
    return folder / "bin"


def _release(folder: Path) -> Path | None:
    try:
        return _installed(folder, RELEASE)
    except subprocess.CalledProcessError:
        print(f"{RELEASE} cannot be had from this index: it is left out", file=sys.stderr)
        return None


def _commands(ours: Path, theirs: Path | None) -> dict[str, Command]:
    """Every way by its name: ``SIDE WHAT``."""
    found = {
        "ours nothing": Command((str(ours / "python"), "-c", "pass")),
        "ours completion": Command((str(ours / "llem"),), _COMPLETION),
    }
    for side, programs in (("ours", ours), ("release", theirs)):
        if programs is not None:
            found |= {f"{side} {what}": Command((str(programs / "llem"), *words)) for what, words in SHARED.items()}
    return found


def _in_turns(commands: Mapping[str, Command], n_rounds: int, folder: Path) -> dict[str, list[float]]:
    """[n_rounds] wall seconds of each; every round begins with another."""
    names, taken_s = list(commands), {name: list[float]() for name in commands}
    # The first time of each is of the disk.
    for name in names:
        _seconds(commands[name], folder)
    for number in range(n_rounds):
        at = number % len(names)
        for name in [*names[at:], *names[:at]]:
            taken_s[name].append(_seconds(commands[name], folder))
        print(f"round {number + 1:3} of {n_rounds}", flush=True)
    return taken_s


def _seconds(command: Command, folder: Path) -> float:
    """Wall seconds from the start of a process to its end.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    # Neither this checkout's modules nor anybody's defaults play a part.
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    began_s = time.perf_counter()
    subprocess.run(
        command.words,
        env={**environ, **command.variables},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began_s


def _compared(taken_s: Mapping[str, list[float]]) -> dict[str, Any]:
    """Medians, and ratios round by round with the interval of their median."""
    from bench.pairs import Promise, judged

    over_nothing, over_ours = {}, {}
    promise = Promise(least_median=LEAST_TIMES, least_limit=LEAST_TIMES)
    for what in (*SHARED, "completion"):
        ours = taken_s[f"ours {what}"]
        over_nothing[what] = judged(
            _ratios(ours, taken_s["ours nothing"]), Promise(least_median=None, least_limit=None)
        )
        if f"release {what}" in taken_s:
            over_ours[what] = judged(_ratios(taken_s[f"release {what}"], ours), promise)
    return {
        "median_s": {name: round(statistics.median(each), 4) for name, each in taken_s.items()},
        "ours_over_python_c_pass": over_nothing,
        "release_over_ours": over_ours,
    }


def _ratios(longer_s: list[float], shorter_s: list[float]) -> list[float]:
    return [one / other for one, other in zip(longer_s, shorter_s, strict=True)]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    raise SystemExit(main())
