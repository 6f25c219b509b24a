"""What vLLM's settings are in the installed release; ``python -m tests.integration.vllm.recorded`` keeps it.

Needed where the audit says that a release has other names: keep the new shape, and give each new name a field of
``VLLMConfig`` or a reason in ``vllm_left_out``.
"""

import importlib

from llenergymeasure.core.backends.vllm.configuration import engine_version
from tests.fakes.recorded_api import Shape, record, shape_of

FILE = "vllm-0.32.0.json"
_CLASSES = (
    ("vllm", "EngineArgs"),
    ("vllm", "SamplingParams"),
    ("vllm.config", "CompilationConfig"),
    ("vllm.config.compilation", "PassConfig"),
    ("vllm.config", "AttentionConfig"),
    ("vllm.config", "EPLBConfig"),
    ("vllm.config.quantization", "QuantizationConfigArgs"),
    ("vllm.config", "SpeculativeConfig"),
)


def release() -> str:
    """The installed one's."""
    return str(engine_version()).rpartition(" ")[2].partition("+")[0]


def shapes() -> dict[str, Shape]:
    """The settings of an engine, of a request, and those that are nested in them and have fields here."""
    classes = [getattr(importlib.import_module(module), name) for module, name in _CLASSES]
    return {settings.__name__: shape_of(settings) for settings in classes}


if __name__ == "__main__":
    record(FILE, release(), shapes())
