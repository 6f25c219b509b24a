"""A plan: everything one experiment needs to be run, anywhere."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import SerializeAsAny

from llenergymeasure.config.execution import ExecutionConfig
from llenergymeasure.config.models import ExperimentConfig, measurement_config_hash
from llenergymeasure.domain.inference import Prompt
from llenergymeasure.domain.process import Parallelism
from llenergymeasure.domain.study.run_key import RunKey


@dataclass(frozen=True, kw_only=True)
class ProcessLayout:
    """How many processes run one experiment, and what each does of it.

    Under ``data`` each has the whole model and a share of the prompts, under ``tensor`` all prompts and a part
    of the model.
    """

    n_processes: int = 1
    parallelism: Parallelism = "single"

    @classmethod
    def of(cls, n_processes: int, parallelism: Parallelism) -> "ProcessLayout":
        """So many processes; one is no parallelism."""
        return cls(n_processes=n_processes, parallelism=parallelism) if n_processes > 1 else cls()

    @property
    def in_words(self) -> str:
        """Such as "2 processes (data parallel)"."""
        return "1 process" if self.n_processes == 1 else f"{self.n_processes} processes ({self.parallelism} parallel)"


ShownAs = Literal["bar", "lines"]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How the process of a run shows how far it is.

    ``kind`` is a bar that writes over itself, or a line now and then. In a study of ``n_runs`` it is
    the one with this number, and the runs after it take ``later_s`` seconds; None where that is not known.
    """

    kind: ShownAs
    number: int = 0
    n_runs: int = 0
    later_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan:
    """One experiment, ready to launch.

    ``devices`` are the UUIDs of the GPUs it will use, in the order of its processes where each has one of its own,
    ``output_dir`` the run's own folder (None: write nothing), ``baseline_cache`` a file in which
    processes of one study share their idle baseline. ``process_index`` is the place in the layout of the
    process that has the plan. ``as_given`` are the fields that were left to the machine, as they were written.
    ``execution`` says how it is carried out, ``log_level`` from which level on its process tells the user where it
    stands, and ``shown`` how it shows how far it is (None: nothing). ``run_key`` is its place in a
    study, None of a single experiment.
    """

    config: SerializeAsAny[ExperimentConfig]
    experiment_id: str
    config_hash: str
    devices: tuple[str, ...] = ()
    output_dir: Path | None = None
    baseline_cache: Path | None = None
    shown: Shown | None = None
    layout: ProcessLayout = ProcessLayout()
    process_index: int = 0
    as_given: Mapping[str, str] = field(default_factory=dict)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    log_level: int | None = None
    run_key: RunKey | None = None

    @property
    def seed(self) -> int:
        """What sampling starts from: processes that share the prompts draw different numbers, others the same."""
        own = self.process_index if self.layout.parallelism == "data" else 0
        return (self.config.random_seed + own) % 2**32

    def part(self, index: int) -> "ExperimentPlan":
        """The plan for one of its processes: its own GPU where each has one; the first shows progress."""
        own = len(self.devices) == self.layout.n_processes
        return replace(
            self,
            process_index=index,
            devices=self.devices[index : index + 1] if own else self.devices,
            shown=self.shown if index == 0 else None,
            log_level=self.log_level if index == 0 else None,
        )

    def share_of(self, prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
        """Those of [n] prompts that this process runs; dealt out in turn, so that long and short ones mix alike."""
        if self.layout.parallelism != "data":
            return tuple(prompts)
        return tuple(prompts[self.process_index :: self.layout.n_processes])

    @classmethod
    def of(
        cls,
        config: ExperimentConfig,
        *,
        layout: ProcessLayout | None = None,
        devices: Sequence[str] = (),
        output_dir: Path | None = None,
        baseline_cache: Path | None = None,
        shown: Shown | None = None,
        as_given: Mapping[str, str] | None = None,
    ) -> "ExperimentPlan":
        """A plan for ``config`` with a new id.

        Raises:
            ConfigError: engine or precision is still ``auto``.
        """
        return cls(
            config=config,
            experiment_id=uuid.uuid4().hex,
            config_hash=measurement_config_hash(config),
            layout=layout or ProcessLayout(),
            devices=tuple(devices),
            output_dir=output_dir,
            baseline_cache=baseline_cache,
            shown=shown,
            as_given=as_given or {},
        )
