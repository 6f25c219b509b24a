"""The SGLang engine."""

from llenergymeasure.core.backends.sglang.engine import SGLangBackend

__all__ = ["SGLangBackend"]
