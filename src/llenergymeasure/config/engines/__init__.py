"""Engine sections of an experiment: what only one engine understands; ``registry`` finds them by name."""

from llenergymeasure.config.engines.ctranslate2 import CTranslate2Config
from llenergymeasure.config.engines.llamacpp import LlamaCppConfig
from llenergymeasure.config.engines.onnxruntime import OnnxRuntimeConfig
from llenergymeasure.config.engines.pytorch import PyTorchConfig
from llenergymeasure.config.engines.registry import ENGINE_SECTIONS
from llenergymeasure.config.engines.section import EngineSection
from llenergymeasure.config.engines.server import ServerConfig
from llenergymeasure.config.engines.sglang import SGLangConfig
from llenergymeasure.config.engines.tensorrt import TensorRTConfig
from llenergymeasure.config.engines.vllm import VLLMConfig

__all__ = [
    "ENGINE_SECTIONS",
    "CTranslate2Config",
    "EngineSection",
    "LlamaCppConfig",
    "OnnxRuntimeConfig",
    "PyTorchConfig",
    "SGLangConfig",
    "ServerConfig",
    "TensorRTConfig",
    "VLLMConfig",
]
