"""What the model did, held against the energy and the hardware that it took.

Both take the model's own FLOPs, attention and head in them, not the rule of 2 N, which leaves out work and would call
busy hardware idle.
"""

from collections.abc import Sequence

from llenergymeasure.domain.device_peaks import peak_flop_per_second
from llenergymeasure.domain.metrics import FlopsResult, sum_or_none
from llenergymeasure.domain.process import RawProcessResult

_TERA = 1e12


def joules_per_tflop(energy_j: float | None, flops: FlopsResult | None) -> float | None:
    """Energy over what the model did, in units of 10^12 FLOPs; None where either is unknown."""
    done = flops.model_flops if flops is not None else None
    return energy_j / (done / _TERA) if energy_j is not None and done else None


def model_flops_utilisation(
    raws: Sequence[RawProcessResult], flops: FlopsResult | None, seconds: float
) -> float | None:
    """MFU: what the model did over what its GPUs could have done in the same time, as a fraction.

    Args:
        raws: [n] processes.
        flops: of all of them together.
        seconds: length of the window.

    Returns:
        The fraction; None without GPUs, on a part of one, or where what was done or could be done is not known.
    """
    if flops is None or flops.model_flops is None or not all(r.model.devices for r in raws):
        return None
    possible = _peak_flop_per_second(raws, flops)
    return flops.model_flops / (seconds * possible) if possible else None


def _peak_flop_per_second(raws: Sequence[RawProcessResult], flops: FlopsResult) -> float | None:
    """The peaks of all GPUs that hold the model, each once."""
    number_format = flops.number_format
    if number_format is None:
        return None
    names = {
        device: next((g.name for g in r.environment_snapshot.gpus if g.uuid == device and not g.mig_mode), None)
        for r in raws
        for device in r.model.devices
    }
    return sum_or_none([peak_flop_per_second(name or "", number_format) for name in names.values()])
