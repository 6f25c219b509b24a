"""Tables, the page ``docs/accuracy.md`` and the result file of ``bench/accuracy.py``."""

import inspect
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench.accuracy_cases import CARDS, LOADS, WINDOWS_S, Card, unresolvable
from bench.accuracy_grid import NAIVE_COUNTER, NAIVE_POLLING, OURS, Timing
from bench.accuracy_realtime import CODECARBON, ZEUS
from bench.accuracy_verdicts import Group, Verdict

_COLUMNS: dict[Timing, tuple[str, ...]] = {
    "injected": (OURS, NAIVE_COUNTER, NAIVE_POLLING),
    "real time": (OURS, ZEUS, CODECARBON),
}
_PACKAGES = {ZEUS: "zeus", CODECARBON: "codecarbon"}
_RUN_AGAIN = """## Run it again

```sh
python bench/accuracy.py --save --write-docs   # all of it; --quick is a small part
```

It needs Linux and gcc, `pip install 'llenergymeasure[zeus,codecarbon]'` for those two, and no GPU. Exit code 1: a
promise was not kept. `--save` writes every error to `bench/results/`."""


def as_json(groups: Sequence[Group], judged: Sequence[Verdict], machine: dict[str, Any]) -> dict[str, Any]:
    """The result file: worst and mean of each group beside the errors that they come from, in percent."""
    rows = []
    for group in groups:
        row = asdict(group)
        row["errors_pct"] = [None if e is None else round(e, 4) for e in group.errors_pct]
        complete = math.isfinite(group.worst_pct)
        row["worst_pct"] = round(group.worst_pct, 4) if complete else None
        row["mean_pct"] = round(group.mean_pct, 4) if complete else None
        row["share_in_bound"] = group.share_in_bound
        rows.append(row)
    return {
        "bench": "accuracy",
        "what": "measured over true energy on simulated NVIDIA GPUs, less one, in percent, for each phase",
        "verdicts": [asdict(verdict) for verdict in judged],
        "machine": machine,
        "groups": rows,
    }


def from_json(result: dict[str, Any]) -> list[Group]:
    """The groups that :func:`as_json` wrote."""
    derived = ("worst_pct", "mean_pct", "share_in_bound")
    groups = []
    for row in result["groups"]:
        fields: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in row.items() if key not in derived
        }
        groups.append(Group(**fields))
    return groups


def origin(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Which run real time was taken from, where it is an earlier one: the file, and the versions of what was run."""
    machine = result["machine"]
    return {"file": path.name, "llenergymeasure": machine["llenergymeasure"], "packages": machine["packages"]}


def verdict_lines(judged: Iterable[Verdict]) -> list[str]:
    """One line for each promise."""
    return [f"{v.word}: {v.promise}: {v.seen}" for v in judged]


def error_tables(groups: Sequence[Group], *, statistic: str = "worst") -> list[tuple[str, str]]:
    """[n] (title, Markdown table): one for each clock and window; rows are loads, columns cards.

    Args:
        groups: what to show.
        statistic: "worst" or "mean" absolute error over the phases.
    """
    tables = []
    for timing, columns in _COLUMNS.items():
        tools = [t for t in columns if any(g.tool == t and g.timing == timing for g in groups)]
        for window_s in WINDOWS_S:
            chosen = [g for g in groups if g.timing == timing and g.window_s == window_s]
            if chosen:
                title = f"{window_s:g} s, {'injected clock' if timing == 'injected' else timing}: {' / '.join(tools)}"
                tables.append((title, _table(chosen, tools, statistic)))
    return tables


def _table(groups: Sequence[Group], tools: Sequence[str], statistic: str) -> str:
    of = {(g.load, g.card, g.tool): g for g in groups}
    cards = [card for card in CARDS if any(g.card == card for g in groups)]
    rows = []
    for load in (name for name in LOADS if any(g.load == name for g in groups)):
        cells = [_cell([of.get((load, card, tool)) for tool in tools], statistic) for card in cards]
        rows.append([load, *cells])
    return tabulate(rows, ["load", *cards], tablefmt="github", disable_numparse=True)


def _cell(groups: Sequence[Group | None], statistic: str) -> str:
    mark = "\\*" if any(g is not None and g.unresolvable for g in groups) else ""
    return " / ".join("-" if g is None else _pct(getattr(g, f"{statistic}_pct")) for g in groups) + mark


def _pct(value: float) -> str:
    if math.isinf(value):
        return "none"
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


def bound_table(groups: Sequence[Group]) -> str:
    """Share of cases inside the package's own bound, all windows and both clocks together."""
    ours = [g for g in groups if g.tool == OURS]
    cards = [card for card in CARDS if any(g.card == card for g in ours)]
    rows = []
    for load in (name for name in LOADS if any(g.load == name for g in ours)):
        cells = []
        for card in cards:
            inside = [cell is True for g in ours if (g.load, g.card) == (load, card) for cell in g.in_bound]
            named = any(g.unresolvable for g in ours if (g.load, g.card) == (load, card))
            cells.append((f"{100 * sum(inside) / len(inside):.0f}" if inside else "-") + ("\\*" if named else ""))
        rows.append([load, *cells])
    return tabulate(rows, ["load", *cards], tablefmt="github", disable_numparse=True)


def page(groups: Sequence[Group], judged: Sequence[Verdict], result: dict[str, Any]) -> str:
    """``docs/accuracy.md``, of the groups and verdicts of a result file."""
    sections = [
        _head(result["machine"], result.get("realtime_of")),
        _what_was_run(groups),
        _what_it_shows(judged),
        _worst_errors(groups),
        _share_in_bound(groups),
        f"## The named set: what the readings taken do not resolve\n\n{_named_set()}",
        _RUN_AGAIN,
        _limits(),
    ]
    return "\n\n".join(sections) + "\n"


def _head(machine: dict[str, Any], earlier: dict[str, Any] | None) -> str:
    of_earlier = (
        ""
        if earlier is None
        else f" Real time is of an earlier run ({earlier['file']}):\nwhat it says of the bound and of warnings is of "
        "the package as it was then."
    )
    versions = ", ".join(f"{t} {machine['packages'][p]}" for t, p in _PACKAGES.items() if p in machine["packages"])
    return f"""# Accuracy against a known truth

Written by `bench/accuracy.py`; do not edit.

The tools measure simulated NVIDIA GPUs ([nvmlsim](../nvmlsim/README.md)) whose true power is a formula, so each
figure has an error. llenergymeasure {machine["llenergymeasure"]}, {versions or "no other tool installed"}, Python
{machine["python"]}, {machine["n_cpus"]} cores of {machine["cpu"]}.{of_earlier}"""


def _what_was_run(groups: Sequence[Group]) -> str:
    n_phases = {
        timing: max((len(g.errors_pct) for g in groups if g.timing == timing), default=0) for timing in _COLUMNS
    }
    return f"""## What was run

{_loads()}

{_cards()}

Windows of {", ".join(f"{w:g}" for w in WINDOWS_S)} s: no multiple of a tick, of a refresh or of a load's period.
Each case is run at {n_phases["injected"]} phases on the injected clock, and some at {n_phases["real time"]} in real
time, which shift the sensor's refresh, the counter's tick and the load against the window's start by fractions of
their periods that are not in step with each other.

On the **injected clock** no real time passes, every call to the driver takes 20 us, and the window stands where it
stands. *{OURS}* is the package's GPU source, which samples power as often as the table of cards says.
*{NAIVE_COUNTER}* is the difference of two reads of `nvmlDeviceGetTotalEnergyConsumption` at the window's ends.
*{NAIVE_POLLING}* reads `nvmlDeviceGetPowerUsage` every 100 ms and at the end, and adds up power x time since the
reading before; on H100, RTX40 and A10 that call is a one-second average.

In **real time** every phase is one of {n_phases["real time"]} GPUs of one machine, on the simulated driver library,
in a process of its own. The window is what the program around a tool sees: from the moment its begin call has returned
until its end call is made; truth is the energy of exactly that. What is idle outside the window is idle until 5 ms or
more after the begin call, so that no tool is read before the load is written down. The package starts a window right
after a tick of the last of its GPUs. Zeus is a `ZeusMonitor` window, inside the package's; CodeCarbon an offline
tracker's task, not its first, whose GPU figures are taken before it adds them up."""


def _what_it_shows(judged: Sequence[Verdict]) -> str:
    rows = [
        [
            verdict.promise,
            verdict.word if verdict.kept or not verdict.binding else f"**{verdict.word}**",
            verdict.seen.replace("|", "/"),
        ]
        for verdict in judged
    ]
    return f"## What it shows\n\n{tabulate(rows, ['promise', '', 'seen'], tablefmt='github')}"


def _worst_errors(groups: Sequence[Group]) -> str:
    tables = "\n\n".join(f"### {title}\n\n{table}" for title, table in error_tables(groups))
    return f"""## Worst error, percent

Absolute, over the phases. \\* is a case of the named set below.

{tables}"""


def _share_in_bound(groups: Sequence[Group]) -> str:
    return f"""## Share inside the package's own bound, percent

What `energy_interval_j` is of: `uncertainty_j` of each device, and what aliasing may hide where the package is told the
period, as a session is by the time between tokens. Over windows, phases and both clocks; in real time of an earlier run
`uncertainty_j` alone.

{bound_table(groups)}"""


def _limits() -> str:
    return f"""## Limits

- Simulated sensors have no noise, no gain error and no lag beyond their window. A real card's gain is off by about 5 %
  (Yang, Adamek, Armour, SC24, arXiv 2312.02741), which no bound here holds: it stands beside every result as
  `sensor_accuracy_pct`.
- Nobody has published what feeds the energy counters of A100 and H100. Here it is the sensor that looks 25 % of the
  time. If it is more, both the package and the naive counter are better there than these tables.
- What the A10 shows is taken to be the mean of exactly the last second; of a real card nobody has shown what the
  average is. A load that begins or ends with the window is smeared over its edges: that is in the bound, and not
  corrected.
- The H100's one-second average sees all of the time in these simulations, and tells the mean of a load that goes on,
  as the figures of {NAIVE_POLLING} show. The package takes energy from the counter and from instant power, so the
  named set holds these cases.
- Refreshes and ticks are exact to the nanosecond; those of real cards wander, which breaks some of the locks shown
  here. That the bound holds with ticks that are up to 20 % early or late is a unit test.
- The warning of aliasing is the package's, worked out from the load's period. A session takes that from the time
  between tokens; for a load without tokens, such as these square waves, there would be only the warning that the sensor
  sees part of the time. The spikes are run so.
- Loads are formulas with jitter, not recordings. Real time was a shared machine."""


def _loads() -> str:
    rows = [[load.name, load.what] for load in LOADS.values()]
    return tabulate(rows, ["load", "power"], tablefmt="github")


def _cards() -> str:
    return tabulate(
        [_card_row(card) for card in CARDS.values()],
        [
            "card",
            "power: every / sees, ms",
            "nvmlDeviceGetPowerUsage",
            "counter's tick, ms",
            "counter counts",
            "sampled every, ms",
        ],
        tablefmt="github",
        disable_numparse=True,
    )


def _card_row(card: Card) -> list[str]:
    sensors, counter, power = card.model.sensors, card.model.counter, card.power
    return [
        card.name,
        f"{power.update_s * 1000:.0f} / {power.window_s * 1000:.0f}"
        + ("" if sensors.instant else " (no instant field)"),
        sensors.power_usage or "-",
        "none" if counter is None else f"{counter.tick_s * 1000:.0f}",
        "-" if counter is None else "the truth" if counter.fed_by is None else "the instant sensor's readings",
        f"{card.polled_s * 1000:.0f}",
    ]


def _named_set() -> str:
    paragraphs = inspect.cleandoc(unresolvable.__doc__ or "").split("\n\n")[1:]
    held: dict[str, list[str]] = {}
    for load in LOADS.values():
        for card in CARDS.values():
            windows = [w for w in WINDOWS_S if unresolvable(load, card, w)]
            if windows:
                which = "all windows" if len(windows) == len(WINDOWS_S) else f"{', '.join(f'{w:g}' for w in windows)} s"
                held.setdefault(f"{load.name}, {which}", []).append(card.name)
    members = "; ".join(f"{load}: {' / '.join(cards)}" for load, cards in held.items())
    return "\n\n".join([*paragraphs, f"Here it holds {members}."]).replace("``", "`")
