"""Shared by the tests of planning and launching."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.testing import FakeClock, FakeLauncher, fake_process_result


def no_preflight(
    experiments: Sequence[ExperimentConfig], output_dir: Path | None, asking: object
) -> list[ExaminedExperiment]:
    """Everything is there."""
    return [ExaminedExperiment() for _ in experiments]


@dataclass
class Bench:
    """Options whose launcher and sleep write into one log; ``errors`` are raised by the runs they name."""

    log: list[str] = field(default_factory=list)
    errors: dict[str, BaseException] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Put the fakes together."""
        self.clock = FakeClock(log=self.log)
        self.launcher = FakeLauncher(self._run)

    def options(self, **given: Any) -> RunOptions:
        """How to run with the fakes."""
        defaults: dict[str, Any] = {
            "launcher": self.launcher,
            "preflight": no_preflight,
            "sleep": self.clock.sleep,
            "clock": self.clock,
            "now": self.clock.now,
        }
        return RunOptions(**(defaults | given))

    def _run(self, plan: ExperimentPlan) -> RawProcessResult:
        self.log.append(f"run {plan.config.name}")
        if plan.output_dir is not None:
            (plan.output_dir / "log.txt").write_text("half", encoding="utf-8")
        error = self.errors.get(str(plan.config.name))
        if error is not None:
            raise error
        return fake_process_result(plan)


@pytest.fixture
def bench() -> Bench:
    """Fakes with one log."""
    return Bench()


def study_of(*names: str, **fields: Any) -> StudyConfig:
    """A study of one experiment per name."""
    experiments = [ExperimentConfig(model="a/model", name=name, n=i + 1) for i, name in enumerate(names)]
    return StudyConfig(name="my study", experiments=experiments, **fields)


def plan_of(**fields: Any) -> ExperimentPlan:
    """A plan of an experiment that writes nothing."""
    return replace(ExperimentPlan.of(ExperimentConfig(model="a/model")), **fields)
