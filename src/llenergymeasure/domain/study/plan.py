"""A study as it is planned: its configurations, and every run of one of them in the order of the runs."""

import functools
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from llenergymeasure.config.execution import ExecutionConfig, Order, StudyExecutionConfig
from llenergymeasure.config.models import ExperimentConfig, measurement_config_hash
from llenergymeasure.domain.study.run_key import RunKey
from llenergymeasure.exceptions import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One run of one configuration.

    ``slot`` counts the runs of a study in their order from 0 on, ``configuration`` is a place in the list of those,
    ``block`` says which runs are compared in pairs: each has every configuration once where the order is of blocks.
    ``repeat`` counts the runs of the configuration. A ``sentinel`` is run at the beginning of its block, beside those
    that are compared, and once more at the end of the last one.
    """

    slot: int
    configuration: int
    block: int
    repeat: int
    sentinel: bool = False

    @property
    def closes(self) -> bool:
        """Whether it is the sentinel's last run, after all blocks."""
        return self.sentinel and self.repeat > self.block


@dataclass(frozen=True, kw_only=True)
class PlannedConfiguration:
    """A configuration with nothing left to the machine, as plain values with every default filled in.

    ``as_given`` are the fields that were left to the machine, as they were written.
    """

    values: Mapping[str, Any]
    config_hash: str
    as_given: Mapping[str, str] = field(default_factory=dict)

    def config(self, execution: ExecutionConfig) -> ExperimentConfig:
        """What is run.

        Raises:
            ConfigError: this version would run something else than was planned.
        """
        try:
            config = ExperimentConfig.model_validate({**self.values, "output_dir": None})
            found = measurement_config_hash(config)
        except ValueError as error:  # pydantic's is one
            raise ConfigError(f"configuration {self.config_hash} of the plan cannot be run: {error}") from error
        if found != self.config_hash:
            raise ConfigError(
                f"configuration {self.config_hash} of the plan would be run as {found}: the plan was edited, or made "
                "by a version with other settings; start a new study"
            )
        return config.model_copy(update={"execution": execution})


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A whole study, written once before anything is run; whoever runs a part of it reads it.

    ``order`` and ``seed`` say how the order of the slots came about, ``created`` when, in UTC. ``reference`` is the
    configuration that the others are compared with, by its place. Where there is a sentinel, it is the last
    configuration, and in no comparison. ``working_directory`` is
    where paths of its configurations are read from, with ``~`` for the home directory; None where none of them named
    anything there when it was planned.
    """

    study_id: str
    name: str
    created: datetime
    tool_version: str
    order: Order
    seed: int
    execution: StudyExecutionConfig
    configurations: tuple[PlannedConfiguration, ...]
    slots: tuple[Slot, ...]
    reference: int = 0
    working_directory: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no plan.

        Raises:
            ConfigError: slots are not counted from 0 on, or are of a configuration that is not there, there is no such
                reference, or runs of a sentinel are of several configurations.
        """
        n = len(self.configurations)
        if n and not 0 <= self.reference < len(self.compared):
            raise ConfigError(f"the reference of the plan is {self.reference}, and there are {len(self.compared)} "
                              "configurations, counted from 0")  # fmt: skip
        if self.sentinel not in (None, n - 1) or any(
            slot.sentinel != (slot.configuration == self.sentinel) for slot in self.slots
        ):
            raise ConfigError("the sentinel of the plan is not its last configuration, apart from all others")
        for number, slot in enumerate(self.slots):
            if slot.slot != number or not 0 <= slot.configuration < n:
                raise ConfigError(f"slot {number} of the plan is {slot}, and there are {n} configurations")

    @functools.cached_property
    def sentinel(self) -> int | None:
        """The place of the configuration that is run beside the others to tell what changed; None where none is."""
        return next((slot.configuration for slot in self.slots if slot.sentinel), None)

    @property
    def compared(self) -> tuple[PlannedConfiguration, ...]:
        """The configurations without the sentinel."""
        return self.configurations if self.sentinel is None else self.configurations[: self.sentinel]

    def hash_of(self, slot: Slot) -> str:
        """The hash of what a slot runs."""
        return self.configurations[slot.configuration].config_hash

    def folder_of(self, slot: Slot) -> str:
        """The name of the folder of a slot, such as ``0007-0123456789abcdef``."""
        return f"{slot.slot:04d}-{self.hash_of(slot)}"

    @property
    def digest(self) -> str:
        """Equal for plans that run the same configurations as often, in the same order: SHA-256 in hex."""
        runs = [f"{slot.block} {self.hash_of(slot)}" for slot in self.slots]
        return hashlib.sha256("\n".join(runs).encode()).hexdigest()

    def key_of(self, slot: Slot) -> RunKey:
        """What the result of a slot says of its place."""
        return RunKey(study_id=self.study_id, slot=slot.slot, block=slot.block, repeat=slot.repeat, order=self.order)

    @property
    def n_blocks(self) -> int:
        """How many blocks there are."""
        return 1 + max((slot.block for slot in self.slots), default=-1)


def slots_in_order(n_configurations: int, n_cycles: int, order: Order, seed: int) -> tuple[Slot, ...]:
    """Every run of [n] configurations, each as often as there are cycles.

    Args:
        n_configurations: how many there are.
        n_cycles: how often each is run.
        order: ``blocks``: in each cycle every configuration once, in an order drawn for it; ``sequential``: all runs of
            the first, then of the second; ``shuffled``: all runs in one order that is drawn.
        seed: what is drawn with; the same gives the same order everywhere (``random.Random`` of a text).
    """
    if order == "sequential":
        runs = [(c, 0, r) for c in range(n_configurations) for r in range(n_cycles)]
    elif order == "shuffled":
        drawn = _drawn([c for c in range(n_configurations) for _ in range(n_cycles)], f"{seed}")
        seen = [0] * n_configurations
        runs = []
        for c in drawn:
            runs.append((c, 0, seen[c]))
            seen[c] += 1
    else:
        runs = [
            (c, block, block)
            for block in range(n_cycles)
            for c in _drawn(list(range(n_configurations)), f"{seed}:{block}")
        ]
    return tuple(
        Slot(slot=number, configuration=c, block=block, repeat=repeat) for number, (c, block, repeat) in enumerate(runs)
    )


def with_sentinel(slots: Sequence[Slot], sentinel: int) -> tuple[Slot, ...]:
    """The same runs in the same order, with one of the sentinel before each block and one behind the last.

    Args:
        slots: [n] runs in blocks.
        sentinel: the place of its configuration.
    """
    runs: list[Slot] = []
    for slot in slots:
        if not runs or slot.block != runs[-1].block:
            runs.append(Slot(slot=0, configuration=sentinel, block=slot.block, repeat=slot.block, sentinel=True))
        runs.append(slot)
    last = runs[-1].block
    runs.append(Slot(slot=0, configuration=sentinel, block=last, repeat=last + 1, sentinel=True))
    return tuple(replace(slot, slot=number) for number, slot in enumerate(runs))


def _drawn(items: Sequence[int], seed: str) -> list[int]:
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)
    return shuffled
