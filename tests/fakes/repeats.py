"""Results with chosen figures, as repeats of chosen configurations."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.comparing.groups import Group
from llenergymeasure.testing import fake_process_result

START = datetime(2026, 1, 1, tzinfo=UTC)


def run(
    total_j: float | None, *, at_h: float = 0.0, device: dict[str, Any] | None = None, n: int = 100
) -> ExperimentResult:
    """A run of 4 output tokens in 2 s with this energy, at this hour, of a configuration with so many prompts."""
    row: dict[str, Any] = {"device": "GPU-0", "kind": "gpu", "source": "counter", "uncertainty_j": 0.0}
    row |= {"energy_j": total_j, **(device or {})}
    raw = fake_process_result(ExperimentPlan.of(ExperimentConfig(model="a/model", n=n)))
    energy = EnergyMeasurement(total_j, 2.0, 2, devices=(DeviceEnergy(**row),))
    fields = {"energy_backend": "nvml", "energy": energy, "measurement_warnings": ()}
    result = ExperimentResult.from_processes([raw.model_copy(update=fields)])
    return result.model_copy(update={"experiment_id": uuid.uuid4().hex, "start_time": START + timedelta(hours=at_h)})


def group(label: str, *totals_j: float | None, hours: tuple[float, ...] = (), **fields: Any) -> Group:
    """Repeats with these energies, at these hours."""
    at_h = hours or (0.0,) * len(totals_j)
    results = [run(total_j, at_h=hour, **fields) for total_j, hour in zip(totals_j, at_h, strict=True)]
    return Group(label=label, results=tuple(results), runs=tuple(f"{label}{i}" for i in range(len(results))))
