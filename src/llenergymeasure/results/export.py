"""Results as CSV, a row per experiment."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from llenergymeasure._files import write_atomically
from llenergymeasure._paths import expanded
from llenergymeasure._telling import told
from llenergymeasure.domain.experiment import ExperimentResult

_FIELDS = (
    "experiment_id", "name", "measurement_config_hash", "start_time", "n_requests", "input_tokens",
    "output_tokens", "duration_sec", "tokens_per_second", "total_tokens_per_second", "requests_per_second",
    "total_energy_j", "energy_adjusted_j", "energy_per_output_token_j", "avg_energy_per_token_j",
    "energy_per_request_j", "energy_net_of_loaded_idle_j", "energy_uncertainty_j", "sensor_accuracy_pct",
    "energy_backend", "baseline_power_w", "idle_loaded_power_w", "total_flops", "model_flops", "joules_per_tflop",
    "mfu", "peak_memory_mb", "energy_aliasing_pct", "measurement_methodology", "n_requests_excluded", "n_cut_short",
    "energy_host_j", "energy_host_uncertainty_j", "energy_host_scope",
)  # fmt: skip
# Spreadsheets take the wide forms for the narrow ones.
_FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_ENDS = ("energy_interval_low_j", "energy_interval_high_j")
_KINDS, _PERCENTILES = ("ttft", "tpot", "itl", "e2e"), ("mean", "p50", "p90", "p95", "p99")
# Beside each kind of latency, how many values it has, and how many of them came about apart from each other.
_NUMBERS = ("n", "n_independent")


def export_csv(results: Sequence[ExperimentResult], path: Path) -> Path:
    """Write [n] results; an absent value is an empty cell, and ``energy_origin`` says where joules came from.

    A text that a spreadsheet would take for a formula begins with a single quote.

    Raises:
        FileExistsError: the file is there already.
        OSError: it cannot be written.
    """
    path = expanded(path)
    rows = [{name: _cell(value) for name, value in _row(result).items()} for result in results]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=_columns())
    writer.writeheader()
    writer.writerows(rows)
    if path.exists():
        raise FileExistsError(f"{path} exists and is not overwritten")
    write_atomically(path, text.getvalue())
    return path


def _cell(value: object) -> object:
    """A value as a spreadsheet may open it: a text that would be a formula there begins with a single quote.

    As OWASP advises (https://owasp.org/www-community/attacks/CSV_Injection); numbers stay numbers.
    """
    if not isinstance(value, str):
        return value
    text = told(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _columns() -> list[str]:
    latencies = [f"{kind}_{p}_s" for kind in _KINDS for p in _PERCENTILES]
    numbers = [f"{kind}_{n}" for kind in _KINDS for n in _NUMBERS]
    setting = ["model", "backend", "precision"]
    return [*setting, *_FIELDS, *_ENDS, "energy_origin", *latencies, *numbers, "validity", "warnings"]


def _row(result: ExperimentResult) -> dict[str, object]:
    row: dict[str, object] = {k: result.effective_config[k] for k in ("model", "backend", "precision")}
    row |= {name: getattr(result, name) for name in _FIELDS}
    row |= dict(zip(_ENDS, result.energy_interval_j or (None, None), strict=True))
    row["start_time"] = result.start_time.isoformat()
    row["energy_origin"] = result.energy_origin
    for kind in _KINDS:
        distribution = getattr(result.latency_stats, f"{kind}_s", None)
        for percentile in _PERCENTILES:
            row[f"{kind}_{percentile}_s"] = getattr(distribution, percentile, None)
        row |= {f"{kind}_{n}": getattr(distribution, n, None) for n in _NUMBERS}
    row["validity"] = result.validity
    row["warnings"] = "; ".join(warning.flag for warning in result.warnings)
    return row
