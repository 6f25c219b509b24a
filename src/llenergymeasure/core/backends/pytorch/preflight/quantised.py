"""Checkpoints that are quantised already: whether this machine has what unpacks and runs them."""

import copy
import importlib.util
from collections.abc import Iterator
from typing import Any

from llenergymeasure.core.backends.pytorch.loading import has_cuda
from llenergymeasure.core.checkpoint.quiet import quietly
from llenergymeasure.exceptions import first_line

_BITSANDBYTES = "bitsandbytes"  # transformers knows it by its two widths
# By quant_method: modules that its quantizer of transformers asks for, and their distributions. A test holds those that
# are not installed there against transformers.
PACKAGES: dict[str, dict[str, str]] = {
    "gptq": {"optimum.gptq": "optimum", "gptqmodel": "gptqmodel"},
    "awq": {"gptqmodel": "gptqmodel"},
    "auto-round": {"auto_round": "auto-round"},
    "aqlm": {"aqlm": "aqlm[gpu,cpu]"},
    _BITSANDBYTES: {"bitsandbytes": "bitsandbytes"},
    "compressed-tensors": {"compressed_tensors": "compressed-tensors"},
    "eetq": {"kernels": "kernels"},
    "fp_quant": {"fp_quant": "fp_quant"},
    "hqq": {"hqq": "hqq"},
    "quanto": {"optimum.quanto": "optimum-quanto"},
    "quark": {"quark": "amd-quark"},
    "spqr": {"spqr_quant": "spqr_quant[gpu]"},
    "torchao": {"torchao": "torchao"},
    "vptq": {"vptq": "vptq"},
}


def quantisation_problems(description: Any) -> Iterator[str]:
    """What a quantised checkpoint needs and this machine lacks, one line each.

    Args:
        description: the model's transformers configuration.
    """
    stored = _stored(description)
    if stored is None:
        return
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    method = str(stored.get("quant_method"))
    if method != _BITSANDBYTES and method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        # transformers would read the packed numbers as if they were weights.
        yield f"the checkpoint is quantised with {method}, which transformers does not know; give the dense model"
        return
    missing = {m: d for m, d in PACKAGES.get(method, {}).items() if not is_installed(m)}
    if missing:
        yield (
            f"the checkpoint is quantised with {method}, which needs {', '.join(missing)}; install with "
            f"pip install {' '.join(missing.values())}, or give the dense model"
        )
    elif not has_cuda() and (said := _said_by_transformers(description)) is not None:
        # With a GPU transformers would ask it for its compute capability, and it is to be left alone before loading.
        yield f"the checkpoint is quantised with {method}, and this machine cannot run it: {said}; give the dense model"


def is_installed(module: str) -> bool:
    """Whether a module can be imported, found without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def _stored(description: Any) -> dict[str, Any] | None:
    found = getattr(description, "quantization_config", None)
    if found is None or isinstance(found, dict):
        return found
    settings: dict[str, Any] = found.to_dict() if hasattr(found, "to_dict") else {"quant_method": type(found).__name__}
    return settings


def _said_by_transformers(description: Any) -> str | None:
    """Why transformers would refuse the checkpoint on this machine, which has no GPU; None where it would not."""
    from transformers.quantizers.auto import get_hf_quantizer

    try:
        with quietly():
            get_hf_quantizer(copy.deepcopy(description), None, None, True, {})
    except Exception as error:  # noqa: BLE001 - each quantizer raises errors of its own
        return first_line(error).rstrip(".")
    return None
