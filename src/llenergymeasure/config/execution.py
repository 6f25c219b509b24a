"""How experiments are carried out: nothing here changes what is measured, so nothing here is in the hash."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, Strict, TypeAdapter, ValidationError, field_validator
from pydantic_core.core_schema import ValidationInfo

from llenergymeasure.config.base import ConfigModel, Flag, Integer, Number
from llenergymeasure.exceptions import config_error

Order = Literal["blocks", "sequential", "shuffled"]
# The name of what ``execution.sentinel`` runs; no other experiment of blocks has it, so that results tell it by this.
SENTINEL = "sentinel"
# How many processes work through a study at once on this machine, each with a GPU of its own.
Workers = Annotated[int, Strict(), Field(ge=1)] | Literal["per_gpu"]
# Idle baseline, thermal floor and a gap of minutes are silent too; half an hour of silence is none of them.
STALL_TIMEOUT_S = 1800.0


class ExecutionConfig(ConfigModel):
    """How an experiment, or the experiments of a study, are carried out."""

    launcher: Literal["subprocess", "in_process"] = Field(
        default="subprocess",
        description="A fresh process for each experiment, or all in this one; one that takes several has fresh ones.",
    )
    on_failure: Literal["continue", "stop"] = Field(
        default="continue", description="After a failed experiment go on with the next, or stop the study."
    )
    pause_s: Number = Field(
        default=0.0,
        ge=0,
        description="Seconds of rest between two experiments of a study, and after one of somebody else's on the same "
        "devices; with a gate at most so many.",
    )
    timeout_s: Number | None = Field(
        default=None, gt=0, description="End an experiment that takes longer than this; null waits as long as it takes."
    )
    stall_timeout_s: Number | None = Field(
        default=STALL_TIMEOUT_S,
        gt=0,
        description="End an experiment that shows no sign of life for so long: no processor time, no use of its GPUs, "
        "nothing read or written; null waits for ever.",
    )
    max_memory_mb: Number | None = Field(
        default=None,
        gt=0,
        description="End a run whose processes hold more than this in memory together, in MB (10^6 bytes) as the "
        "operating system counts them as resident; null is no limit.",
    )
    wait_for_devices_s: Number | None = Field(
        default=None,
        ge=0,
        description="How long to wait while another llem on this machine measures the same devices; null waits as long "
        "as it takes.",
    )

    wait_for_quiet_s: Number = Field(
        default=0.0,
        ge=0,
        description="How long to wait, with the devices held, while other programs use them: their processes or work "
        "on its GPUs, or where none is used over 5 % of the processors. Then it is measured all the same. 0 does not "
        "look.",
    )

    @field_validator("timeout_s", "max_memory_mb")
    @classmethod
    def _somebody_watches(cls, limit: float | None, info: ValidationInfo) -> float | None:
        if limit is not None and info.data.get("launcher") == "in_process":
            raise ValueError(
                "this cannot go with launcher: in_process, where nobody is left to end it; change one of them"
            )
        return limit


_WORKERS: TypeAdapter[Workers] = TypeAdapter(Workers)


def checked_workers(value: object) -> Workers:
    """How many workers a command was asked for.

    Raises:
        ConfigError: it is no such number.
    """
    try:
        return _WORKERS.validate_python(value)
    except ValidationError:
        raise config_error(f"--workers {value}: it takes a whole number from 1 on, or per_gpu") from None


class StopConfig(ConfigModel):
    """When enough runs of a configuration have been made: the interval of a metric is narrow enough."""

    metric: Literal[
        "energy_per_output_token_j",
        "total_energy_j",
        "energy_adjusted_j",
        "tokens_per_second",
        "ttft_p50_s",
        "tpot_p50_s",
        "e2e_p50_s",
    ] = Field(default="energy_per_output_token_j", description="Whose 95 % interval is looked at.")
    target_pct: Number = Field(
        default=2.0, gt=0, le=50, description="Half its width in percent of the mean, from which on it is enough."
    )
    max_cycles: Integer = Field(
        default=30, ge=3, le=10_000, description="Most runs of a configuration, however wide it still is."
    )


class StudyExecutionConfig(ExecutionConfig):
    """How the experiments of a study are carried out: how often each, and in which order."""

    cycles: Integer | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Runs of each configuration, each in a process of its own; null is 5 where a sweep made the "
        "configurations, and 1 where they were listed.",
    )
    order: Order = Field(
        default="blocks",
        description="blocks: every configuration once, in a new random order for each cycle; sequential: in the order "
        "given, all runs of one after another; shuffled: all runs in one random order.",
    )
    seed: Integer = Field(default=42, ge=0, lt=2**32, description="Seed of the order.")
    reference: str | dict[str, JsonValue] | None = Field(
        default=None,
        description="Settings that only one configuration has, as a mapping or as precision=fp32,pytorch.batch_size=1: "
        "the others are compared with it; null is the first.",
    )
    sentinel: Flag | str | dict[str, JsonValue] | None = Field(
        default=None,
        description="A configuration that is run at the beginning of every block and once after the last, and tells "
        "what changed with time: settings over those of the reference; true is the reference itself, null is none.",
    )
    stop: StopConfig | None = Field(
        default=None,
        description="Go on after the cycles with each configuration whose interval is too wide still; null runs the "
        "cycles. Intervals cover a little less then than they say.",
    )
    gate_temperature_c: Number | None = Field(
        default=None,
        gt=0,
        description="End the pause as soon as every GPU is no more than this above its temperature before the first "
        "run, and no more than gate_power_pct above its power; null: the pause is always whole.",
    )
    gate_power_pct: Number = Field(
        default=10.0, gt=0, description="How far power may be above that before the first run, in percent."
    )
    takeover_after_s: Number = Field(
        default=60.0,
        ge=1,
        description="Where several workers run a study: take over what another has begun and given no sign of life of "
        "for so long. One on the same machine that has died is not waited for.",
    )
    retries: Integer = Field(
        default=0, ge=0, le=100, description="How often a run that failed is tried again, before the next is begun."
    )
    stop_after_failures: Integer | None = Field(
        default=10,
        ge=1,
        description="Stop the study after so many failures in a row for the same reason; null never does.",
    )
    workers: Workers = Field(
        default=1,
        description="Processes that run the study at once on this machine: 1 is llem itself, with all GPUs that it "
        "sees; per_gpu is one for each of these, and a number so many, each with one GPU.",
    )

    @field_validator("reference")
    @classmethod
    def _of_some_setting(cls, reference: object) -> object:
        if reference is not None and not reference:
            raise ValueError("this names no setting; give such as {precision: fp32}, or leave it out for the first")
        return reference

    @field_validator("sentinel")
    @classmethod
    def _of_blocks(cls, sentinel: object, info: ValidationInfo) -> object:
        if sentinel in (None, False):
            return None
        order = info.data.get("order")
        if order in ("sequential", "shuffled"):
            raise ValueError(
                f"a sentinel is run at the beginning of every block, and order: {order} has none; give order: blocks, "
                "or leave the sentinel out"
            )
        return sentinel

    @field_validator("gate_temperature_c")
    @classmethod
    def _of_a_pause(cls, gate_c: float | None, info: ValidationInfo) -> float | None:
        if gate_c is not None and not info.data.get("pause_s"):
            raise ValueError("this ends a pause early, and pause_s is 0; give the longest pause too")
        return gate_c

    @field_validator("stop")
    @classmethod
    def _more_than_the_cycles(cls, stop: StopConfig | None, info: ValidationInfo) -> StopConfig | None:
        cycles = info.data.get("cycles")
        if stop is not None and cycles is not None and stop.max_cycles < cycles:
            raise ValueError(
                f"max_cycles {stop.max_cycles} is less than the {cycles} cycles that are run in any case; raise it"
            )
        return stop

    @field_validator("workers")
    @classmethod
    def _in_processes(cls, workers: Workers, info: ValidationInfo) -> Workers:
        if workers != 1 and info.data.get("launcher") == "in_process":
            raise ValueError(
                "this starts processes, and launcher: in_process runs everything in this one; leave one of them out"
            )
        return workers

    @property
    def of_one(self) -> ExecutionConfig:
        """What of it concerns each single run."""
        return ExecutionConfig.model_construct(**{name: getattr(self, name) for name in ExecutionConfig.model_fields})
