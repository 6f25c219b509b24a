"""The configuration of experiments and studies, by the names that people import."""

from llenergymeasure.config.decoder import DecoderConfig
from llenergymeasure.config.execution import ExecutionConfig
from llenergymeasure.config.experiment import ExperimentConfig
from llenergymeasure.config.identity import measurement_config_hash
from llenergymeasure.config.measurement import (
    BaselineConfig,
    EnergyConfig,
    MeasurementConfig,
    PhasesConfig,
    WarmupConfig,
)
from llenergymeasure.config.quality import QualityConfig
from llenergymeasure.config.study import StudyConfig
from llenergymeasure.config.workload import DatasetConfig, LoRAConfig

__all__ = [
    "BaselineConfig",
    "DatasetConfig",
    "DecoderConfig",
    "EnergyConfig",
    "ExecutionConfig",
    "ExperimentConfig",
    "LoRAConfig",
    "MeasurementConfig",
    "PhasesConfig",
    "QualityConfig",
    "StudyConfig",
    "WarmupConfig",
    "measurement_config_hash",
]
