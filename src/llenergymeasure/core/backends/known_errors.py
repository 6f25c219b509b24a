"""What to do about errors that libraries are known to raise, by the words that they have for them."""

import re

from llenergymeasure.exceptions import first_line

# CUDA's words, those of ONNX Runtime's allocators, and those of C++.
_OUT_OF_MEMORY = re.compile("out of memory|failed to allocate memory|bad_alloc|bad allocation", re.IGNORECASE)
_LESS = "set fewer bits (precision, the engine's quantization), a smaller model, or several GPUs"
# Words of an error while a model is loaded, and what to change; the first that is found is told. Of transformers 5,
# huggingface_hub 1, torch 2.13 and vLLM 0.32 (v1/core/kv_cache_utils.py and v1/worker/utils.py).
_WHILE_LOADING = (
    (
        "no available memory for the cache blocks|larger than the available kv cache memory",
        "raise gpu_memory_utilization, or lower max_model_len, in the engine's section",
    ),
    (
        "is less than desired gpu memory utilization",
        "lower gpu_memory_utilization in the engine's section, or end what else is on the GPU (nvidia-smi lists it)",
    ),
    (_OUT_OF_MEMORY.pattern, f"{_LESS}; llem run --dry-run -v says what it takes"),
    ("gated repo|access to model .* is restricted", "accept its terms on the hub, and log in with 'hf auth login'"),
    (
        "repository not found|is not a local folder and is not a valid model identifier",
        "see that the name is right; for a private one log in with 'hf auth login'",
    ),
    ("no file named .* found in", "its weights are missing: download the model whole, or name another folder"),
    (
        "trust_remote_code|custom code which must be executed",
        "the model brings code of its own; set trust_remote_code in the engine's section if you trust it",
    ),
    (
        "does not recognize this architecture|model architectures .* are not supported",
        "this version of the engine does not know the model; install a newer one",
    ),
    ("flash_?attn|flashattention", "install flash-attn, or set attn_implementation: sdpa in the engine's section"),
    (
        "no kernel image is available",
        "this build of torch has no code for this GPU; install one for it (pytorch.org lists them)",
    ),
    ("nvidia driver on your system is too old", "update the driver, or install a torch for an older CUDA"),
    ("no space left on device", "make room, or set HF_HOME to a larger disk"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, by what the error is or says."""
    return isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None


def out_of_memory(error: BaseException, batch_size: int) -> str:
    """What is said of a batch for which memory ran out."""
    return f"out of memory at batch size {batch_size}: {first_line(error)}; lower batch_size or the token limits"


def advised(said: str, error: BaseException | None = None) -> str:
    """What was said while a model was loaded, with what to change where that is known.

    Args:
        said: in one line.
        error: what was raised; it may say more than its line.
    """
    whole = said if error is None else f"{said}\n{error}"
    found = next((what for words, what in _WHILE_LOADING if re.search(words, whole, re.IGNORECASE)), None)
    return said if found is None or found in said else f"{said}; {found}"
