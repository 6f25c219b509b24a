"""A model of random weights, built from its description alone."""

import contextlib
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.core.backends.pytorch.loading import (
    checkpoint_of,
    has_cuda,
    loading_arguments,
    torch_dtype,
)
from llenergymeasure.core.backends.pytorch.seeding import seeded
from llenergymeasure.core.checkpoint.quiet import quietly
from llenergymeasure.core.checkpoint.source import ModelSource
from llenergymeasure.exceptions import BackendError

GGUF_IS_WEIGHTS = "a GGUF file is weights; give a directory with the config.json of the model"
_FINDING = ("revision", "subfolder", "cache_dir", "force_download", "local_files_only", "proxies")
_N_TRIAL_TOKENS = 8


def random_model(config: ExperimentConfig, source: ModelSource) -> Any:
    """The model with weights drawn as for training from scratch, on its device and in its number format.

    The same seed gives the same weights with the same torch on the same kind of device.

    Args:
        config: the experiment.
        source: where the description is; weights there are not looked at.

    Raises:
        BackendError: the description is of a quantised checkpoint, or the weights give no usable scores.
    """
    if source.gguf_file is not None:
        raise BackendError(f"pytorch.random_weights: {GGUF_IS_WEIGHTS}")
    description, rest = _description(config, source)
    skeleton = _skeleton(config, description)
    if "device_map" not in rest:
        rest["device_map"] = {"": "cuda:0" if has_cuda() else "cpu"}
    seeded(config.random_seed)
    with quietly():
        # What a checkpoint lacks is drawn in its place by transformers: of an empty one, all. No tensor of the model
        # exists elsewhere before.
        model = type(skeleton).from_pretrained(
            None, config=skeleton.config, state_dict={}, dtype=torch_dtype(config.precision), **rest
        )
    if "disk" in (getattr(model, "hf_device_map", None) or {}).values():
        raise BackendError(
            "pytorch.random_weights: the weights do not fit where pytorch.device_map may put them, and drawn ones are "
            "put on no disk; give more memory"
        )
    _follow_own_generation_config(model, config, source)
    _check_scores(model.eval(), config)
    return model


def quantised_description(description: Any) -> bool:
    """Whether a model's description is of a quantised checkpoint, whose packed weights nobody can draw."""
    return getattr(description, "quantization_config", None) is not None


def not_drawn(model: str) -> str:
    """What to say of such a description."""
    return (
        f"config.json of model {model!r} is of a quantised checkpoint, whose weights cannot be drawn; take "
        "quantization_config out of it, or give the dense model's"
    )


def _description(config: ExperimentConfig, source: ModelSource) -> tuple[Any, dict[str, Any]]:
    """The description with what the experiment sets in it, and the arguments that are the loader's."""
    from transformers import AutoConfig

    found: tuple[Any, dict[str, Any]] = AutoConfig.from_pretrained(
        source.location, return_unused_kwargs=True, **loading_arguments(config, source)
    )
    if quantised_description(found[0]):
        raise BackendError(f"pytorch.random_weights: {not_drawn(config.model)}")
    return found


def _skeleton(config: ExperimentConfig, description: Any) -> Any:
    """The model without memory: it says which class transformers makes of the description."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(
            description, trust_remote_code=section_of(config).trust_remote_code, dtype=torch_dtype(config.precision)
        )


def _follow_own_generation_config(model: Any, config: ExperimentConfig, source: ModelSource) -> None:
    """End tokens and the like from ``generation_config.json``, where there is one."""
    from transformers import GenerationConfig

    arguments = {name: value for name, value in checkpoint_of(config, source).arguments().items() if name in _FINDING}
    with contextlib.suppress(OSError):
        model.generation_config = GenerationConfig.from_pretrained(source.location, **arguments)


def _check_scores(model: Any, config: ExperimentConfig) -> None:
    """Refuse weights whose products overflow or vanish: power depends on the values that are multiplied."""
    import torch

    n_words = model.get_input_embeddings().num_embeddings
    ids = (torch.arange(_N_TRIAL_TOKENS) * 7919 % n_words).reshape(1, -1).to(model.device)
    with torch.inference_mode():
        scores = model(input_ids=ids, use_cache=False).logits.float()
    if not torch.isfinite(scores).all() or scores.max() == scores.min():
        raise BackendError(
            f"pytorch.random_weights: drawn as config.json of model {config.model!r} says, the weights give no finite "
            f"and distinct scores in {config.precision}; give another precision, or another initializer_range there"
        )
