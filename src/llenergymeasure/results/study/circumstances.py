"""What decides whether figures of two runs are the same thing, in few words, so that a row can have it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llenergymeasure.domain.meaning.fields import rests_on
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.cards.where import Machine, Where
from llenergymeasure.results.comparing.facts import devices_of, gpu_uuids_of, scopes_of, sensors_of
from llenergymeasure.results.comparing.metrics import METRICS, Metric

# What is summed up of the runs of a study, in the order of the columns. A metric more is a name more.
SUMMED_UP = (
    "energy_per_output_token_j", "avg_energy_per_token_j", "energy_per_request_j", "total_energy_j",
    "energy_adjusted_j", "energy_net_of_loaded_idle_j", "tokens_per_second", "requests_per_second", "duration_sec",
    "ttft_p50_s", "tpot_p50_s", "e2e_p50_s", "peak_memory_mb", "perplexity", "bits_per_byte",
    "arrived_requests_per_second", "in_flight_mean", "goodput", "joules_per_good_token",
)  # fmt: skip
# Those for which it matters what read the joules, and of what.
OF_JOULES = frozenset(name for name in SUMMED_UP if "energy" in name or name.startswith("joules"))
# What of the columns of a run a summary goes by.
NEEDED = (
    *SUMMED_UP, "measurement_methodology", "validity", "validity_flags", "warnings", "sensor_accuracy_pct",
    "energy_origin", "n_requests", "n_requests_excluded", "input_tokens", "output_tokens", "latency_counted_from",
    "gpus", "cpu_model", "start_time", "prompts_digest", "inputs_digest", "outputs_digest", "quantization",
    "load_kind",
)  # fmt: skip
_SEVERAL = 2
# By what the weights of a run are known.
_WEIGHTS = ("model_revision", "weights_digest", "adapter_digest", "draft_digest")


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstances:
    """What stands behind the figures of a run.

    ``sensors``, ``scopes`` and ``devices`` are of its energy, and empty where there is none. ``definitions`` are the
    versions of those formulas that the metrics rest on, ``counted_by`` the rule of a metric that may have different
    ones, ``bounds_pct`` what the readings leave open of a metric, in percent of it. ``prompts`` and ``inputs`` are the
    digests of what was asked and of the tokens that were read, the latter only where the figures are of all requests;
    ``weights``, ``engine`` and ``driver`` say what ran it, and ``cards`` on which GPUs where a machine has several
    kinds of them. ``gpu_uuids`` are the GPUs that were used, with or without energy; ``host`` and ``boot_id`` the
    machine. What is not known is empty.
    """

    sensors: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    definitions: Mapping[str, int] = field(default_factory=dict)
    counted_by: Mapping[str, str] = field(default_factory=dict)
    bounds_pct: Mapping[str, float] = field(default_factory=dict)
    prompts: str = ""
    inputs: str = ""
    weights: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    driver: str = ""
    cards: str = ""
    gpu_uuids: tuple[str, ...] = ()
    host: str = ""
    boot_id: str = ""

    @property
    def where(self) -> Where:
        """On which cards it was."""
        return Where(self.gpu_uuids, self.devices, self.sensors, Machine(self.host, self.boot_id))


def circumstances_of(result: ExperimentResult) -> Circumstances:
    """What stands behind the figures of a result."""
    metrics = [METRICS[name] for name in SUMMED_UP]
    places = sorted(frozenset[str]().union(*(PLACES[name] for name in SUMMED_UP)))
    rules = {metric.name: metric.counted_by(result) for metric in metrics}
    bounds = {metric.name: metric.bound_pct(result) for metric in metrics}
    return Circumstances(
        sensors=sensors_of(result),
        scopes=scopes_of(result),
        devices=devices_of(result),
        definitions={place: result.definitions[place] for place in places if place in result.definitions},
        counted_by={name: rule for name, rule in rules.items() if rule is not None},
        bounds_pct={name: bound for name, bound in bounds.items() if bound is not None},
        prompts=result.prompts_digest,
        inputs=_inputs_of(result),
        weights={name: value for name in _WEIGHTS if (value := getattr(result, name)) is not None},
        engine=f"{result.model.engine} {result.model.engine_version or 'of unknown version'}",
        driver=result.environment_snapshot.driver_version or "",
        cards=_cards_of(result),
        gpu_uuids=gpu_uuids_of(result),
        host=result.environment_snapshot.host or "",
        boot_id=result.environment_snapshot.boot_id or "",
    )


def _cards_of(result: ExperimentResult) -> str:
    """The GPUs that were used, by name; nothing where a machine has one kind of them, or it is not known which."""
    there = result.environment_snapshot.gpus
    if len({gpu.name for gpu in there}) < _SEVERAL:
        return ""
    used = gpu_uuids_of(result)
    return ", ".join(sorted(gpu.name for gpu in there if gpu.uuid in used))


def _inputs_of(result: ExperimentResult) -> str:
    """The digest of its tokens; nothing where only some of its requests are in it, which are others each time."""
    if result.measurement_methodology != "total" or result.n_requests_excluded or result.n_requests_failed:
        return ""
    return result.inputs_digest or ""


def _places(metric: Metric) -> tuple[str, ...]:
    return tuple(sorted(rests_on(metric.place)))


# The formulas behind each metric.
PLACES = {name: _places(METRICS[name]) for name in SUMMED_UP}
