"""The tiny model and its answers are those that the other engines are held against."""

import pytest

from tests.integration.engines.conftest import ending_llama

__all__ = ["ending_llama"]


@pytest.fixture(autouse=True)
def _a_small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much memory for the KV cache as a shared machine can spare."""
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
