"""Configuration of a study: several experiments, and how they are carried out."""

from pathlib import Path

from pydantic import Field, SerializeAsAny, field_validator

from llenergymeasure.config.base import ConfigModel
from llenergymeasure.config.execution import ExecutionConfig
from llenergymeasure.config.experiment import ExperimentConfig


class StudyConfig(ConfigModel):
    """Several experiments, run in the order given."""

    name: str = Field(default="study", min_length=1, max_length=128, description="Name of the study.")
    experiments: list[SerializeAsAny[ExperimentConfig]] = Field(min_length=1, description="What to run, in order.")
    execution: ExecutionConfig = Field(default=ExecutionConfig(), description="How to run it.")
    output_dir: Path | None = Field(
        default=None, description="Folder for results; null writes none (the command line has its own default)."
    )

    @field_validator("experiments")
    @classmethod
    def _carried_out_together(cls, experiments: list[ExperimentConfig]) -> list[ExperimentConfig]:
        for number, experiment in enumerate(experiments):
            if experiment.output_dir is not None:
                raise ValueError(f"experiment {number} has an output_dir of its own; give the study one instead")
            if experiment.execution != ExecutionConfig():
                raise ValueError(f"experiment {number} has an execution of its own; give the study one instead")
        return experiments

    @property
    def carried_out(self) -> list[ExperimentConfig]:
        """The experiments as they are carried out, each with what the study says of that."""
        return [experiment.model_copy(update={"execution": self.execution}) for experiment in self.experiments]
