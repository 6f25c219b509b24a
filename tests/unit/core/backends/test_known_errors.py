"""Errors that libraries are known to raise become advice."""

import pytest

from llenergymeasure.core.backends.known_errors import advised, is_out_of_memory, out_of_memory


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        # As the libraries say it: torch 2.13, transformers 5.23, huggingface_hub 1, vLLM 0.32.
        ("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of", "set fewer bits"),
        (
            "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the "
            "engine.",
            "raise gpu_memory_utilization, or lower max_model_len",
        ),
        (
            "Free memory on device (10/80 GiB) on startup is less than desired GPU memory utilization (0.9, 72 GiB)",
            "lower gpu_memory_utilization",
        ),
        ("You are trying to access a gated repo. Make sure to have access to it", "accept its terms on the hub"),
        ("org/x is not a local folder and is not a valid model identifier listed on", "see that the name is right"),
        (
            "Error no file named model.safetensors, or pytorch_model.bin, found in directory m",
            "its weights are missing",
        ),
        (
            "The repository m contains custom code which must be executed to correctly load the model.",
            "set trust_remote_code",
        ),
        ("The checkpoint has model type `x` but Transformers does not recognize this architecture.", "install a newer"),
        ("CUDA error: no kernel image is available for execution on the device", "no code for this GPU"),
        ("[Errno 28] No space left on device", "make room"),
    ],
)
def test_what_is_known_is_told_with_what_to_change(said: str, advice: str) -> None:
    told = advised(f"the engine cannot load 'm': {said}")
    assert told.startswith(f"the engine cannot load 'm': {said}; ")
    assert advice in told


def test_what_an_error_says_beyond_its_line_counts_and_nothing_is_made_up() -> None:
    assert advised("the engine cannot load 'm'", RuntimeError("a\nCUDA out of memory")).count("; ") > 0
    assert advised("something else") == "something else"
    once = advised("out of memory")
    assert advised(once) == once


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (RuntimeError("Failed to allocate memory for requested buffer of size 4"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA OUT OF MEMORY"), True),
        (RuntimeError("device-side assert triggered"), False),
    ],
)
def test_memory_that_ran_out_is_told_from_other_errors(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one


def test_of_a_batch_it_says_how_large_it_was() -> None:
    said = out_of_memory(RuntimeError("CUDA out of memory"), 16)
    assert said == "out of memory at batch size 16: CUDA out of memory; lower batch_size or the token limits"
