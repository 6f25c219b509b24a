"""How to measure: warm-up, idle baseline, sensor of energy."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from llenergymeasure.config import sensors
from llenergymeasure.config.base import ConfigModel, Flag, Integer, Known, Number, conflict

CONVERGENCE_FIELDS = ("cv_threshold", "max_warmup_prompts", "max_prompts", "window_size", "min_prompts")


class WarmupConfig(ConfigModel):
    """Inference before the measurement, and the wait that lets temperatures settle after it."""

    enabled: Flag = Field(default=True, description="Run warm-up inference before measuring.")
    n_warmup: Integer = Field(
        default=5, ge=1, description="Warm-up batches in fixed mode, and the least in convergence mode."
    )
    thermal_floor_seconds: Number = Field(
        default=60.0, ge=30, description="Seconds of idling with the model loaded, after warm-up, before measuring."
    )
    thermal_floor_early_end: Flag = Field(
        default=False,
        description="End the thermal floor once temperature and power of every GPU have settled, which takes a minute "
        "to be seen; the result says so.",
    )
    thermal_settle_max_s: Number | None = Field(
        default=None,
        ge=30,
        description="Let the thermal floor go on until every GPU has settled, up to this many seconds in all; null is "
        "thermal_floor_seconds, settled or not.",
    )
    convergence_detection: Flag = Field(
        default=False, description="Go on until latencies are steady; on by itself when one of its fields is given."
    )
    cv_threshold: Number = Field(
        default=0.05, gt=0, lt=1, description="Steady means a coefficient of variation under this."
    )
    max_warmup_prompts: Integer = Field(
        default=20,
        ge=1,
        validation_alias=AliasChoices("max_warmup_prompts", "max_prompts"),
        description="Give up on convergence after this many warm-up batches.",
    )
    window_size: Integer = Field(default=5, ge=2, description="Latencies that the coefficient of variation looks at.")
    min_prompts: Integer = Field(default=5, ge=1, description="Least number of warm-up batches in convergence mode.")

    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "n_warmup": ("enabled",),
        "convergence_detection": ("enabled",),
        "cv_threshold": ("convergence_detection",),
        "max_warmup_prompts": ("convergence_detection",),
        "window_size": ("convergence_detection",),
        "min_prompts": ("convergence_detection",),
    }

    @property
    def max_prompts(self) -> int:
        """The same as ``max_warmup_prompts``."""
        return self.max_warmup_prompts

    @model_validator(mode="before")
    @classmethod
    def _convergence_fields_switch_it_on(cls, data: Any) -> Any:
        return with_implied(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _the_floor_comes_before_its_end(self) -> Self:
        if self.thermal_settle_max_s is not None and self.thermal_settle_max_s < self.thermal_floor_seconds:
            raise conflict(
                f"thermal_settle_max_s: {self.thermal_settle_max_s:g} is over before thermal_floor_seconds: "
                f"{self.thermal_floor_seconds:g}; raise it, or lower thermal_floor_seconds",
                "thermal_settle_max_s",
            )
        return self

    @model_validator(mode="after")
    def _the_cap_leaves_room_to_converge(self) -> Self:
        if self.convergence_detection and self.max_warmup_prompts < self.window_size:
            raise conflict(
                f"max_warmup_prompts: {self.max_warmup_prompts} ends warm-up before there are window_size: "
                f"{self.window_size} latencies to judge by; raise it, or lower window_size",
                "max_warmup_prompts",
            )
        return self


def with_implied(warmup: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a warm-up with what they imply: one about convergence asks for its detection."""
    if "convergence_detection" not in warmup and any(name in warmup for name in CONVERGENCE_FIELDS):
        return {**warmup, "convergence_detection": True}
    return dict(warmup)


class BaselineConfig(ConfigModel):
    """Power of the idle machine before the model is loaded, for baseline-adjusted energy."""

    enabled: Flag = Field(default=True, description="Measure the idle baseline.")
    required: Flag = Field(default=False, description="Fail the experiment when the baseline cannot be measured.")
    duration_seconds: Number = Field(default=30.0, ge=1, description="Seconds of idling that are averaged.")
    sample_interval_ms: Integer = Field(default=100, ge=10, description="Milliseconds between two power readings.")
    cache_ttl_sec: Number = Field(
        default=3600.0, ge=0, description="Seconds for which a measured baseline is used again."
    )

    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "duration_seconds": ("enabled",),
        "sample_interval_ms": ("enabled",),
        "cache_ttl_sec": ("enabled",),
    }

    @model_validator(mode="after")
    def _required_means_enabled(self) -> Self:
        if self.required and not self.enabled:
            raise conflict("required: true cannot go with enabled: false; change one of them", "required")
        return self


class MeasurementConfig(ConfigModel):
    """Which part of the run is measured. Batches before it are run and not counted, those after it are not run."""

    methodology: Literal["total", "windowed", "steady_state"] = Field(
        default="total",
        description="Measure the whole run, a window of it by time, or what comes once throughput is steady.",
    )
    window_start_s: Number = Field(
        default=0.0, ge=0, description="Seconds of running, up to the end of a batch, before the window begins."
    )
    window_length_s: Number | None = Field(
        default=None,
        gt=0,
        description="Seconds after which the window ends with its batch; null is the end of the run.",
    )
    steady_cv_threshold: Number = Field(
        default=0.05, gt=0, lt=1, description="Steady means a coefficient of variation of throughput under this."
    )
    n_steady_batches: Integer = Field(
        default=5, ge=2, description="Batches that the coefficient of variation looks at."
    )
    dither_s: Number | None = Field(
        default=None,
        gt=0,
        le=10,
        description="Pause between fixed batches for a random time of up to this, such as one period of the sensor, so "
        "that tokens and sensor do not keep step; null does not pause.",
    )

    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "window_start_s": ("methodology=windowed",),
        "window_length_s": ("methodology=windowed",),
        "steady_cv_threshold": ("methodology=steady_state",),
        "n_steady_batches": ("methodology=steady_state",),
    }


class PhasesConfig(ConfigModel):
    """Pairs of windows after the measured one that tell prefill from decode. ``true`` is shorthand for enabled."""

    enabled: Flag = Field(default=False, description="Measure prefill and decode apart.")
    n_pairs: Integer = Field(
        default=5, ge=3, description="Pairs of windows, one with a single token per answer, one with all."
    )
    n_batches: Integer | None = Field(default=None, ge=1, description="Batches in a window; null is all that were run.")

    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {"n_pairs": ("enabled",), "n_batches": ("enabled",)}

    @staticmethod
    def from_shorthand(value: Any) -> Any:
        """The fields that true or false stands for; any other value as it is."""
        return {"enabled": value} if isinstance(value, bool) else value


class EnergyConfig(ConfigModel):
    """Where joules come from."""

    backend: (
        Annotated[
            str,
            Known((sensors.AUTO, *sensors.own_names())),
            AfterValidator(sensors.checked_name),
        ]
        | None
    ) = Field(
        default=sensors.AUTO,
        description=f"Sensor; 'auto' takes the best that answers ({', '.join(sensors.own_names())}), null none; those "
        "of other distributions are taken by name.",
    )
    sample_interval_ms: Integer = Field(
        default=100,
        ge=10,
        le=10_000,
        description="Milliseconds between two readings of the GPUs' power and state while measuring.",
    )
