"""Joules per output token in equal parts of the window, and how much they vary from one part to the next."""

import statistics
from collections.abc import Sequence
from itertools import pairwise

from llenergymeasure.domain.energy.courses import EnergyCourse, course_of
from llenergymeasure.domain.metrics import DeviceEnergy
from llenergymeasure.domain.trace import DeviceTrace
from llenergymeasure.domain.under_load.load_result import SubWindow
from llenergymeasure.domain.under_load.traffic import Traffic
from llenergymeasure.domain.window import counts_between, touches

# A sensor may be off by one of its updates at either edge: by a fifth of ten of them, at the most.
_FEWEST_UPDATES = 10
# Of fewer parts no variation is told.
_LEAST_PARTS = 3


def courses_of(
    rows: Sequence[DeviceEnergy], traces: Sequence[DeviceTrace], part_s: float
) -> tuple[list[EnergyCourse], str | None]:
    """The courses of energy of [n] devices; or none, and why.

    Args:
        rows: the devices that make the total.
        traces: what was read of them and of others.
        part_s: length of the shortest part that joules are wanted of.
    """
    if not rows:
        return [], "no energy was measured"
    found: list[EnergyCourse] = []
    for row in rows:
        if row.source == "modelled":
            return [], f"the energy of {row.device} is modelled"
        course = course_of(row, traces)
        if course is None:
            return [], f"no readings are kept of {row.device}"
        # How often it was seen to be new, where it is less often than what is known of its kind.
        update_s = max(course.resolution_s, row.update_period_s or 0.0)
        if part_s < _FEWEST_UPDATES * update_s:
            needed_s = _FEWEST_UPDATES * update_s
            return (
                [],
                f"a part has {part_s:.3g} s, and {_FEWEST_UPDATES} readings of {row.device} take {needed_s:.3g} s",
            )
        found.append(course)
    return found, None


def sub_windows_of(
    traffic: Traffic, edges_s: Sequence[float], courses: Sequence[EnergyCourse]
) -> tuple[SubWindow, ...]:
    """[n] parts of a window by their [n + 1] edges: joules of all devices together, and tokens by their own times."""
    return tuple(_part(traffic, start_s, end_s, courses) for start_s, end_s in pairwise(edges_s))


def _part(traffic: Traffic, start_s: float, end_s: float, courses: Sequence[EnergyCourse]) -> SubWindow:
    joules = [course.between_j(start_s, end_s) for course in courses]
    energy_j = sum(j for j in joules if j is not None) if courses and None not in joules else None
    there = (request for request in traffic.requests if touches(request, start_s, end_s))
    n_tokens = counts_between(there, start_s, end_s).output_tokens
    return SubWindow(
        start_s=start_s - traffic.start_s,
        end_s=end_s - traffic.start_s,
        part_energy_j=energy_j,
        output_tokens=n_tokens,
        energy_per_output_token_j=None if energy_j is None or not n_tokens else energy_j / n_tokens,
    )


def variation_of(parts: Sequence[SubWindow]) -> tuple[float | None, str | None]:
    """Coefficient of variation of joules per output token (of a sample: n - 1) over [n] parts; or None, and why."""
    each = [part.energy_per_output_token_j for part in parts]
    known = [j for j in each if j is not None]
    if len(each) < _LEAST_PARTS:
        return None, f"the window has {len(each)} parts, and {_LEAST_PARTS} are needed"
    if any(part.part_energy_j is None for part in parts):
        return None, "readings of a part have a gap, or do not reach its edges"
    if len(known) < len(each) or not statistics.fmean(known):
        return None, "no token came in one of the parts"
    return statistics.stdev(known) / statistics.fmean(known), None
