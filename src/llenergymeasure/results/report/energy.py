"""What the energy of a configuration is made of: idling and what is above it, prefill and decode."""

import statistics
from collections.abc import Sequence
from typing import Any

from llenergymeasure.domain.phases import PhaseResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.summary import SummaryRow
from llenergymeasure.results.study.rows import SlotRow


def split_of(row: SummaryRow, runs: Sequence[SlotRow]) -> dict[str, Any]:
    """The energy of a window in parts that add up to it, each the arithmetic mean of [n] runs, in joules.

    ``idle`` is what the machine takes before the model is loaded, ``loaded`` what it takes more with the model loaded
    and nothing asked, ``above`` the rest. What was not measured is in the part behind it, and None; where neither was,
    all is ``whole``. ``why_none`` says why there are no parts at all.
    """
    known = row.metrics["total_energy_j"]
    if known.value is None:
        return {"why_none": known.why_none or "there is no energy"}
    own = [parts for run in runs if (parts := parts_of(*(_number(run, name) for name in (
        "total_energy_j", "energy_adjusted_j", "energy_net_of_loaded_idle_j")))) is not None]  # fmt: skip
    kinds = {tuple(part is None for part in parts) for parts in own}
    if len(kinds) != 1:
        return {"why_none": "idle power was not measured in all of its runs"}
    idle, loaded, above = (None if None in of else statistics.fmean(of) for of in zip(*own, strict=True))
    if idle is None and loaded is None:
        return {"whole": above, "n": len(own)}
    return {"idle": idle, "loaded": loaded, "above": above, "n": len(own)}


def parts_of(
    total_j: float | None, adjusted_j: float | None, net_j: float | None
) -> tuple[float | None, float | None, float | None] | None:
    """Idling before the model was loaded, what loading it adds to that, and the rest; None where there is no energy.

    Args:
        total_j: all of it.
        adjusted_j: without idling before the model was loaded.
        net_j: without idling with the model loaded.
    """
    if total_j is None:
        return None
    if adjusted_j is None and net_j is None:
        return None, None, total_j
    if net_j is None:
        return total_j - (adjusted_j or 0.0), None, adjusted_j
    if adjusted_j is None:
        return None, total_j - net_j, net_j
    return total_j - adjusted_j, adjusted_j - net_j, net_j


def _number(run: SlotRow, name: str) -> float | None:
    value = run.values[name]
    return float(value) if isinstance(value, (int, float)) else None


def phases_of(results: Sequence[ExperimentResult]) -> dict[str, Any] | None:
    """Prefill and decode, each gross and above idling, the arithmetic mean of [n] runs; None where no run has both.

    Idling is what was measured with the model loaded, or else before. It lasts as long as the phase. Phases are of
    windows of their own, so that they need not add up to the energy of the window that a result is of.
    """
    with_both = [r for r in results if r.phases and r.phases.prefill.energy_j and r.phases.decode.energy_j]
    if not with_both:
        return None
    found: dict[str, Any] = {"n": len(with_both)}
    for name in ("prefill", "decode"):
        of = [(getattr(result.phases, name), _idle_w(result)) for result in with_both]
        gross = [phase.energy_j.value for phase, _ in of]
        nets = [_net_j(phase, idle_w) for phase, idle_w in of]
        found[name] = {
            "gross": statistics.fmean(gross),
            "net": None if None in nets else statistics.fmean(net for net in nets if net is not None),
            "resolved": all(phase.status == "resolved" for phase, _ in of),
            # Of several runs their own intervals are no interval of the mean.
            "low": of[0][0].energy_j.low if len(of) == 1 else None,
            "high": of[0][0].energy_j.high if len(of) == 1 else None,
        }
    return found


def _idle_w(result: ExperimentResult) -> float | None:
    return result.baseline_power_w if result.idle_loaded_power_w is None else result.idle_loaded_power_w


def _net_j(phase: PhaseResult, idle_w: float | None) -> float | None:
    if phase.energy_j is None or idle_w is None:
        return None
    return phase.energy_j.value - idle_w * phase.duration_sec.value
