"""Quantities say their unit in the last word of their name."""

import dataclasses
import importlib
import pkgutil
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import BaseModel

import llenergymeasure
from llenergymeasure.config.engines import EngineSection

UNITS = (
    "_j",
    "_uj",
    "_w",
    "_s",
    "_ms",
    "_mb",
    "_bytes",
    "_pct",
    "_hz",
    "_mhz",
    "_c",
    "_g",
    "_kwh",
    "_per_second",
    "_per_tflop",
    "_nats",
    "_per_byte",
    "_per_good_token",
)

# Spellings that the specification fixed before the rule; this list does not grow.
SPECIFIED = {
    "duration_sec", "duration_seconds", "thermal_floor_seconds", "cache_ttl_sec", "throttle_duration_sec",
    "baseline_cache_age_sec", "timestamp", "baseline_timestamp", "sm_utilisation", "steady_state_window",
    "input_tokens", "output_tokens", "total_tokens", "max_input_tokens", "max_output_tokens", "samples",
    "warmup_excluded_samples", "iterations_completed", "max_warmup_prompts", "max_prompts", "min_prompts",
    "window_size", "n", "batch_size",
}  # fmt: skip

# Numbers without a unit: ratios, dice, and statistics whose unit is in the name of the field that holds them.
PURE_NUMBERS = {
    "steady_cv_threshold",
    "final_cv", "target_cv", "cv_threshold", "temperature", "top_k", "top_p", "min_p", "repetition_penalty",
    "length_penalty", "random_seed",
    "mfu", "pue", "perplexity", "unseen_share", "unexplained", "counter_unexplained",
    "value", "low", "high", "linear", "attention", "head", "mean", "p50", "p90", "p95", "p99", "median", "sigma",
    "p", "cv", "df", "centre", "error", "scatters", "ratio", "margin",  # of repeated runs, and of two configurations
    "highest_kept", "good_share", "share_of_gap", "share_of_arrivals", "p_value", "token_energy_cv",  # of a load
    "counted_by",  # requests, by what they are called
    "through",  # places of runs
    "concurrency", "burstiness", "trace_speed", "rate", "until_cv", "cached_tokens",  # of a load as it is asked for
    "cpu_quota", "card_ratios",  # processors' worth of time; means of cards
    "steps", "before", "asked", "read_back",  # of knobs, whose names have the unit
}  # fmt: skip

# Counts that every engine calls so, or the twin of a specified one.
FIELD_TERMS = {"cycles", "num_return_sequences", "num_beams", "no_repeat_ngram_size", "min_output_tokens"} | {
    # As schedulers say it: the issue names them.
    "nodes", "workers", "gpus_per_worker", "cpus_per_worker", "memory_gb", "time_limit", "array_parallelism",
}  # fmt: skip

# Numbers that count nothing: the name of a place, an identity, or a set of bits.
ORDINALS = {
    "index", "batch", "slot", "token_ids", "throttle_reasons", "fail_at_batch", "parameters", "architecture",
    "running_pids", "compute_capability", "special_token_ids", "first_token_id", "end_token_ids", "schema_revision",
    "definitions", "since",  # versions of formulas, and the revisions they came in
    # Of a case or a simulation that engines are tried with: prompts, and requests by their index.
    "prompts", "answer_to", "ending", "too_long", "failing", "ends_after",
    "pids_before_load", "pids_at_end", "gpu_pids", "output_ids", "exit_code",
    "answer", "position", "first", "second",  # of a difference: places and token ids
    "prefix", "begin", "end",  # of the tokens of a text: ids and places
    "log_level",  # as logging numbers them
    "port", "status",  # of a server, and of an answer of HTTP
    "row", "places",  # of a dataset
    "shapes",  # of tensors
    "cost",  # in the currency of the terms
    "socket",  # of a machine
    "configuration", "block", "repeat",  # of a run of a study
    "reference", "number", "numbers", "outliers", "row_version", "share",  # of the summary of one
    "pid", "seed", "cycles", "max_cycles", "retries", "workers", "stop_after_failures", "equal_to",  # of a study
    "array_task_id", "exceeds",  # of a job, as its scheduler numbers them; rows
    "user",  # of a note, as the system numbers them
    "at", "chosen", "found", "excluded_by", "grids", "listed",  # places in the file of a study
    "examined", "results", "value_of", "through", "silent",  # by the numbers of configurations, slots and attempts
    "ids", "tokens", "reasons",  # of answers as they come: of tokens, and by the places of the answers
}  # fmt: skip


def holds_a_number(annotation: Any) -> bool:
    """Whether an annotation has an int or a float in it, as itself or in a container."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return False
    if isinstance(arguments, tuple) and arguments:
        return any(holds_a_number(a) for group in arguments for a in (group if isinstance(group, list) else [group]))
    return annotation in (int, float)


def fields_of(kind: type) -> Mapping[str, Any]:
    """The annotated fields of a dataclass or model; of anything else none."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    if issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return {}


def public_records() -> Iterator[type]:
    for found in pkgutil.walk_packages(llenergymeasure.__path__, "llenergymeasure."):
        module = importlib.import_module(found.name)
        for name, kind in vars(module).items():
            if (
                isinstance(kind, type)
                and kind.__module__ == found.name
                and not name.startswith("_")
                and fields_of(kind)
                and not (issubclass(kind, EngineSection))  # those have their engine's own names
            ):
                yield kind


RECORDS = sorted(set(public_records()), key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")


def numbers_of(kind: type) -> list[str]:
    callables = (
        "clock",
        "sleep",
        "tokenise_text",
        "lines",
        "read",
        "place",
        "place_in_file",
        "values",  # of the columns of a table, whose names end in their units
        "default",
        "facts",
        "wanted",  # what a column is compared with, in the column's unit
        "rows",  # of a study, and the two below: by their slots
        "failures",
        "problems",
        "files",  # their sizes in bytes, by name
        "count_text",
        "on_work",
        "ticking",
        "usage",  # as a server tells it
    )  # functions and maps of numbers, which are no quantities themselves
    return [
        name
        for name, annotation in fields_of(kind).items()
        if holds_a_number(annotation) and name not in callables and not name.startswith("_")
    ]


def test_the_records_of_every_layer_are_looked_at() -> None:
    names = {kind.__name__ for kind in RECORDS}
    assert names >= {"ExperimentConfig", "WarmupConfig", "EnergyMeasurement", "ExperimentResult", "PowerThermalSample"}


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_numbers_end_in_their_unit_or_count_from_n(kind: type) -> None:
    unclear = [
        name
        for name in numbers_of(kind)
        if not name.endswith(UNITS)
        and not name.startswith("n_")
        and not name.endswith("_index")
        and name not in SPECIFIED | PURE_NUMBERS | FIELD_TERMS | ORDINALS
    ]
    assert unclear == []


def test_no_exception_outlives_its_field() -> None:
    used = {name for kind in RECORDS for name in numbers_of(kind)}
    # max_prompts is a result's field, and an alias in the configuration.
    assert (SPECIFIED | PURE_NUMBERS | FIELD_TERMS | ORDINALS) - used == set()
