"""Keys that are handed on work, and keys that would make another model are refused."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from llenergymeasure.config.engines.pytorch_left_out import ANOTHER_MODEL, HANDED_ON, LEFT_OUT
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch.loading import checkpoint_of, draft_arguments
from llenergymeasure.core.checkpoint.source import ModelSource
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError
from tests.integration.conftest import save_tiny_llama, tiny_tokenizer
from tests.integration.pytorch.test_engine import TEXTS
from tests.integration.pytorch.test_options import config_of, digests, run

VALUES: dict[str, Any] = {
    "cache_dir": "nowhere",
    "force_download": False,
    "local_files_only": True,
    "proxies": {"http": "http://localhost:1"},
    "weights_only": True,
    "disable_mmap": True,
    "key_mapping": {"^no such weight": "nothing"},
    "code_revision": "main",
    "adapter_kwargs": {},
    "adapter_name": "default",
    "fusion_config": {},
    "allow_all_kernels": False,
    "watermarking_config": {"bias": 5.0, "seeding_scheme": "lefthash"},
    "sequence_bias": [[[5], -1]],
    "forced_bos_token_id": 5,
    "encoder_no_repeat_ngram_size": 2,
    "decoder_start_token_id": 0,
}


def test_there_is_a_value_for_every_key_that_is_handed_on() -> None:
    assert VALUES.keys() == HANDED_ON.keys()


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_key_that_is_handed_on_works(tiny_llama: Path, name: str) -> None:
    config = config_of(tiny_llama, passthrough_kwargs={name: VALUES[name]})
    assert PyTorchBackend().problems(config) == []
    output, _ = run(tiny_llama, TEXTS[:2], max_output_tokens=2, passthrough_kwargs={name: VALUES[name]})
    assert output.output_tokens == 4


def test_a_watermark_changes_the_tokens(tiny_llama: Path) -> None:
    plain, _ = run(tiny_llama, TEXTS[:1])
    marked, description = run(tiny_llama, TEXTS[:1], passthrough_kwargs={"watermarking_config": {"bias": 50.0}})
    assert digests(marked) != digests(plain)
    assert "'bias': 50.0" in str((description.parameters or {})["watermarking_config"])


@pytest.mark.parametrize(
    ("name", "value"), [("sequence_bias", {"5": -1.0}), ("watermarking_config", {"no_such": 1})], ids=str
)
def test_a_value_of_the_wrong_form_is_an_error_that_shows_the_right_one(
    tiny_llama: Path, name: str, value: Any
) -> None:
    plan = ExperimentPlan.of(config_of(tiny_llama, passthrough_kwargs={name: value}))
    with pytest.raises(BackendError, match=rf"passthrough_kwargs\.{name}: .*; give a "), PyTorchBackend().load(plan):
        pass


def test_what_fetches_files_fetches_tokenizer_and_draft_too(tiny_llama: Path) -> None:
    passed = {name: VALUES[name] for name in ("cache_dir", "local_files_only", "proxies", "code_revision")}
    section = {"assistant_model": "d", "assistant_revision": "v2", "revision": "v1", "attn_implementation": "eager"}
    config = config_of(tiny_llama, passthrough_kwargs=passed, pytorch=section)
    source = ModelSource(location="d")
    assert checkpoint_of(config, source).arguments() == {"revision": "v1", "trust_remote_code": False, **passed}
    of_draft = {k: v for k, v in draft_arguments(config, source).items() if k != "dtype"}
    assert of_draft == {"revision": "v2", "trust_remote_code": False, "attn_implementation": "eager", **passed}


@pytest.mark.parametrize("name", [*sorted(ANOTHER_MODEL), "token", "use_mtp", "kernel_config", "max_time"])
def test_what_would_make_another_model_of_it_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} may not be passed through: it "):
        config_of(Path("m"), passthrough_kwargs={name: 1})


@pytest.mark.parametrize("name", ["dtype", "torch_dtype", "quantization_config"])
def test_what_a_field_sets_is_refused_with_the_name_of_the_field(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} is set by the field "):
        config_of(Path("m"), passthrough_kwargs={name: 1})


def test_reasons_go_on_after_it() -> None:
    for name, reason in {**LEFT_OUT, **ANOTHER_MODEL}.items():
        first = reason.split()[0]
        assert first == "would" or (first.endswith("s") and first.islower()), f"{name}: it {reason}"


def test_a_private_name_is_refused_and_said_to_be_one(tiny_llama: Path) -> None:
    config = config_of(tiny_llama, passthrough_kwargs={"_attn_implementation": "eager"})
    (problem,) = PyTorchBackend().problems(config)
    assert problem.startswith("passthrough_kwargs._attn_implementation: ")
    with pytest.raises(BackendError, match="_attn_implementation"), PyTorchBackend().load(ExperimentPlan.of(config)):
        pass


def test_weights_that_are_missing_from_the_files_are_an_error_and_no_random_numbers(tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path)
    weights = load_file(model / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    plan = ExperimentPlan.of(config_of(model))
    with pytest.raises(BackendError, match=r"layers\.1\.mlp\.up_proj\.weight"), PyTorchBackend().load(plan):
        pass


def test_a_head_that_is_tied_to_the_embedding_is_not_missing(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    output, _ = run(tmp_path, TEXTS[:1], max_output_tokens=1)
    assert output.output_tokens == 1
