"""What ``from_pretrained`` is told, and what it loaded."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import known_names, section_of, unknown_passthrough
from llenergymeasure.core.backends.pytorch.processes import layout_of
from llenergymeasure.core.checkpoint.fit import no_weights_for, not_in_the_files
from llenergymeasure.core.checkpoint.source import Checkpoint, ModelSource
from llenergymeasure.core.checkpoint.tokenizer import read_description
from llenergymeasure.exceptions import BackendError

if TYPE_CHECKING:
    import torch

INSTALL = "pip install 'llenergymeasure[{extra}]'"
_HUB_FIELDS = ("revision", "subfolder")
_FETCHING = ("cache_dir", "force_download", "local_files_only", "proxies", "code_revision")
_LOADING_FIELDS = (
    *_HUB_FIELDS,
    "variant",
    "use_safetensors",
    "device_map",
    "offload_folder",
    "offload_buffers",
    "attn_implementation",
    "experts_implementation",
    "use_kernels",
)
_BNB_FIELDS = (
    "load_in_8bit",
    "load_in_4bit",
    "bnb_4bit_quant_type",
    "bnb_4bit_use_double_quant",
    "llm_int8_threshold",
    "llm_int8_skip_modules",
    "llm_int8_enable_fp32_cpu_offload",
)
# Our name: torchao's class, and the bits of a weight.
_TORCHAO = {
    "int4_weight_only": ("Int4WeightOnlyConfig", 4),
    "int8_weight_only": ("Int8WeightOnlyConfig", 8),
    "int8_dynamic_activation_int8_weight": ("Int8DynamicActivationInt8WeightConfig", 8),
    "int8_dynamic_activation_int4_weight": ("Int8DynamicActivationIntxWeightConfig", 4),
    "float8_weight_only": ("Float8WeightOnlyConfig", 8),
    "float8_dynamic_activation_float8_weight": ("Float8DynamicActivationFloat8WeightConfig", 8),
    "float8_dynamic_activation_int4_weight": ("Float8DynamicActivationInt4WeightConfig", 4),
}


def torch_dtype(precision: str) -> "torch.dtype":
    """Torch's name for one of our number formats."""
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def checkpoint_of(config: ExperimentConfig, source: ModelSource) -> Checkpoint:
    """The model's files as the experiment wants them found and trusted."""
    section = section_of(config)
    return Checkpoint(
        source=source,
        subfolder=section.subfolder,
        revision=section.revision,
        trust_remote_code=section.trust_remote_code,
        fetching=tuple((name, value) for name, value in config.passthrough_kwargs.items() if name in _FETCHING),
    )


def draft_checkpoint_of(config: ExperimentConfig, source: ModelSource) -> Checkpoint:
    """As ``checkpoint_of``, of the draft model."""
    return replace(checkpoint_of(config, source), subfolder=None, revision=section_of(config).assistant_revision)


def read_model_description(config: ExperimentConfig, source: ModelSource) -> Any:
    """The model's transformers configuration, read without its weights."""
    return read_description(checkpoint_of(config, source))


def read_draft_description(config: ExperimentConfig, source: ModelSource) -> Any:
    """As ``read_model_description``, of the draft model."""
    return read_description(draft_checkpoint_of(config, source))


def draft_arguments(config: ExperimentConfig, source: ModelSource) -> dict[str, Any]:
    """The keyword arguments of ``from_pretrained`` for the draft model."""
    found = {"dtype": torch_dtype(config.precision), **draft_checkpoint_of(config, source).arguments()}
    if (attention := section_of(config).attn_implementation) is not None:
        found["attn_implementation"] = attention
    return found


def check_loaded(name: str, info: Mapping[str, Any]) -> None:
    """Refuse a model whose weights did not all come from its files.

    Args:
        name: the model, for the message.
        info: what ``from_pretrained`` says of its loading.

    Raises:
        BackendError: weights are missing, or have another shape, and were filled with random numbers.
    """
    if random := not_in_the_files(info):
        raise BackendError(f"model {name!r} {no_weights_for(random)}")


def loading_arguments(config: ExperimentConfig, source: ModelSource) -> dict[str, Any]:
    """The keyword arguments of ``from_pretrained``.

    Raises:
        BackendError: a passed-through key that nobody knows, or a checkpoint without what is asked of it.
    """
    import transformers

    section = section_of(config)
    arguments: dict[str, Any] = {"dtype": torch_dtype(config.precision), **checkpoint_of(config, source).arguments()}
    arguments |= {name: value for name in _LOADING_FIELDS if (value := getattr(section, name)) is not None}
    if section.max_memory is not None:
        arguments["max_memory"] = {int(k) if k.isdecimal() else k: v for k, v in section.max_memory.items()}
    layout = layout_of(config)
    if layout.parallelism == "tensor":
        arguments["distributed_config"] = transformers.DistributedConfig(
            tp_plan=section.tp_plan, tp_size=layout.n_processes
        )
    quantisation = _quantisation(config, source)
    if quantisation is not None:
        arguments["quantization_config"] = quantisation
        if section.device_map is None and layout.parallelism != "tensor" and has_cuda():
            arguments["device_map"] = {"": 0}  # quantised weights cannot be moved afterwards
    unknown = unknown_passthrough(config, read_model_description(config, source)) if config.passthrough_kwargs else []
    if unknown:
        raise BackendError("\n".join(unknown))
    of_generate = known_names()
    return arguments | {k: v for k, v in config.passthrough_kwargs.items() if k not in of_generate}


def quantised_by(section: PyTorchConfig) -> str | None:
    """The field that quantises dense weights on loading."""
    return next((name for name in ("load_in_4bit", "load_in_8bit", "torchao") if getattr(section, name)), None)


def _quantisation(config: ExperimentConfig, source: ModelSource) -> Any:
    import transformers

    section = section_of(config)
    way = quantised_by(section)
    if source.gguf_file is not None:
        return transformers.GgufConfig(dequantize=True)
    if way == "torchao":
        return _torchao(section)
    if way is not None:
        given = {name: value for name in _BNB_FIELDS if (value := getattr(section, name)) is not None}
        if section.bnb_4bit_compute_dtype is not None:
            given["bnb_4bit_compute_dtype"] = torch_dtype(section.bnb_4bit_compute_dtype)
        return transformers.BitsAndBytesConfig(**given)
    return _checkpoint_quantisation(config, source)


def _torchao(section: PyTorchConfig) -> Any:
    import torch
    import torchao.quantization
    import transformers

    options: dict[str, Any] = {}
    if section.torchao == "int4_weight_only" and section.torchao_group_size is not None:
        options["group_size"] = section.torchao_group_size
    if section.torchao == "int8_dynamic_activation_int4_weight":
        options["weight_dtype"] = torch.int4  # type: ignore[attr-defined]
    kind = getattr(torchao.quantization, _TORCHAO[str(section.torchao)][0])
    return transformers.TorchAoConfig(kind(**options))


def _checkpoint_quantisation(config: ExperimentConfig, source: ModelSource) -> Any:
    """How a checkpoint that is quantised already is to be run; None leaves that to transformers."""
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    section = section_of(config)
    choices = {"backend": section.checkpoint_backend, "dequantize": section.checkpoint_dequantize}
    given = {name: value for name, value in choices.items() if value is not None}
    if not given:
        return None
    stored = getattr(read_model_description(config, source), "quantization_config", None)
    if stored is None:
        raise BackendError(
            f"pytorch.checkpoint_{next(iter(given))}: this checkpoint is not quantised; remove the field"
        )
    stored = stored if isinstance(stored, dict) else stored.to_dict()
    method = str(stored.get("quant_method"))
    known: Any = AUTO_QUANTIZATION_CONFIG_MAPPING.get(method)
    ours = None if known is None else known.from_dict({**stored, **given})
    for name in given:
        if ours is None or not hasattr(ours, "get_loading_attributes") or name not in ours.get_loading_attributes():
            raise BackendError(
                f"pytorch.checkpoint_{name}: transformers lets nobody choose that for a checkpoint of kind {method!r}; "
                "remove the field"
            )
    return ours


def weight_bits(section: PyTorchConfig) -> int | None:
    """Bits that a weight of a linear layer is quantised to on loading; None when it is not."""
    if section.torchao is not None:
        return _TORCHAO[section.torchao][1]
    return 4 if section.load_in_4bit else 8 if section.load_in_8bit else None


def has_cuda() -> bool:
    """Whether torch sees a GPU."""
    import torch

    return torch.cuda.is_available()
