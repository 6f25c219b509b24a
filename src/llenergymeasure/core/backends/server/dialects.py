"""What servers take beside OpenAI's fields, by what they are.

Read from their sources and pages, of the versions that ``docs/serving.md`` names with what was run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llenergymeasure.config.engines.server import ServerKind


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """A kind of server.

    ``name`` is its own. It ``takes_ids`` as a prompt of completions. ``always`` goes into each request, ``greedy`` into
    those that draw nothing, ``stream_options`` beside OpenAI's. ``decoder`` are its names of fields of ``decoder`` that
    OpenAI has not. ``version`` is where it tells its version, and under which key. ``forgets`` is where it forgets the
    prompts that it has kept.
    """

    name: str
    takes_ids: bool = False
    always: Mapping[str, Any] = field(default_factory=dict)
    greedy: Mapping[str, Any] = field(default_factory=dict)
    stream_options: Mapping[str, Any] = field(default_factory=dict)
    decoder: Mapping[str, str] = field(default_factory=dict)
    version: tuple[str, str] | None = None
    forgets: str | None = None


_SAME = {"top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repetition_penalty", "ignore_eos": "ignore_eos",
         "min_output_tokens": "min_tokens"}  # fmt: skip
_COUNTS = {"continuous_usage_stats": True}

DIALECTS: Mapping[ServerKind, Dialect] = {
    "vllm": Dialect(
        name="vLLM", takes_ids=True, always={"return_token_ids": True}, stream_options=_COUNTS, decoder=_SAME,
        version=("/version", "version"), forgets="/reset_prefix_cache",
    ),
    "sglang": Dialect(
        name="SGLang", takes_ids=True, always={"return_token_ids": True}, stream_options=_COUNTS, decoder=_SAME,
        version=("/get_server_info", "version"), forgets="/flush_cache",
    ),
    # A temperature of 0 alone would leave the chain of samplers as the server was started with it.
    "llamacpp": Dialect(
        name="llama.cpp", takes_ids=True, always={"timings_per_token": True, "cache_prompt": False},
        greedy={"top_k": 1}, version=("/props", "build_info"),
        decoder={"top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repeat_penalty",
                 "ignore_eos": "ignore_eos"},
    ),
    "tensorrt": Dialect(
        name="TensorRT-LLM", takes_ids=True, stream_options=_COUNTS, decoder=_SAME, version=("/version", "version"),
    ),
    "tgi": Dialect(name="TGI", version=("/info", "version")),
    "ollama": Dialect(name="Ollama", version=("/api/version", "version")),
    "lmstudio": Dialect(name="LM Studio"),
    # Whoever names no kind and is not recognised is taken at OpenAI's word; ids it may take or refuse.
    "openai": Dialect(name="a server that says no more than OpenAI's", takes_ids=True),
}  # fmt: skip
# What /v1/models says of who owns a model.
_OWNERS: Mapping[str, ServerKind] = {
    "vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp", "tensorrt_llm": "tensorrt", "library": "ollama",
    "organization_owner": "lmstudio",
}  # fmt: skip


def kind_of(owner: Any) -> ServerKind:
    """The kind of a server whose models are owned by somebody; ``openai`` where that says nothing."""
    return _OWNERS.get(owner, "openai") if isinstance(owner, str) else "openai"
