"""Points drawn for a paper, the same bytes each time."""

import importlib.util
import itertools
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llenergymeasure._files import written_atomically
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.report.points import Figure, Point, Points

_FORMS = ("pdf", "svg", "png")
# Of each form what would say when it was made.
_NO_TIME: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
_SIZE_IN = (5.2, 3.5)
_DPI = 300
_MARKERS = "osD^v<>PX"
# Told apart by those who do not see all colours (Okabe and Ito, https://jfly.uni-koeln.de/color/).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_MOST_SERIES = len(_MARKERS) * len(_COLOURS)
_MOST_CHARACTERS = 60


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the axes are, and whether the points of a series are joined."""

    log_x: bool = False
    log_y: bool = False
    line: bool = False


def form_of(output: Path) -> str:
    """The form that the suffix of a file names, where it can be drawn.

    Raises:
        ConfigError: there is no such form, or matplotlib is not installed.
    """
    form = output.suffix.removeprefix(".").lower()
    if form not in _FORMS:
        known = ", ".join(f".{each}" for each in _FORMS)
        raise config_error(f"--output {output}: the end of the name says the form, and there are {known}")
    if importlib.util.find_spec("matplotlib") is None:
        raise config_error(
            "matplotlib is not installed, and figures are drawn with it; install with "
            "pip install 'llenergymeasure[plot]'"
        )
    return form


def draw(points: Points, output: Path, look: Look) -> None:
    """Write a figure, whole or not at all.

    Raises:
        ConfigError: as ``form_of``; a logarithmic axis for what is not above zero; more series than can be told apart.
        OSError: it cannot be written.
    """
    form = form_of(output)
    if len(points.series) > _MOST_SERIES:
        raise config_error(f"--by {points.by}: {len(points.series)} series, of which {_MOST_SERIES} can be told apart")
    for option, on, axis in (("--log-x", look.log_x, "x"), ("--log-y", look.log_y, "y")):
        least = min(_least(getattr(point, axis)) for point in points.points)
        if on and least <= 0:
            raise config_error(f"{option}: {getattr(points, axis)} goes down to {least:g}, which has no logarithm")
    with _drawing(), written_atomically(output) as aside:
        _figure(points, look).savefig(aside, format=form, dpi=_DPI, metadata=_NO_TIME[form])


def _least(figure: Figure) -> float:
    return figure.value if figure.low is None else min(figure.value, figure.low)


@contextmanager
def _drawing() -> Iterator[None]:
    """The library as it comes, whatever a user's file says, with nothing drawn by chance."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # Of a name in a script that its font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "llenergymeasure", "pdf.fonttype": 42, "font.size": 9})
        yield


def _figure(points: Points, look: Look) -> Any:
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=_SIZE_IN, layout="constrained")
    axes = figure.add_subplot()
    handles = [
        _series(axes, [point for point in points.points if point.series == series], place, look)
        for place, series in enumerate(points.series)
    ]
    axes.set_xlabel(_cut(points.x), parse_math=False)
    axes.set_ylabel(_cut(points.y), parse_math=False)
    axes.set_xscale("log" if look.log_x else "linear")
    axes.set_yscale("log" if look.log_y else "linear")
    axes.grid(visible=True, linewidth=0.4, alpha=0.5)
    if points.by is not None:
        legend = axes.legend(handles, [_named(series) for series in points.series], title=_cut(points.by), fontsize=8)
        for text in (*legend.get_texts(), legend.get_title()):
            text.set_parse_math(False)
    doubts = sorted({point.doubt for point in points.points if point.doubt})
    if doubts:
        axes.set_title(f"hollow: joules that are {' or '.join(doubts)}", fontsize=8, loc="left", parse_math=False)
    return figure


def _series(axes: Any, points: list[Point], place: int, look: Look) -> Any:
    """Draw one series; what stands for it in the legend."""
    ordered = sorted(points, key=lambda point: (point.x.value, point.y.value))
    colour = _COLOURS[place % len(_COLOURS)]
    style = {"color": colour, "linestyle": "none", "marker": _MARKERS[place % len(_MARKERS)], "markersize": 5}
    if look.line:
        axes.plot([p.x.value for p in ordered], [p.y.value for p in ordered], color=colour, linewidth=0.8, zorder=1)
    drawn = None
    for is_hollow, own in itertools.groupby(sorted(ordered, key=lambda p: bool(p.doubt)), key=lambda p: bool(p.doubt)):
        of = list(own)
        drawn = axes.errorbar(
            [point.x.value for point in of],
            [point.y.value for point in of],
            xerr=_sides([point.x for point in of]),
            yerr=_sides([point.y for point in of]),
            markerfacecolor="none" if is_hollow else colour,
            elinewidth=0.8,
            capsize=2,
            **style,
        )
    return drawn


def _sides(figures: list[Figure]) -> list[list[float]] | None:
    """How far intervals reach below and above, nothing where there is none."""
    if all(figure.low is None for figure in figures):
        return None
    ends = [(math.nan, math.nan) if f.low is None or f.high is None
            else (f.value - f.low, f.high - f.value) for f in figures]  # fmt: skip
    # Rounding may have put an end on the other side of the value.
    return [[end if math.isnan(end) else max(0.0, end) for end in side] for side in zip(*ends, strict=True)]


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def _named(series: str) -> str:
    # The library leaves names with an underscore before them out of the legend.
    return _cut(f" {series}" if series.startswith("_") else series)
