"""The llama.cpp engine."""

from llenergymeasure.core.backends.llamacpp.engine import LlamaCppBackend

__all__ = ["LlamaCppBackend"]
