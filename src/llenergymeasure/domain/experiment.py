"""What comes of experiments and studies, under the names that users import."""

from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.result import StudyResult

__all__ = ["ExperimentResult", "RawProcessResult", "StudyResult"]
