"""The PyTorch engine: any causal language model that transformers loads."""

from llenergymeasure.core.backends.pytorch.engine import PyTorchBackend

__all__ = ["PyTorchBackend"]
