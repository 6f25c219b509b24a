"""A LoRA adapter on top of a model, through peft."""

import warnings
from typing import Any

from llenergymeasure.config.workload import LoRAConfig
from llenergymeasure.exceptions import BackendError


def with_adapter(model: Any, lora: LoRAConfig) -> tuple[Any, str]:
    """The model with the adapter on it, in its own number format, and what there is to say of it.

    Raises:
        BackendError: it is no LoRA adapter, or a part of it is missing, or fits nothing in the model.
    """
    from peft import PeftConfig, PeftModel

    kind = _kind_of(PeftConfig.from_pretrained(lora.path))
    if kind != "lora":
        raise BackendError(no_lora(lora.path, kind))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found missing adapter keys")  # an error below
        # peft turns 16-bit adapters into fp32: good for adding them up once, wrong for running with them.
        adapted = PeftModel.from_pretrained(model, lora.path, autocast_adapter_dtype=lora.merge)
    # Loading it once more is how peft says what did not fit.
    result = adapted.load_adapter(lora.path, "default", autocast_adapter_dtype=lora.merge)
    check_fit(lora.path, list(result.missing_keys), [key for key in result.unexpected_keys if "lora_" in key])
    described = _described(adapted.peft_config["default"], lora)
    return (adapted.merge_and_unload() if lora.merge else adapted), described


def no_lora(path: str, kind: str | None) -> str:
    """Why an adapter of another kind, by peft's name for it, cannot be measured."""
    return (
        f"lora.path: {path} is an adapter of type {kind}, and only LoRA is measured: what another kind adds to prompts "
        "and layers is not counted; give a LoRA adapter"
    )


def check_fit(path: str, missing: list[str], left_over: list[str]) -> None:
    """Refuse an adapter whose names and the model's do not meet.

    Raises:
        BackendError: layers have no weights, or weights no layer.
    """
    for keys, what in ((missing, "has no weights for"), (left_over, "has weights that fit nothing in the model:")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise BackendError(f"lora.path {path}: the adapter {what} {keys[0]}{more}; give one made for this model")


def _described(settings: Any, lora: LoRAConfig) -> str:
    facts = [
        _kind_of(settings),
        *(
            f"{ours} {getattr(settings, name)}"
            for name, ours in (("r", "rank"), ("lora_alpha", "alpha"))
            if hasattr(settings, name)
        ),
    ]
    return ", ".join([*facts, "merged" if lora.merge else "not merged"])


def _kind_of(settings: Any) -> str:
    """Peft's name for what an adapter does, such as lora or prefix_tuning."""
    return str(getattr(settings.peft_type, "value", settings.peft_type)).lower()
