"""Configuration of a study: several experiments, and how they are carried out."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, ModelWrapValidatorHandler, SerializeAsAny, field_validator, model_validator

from llenergymeasure.config.base import ConfigModel
from llenergymeasure.config.cluster import ClusterConfig
from llenergymeasure.config.execution import SENTINEL, ExecutionConfig, Order, StudyExecutionConfig
from llenergymeasure.config.experiment import ExperimentConfig
from llenergymeasure.config.in_memory import taken_in_study
from llenergymeasure.config.sweep.left_out import LeftOut

_AS_EVER = ExecutionConfig()


class StudyConfig(ConfigModel):
    """Several experiments, run in the order given.

    This is the expanded form: what a file writes as ``sweep:``, ``zip:`` and ``exclude:`` is a list here
    (``config/sweep``), and what of it is not run stands in ``left_out``.
    """

    name: str = Field(default="study", min_length=1, max_length=128, description="Name of the study.")
    experiments: list[SerializeAsAny[ExperimentConfig]] = Field(min_length=1, description="What to run, in order.")
    execution: StudyExecutionConfig = Field(
        default=StudyExecutionConfig(), description="How to run it: how often, and in which order."
    )
    cluster: ClusterConfig | None = Field(
        default=None, description="Which jobs llem submit makes of it; llem run takes no notice."
    )
    output_dir: Path | None = Field(
        default=None, description="Folder for results; null writes none (the command line has its own default)."
    )
    left_out: tuple[LeftOut, ...] = Field(
        default=(), description="Combinations of the file's grammar that are not run, with the reason."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _lists_taken(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return handler(taken_in_study(data))

    @field_validator("execution", mode="before", json_schema_input_type=StudyExecutionConfig)
    @classmethod
    def _of_a_single_experiment(cls, value: Any) -> Any:
        is_of_one = isinstance(value, ExecutionConfig) and not isinstance(value, StudyExecutionConfig)
        return value.model_dump(exclude_unset=True) if is_of_one else value

    @field_validator("experiments")
    @classmethod
    def _carried_out_together(cls, experiments: list[ExperimentConfig]) -> list[ExperimentConfig]:
        for number, experiment in enumerate(experiments):
            if experiment.output_dir is not None:
                raise ValueError(f"experiment {number} has an output_dir of its own; give the study one instead")
            if experiment.execution != _AS_EVER:
                raise ValueError(f"experiment {number} has an execution of its own; give the study one instead")
        return experiments

    @model_validator(mode="after")
    def _none_like_the_sentinel(self) -> Self:
        called_so = [number for number, experiment in enumerate(self.experiments) if experiment.name == SENTINEL]
        if called_so and self.order == "blocks":
            raise ValueError(
                f"experiment {called_so[0]} has the name {SENTINEL}, which in a study of blocks is that of the runs of "
                "execution.sentinel alone; give it another name"
            )
        return self

    @property
    def carried_out(self) -> list[ExperimentConfig]:
        """The experiments as they are carried out, each with what the study says of that."""
        own = self.execution.of_one
        return [experiment.model_copy(update={"execution": own}) for experiment in self.experiments]

    @property
    def n_cycles(self) -> int:
        """How often each configuration is run."""
        return 1 if self.execution.cycles is None else self.execution.cycles

    @property
    def most_cycles(self) -> int:
        """How often each is run at most, where it depends on what comes out."""
        return self.n_cycles if self.execution.stop is None else max(self.n_cycles, self.execution.stop.max_cycles)

    @property
    def most_runs(self) -> int:
        """How often any configuration is run at most: a sentinel once more than the others."""
        return self.most_cycles + (self.execution.sentinel is not None)

    @property
    def order(self) -> Order:
        """In which order it is run: experiments that were listed and are run once as they were listed."""
        execution = self.execution
        is_a_list = execution.cycles is None and self.most_cycles == 1 and "order" not in execution.model_fields_set
        return "sequential" if is_a_list else execution.order
