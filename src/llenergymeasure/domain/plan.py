"""A plan: everything one experiment needs to be run, anywhere."""

import uuid
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure.config.hashing import measurement_config_hash
from llenergymeasure.config.models import ExperimentConfig


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan:
    """One experiment, ready to launch.

    ``devices`` are the UUIDs of the GPUs it will use (filled in by the process that measures),
    ``output_dir`` the run's own folder (None: write nothing), ``baseline_cache`` a file in which
    processes of one study share their idle baseline.
    """

    config: ExperimentConfig
    experiment_id: str
    config_hash: str
    devices: tuple[str, ...] = ()
    output_dir: Path | None = None
    baseline_cache: Path | None = None
    show_progress: bool = False

    @classmethod
    def of(
        cls,
        config: ExperimentConfig,
        *,
        output_dir: Path | None = None,
        baseline_cache: Path | None = None,
        show_progress: bool = False,
    ) -> "ExperimentPlan":
        """A plan for ``config`` with a new id."""
        return cls(
            config=config,
            experiment_id=uuid.uuid4().hex,
            config_hash=measurement_config_hash(config),
            output_dir=output_dir,
            baseline_cache=baseline_cache,
            show_progress=show_progress,
        )
