"""Calibrations as plain text."""

from datetime import UTC, datetime

from llenergymeasure.domain.energy.calibration import Calibration, CounterFeed, ReadingProperties
from llenergymeasure.results.showing.lines import LABEL

_FEEDS: dict[CounterFeed, str] = {
    "everything": "it adds up all of the time",
    "power": "it adds up the readings of power",
    "average": "it adds up the card's own average",
}


def calibration(found: Calibration) -> str:
    """What was found of a card, a line for each of its readings."""
    when = datetime.fromtimestamp(found.timestamp, UTC).strftime("%Y-%m-%d %H:%M UTC")
    rows = [
        ("GPU", f"{found.name}, {found.device}"),
        ("calibrated", f"{when}, driver {found.driver_version or 'unknown'}, {found.duration_s:.0f} s of {found.load}"),
        ("power", _reading(found.power)),
        ("average power", _reading(found.average)),
        ("energy counter", _counter(found)),
    ]
    return "\n".join(f"{label:<{LABEL}}{text}" for label, text in rows)


def _reading(found: ReadingProperties | None) -> str:
    if found is None:
        return "not known: the card has no such reading, or it follows no mean over a stretch of time"
    seen = "all of the time" if found.sees_all else f"{found.window_s / found.update_s:.0%} of the time"
    return (
        f"{found.field}: new every {_ms(found.update_s)}, the mean of {_ms(found.window_s)} ({seen}), "
        f"{_ms(found.lag_s)} late; {found.unexplained:.1%} unexplained"
    )


def _counter(found: Calibration) -> str:
    if found.counter_tick_s is None:
        return "not known: the card has none, or it changes in no rhythm"
    left = ", ".join(f"{name} {share:.1%}" for name, share in (found.counter_unexplained or {}).items())
    fed = "what it adds up is not known" if found.counter_fed_by is None else _FEEDS[found.counter_fed_by]
    return f"new every {_ms(found.counter_tick_s)}; {fed} (unexplained by {left})"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
