"""How a study is handed to a cluster: nothing here is measured, so nothing here is in any hash."""

import math
import re
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationInfo, field_validator

from llenergymeasure._secrets import looks_secret
from llenergymeasure.config.base import ConfigModel, Flag, Integer, Number

Executor = Literal["slurm", "local", "debug"]

_UNITS_S = {"d": 86400, "h": 3600, "m": 60, "min": 60, "s": 1}
# Of a time limit; more is none that anybody means.
_MOST_DIGITS = 20
# Such as 4h and 1h30m.
_IN_UNITS = re.compile(r"(?:\d+(?:d|h|min|m|s))+")
_PART = re.compile(r"(\d+)(d|h|min|m|s)")
# Such as 02:00:00 and 1-12:00:00, as SLURM writes them.
_BY_COLONS = re.compile(r"(?:(\d+)-)?(\d+):([0-5]?\d)(?::([0-5]?\d))?")
# What is set here already, or what jobs are found again by.
_WARN_S = 180
# What has a field of its own, and would win over it unseen.
_FIELDS = {
    "partition": "partition", "account": "account", "qos": "qos", "constraint": "constraint", "nodes": "nodes",
    "time": "time_limit", "exclusive": "exclusive", "mem": "memory_gb", "cpus-per-task": "cpus_per_worker",
    "gpus-per-node": "gpus_per_worker", "container-image": "container_image",
}  # fmt: skip
_OURS = frozenset({"array", "error", "open-mode", "output", "signal", "requeue", "no-requeue", "parsable", "wrap"})
# An assignment, or an option with its value; what begins with a dollar is a variable's own.
_GIVES = (
    re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_-]*)=['\"]?[^\s$'\"]"),
    re.compile(r"--?(?P<name>[A-Za-z][A-Za-z0-9_-]*)[\s=]+['\"]?[^\s$'\"-]"),
)
LIMIT_WORDS = "a time limit is such as 4h, 1h30m, 02:00:00, 1-12:00:00, or a number of minutes"


def seconds_of(limit: str) -> float | None:
    """How many seconds a time limit is, as it is written; None for what is none.

    A bare number is minutes, as in SLURM; ``02:00`` is minutes and seconds and ``02:00:00`` hours, also as there.
    """
    text = limit.strip().replace(" ", "").lower()
    if len(text) > _MOST_DIGITS:
        return None
    if text.isascii() and text.isdigit():
        return 60.0 * int(text) or None
    if _IN_UNITS.fullmatch(text):
        return float(sum(int(n) * _UNITS_S[unit] for n, unit in _PART.findall(text))) or None
    found = _BY_COLONS.fullmatch(text)
    if found is None:
        return None
    days, first, second, third = found.groups()
    if third is None:
        # With days before them they are hours and minutes.
        seconds = int(first) * 3600 + int(second) * 60 if days else int(first) * 60 + int(second)
    else:
        seconds = int(first) * 3600 + int(second) * 60 + int(third)
    return float(int(days or 0) * 86400 + seconds) or None


class ClusterConfig(ConfigModel):
    """Which jobs are submitted for a study, and what each asks for: one job is one worker on each of its nodes."""

    executor: Executor = Field(
        default="slurm",
        description="slurm; local, which starts the same jobs as processes of this machine; or debug, which runs them "
        "one after another and waits.",
    )
    partition: str | None = Field(default=None, min_length=1, description="Where jobs run; null is the cluster's own.")
    account: str | None = Field(default=None, min_length=1, description="Who is charged; null is the user's own.")
    qos: str | None = Field(default=None, min_length=1, description="Quality of service, as the cluster names it.")
    workers: Integer = Field(default=1, ge=1, le=10_000, description="Jobs that are submitted, as one array.")
    nodes: Integer = Field(default=1, ge=1, le=1_000, description="Nodes of each job; a worker runs on each of them.")
    gpus_per_worker: Integer | None = Field(
        default=None, ge=0, le=64, description="GPUs of each worker; null asks for none, and takes what is visible."
    )
    cpus_per_worker: Integer | None = Field(default=None, ge=1, description="Processors of each worker.")
    memory_gb: Number | None = Field(default=None, gt=0, description="Memory of each node of a job.")
    time_limit: str | int | None = Field(
        default=None,
        description="How long a job may take, such as 4h or 02:00:00; a number is minutes, null the cluster's own. "
        "What is left then is submitted again by the job itself.",
    )
    warn_s: Integer | None = Field(
        default=None,
        ge=10,
        le=36_000,
        description="So many seconds before the time limit a job is told: it takes no more runs, and may end its own. "
        "Null is 180, or a third of a shorter limit.",
    )
    constraint: str | None = Field(default=None, min_length=1, description="Features of nodes, such as a100.")
    exclusive: Flag = Field(
        default=True,
        description="Ask for whole nodes, on which nobody else runs anything; false says that there may be neighbours.",
    )
    array_parallelism: Integer | None = Field(
        default=None, ge=1, description="Jobs of the array that run at once at most; null is all of them."
    )
    setup: tuple[str, ...] = Field(
        default=(), description="Commands of the shell before a worker starts, such as module load cuda."
    )
    container_image: str | None = Field(
        default=None,
        min_length=1,
        description="Image of a container, handed to srun as --container-image, which takes a cluster with Pyxis.",
    )
    python: str | None = Field(
        default=None,
        min_length=1,
        description="Command that starts Python in a job; null is the one that submits, and python3 in a container.",
    )
    slurm: dict[str, JsonValue] = Field(
        default_factory=dict, description="Further options of sbatch by their long names, such as {reservation: night}."
    )

    @field_validator("time_limit")
    @classmethod
    def _is_a_time(cls, limit: str | int | None) -> str | int | None:
        if limit is not None and (isinstance(limit, bool) or seconds_of(str(limit)) is None):
            raise ValueError(LIMIT_WORDS)
        return limit

    @field_validator("setup", "python", "slurm", "container_image")
    @classmethod
    def _no_secrets(cls, given: Any) -> Any:
        texts = given.values() if isinstance(given, dict) else given if isinstance(given, tuple) else (given,)
        for found in (
            each for text in texts if isinstance(text, str) for gives in _GIVES for each in gives.finditer(text)
        ):
            if looks_secret(found["name"]):
                raise ValueError(
                    f"{found['name']} looks like a secret that is written out, which is not shown here: it would be in "
                    "scripts of jobs; set it where you submit, for jobs have the variables of whoever does"
                )
        return given

    @field_validator("slurm")
    @classmethod
    def _not_ours(cls, options: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name, value in options.items():
            if (long_name := name.replace("_", "-")) in _OURS:
                raise ValueError(f"{long_name} is set by llem itself; leave it out")
            if long_name in _FIELDS:
                raise ValueError(f"{long_name} has a field of its own; give {_FIELDS[long_name]}")
            if not isinstance(value, str | int | float | bool):
                raise ValueError(f"{long_name} takes a single value; true is an option without one")
        return options

    @field_validator("warn_s")
    @classmethod
    def _before_the_limit(cls, warn_s: int | None, info: ValidationInfo) -> int | None:
        limit = info.data.get("time_limit")
        limit_s = None if limit is None else seconds_of(str(limit))
        if warn_s is not None and limit_s is not None and warn_s >= limit_s:
            raise ValueError(f"{warn_s} s before a limit of {limit_s:g} s nothing has begun; lower it")
        return warn_s

    @property
    def warned_s(self) -> int:
        """So many seconds before the limit a job is told: as was asked for, or three minutes, a third at the most."""
        if self.warn_s is not None:
            return self.warn_s
        limit_s = None if self.time_limit_min is None else 60 * self.time_limit_min
        return _WARN_S if limit_s is None else min(_WARN_S, limit_s // 3)

    @property
    def time_limit_s(self) -> float | None:
        """Seconds that a job may take; None where the cluster says."""
        return None if self.time_limit is None else seconds_of(str(self.time_limit))

    @property
    def time_limit_min(self) -> int | None:
        """The same in minutes, in which SLURM counts, rounded up."""
        return None if self.time_limit_s is None else math.ceil(self.time_limit_s / 60)
