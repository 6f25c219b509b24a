"""The columns that a table of results can have, beside those of its settings: what each is, and where a file has it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "integer", "number", "time"]
Value = str | int | float | None

_LATENCIES = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "E2E"}
_FIGURES = ("mean", "p50", "p90", "p95", "p99")
# Beside each kind of latency, how many values it has, and how many of them came about apart from each other.
_NUMBERS = ("n", "n_independent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; ``name`` ends in the unit wherever there is one, ``label`` and ``unit`` are as people read them.

    ``path`` is where a file has the value; empty where it is worked out. A ``required`` one is in every result, and one
    that a file does not have is the ``default``.
    """

    name: str
    kind: Kind
    label: str
    unit: str = ""
    path: tuple[str, ...] = ()
    required: bool = False
    default: Value = None

    @property
    def header(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def _required(kind: Kind, **labels: tuple[str, str]) -> list[Column]:
    return [
        Column(name=name, kind=kind, label=label, unit=unit, path=(name,), required=True)
        for name, (label, unit) in labels.items()
    ]


def _number(name: str, label: str, unit: str = "", path: tuple[str, ...] = (), kind: Kind = "number") -> Column:
    return Column(name=name, kind=kind, label=label, unit=unit, path=path or (name,))


def _with_default(name: str, kind: Kind, label: str, default: Value) -> Column:
    return Column(name=name, kind=kind, label=label, path=(name,), default=default)


def _text(name: str, label: str, *path: str) -> Column:
    return Column(name=name, kind="text", label=label, path=path or (name,))


def _worked_out(name: str, label: str, kind: Kind = "text", unit: str = "") -> Column:
    return Column(name=name, kind=kind, label=label, unit=unit)


def _latency_columns() -> list[Column]:
    columns = []
    for kind, label in _LATENCIES.items():
        at = ("latency_stats", f"{kind}_s")
        columns += [_number(f"{kind}_{f}_s", f"{label} {f}", "s", (*at, f)) for f in _FIGURES]
        columns += [_number(f"{kind}_{n}", f"{label} {n}", "", (*at, n), "integer") for n in _NUMBERS]
    return columns


# What is known by these names is not shown as settings once more.
SETTINGS = tuple(
    Column(name=name, kind="text", label=name, path=("effective_config", name), required=True)
    for name in ("model", "backend", "precision")
)
# What two runs may differ in that is no setting: what they really had, and what they ran on.
CIRCUMSTANCES = (
    _number("batch_size", "batch size", "", ("model", "batch_size"), "integer"),
    _text("weights", "weights", "model", "weights"),
    _text("quantization", "quantisation", "model", "quantization"),
    _text("adapter", "adapter", "model", "adapter"),
    _text("engine", "engine", "model", "engine"),
    _text("engine_version", "engine version", "model", "engine_version"),
    _worked_out("gpus", "GPUs"),
    _text("cpu_model", "CPU", "environment_snapshot", "cpu_model"),
    _text("driver_version", "driver", "environment_snapshot", "driver_version"),
    _text("tool_version", "llem", "environment_snapshot", "tool_version"),
    _text("model_revision", "revision of the model"),
    _text("weights_digest", "weights digest"),
    _text("adapter_digest", "adapter digest"),
    _text("draft_digest", "draft digest"),
)
_FIGURE_COLUMNS = (
    *_required("text", experiment_id=("experiment id", ""), name=("name", ""), measurement_config_hash=("hash", "")),
    *_required("time", start_time=("start", "")),
    *_required(
        "integer",
        n_requests=("requests", ""),
        input_tokens=("input tokens", ""),
        output_tokens=("output tokens", ""),
    ),
    *_required(
        "number",
        duration_sec=("duration", "s"),
        tokens_per_second=("output tokens", "tokens/s"),
        total_tokens_per_second=("tokens in and out", "tokens/s"),
        requests_per_second=("requests", "requests/s"),
    ),
    _number("total_energy_j", "energy", "J"),
    _number("energy_adjusted_j", "energy, adjusted", "J"),
    _number("energy_per_output_token_j", "energy per output token", "J/token"),
    _number("avg_energy_per_token_j", "energy per token in or out", "J/token"),
    _number("energy_per_request_j", "energy per request", "J/request"),
    _number("energy_net_of_loaded_idle_j", "energy, net of loaded idle", "J"),
    _number("energy_uncertainty_j", "energy, bound", "J"),
    _number("sensor_accuracy_pct", "sensor accuracy", "%"),
    _text("energy_backend", "sensor"),
    _number("baseline_power_w", "idle power", "W"),
    _number("idle_loaded_power_w", "loaded idle power", "W"),
    _number("total_flops", "FLOPs", "", ("flops_result", "value")),
    _worked_out("model_flops", "FLOPs of the model", "number"),
    _number("joules_per_tflop", "energy per TFLOP", "J/TFLOP"),
    _number("mfu", "MFU"),
    _number("peak_memory_mb", "peak memory", "MB"),
    _number("perplexity", "perplexity", "", ("quality", "perplexity")),
    _number("bits_per_byte", "text", "bits/byte", ("quality", "bits_per_byte")),
    _text("quality_text", "text of the perplexity", "quality", "text"),
    _text("quality_why_not", "why no perplexity", "quality", "why_not"),
    _text("load_kind", "load", "load", "kind"),
    _number("arrived_requests_per_second", "arrived", "requests/s", ("load", "arrived_requests_per_second")),
    _number("in_flight_mean", "in flight", "", ("load", "in_flight", "n_mean")),
    _worked_out("overloaded", "overloaded"),
    _number("sending_share_of_gap", "lateness of sending in gaps", "", ("load", "sending", "share_of_gap")),
    _number("token_energy_cv", "CV of energy per output token", "", ("load", "token_energy_cv")),
    _number("goodput", "goodput", "requests/s", ("load", "slo", "good_requests_per_second")),
    _number("goodput_tokens_per_second", "goodput, tokens", "tokens/s", ("load", "slo", "good_tokens_per_second")),
    _number("good_share", "good requests", "", ("load", "slo", "good_share")),
    _number("joules_per_good_token", "energy per good token", "J/token", ("load", "slo", "joules_per_good_token")),
    _worked_out("slo_met", "SLO met"),
    _number("energy_aliasing_pct", "aliasing", "%"),
    _with_default("measurement_methodology", "text", "methodology", "total"),
    _with_default("n_requests_excluded", "integer", "requests excluded", 0),
    *_required("integer", n_cut_short=("cut short", "")),
    _number("energy_host_j", "energy, host", "J"),
    _number("energy_host_uncertainty_j", "energy, host, bound", "J"),
    _text("energy_host_scope", "scope of the host's energy"),
    _worked_out("energy_interval_low_j", "energy, low", "number", "J"),
    _worked_out("energy_interval_high_j", "energy, high", "number", "J"),
    _worked_out("energy_origin", "origin"),
    *_latency_columns(),
    _text("latency_counted_from", "latency from", "latency_stats", "counted_from"),
    _worked_out("validity", "validity"),
    _worked_out("validity_flags", "decided by"),
    _worked_out("warnings", "warnings"),
)
_DIGESTS = (
    Column(name="prompts_digest", kind="text", label="prompts digest", path=("prompts_digest",), required=True),
    _text("inputs_digest", "inputs digest"),
    Column(name="outputs_digest", kind="text", label="outputs digest", path=("outputs_digest",), required=True),
)
# All but those of settings, and the folder, which is no part of a file; settings that differ come after SETTINGS.
FIGURES = (
    *_FIGURE_COLUMNS,
    *CIRCUMSTANCES,
    *_DIGESTS,
    _with_default("schema_revision", "integer", "revision", 1),
)
FOLDER = Column(name="folder", kind="text", label="folder")
FIXED = (*SETTINGS, *FIGURES, FOLDER)
# Figures of the total and what comes of it: what is said of the energy is said of them.
OF_ENERGY = (
    "total_energy_j", "energy_adjusted_j", "energy_per_output_token_j", "avg_energy_per_token_j",
    "energy_per_request_j", "energy_net_of_loaded_idle_j", "energy_interval_low_j", "energy_interval_high_j",
    "joules_per_tflop", "joules_per_good_token",
)  # fmt: skip
