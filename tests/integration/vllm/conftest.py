"""A tiny model that vLLM's attention on a CPU can run."""

from pathlib import Path

import pytest

from tests.integration.conftest import save_ending_llama
from tests.integration.engines.conftest import PROMPTS


@pytest.fixture(scope="module")
def ending_llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    """With heads of 32: vLLM has no attention for fewer."""
    return save_ending_llama(tmp_path_factory, PROMPTS, hidden_size=128)


@pytest.fixture(autouse=True)
def _a_small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much memory for the KV cache as a shared machine can spare."""
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
