"""Studies in a folder, of runs with chosen figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from llenergymeasure.config.execution import Order, StudyExecutionConfig
from llenergymeasure.config.models import ExperimentConfig, StudyConfig, measurement_config_hash
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.plan import PlannedConfiguration, Slot, StudyPlan, slots_in_order, with_sentinel
from llenergymeasure.domain.study.result import ExperimentFailure, StudyResult
from llenergymeasure.domain.study.summary import SlotFailure, StudySummary
from llenergymeasure.results.persistence import LOG_FILE, RUNS_DIR, save_result
from llenergymeasure.results.study.directory import StudyDirectory, keep_failure
from llenergymeasure.results.study.rows import StudyRows, with_those_kept_here
from llenergymeasure.results.study.summary import Summing
from llenergymeasure.results.sums import mark_done
from llenergymeasure.testing import fake_process_result

START = datetime(2026, 1, 1, tzinfo=UTC)


def of_batches(*sizes: int, **fields: Any) -> list[ExperimentConfig]:
    """A configuration for each batch size."""
    return [
        ExperimentConfig.model_validate({"model": "a/model", "pytorch": {"batch_size": size}, **fields})
        for size in sizes
    ]


def plan_of(
    configs: Sequence[ExperimentConfig], n_cycles: int = 1, order: Order = "blocks", *,
    sentinel: ExperimentConfig | None = None, reference: int = 0,
) -> StudyPlan:  # fmt: skip
    """The plan of a study of these, and of a sentinel beside them."""
    slots = slots_in_order(len(configs), n_cycles, order, 0)
    return StudyPlan(
        study_id="0" * 32, name="a study", created=START, tool_version="2.0.0", order=order, seed=0,
        execution=StudyExecutionConfig(),
        configurations=tuple(
            PlannedConfiguration(values=config.resolved(), config_hash=measurement_config_hash(config))
            for config in (*configs, *([] if sentinel is None else [sentinel]))
        ),
        slots=slots if sentinel is None else with_sentinel(slots, len(configs)), reference=reference,
    )  # fmt: skip


@dataclass
class Study:
    """A study in a folder, whose runs are finished or failed one by one."""

    directory: StudyDirectory
    plan: StudyPlan

    @classmethod
    def of(cls, path: Path, configs: Sequence[ExperimentConfig], n_cycles: int = 1, order: Order = "blocks") -> "Study":
        """One of which nothing has been run."""
        path.mkdir(parents=True, exist_ok=True)
        study = cls(StudyDirectory(path), plan_of(configs, n_cycles, order))
        study.directory.write(study.plan, StudyConfig(name="a study", experiments=list(configs)))
        return study

    def slot(self, configuration: int, repeat: int = 0) -> Slot:
        """The slot of a repeat of a configuration."""
        return next(s for s in self.plan.slots if (s.configuration, s.repeat) == (configuration, repeat))

    def finish(self, slot: Slot, total_j: float | None = 80.0, **fields: Any) -> Path:
        """A finished attempt of a slot; see ``result_of``."""
        attempt = self.directory.new_attempt(self.plan, slot)
        save_result(result_of(self.plan, slot, total_j, **fields), attempt)
        (attempt / "log.txt").write_text("it ran\n", encoding="utf-8")
        mark_done(attempt)
        return attempt

    def fail(self, slot: Slot, message: str = "no such weights") -> Path:
        """An attempt of a slot that failed."""
        attempt = self.directory.new_attempt(self.plan, slot)
        keep_failure(failure_of(self.plan, slot, message), attempt)
        return attempt

    def finish_all(self, *totals_j: Sequence[float], **fields: Any) -> None:
        """Finish every slot: of each configuration the energies of its repeats."""
        for slot in self.plan.slots:
            self.finish(slot, totals_j[slot.configuration][slot.repeat], **fields)


def failure_of(plan: StudyPlan, slot: Slot, message: str = "no such weights") -> ExperimentFailure:
    """Word of a failure."""
    return ExperimentFailure(
        slot=slot.slot, name=f"run {slot.configuration}", measurement_config_hash=plan.hash_of(slot),
        error_type="BackendError", message=message,
    )  # fmt: skip


def result_of(
    plan: StudyPlan,
    slot: Slot,
    total_j: float | None = 80.0,
    *,
    duration_s: float = 2.0,
    ttft_s: float = 0.5,
    device: dict[str, Any] | None = None,
    **fields: Any,
) -> ExperimentResult:
    """A run of 4 output tokens with this energy, an hour after the slot before; without warnings but those given."""
    row: dict[str, Any] = {"device": "GPU-0", "kind": "gpu", "source": "counter", "uncertainty_j": 0.0}
    row |= {"energy_j": total_j, **(device or {})}
    config = plan.configurations[slot.configuration].config(plan.execution.of_one)
    raw = fake_process_result(ExperimentPlan.of(config))
    times_s = (10.0 + ttft_s, 11.0, 11.5, 12.0)
    request = replace(raw.requests[0], first_token_s=times_s[0], token_times_s=times_s)
    energy = None if total_j is None else EnergyMeasurement(total_j, duration_s, 2, devices=(DeviceEnergy(**row),))
    start = START + timedelta(hours=slot.slot)
    known = {
        "experiment_id": f"{slot.slot:032x}", "energy_backend": "nvml", "energy": energy, "measurement_warnings": (),
        "requests": (request,), "window_end_s": 10.0 + duration_s, "start_time": start, "end_time": start,
    }  # fmt: skip
    return ExperimentResult.from_processes([raw.model_copy(update={**known, **fields})])


def summary_of(study: StudyResult) -> StudySummary:
    """The summary of results that no plan is known of, so that nothing in it is paired."""
    places = {config_hash: place for place, config_hash in enumerate(
        dict.fromkeys(result.measurement_config_hash for result in study.experiments))}  # fmt: skip
    first = {result.measurement_config_hash: result for result in reversed(study.experiments)}
    repeats = [0] * len(places)
    slots = []
    for number, result in enumerate(study.experiments):
        place = places[result.measurement_config_hash]
        slots.append(Slot(slot=number, configuration=place, block=0, repeat=repeats[place]))
        repeats[place] += 1
    plan = StudyPlan(
        study_id="", name=study.name, created=study.start_time, tool_version="", order="shuffled", seed=0,
        execution=StudyExecutionConfig(),
        configurations=tuple(
            PlannedConfiguration(values=first[config_hash].effective_config, config_hash=config_hash)
            for config_hash in places
        ),
        slots=tuple(slots),
    )  # fmt: skip
    found = with_those_kept_here(StudyRows(), plan, dict(enumerate(study.experiments)), {})
    failures = tuple(_summed_failure(failure, places, known_folder=study.output_dir is not None)
                     for failure in study.failures)  # fmt: skip
    n_planned = study.n_planned or study.n_experiments
    summary = Summing(plan).of(found)
    return replace(summary, n_planned=n_planned, n_failed=len(failures), failures=failures)


def _summed_failure(failure: ExperimentFailure, places: Mapping[str, int], *, known_folder: bool) -> SlotFailure:
    folder = f"{RUNS_DIR}/{failure.slot:04d}-{failure.measurement_config_hash}/attempt-1"
    return SlotFailure(
        slot=failure.slot,
        configuration=places.get(failure.measurement_config_hash, len(places)),
        name=failure.name,
        error_type=failure.error_type,
        message=failure.message,
        log=f"{folder}/{LOG_FILE}" if known_folder else None,
    )
