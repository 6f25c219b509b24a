"""Configuration of an experiment.

Units are the last word of a field's name. ``None`` means that the field is not set; each
description says what happens then. Wrong values raise pydantic's ``ValidationError``.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from llenergymeasure.config import load_beside, nodes_beside
from llenergymeasure.config.base import Integer, Known, canonical, conflict, defaults_of
from llenergymeasure.config.decoder import DecoderConfig
from llenergymeasure.config.device import DeviceConfig
from llenergymeasure.config.engines import (
    ENGINE_SECTIONS,
    CTranslate2Config,
    EngineSection,
    LlamaCppConfig,
    OnnxRuntimeConfig,
    PyTorchConfig,
    ServerConfig,
    SGLangConfig,
    TensorRTConfig,
    VLLMConfig,
    registry,
)
from llenergymeasure.config.engines.takes_sections import TakesSections
from llenergymeasure.config.execution import ExecutionConfig
from llenergymeasure.config.in_memory import as_kept, taken_in
from llenergymeasure.config.load import LoadConfig, SLOConfig
from llenergymeasure.config.measurement import (
    BaselineConfig,
    EnergyConfig,
    MeasurementConfig,
    PhasesConfig,
    WarmupConfig,
)
from llenergymeasure.config.names.paths import PathText
from llenergymeasure.config.nodes import NodesConfig
from llenergymeasure.config.quality import QualityOrShorthand
from llenergymeasure.config.random_prompts import RandomPromptsConfig
from llenergymeasure.config.workload import DatasetConfig, LoRAConfig

Precision = Literal["fp32", "fp16", "bf16", "as_served", "auto"]
# Where a result goes, what it is called and who waits for it change nothing about the measurement. Nor do quality,
# which is looked at when everything is measured, and promises, which measured requests are held against: runs with
# them and without them are repeats of one another.
NOT_MEASURED = frozenset({"name", "output_dir", "quality", "slo"})
# What idling is done for: without a sensor of energy nobody idles.
_IDLE_FIELDS = {
    "baseline": tuple(BaselineConfig.model_fields),
    "warmup": ("thermal_floor_seconds", "thermal_floor_early_end", "thermal_settle_max_s"),
    "measurement": ("dither_s",),
}
# Fields that came after results had been cited by their hash: one that is null says nothing, and is in no hash.
_LATER_FIELDS = {"warmup": ("thermal_settle_max_s",), "measurement": ("dither_s",)}


class _NotWritten(str):
    """A default that gives way to the engine's own."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> CoreSchema:
        return core_schema.str_schema()  # so that the JSON schema shows it


_OF_THE_ENGINE: Any = _NotWritten(EngineSection.default_precision)


@functools.cache
def _of_defaults(section: type[EngineSection]) -> EngineSection:
    """The section with nothing set."""
    return section()


def _section_of(info: ValidationInfo) -> type[EngineSection]:
    """The section of the engine that was given; where there is none of that name, what all have in common."""
    return registry.section_class(str(info.data.get("backend"))) or EngineSection


def _free_to_pass(name: str, info: ValidationInfo) -> str:
    """A key of ``passthrough_kwargs`` that sets nothing which a field sets."""
    section = _section_of(info)
    if name in section.refused_names:
        raise ValueError(f"{name} may not be passed through: it {section.refused_names[name]}")
    places = {
        **dict.fromkeys(ExperimentConfig.model_fields, ""),
        **dict.fromkeys(DecoderConfig.model_fields, "decoder."),
        **dict.fromkeys(section.model_fields, f"{info.data.get('backend')}."),
    }
    field = section.library_names.get(name) or (f"{places[name]}{name}" if name in places else None)
    if field is not None:
        raise ValueError(f"{name} is set by the field {field}; give it there and remove it here")
    return name


def _random_prompts(info: ValidationInfo) -> RandomPromptsConfig | None:
    dataset = info.data.get("dataset")
    return None if dataset is None else dataset.random


class ExperimentConfig(TakesSections):
    """One measurement of one model under one deployment configuration."""

    model: PathText = Field(
        min_length=1, description="Hub id, model directory, GGUF file, or a packaged model's short name."
    )
    name: str | None = Field(
        default=None, min_length=1, max_length=128, description="Name of the run; null is model-backend-precision."
    )
    backend: Annotated[str, Known((*ENGINE_SECTIONS, registry.AUTO))] = Field(
        default="pytorch",
        description="Inference engine; auto is the first installed one, of those with a section where one is given.",
    )
    precision: Precision = Field(
        default=_OF_THE_ENGINE,
        validate_default=True,
        description="Number format of weights and activations; auto is what the device computes natively, as_served is "
        "that of a server, which nobody here knows.",
    )
    dataset: DatasetConfig = Field(default=DatasetConfig(name="mixed"), description="Where prompts come from.")
    n: Integer = Field(default=100, ge=1, description="Prompts to run; more than there are means all, with a warning.")
    max_input_tokens: Integer = Field(
        default=512, ge=1, validate_default=True, description="Longer prompts are cut to this many tokens."
    )
    max_output_tokens: Integer = Field(
        default=128, ge=1, validate_default=True, description="Most new tokens per request."
    )
    random_seed: Integer = Field(
        default=42, ge=0, lt=2**32, description="Seed of prompt order, random prompts and sampling."
    )
    decoder: DecoderConfig = Field(default=DecoderConfig(), validate_default=True, description="How tokens are chosen.")
    warmup: WarmupConfig = Field(default=WarmupConfig(), description="Warm-up and thermal floor.")
    energy: EnergyConfig = Field(
        default=EnergyConfig(), description="Which sensor of energy to use, and how often to read it."
    )
    baseline: BaselineConfig = Field(default=BaselineConfig(), description="Idle baseline.")
    measurement: MeasurementConfig = Field(
        default=MeasurementConfig(), description="Which part of the run is measured."
    )
    load: LoadConfig | None = Field(
        default=None,
        validate_default=True,
        description="How requests arrive; null is one batch after the other, or all at once where an engine has a "
        "scheduler of its own.",
    )
    slo: SLOConfig | None = Field(default=None, description="What is promised to who sends requests; null is nothing.")
    phases: PhasesConfig = Field(
        default=PhasesConfig(), description="Prefill and decode apart; true is shorthand for enabled: true."
    )
    quality: QualityOrShorthand = Field(
        default=None,
        description="Perplexity of a text beside the energy, in no hash; true is the built-in sample, a path that "
        "text, null none.",
    )
    lora: LoRAConfig | None = Field(default=None, description="LoRA adapter; null is none.")
    nodes: NodesConfig | None = Field(default=None, description="Nodes that run the model together; null is one.")
    device: DeviceConfig | None = Field(default=None, description="Knobs of the GPUs; null leaves them as they are.")
    passthrough_kwargs: dict[Annotated[str, AfterValidator(_free_to_pass)], JsonValue] = Field(
        default={},
        description="What the engine's own interface takes and no field here sets, under its own names; pytorch: "
        "parameters of generate, of from_pretrained, and of the model's configuration.",
    )
    output_dir: Path | None = Field(
        default=None, description="Folder for results; null writes none (the command line has its own default)."
    )
    execution: ExecutionConfig = Field(
        default=ExecutionConfig(), description="How it is carried out; in a study the study's own counts."
    )
    pytorch: PyTorchConfig | None = Field(default=None, description="Settings of the PyTorch engine.")
    vllm: VLLMConfig | None = Field(default=None, description="Settings of the vLLM engine.")
    sglang: SGLangConfig | None = Field(default=None, description="Settings of the SGLang engine.")
    tensorrt: TensorRTConfig | None = Field(default=None, description="Settings of the TensorRT-LLM engine.")
    llamacpp: LlamaCppConfig | None = Field(default=None, description="Settings of the llama.cpp engine.")
    ctranslate2: CTranslate2Config | None = Field(default=None, description="Settings of the CTranslate2 engine.")
    onnxruntime: OnnxRuntimeConfig | None = Field(default=None, description="Settings of the ONNX Runtime engine.")
    server: ServerConfig | None = Field(default=None, description="Settings of the engine that asks a server.")

    @model_validator(mode="wrap")
    @classmethod
    def _lists_taken(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return handler(taken_in(data))

    @field_validator("dataset", mode="before", json_schema_input_type=str | DatasetConfig)
    @classmethod
    def _dataset_shorthand(cls, value: Any) -> Any:
        return DatasetConfig.from_shorthand(value) if isinstance(value, str) else value

    @field_validator("phases", mode="before", json_schema_input_type=bool | PhasesConfig)
    @classmethod
    def _phases_shorthand(cls, value: Any) -> Any:
        return PhasesConfig.from_shorthand(value)

    @field_validator("backend")
    @classmethod
    def _an_engine(cls, backend: str) -> str:
        if backend in ENGINE_SECTIONS or backend == registry.AUTO:
            return backend
        found = None if backend in registry.RESERVED else registry.find(backend)
        if found is None:
            raise ValueError(f"no engine is called {backend!r}; {registry.nearest_engine(backend)}")
        if found.problem is not None:
            raise ValueError(found.problem)
        return backend

    @field_validator("precision", mode="before")
    @classmethod
    def _default_of_the_engine(cls, precision: Any, info: ValidationInfo) -> Any:
        return _section_of(info).default_precision if isinstance(precision, _NotWritten) else precision

    @field_validator("precision")
    @classmethod
    def _precision_of_the_engine(cls, precision: str, info: ValidationInfo) -> str:
        section = _section_of(info)
        if precision not in (registry.AUTO, *section.precisions):
            raise ValueError(
                f"precision {precision} cannot go with backend: {info.data['backend']}, which has "
                f"{', '.join(section.precisions)}; change one of them"
            )
        return precision

    @field_validator("decoder")
    @classmethod
    def _decoding_of_the_engine(cls, decoder: DecoderConfig, info: ValidationInfo) -> DecoderConfig:
        section, defaults = _section_of(info), DecoderConfig()
        lacking = [f for f in sorted(section.lacks_decoder_fields) if getattr(decoder, f) != getattr(defaults, f)]
        if lacking:
            raise conflict(
                f"{', '.join(lacking)} cannot go with backend: {info.data['backend']}, which has nothing like it; "
                "remove it, or change the backend",
                lacking[0],
            )
        return decoder

    @field_validator("max_input_tokens", "max_output_tokens")
    @classmethod
    def _room_for_random_lengths(cls, limit: int, info: ValidationInfo) -> int:
        random = _random_prompts(info)
        name = str(info.field_name)
        lengths = name.removeprefix("max_")
        wanted = limit if random is None else getattr(random, lengths).least_limit
        if wanted > limit:
            raise ValueError(
                f"dataset.random.{lengths} needs up to {wanted} tokens; raise {name} to that, or shorten the lengths"
            )
        return limit

    @field_validator("decoder")
    @classmethod
    def _exact_lengths_of_random_prompts(cls, decoder: DecoderConfig, info: ValidationInfo) -> DecoderConfig:
        random = _random_prompts(info)
        return decoder if random is None else random.decoder_for(decoder, info.data.get("max_output_tokens", 1))

    @field_validator("baseline")
    @classmethod
    def _baseline_of_some_energy(cls, baseline: BaselineConfig, info: ValidationInfo) -> BaselineConfig:
        energy = info.data.get("energy")
        if baseline.required and energy is not None and energy.backend is None:
            raise conflict(
                "required: true cannot go with energy.backend: null, which measures nothing; change one of them",
                "required",
            )
        return baseline

    _window_of_its_own = field_validator("load")(load_beside.window_of_its_own)
    _phases_without_a_load = field_validator("phases")(load_beside.phases_without_a_load)
    _nodes_of_batches = field_validator("nodes")(nodes_beside.of_batches_alone)
    _device_of_one_node = field_validator("device")(nodes_beside.of_one_node)
    _promises_under_a_load = field_validator("slo")(load_beside.promises_under_a_load)

    @field_validator("*")
    @classmethod
    def _section_of_its_own_engine(cls, section: Any, info: ValidationInfo) -> Any:
        # On the field, so that it is reported together with wrong fields elsewhere.
        if not isinstance(section, EngineSection):
            return section
        backend = info.data.get("backend")
        if backend not in (None, registry.AUTO, info.field_name):
            raise ValueError(
                f"section {info.field_name!r} belongs to another engine than backend {backend!r}; "
                f"remove the section or set backend: {info.field_name}"
            )
        decoder = info.data.get("decoder")
        clashes = section.clashes_with(decoder) if decoder is not None else []
        if clashes:
            raise conflict("; also, ".join(message for _, message in clashes), clashes[0][0])
        n = info.data.get("n")
        if n is not None and n < section.n_shares:
            raise ValueError(f"{section.n_shares} processes share the prompts, and n is {n}; raise n")
        return section

    def resolved(self) -> dict[str, Any]:
        """Every setting of what is measured as plain JSON values, defaults and the engine's section filled in."""
        if self.backend == registry.AUTO:
            not_given = {name for name in self.section_names() if not self.gives(name)}
            values = self.model_dump(mode="json", exclude={"execution", *not_given})
            return {**values, "dataset": as_kept(values["dataset"])}
        values = self.model_dump(mode="json", exclude={"execution", *self.section_names()})
        values[self.backend] = self.engine_section.model_dump(mode="json")
        return {**values, "dataset": as_kept(values["dataset"])}

    def identity(self) -> dict[str, Any]:
        """``resolved`` without what changes nothing about the measurement: names, places, quality, a preset's name."""
        values = {key: value for key, value in self.resolved().items() if key not in NOT_MEASURED}
        # A preset is only another way to write the fields that it fills in.
        values["decoder"] = {key: value for key, value in values["decoder"].items() if key != "preset"}
        for section, later in _LATER_FIELDS.items():
            unset = {name for name in later if values[section][name] is None}
            values[section] = {name: value for name, value in values[section].items() if name not in unset}
        # Sections that came later too: one that is not given says nothing.
        given = {name: value for name, value in (values.pop("device") or {}).items() if value is not None}
        sections = {"device": given, "load": values.pop("load"), "nodes": values.pop("nodes")}
        return {**values, **{name: value for name, value in sections.items() if value}}

    def dormant_fields(self) -> dict[str, str]:
        """Fields that were set but change nothing, by dotted name, each with what it would need."""
        return {name: why for name, why, _ in self._dormant()}

    def equivalent_to(self, other: "ExperimentConfig") -> bool:
        """Whether both would be run alike: they differ at most in names, places and dormant fields."""
        return self.awake() == other.awake()

    def awake(self) -> str:
        """The configuration without names, places and dormant fields; the same text for what would be run alike."""
        # Text: in Python 1, 1.0 and true would be equal.
        values = self.identity()
        for name, _, default in self._dormant():
            *sections, field = name.split(".")
            place = values
            for section in sections:
                place = place[section]
            place[field] = default
            if default is None and field in _LATER_FIELDS.get(name.partition(".")[0], ()):
                del place[field]
        return canonical(values)

    def _dormant(self) -> Iterator[tuple[str, str, Any]]:
        """Dormant fields with the reason and their default."""
        for name, part in self.sections():
            asleep = part.asleep_under(self.decoder) if isinstance(part, EngineSection) else {}
            if isinstance(part, EngineSection) and self.lora is None:
                asleep |= {field: "it needs lora" for field in part.of_adapters if part.is_on(field)}
            if self.energy.backend is None:
                asleep |= dict.fromkeys(
                    _IDLE_FIELDS.get(name, ()), "it needs a sensor of energy, energy.backend is null"
                )
            found = part.dormant_beside(asleep) | asleep
            for field, why in found.items():
                default = defaults_of(type(part))[field]
                if getattr(part, field) != default:
                    yield f"{name}.{field}", why, default
        default = defaults_of(type(self))["random_seed"]
        section = self.engine_section
        draws = (
            self.decoder.do_sample
            or self.dataset.order != "as_is"
            or self.dataset.random is not None
            or any(map(section.is_on, section.seeded))
            or (self.load is not None and self.load.draws)
        )
        if not draws and self.random_seed != default:
            why = "it needs decoder.do_sample or dataset.order: shuffled or grouped, or a load whose arrivals are drawn"
            yield "random_seed", why, default

    @property
    def engine_section(self) -> EngineSection:
        """The section of the engine in use, with its defaults when it was left out."""
        return self.section_of(self.backend)

    def section_of(self, name: str) -> EngineSection:
        """The section of an engine, with its defaults when it was left out; what all have in common of ``auto``."""
        section: EngineSection | None = getattr(self, name, None)
        return _of_defaults(registry.section_class(name) or EngineSection) if section is None else section

    def gives(self, engine: str) -> bool:
        """Whether the section of an engine was given."""
        return getattr(self, engine, None) is not None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be chosen for the machine: neither engine nor precision is ``auto``."""
        return registry.AUTO not in (self.backend, self.precision)

    @property
    def display_name(self) -> str:
        """The name, or one made of model, engine and precision."""
        return self.name or f"{Path(self.model).name}-{self.backend}-{self.precision}"
