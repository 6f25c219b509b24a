"""Engine sections of an experiment: what only one engine understands. A new one is a file here and a line below."""

from llenergymeasure.config.engines.llamacpp import LlamaCppConfig
from llenergymeasure.config.engines.pytorch import PyTorchConfig
from llenergymeasure.config.engines.section import EngineSection
from llenergymeasure.config.engines.tensorrt import TensorRTConfig
from llenergymeasure.config.engines.vllm import VLLMConfig

__all__ = ["ENGINE_SECTIONS", "EngineSection", "LlamaCppConfig", "PyTorchConfig", "TensorRTConfig", "VLLMConfig"]

# By the name of the engine, which is also the name of its section.
ENGINE_SECTIONS: dict[str, type[EngineSection]] = {
    "pytorch": PyTorchConfig,
    "vllm": VLLMConfig,
    "tensorrt": TensorRTConfig,
    "llamacpp": LlamaCppConfig,
}
