"""Configuration of an experiment and of a study.

Units are the last word of a field's name. ``None`` means that the field is not set; each
description says what happens then. Wrong values raise pydantic's ``ValidationError``.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, ValidationInfo, field_validator, model_validator

from llenergymeasure.config.base import ConfigModel, Integer, Number
from llenergymeasure.config.engines import PyTorchConfig

Precision = Literal["fp32", "fp16", "bf16"]
BUILT_IN_DATASETS = ("mixed",)
ENGINE_SECTIONS: dict[str, type[ConfigModel]] = {"pytorch": PyTorchConfig}
_CONVERGENCE_FIELDS = ("cv_threshold", "max_warmup_prompts", "max_prompts", "window_size", "min_prompts")


# What a preset fills in; a field that is given wins over it.
DECODER_PRESETS: dict[str, dict[str, Any]] = {
    "deterministic": {"do_sample": False},
    "factual": {"do_sample": True, "temperature": 0.3, "top_p": 0.9, "top_k": 40},
    "standard": {"do_sample": True, "temperature": 0.7, "top_p": 0.95, "top_k": 50},
    "creative": {"do_sample": True, "temperature": 1.1, "top_p": 0.98, "top_k": 0},
}


class DecoderConfig(ConfigModel):
    """How the next token is chosen: greedy unless ``do_sample`` is true."""

    preset: Literal["deterministic", "factual", "standard", "creative"] | None = Field(
        default=None, description="Fills in the fields below that are not given."
    )
    do_sample: bool = Field(default=False, description="Sample from the distribution instead of taking its maximum.")
    temperature: Number | None = Field(
        default=None, gt=0, description="Softmax temperature when sampling; null is the model's own default."
    )
    top_k: Integer | None = Field(
        default=None,
        ge=0,
        description="Keep the k likeliest tokens when sampling, 0 for all; null is the model's default.",
    )
    top_p: Number | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Keep the smallest set of this probability when sampling; null as above.",
    )
    repetition_penalty: Number | None = Field(
        default=None,
        gt=0,
        description="Divide the scores of repeated tokens by this; null is the model's own default.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, data: Any) -> Any:
        preset = data.get("preset") if isinstance(data, dict) else None
        filled_in = DECODER_PRESETS.get(preset, {}) if isinstance(preset, str) else {}
        return {**filled_in, **data} if filled_in else data

    @property
    def dormant_fields(self) -> tuple[str, ...]:
        """Fields that were set but change nothing, because nothing is sampled."""
        if self.do_sample:
            return ()
        return tuple(f for f in ("temperature", "top_k", "top_p") if getattr(self, f) is not None)


class WarmupConfig(ConfigModel):
    """Inference before the measurement, and the wait that lets temperatures settle after it."""

    enabled: bool = Field(default=True, description="Run warm-up inference before measuring.")
    n_warmup: Integer = Field(
        default=5, ge=1, description="Warm-up batches in fixed mode, and the least in convergence mode."
    )
    thermal_floor_seconds: Number = Field(
        default=60.0, ge=30, description="Seconds of idling with the model loaded, after warm-up, before measuring."
    )
    convergence_detection: bool = Field(
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

    @property
    def max_prompts(self) -> int:
        """The same as ``max_warmup_prompts``."""
        return self.max_warmup_prompts

    @model_validator(mode="before")
    @classmethod
    def _convergence_fields_switch_it_on(cls, data: Any) -> Any:
        unsaid = isinstance(data, dict) and "convergence_detection" not in data
        if unsaid and any(name in data for name in _CONVERGENCE_FIELDS):
            return {**data, "convergence_detection": True}
        return data


class BaselineConfig(ConfigModel):
    """Power of the idle machine before the model is loaded, for baseline-adjusted energy."""

    enabled: bool = Field(default=True, description="Measure the idle baseline.")
    required: bool = Field(default=False, description="Fail the experiment when the baseline cannot be measured.")
    duration_seconds: Number = Field(default=30.0, ge=1, description="Seconds of idling that are averaged.")
    sample_interval_ms: Integer = Field(default=100, ge=10, description="Milliseconds between two power readings.")
    cache_ttl_sec: Number = Field(
        default=3600.0, ge=0, description="Seconds for which a measured baseline is used again."
    )


class EnergyConfig(ConfigModel):
    """Where joules come from."""

    backend: Literal["auto", "zeus", "nvml", "rapl", "codecarbon"] | None = Field(
        default="auto",
        description="Energy source; 'auto' takes the best that answers (zeus, nvml, rapl, codecarbon), null none.",
    )


class DatasetConfig(ConfigModel):
    """The prompts. A plain string is shorthand: the name of a built-in set, or a path."""

    name: str | None = Field(
        default=None,
        examples=list(BUILT_IN_DATASETS),
        description="Built-in set; 'mixed' when no path is given either.",
    )
    path: Path | None = Field(
        default=None, description="Local file: .jsonl (key 'prompt' or 'messages') or .txt (one prompt per line)."
    )
    order: Literal["shuffled", "as_is"] = Field(
        default="shuffled", description="Order before the first n are taken; 'shuffled' is seeded with random_seed."
    )
    chat: bool | None = Field(
        default=None,
        description="Wrap prompts in the model's chat template; null does so for the built-in set and for JSONL "
        "rows with 'messages'.",
    )

    @model_validator(mode="before")
    @classmethod
    def _built_in_unless_said(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name") is None and data.get("path") is None:
            return {**data, "name": BUILT_IN_DATASETS[0]}
        return data

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.name is not None and self.path is not None:
            raise ValueError("give either name (a built-in set) or path (a local file), not both")
        if self.name is not None and self.name not in BUILT_IN_DATASETS:
            raise ValueError(
                f"no built-in dataset is called {self.name!r}; there is: {', '.join(BUILT_IN_DATASETS)}; "
                "a file is given by its path, such as ./prompts.jsonl"
            )
        return self

    @classmethod
    def from_shorthand(cls, text: str) -> dict[str, str]:
        """The full form of a string: a path if it looks like one, else a name."""
        looks_like_path = "/" in text or "\\" in text or bool(Path(text).suffix)
        return {"path": text} if looks_like_path else {"name": text}


class LoRAConfig(ConfigModel):
    """A LoRA adapter on top of the model (needs the extra ``lora``)."""

    path: str = Field(min_length=1, description="Adapter directory or hub id.")
    merge: bool = Field(default=True, description="Fold the adapter into the weights before measuring.")


class ExperimentConfig(ConfigModel):
    """One measurement of one model under one deployment configuration."""

    model: str = Field(
        min_length=1, description="Hub id, model directory, GGUF file, or a packaged model's short name."
    )
    name: str | None = Field(
        default=None, min_length=1, max_length=128, description="Name of the run; null is model-backend-precision."
    )
    backend: str = Field(default="pytorch", min_length=1, description="Inference engine.")
    precision: Precision = Field(default="bf16", description="Number format of weights and activations.")
    dataset: DatasetConfig = Field(default=DatasetConfig(name="mixed"), description="Where prompts come from.")
    n: Integer = Field(default=100, ge=1, description="Prompts to run; more than there are means all, with a warning.")
    max_input_tokens: Integer = Field(default=512, ge=1, description="Longer prompts are cut to this many tokens.")
    max_output_tokens: Integer = Field(default=128, ge=1, description="Most new tokens per request.")
    random_seed: Integer = Field(default=42, ge=0, lt=2**32, description="Seed of prompt order and sampling.")
    decoder: DecoderConfig = Field(default=DecoderConfig(), description="How tokens are chosen.")
    warmup: WarmupConfig = Field(default=WarmupConfig(), description="Warm-up and thermal floor.")
    baseline: BaselineConfig = Field(default=BaselineConfig(), description="Idle baseline.")
    energy: EnergyConfig = Field(default=EnergyConfig(), description="Which source of joules to use.")
    lora: LoRAConfig | None = Field(default=None, description="LoRA adapter; null is none.")
    output_dir: Path | None = Field(
        default=None, description="Folder for results; null writes none (the command line has its own default)."
    )
    pytorch: PyTorchConfig | None = Field(default=None, description="Settings of the PyTorch engine.")

    @field_validator("dataset", mode="before", json_schema_input_type=str | DatasetConfig)
    @classmethod
    def _dataset_shorthand(cls, value: Any) -> Any:
        return DatasetConfig.from_shorthand(value) if isinstance(value, str) else value

    @field_validator(*ENGINE_SECTIONS)
    @classmethod
    def _section_of_its_own_engine(cls, section: ConfigModel | None, info: ValidationInfo) -> ConfigModel | None:
        # On the field, so that it is reported together with wrong fields elsewhere.
        backend = info.data.get("backend")
        if section is not None and backend is not None and info.field_name != backend:
            raise ValueError(
                f"section {info.field_name!r} belongs to another engine than backend {backend!r}; "
                f"remove the section or set backend: {info.field_name}"
            )
        return section

    def resolved(self) -> dict[str, Any]:
        """Every setting as plain JSON values, defaults and those of the engine's section filled in."""
        values = self.model_dump(mode="json")
        if self.engine_section is not None:
            values[self.backend] = self.engine_section.model_dump(mode="json")
        return values

    @property
    def engine_section(self) -> ConfigModel | None:
        """The section of the engine in use, with its defaults when it was left out; None if it has none."""
        model = ENGINE_SECTIONS.get(self.backend)
        return None if model is None else getattr(self, self.backend) or model()

    @property
    def display_name(self) -> str:
        """The name, or one made of model, engine and precision."""
        return self.name or f"{Path(self.model).name}-{self.backend}-{self.precision}"


class ExecutionConfig(ConfigModel):
    """How the experiments of a study are carried out."""

    launcher: Literal["subprocess", "in_process"] = Field(
        default="subprocess", description="A fresh process for each experiment, or all in this one."
    )
    on_failure: Literal["continue", "stop"] = Field(
        default="continue", description="After a failed experiment go on with the next, or stop the study."
    )
    pause_s: Number = Field(default=0.0, ge=0, description="Seconds of rest between two experiments.")


class StudyConfig(ConfigModel):
    """Several experiments, run in the order given."""

    name: str = Field(default="study", min_length=1, max_length=128, description="Name of the study.")
    experiments: list[ExperimentConfig] = Field(min_length=1, description="What to run, in order.")
    execution: ExecutionConfig = Field(default=ExecutionConfig(), description="How to run it.")
    output_dir: Path | None = Field(
        default=None, description="Folder for results; null writes none (the command line has its own default)."
    )

    @field_validator("experiments")
    @classmethod
    def _one_place_for_results(cls, experiments: list[ExperimentConfig]) -> list[ExperimentConfig]:
        for number, experiment in enumerate(experiments):
            if experiment.output_dir is not None:
                raise ValueError(f"experiment {number} has an output_dir of its own; give the study one instead")
        return experiments
