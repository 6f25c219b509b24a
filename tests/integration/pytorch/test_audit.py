"""Every parameter of the installed transformers is a field of ours, or left out with a reason."""

import ast
import inspect
import re
import textwrap
from typing import Any

import pytest
from transformers import BitsAndBytesConfig, GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.cache_utils import QuantizedCache
from transformers.generation import configuration_utils
from transformers.integrations.finegrained_fp8 import FP8ExpertsInterface
from transformers.integrations.moe import ExpertsInterface
from transformers.modeling_utils import AttentionInterface
from transformers.models.auto.auto_factory import _BaseAutoModelClass

from llenergymeasure.config.decoder import DecoderConfig
from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.engines.pytorch_left_out import HANDED_ON, LEFT_OUT, UNSAFE
from llenergymeasure.config.introspection import field_constraints

FIELDS = {*PyTorchConfig.model_fields, *DecoderConfig.model_fields, *PyTorchConfig.library_names}
# In no signature: removed names that are still taken and ignored, and what generate hands on to the model.
UNNAMED = {"mirror", "low_cpu_mem_usage", "from_tf", "from_flax", "offload_state_dict", "attention_mask", "seed"}


def named_parameters(function: Any) -> set[str]:
    """What a function takes by name: in its signature, or popped from its keyword arguments."""
    function = getattr(function, "__func__", function)
    names = {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("kwargs.pop", "kwargs.get", "hub_kwargs.pop"):
            first = node.args[0]
            if isinstance(first, ast.Constant):
                names.add(str(first.value))
    return {name for name in names if not name.startswith("_")} - {"cls", "self"}


LOADING = named_parameters(PreTrainedModel.from_pretrained) | named_parameters(_BaseAutoModelClass.from_pretrained)
GENERATING = named_parameters(GenerationMixin.generate) | {
    name for name in vars(GenerationConfig()) if not name.startswith("_") and name != "transformers_version"
}


def test_the_parameters_of_the_library_were_found() -> None:
    assert {"revision", "device_map", "quantization_config", "attn_implementation", "code_revision"} <= LOADING
    assert {"num_beams", "assistant_model", "cache_implementation", "streamer"} <= GENERATING


@pytest.mark.parametrize("name", sorted(LOADING | GENERATING))
def test_a_parameter_is_a_field_or_left_out_with_a_reason(name: str) -> None:
    assert (name in FIELDS) != (name in LEFT_OUT), f"{name} is new, or both a field and left out"


@pytest.mark.parametrize("name", sorted({*LEFT_OUT, *PyTorchConfig.library_names} - UNNAMED))
def test_nothing_is_listed_that_the_library_no_longer_has(name: str) -> None:
    assert name in LOADING | GENERATING


def test_every_reason_is_a_sentence_and_no_parameter_is_in_both_lists() -> None:
    assert all(len(reason.split()) >= 3 for reason in LEFT_OUT.values())
    assert not UNSAFE.keys() & HANDED_ON.keys()


def test_quantisation_of_bitsandbytes_is_complete() -> None:
    theirs = named_parameters(BitsAndBytesConfig.__init__)
    # Training keeps fp16 weights beside the int8 ones; the storage type matters to FSDP only.
    assert theirs - set(PyTorchConfig.model_fields) == {"llm_int8_has_fp16_weight", "bnb_4bit_quant_storage"}


def test_settings_of_a_quantized_cache_are_complete() -> None:
    # Along which axis values share a scale is fixed by the library behind it.
    ours = {"backend", "nbits", "q_group_size", "residual_length", "axis_key", "axis_value", "config"}
    assert named_parameters(QuantizedCache.__init__) == ours


@pytest.mark.parametrize(
    ("field", "theirs"),
    [
        (
            "pytorch.cache_implementation",
            {
                *configuration_utils.STATIC_CACHE_IMPLEMENTATIONS,
                *configuration_utils.DYNAMIC_CACHE_IMPLEMENTATIONS,
            },
        ),
        (
            "pytorch.attn_implementation",
            {"eager", *(name for name in AttentionInterface._global_mapping if not name.startswith("paged"))},
        ),
        (
            "pytorch.experts_implementation",
            {"eager", *ExpertsInterface._global_mapping, *FP8ExpertsInterface._global_mapping},
        ),
        # The library names them nowhere but in its code.
        (
            "pytorch.cache_backend",
            set(re.findall(r'if backend == "(\w+)":\n\s+layer_class', inspect.getsource(QuantizedCache.__init__))),
        ),
    ],
)
def test_choices_are_those_of_the_library(field: str, theirs: set[str]) -> None:
    assert set(field_constraints()[field]["choices"]) == theirs
