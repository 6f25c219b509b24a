"""What came of a study: its results, what failed, and the summary over both."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from llenergymeasure.domain import in_short
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.summary import StudySummary

if TYPE_CHECKING:
    import pyarrow as pa


class ExperimentFailure(BaseModel):
    """An experiment of a study that gave no result."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slot: int
    name: str
    measurement_config_hash: str
    error_type: str
    message: str


class StudyResult(BaseModel):
    """The experiments of a study, in the order they were run; failed ones apart.

    ``problems`` says what could not be written where it belongs, and where it is. ``n_planned`` runs are in its plan,
    and ``stopped`` says why some of them were not tried. ``summary`` has a row for each configuration, with means,
    intervals and comparisons, the same that the folder of a study has in files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal["2.0"] = "2.0"
    name: str
    start_time: datetime
    end_time: datetime
    experiments: list[ExperimentResult]
    failures: list[ExperimentFailure]
    problems: list[str] = []
    stopped: str | None = None
    n_planned: int | None = None
    output_dir: Path | None = None
    summary: StudySummary | None = None

    @property
    def n_experiments(self) -> int:
        """Experiments that were tried."""
        return len(self.experiments) + len(self.failures)

    def to_arrow(self) -> "pa.Table":
        """A ``pyarrow.Table`` with a row per experiment that gave a result, its columns those of ``llem results``.

        Units are at the end of the names and in the metadata of the fields; settings that differ have columns of
        their dotted names, and ``folder`` says where each result lies.
        """
        # As with from_json, this only lends what lies above a convenient name.
        from llenergymeasure.results.rows.frames import arrow_of

        return arrow_of(self.experiments)

    def to_dataframe(self, library: Literal["pandas", "polars"] | None = None) -> Any:
        """The same as a data frame of pandas, or of polars where only that is installed.

        Args:
            library: which of the two it is to be.

        Raises:
            ConfigError: it is not installed, or neither is; ``to_arrow`` needs none.
        """
        from llenergymeasure.results.rows.frames import frame_of

        return frame_of(self.to_arrow(), library)

    def __repr__(self) -> str:
        return in_short.study(self)

    __str__ = __repr__
