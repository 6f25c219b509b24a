"""The vLLM engine."""

from llenergymeasure.core.backends.vllm.engine import VLLMBackend

__all__ = ["VLLMBackend"]
