"""The TensorRT-LLM engine."""

from llenergymeasure.core.backends.tensorrt.engine import TensorRTBackend

__all__ = ["TensorRTBackend"]
