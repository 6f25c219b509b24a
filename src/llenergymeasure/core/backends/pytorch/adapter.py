"""A LoRA adapter on top of a model, through peft."""

import warnings
from typing import Any

from llenergymeasure.config.workload import LoRAConfig
from llenergymeasure.core.checkpoint.adapter import check_fit, description_of, no_lora
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
    settings = adapted.peft_config["default"]
    described = description_of(_kind_of(settings), vars(settings), merged=lora.merge)
    return (adapted.merge_and_unload() if lora.merge else adapted), described


def _kind_of(settings: Any) -> str:
    """Peft's name for what an adapter does, such as lora or prefix_tuning."""
    return str(getattr(settings.peft_type, "value", settings.peft_type)).lower()
