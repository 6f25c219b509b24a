"""What is wrong with the folder of a model is told before it is loaded, in one line that says what to do."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf

from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch.preflight.quantised import PACKAGES, is_installed
from llenergymeasure.core.checkpoint.architecture import built_without_weights
from llenergymeasure.core.checkpoint.source import Checkpoint, ModelSource
from llenergymeasure.core.checkpoint.tokenizer import load_tokenizer, read_description
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError
from tests.integration.checkpoints.broken_folders import POINTER
from tests.integration.conftest import tiny_tokenizer
from tests.integration.pytorch.test_checks import problems
from tests.integration.pytorch.test_options import config_of

pytestmark = pytest.mark.pytorch

SMALL: dict[str, Any] = {
    "vocab_size": 320, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 128,
}  # fmt: skip
BERT: dict[str, Any] = {
    "vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip
LLAMA: dict[str, Any] = {**BERT, "tie_word_embeddings": True}


def saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def copied(model: Path, target: Path) -> Path:
    shutil.copytree(model, target)
    return target


def edited(model: Path, target: Path, file: str, **values: Any) -> Path:
    path = copied(model, target) / file
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **values}))
    return target


MADE: dict[str, tuple[Callable[[], Any], str]] = {
    "bart": (lambda: tf.BartForConditionalGeneration(tf.BartConfig(**SMALL)), "an encoder-decoder (BartForCond"),
    "t5": (
        lambda: tf.T5ForConditionalGeneration(
            tf.T5Config(vocab_size=320, d_model=32, d_kv=16, d_ff=32, num_layers=1, num_heads=2)
        ),
        "transformers has no causal language model of type 't5'",
    ),
    "bert": (lambda: tf.BertForMaskedLM(tf.BertConfig(**BERT)), "a masked language model (BertForMaskedLM)"),
    "bert-head": (lambda: tf.BertLMHeadModel(tf.BertConfig(**BERT)), "looks both ways"),
    "classifier": (lambda: tf.LlamaForSequenceClassification(tf.LlamaConfig(**LLAMA)), "a classifier (LlamaForSeq"),
    "audio": (
        lambda: tf.Wav2Vec2ForCTC(
            tf.Wav2Vec2Config(**BERT, conv_dim=[8], conv_stride=[2], conv_kernel=[2], num_conv_pos_embeddings=4,
                              num_conv_pos_embedding_groups=2)
        ),
        "no causal language model of type 'wav2vec2'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_a_model_that_writes_no_text_from_left_to_right_is_refused_whatever_its_weights(
    name: str, tmp_path: Path
) -> None:
    make, why = MADE[name]
    model = make()
    folder = saved(model, tmp_path / "m")
    (problem,) = problems(folder)
    assert problem.startswith(f"model '{folder}' cannot be measured: ")
    assert why in problem
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert problems(folder) == [problem]
    assert problems(folder, pytorch={"random_weights": True}) == [problem]


@pytest.mark.parametrize(
    "make",
    [
        lambda: tf.BartForCausalLM(tf.BartConfig(**SMALL)),
        lambda: tf.BertLMHeadModel(tf.BertConfig(**BERT, is_decoder=True)),
        lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**LLAMA)),
    ],
    ids=["bart-decoder", "bert-decoder", "tied"],
)
def test_what_is_made_as_a_causal_model_is_one(make: Callable[[], Any], tmp_path: Path) -> None:
    assert problems(saved(make(), tmp_path / "m")) == []


def test_a_causal_model_that_says_it_has_an_encoder_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    (problem,) = problems(edited(tiny_llama, tmp_path / "m", "config.json", is_encoder_decoder=True))
    assert "it is an encoder-decoder (LlamaForCausalLM), of which only a half would run" in problem


def test_a_masked_model_that_names_no_class_is_refused_by_its_attention(tmp_path: Path) -> None:
    saved(tf.BertLMHeadModel(tf.BertConfig(**BERT)), tmp_path / "m")
    (problem,) = problems(edited(tmp_path / "m", tmp_path / "n", "config.json", architectures=None))
    assert "its attention looks both ways" in problem


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "pointer": ("model.safetensors", lambda p: p.write_bytes(POINTER), "is a git-LFS pointer and not the file itself"),
    "cut": ("model.safetensors", cut, "is cut off, or no safetensors file"),
    "empty": ("model.safetensors", lambda p: p.write_bytes(b""), "is empty; fetch it again"),
    "huge-header": ("model.safetensors", lambda p: p.write_bytes(b"\xff" * 8 + b"{}"), "is cut off, or no safetensors"),
    "text": ("model.safetensors", lambda p: p.write_text("<!doctype html>" * 9), "is cut off, or no safetensors file"),
    "bin-pointer": ("pytorch_model.bin", lambda p: p.write_bytes(POINTER), "run 'git lfs pull' in its folder"),
    "bin-cut": ("pytorch_model.bin", cut, "is cut off, or no file of torch.save"),
    "bin-text": ("pytorch_model.bin", lambda p: p.write_text("<!doctype html>"), "neither a zip nor a pickle"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_weights_that_are_none_are_told(tiny_llama: Path, tmp_path: Path, name: str) -> None:
    file, break_it, why = DAMAGE[name]
    folder = copied(tiny_llama, tmp_path / "m")
    if file.endswith(".bin"):
        model: Any = tf.AutoModelForCausalLM.from_pretrained(folder)
        torch.save(model.state_dict(), folder / file)
        (folder / "model.safetensors").unlink()
        assert problems(folder) == []
    break_it(folder / file)
    (problem,) = problems(folder)
    assert problem.startswith(f"no weights: {folder / file} ")
    assert why in problem
    assert problems(folder, pytorch={"random_weights": True}) == []
    (of_draft,) = problems(tiny_llama, pytorch={"assistant_model": str(folder)})
    assert of_draft == f"pytorch.assistant_model: {problem}"


def test_damage_in_the_cache_of_the_hub_is_told_once_all_is_there(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, commit = tmp_path / "models--some--one", "0" * 40
    snapshot = copied(tiny_llama, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    config = config_of(Path("some/one"), passthrough_kwargs={"cache_dir": str(tmp_path)})
    assert PyTorchBackend().problems(config) == []
    (snapshot / "model.safetensors").write_bytes(POINTER)
    (problem,) = PyTorchBackend().problems(config)
    assert "model.safetensors is a git-LFS pointer" in problem
    (snapshot / "model.safetensors").unlink()
    assert PyTorchBackend().problems(config) == []


def test_a_file_of_no_tensors_is_told(tiny_llama: Path, tmp_path: Path) -> None:
    folder = copied(tiny_llama, tmp_path / "m")
    (folder / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    (problem,) = problems(folder)
    assert problem.startswith(f"model directory {folder} has no weights in its files for ")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    (problem,) = problems(folder)
    assert problem.startswith(f"model directory {folder} has no weights in its files for ")


def test_a_gguf_file_that_is_none_is_told(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    for content, why in ((POINTER, "is a git-LFS pointer"), (b"", "is empty"), (b"GGML" * 9, "is no GGUF file")):
        file.write_bytes(content)
        assert [why in problem for problem in problems(file)] == [True]
    file.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\x05\x00\x00\x00\x00\x00\x00\x00" * 2)
    (problem,) = problems(file)
    assert problem.startswith(f"model '{file}': its header, which is cut off or damaged, cannot be read: ")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"vocab_size": 321}, "lm_head.weight, model.embed_tokens.weight"),
        ({"num_key_value_heads": 4}, "model.layers.0.self_attn.k_proj.weight"),
        ({"num_hidden_layers": 3}, "model.layers.2."),
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_the_weights_is_told(
    tiny_llama: Path, tmp_path: Path, values: dict[str, Any], named: str
) -> None:
    folder = edited(tiny_llama, tmp_path / "m", "config.json", **values)
    (problem,) = problems(folder)
    assert problem.startswith(f"model directory {folder} has no weights in its files for {named}")
    # Loading it is refused, too.
    with pytest.raises(BackendError), PyTorchBackend().load(ExperimentPlan.of(config_of(folder))):
        pass


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "config.json cannot be read as JSON"),
        ("[]", "holds a list where an object with names and values belongs"),
        (
            '{"model_type": "llama", "num_hidden_layers": 20000}',
            "num_hidden_layers is 20000, and no model has",
        ),
        ('{"model_type": "llama", "num_labels": 200000}', "num_labels is 200000, and no model has more than"),
        ('{"model_type": "llama", "vocab_size": 1' + "0" * 40 + "}", "vocab_size is a number of 41 digits"),
        ('{"model_type": "llama", "hidden_size": -64}', "hidden_size: -64, which has to be a whole number above zero"),
        ('{"model_type": "llama", "hidden_size": 0}', "hidden_size: 0, which has to be a whole number above zero"),
        ('{"model_type": "llama", "hidden_size": 63}', "its config.json cannot be read: "),
        ('{"model_type": "llama", "hidden_size": "64"}', "its config.json cannot be read: "),
        ('{"model_type": "no such"}', "its config.json cannot be read: "),
        (POINTER.decode(), "is a git-LFS pointer and not the file itself"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_description_that_is_none_is_told(tiny_llama: Path, tmp_path: Path, content: str, why: str) -> None:
    folder = copied(tiny_llama, tmp_path / "m")
    (folder / "config.json").write_text(content)
    (problem,) = problems(folder)
    assert why in problem
    assert "\n" not in problem


def test_what_would_take_all_memory_is_refused_for_a_tokenizer_too(tiny_llama: Path, tmp_path: Path) -> None:
    # transformers reads the description beside it, and makes a table of the labels.
    folder = edited(tiny_llama, tmp_path / "m", "config.json", num_labels=200_000)
    with pytest.raises(BackendError, match="num_labels is 200000, and no model has more than 100,000"):
        load_tokenizer(Checkpoint(source=ModelSource(location=str(folder))))


def in_the_cache(folder: Path, cache: Path) -> Checkpoint:
    """A model of the hub, some/one, whose snapshot in the hub's cache is a folder."""
    repository, commit = cache / "models--some--one", "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    copied(folder, repository / "snapshots" / commit)
    fetching = (("cache_dir", str(cache)), ("local_files_only", True))
    return Checkpoint(source=ModelSource(location="some/one"), fetching=fetching)


@pytest.mark.parametrize("read", [load_tokenizer, read_description])
def test_what_would_take_all_memory_is_refused_in_the_cache_of_the_hub_too(
    tiny_llama: Path, tmp_path: Path, read: Callable[[Checkpoint], Any]
) -> None:
    whole = in_the_cache(tiny_llama, tmp_path / "whole")
    assert read(whole)
    folder = edited(tiny_llama, tmp_path / "m", "config.json", num_labels=200_000)
    with pytest.raises(BackendError, match="num_labels is 200000, and no model has more than 100,000"):
        read(in_the_cache(folder, tmp_path / "hub"))


def test_what_is_fetched_is_looked_at_first(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = edited(tiny_llama, tmp_path / "m", "config.json", num_labels=200_000)

    def fetched(name: str, file: str, **arguments: Any) -> str:
        assert (name, arguments) == ("some/one", {"cache_dir": str(tmp_path), "revision": "v1"})
        return str(folder / file)

    monkeypatch.setattr("transformers.utils.hub.cached_file", fetched)
    source, fetching = ModelSource(location="some/one"), (("cache_dir", str(tmp_path)),)
    with pytest.raises(BackendError, match="num_labels is 200000"):
        read_description(Checkpoint(source=source, revision="v1", fetching=fetching))


def test_a_model_of_modules_without_end_is_not_built() -> None:
    # Within the bounds of each number, and not of both.
    description = tf.AutoConfig.for_model("gpt2", n_layer=9_000, n_embd=4, n_head=1, vocab_size=8)
    with pytest.raises(ValueError, match="more than 1,000 modules"):
        built_without_weights(description, most_modules=1_000)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "name", ["special_tokens_map.json", "config.json", "tokenizer.json", "generation_config.json", "model.safetensors"]
)
def test_a_pipe_in_the_folder_is_waited_for_by_nobody(tiny_llama: Path, tmp_path: Path, name: str) -> None:
    folder = copied(tiny_llama, tmp_path / "m")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    (problem,) = problems(folder)
    if name == "config.json":
        assert problem == f"model directory {folder} has no config.json in it"
    else:
        assert problem == f"{folder / name} is no regular file; remove it"
    with pytest.raises(BackendError, match="is no regular file"):
        load_tokenizer(Checkpoint(source=ModelSource(location=str(folder))))


@pytest.mark.skipif(is_installed("gptqmodel"), reason="gptqmodel is here")
def test_quantised_weights_whose_package_is_missing_are_told(tiny_llama: Path, tmp_path: Path) -> None:
    folder = edited(tiny_llama, tmp_path / "m", "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    (problem,) = problems(folder)
    assert problem.startswith("the checkpoint is quantised with gptq, which needs ")
    assert "gptqmodel; install with pip install " in problem


def test_quantised_weights_of_a_kind_that_nobody_knows_are_told(tiny_llama: Path, tmp_path: Path) -> None:
    folder = edited(tiny_llama, tmp_path / "m", "config.json", quantization_config={"quant_method": "rot13"})
    (problem,) = problems(folder)
    assert problem.startswith("the checkpoint is quantised with rot13, which transformers does not know")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_quantised_weights_that_need_a_gpu_are_told(tiny_llama: Path, tmp_path: Path) -> None:
    folder = edited(tiny_llama, tmp_path / "m", "config.json", quantization_config={"quant_method": "higgs"})
    (problem,) = problems(folder)
    assert problem.startswith("the checkpoint is quantised with higgs, and this machine cannot run it: ")


@pytest.mark.parametrize("method", [m for m in PACKAGES if not all(map(is_installed, PACKAGES[m]))])
@pytest.mark.skipif(torch.cuda.is_available(), reason="transformers would ask the GPU")
def test_transformers_refuses_the_same_checkpoints_for_want_of_a_package(method: str) -> None:
    from llenergymeasure.core.backends.pytorch.preflight.quantised import _said_by_transformers

    needed: dict[str, dict[str, Any]] = {"gptq": {"bits": 4}, "spqr": {"shapes": {}}}
    description = tf.AutoConfig.for_model("llama")
    description.quantization_config = {"quant_method": method, **needed.get(method, {})}
    assert _said_by_transformers(description) is not None


@pytest.mark.parametrize(
    ("own", "fields", "why"),
    [
        ({"temperature": 0.0}, {"decoder": {"do_sample": True}}, "generation_config.json has temperature: 0.0"),
        ({"repetition_penalty": -1.0}, {}, "strictly positive float, but is -1.0"),
        ({"bad_words_ids": [[100_000]]}, {}, "generate refuses the settings of this experiment"),
        ({"cache_implementation": "mirror"}, {}, "Invalid `cache_implementation` (mirror)"),
        ({"early_stopping": 7}, {}, "`early_stopping` must be a boolean"),
    ],
    ids=str,
)
def test_settings_that_generate_refuses_are_told(
    tiny_llama: Path, tmp_path: Path, own: dict[str, Any], fields: dict[str, Any], why: str
) -> None:
    folder = edited(tiny_llama, tmp_path / "m", "generation_config.json", **own)
    (problem,) = problems(folder, **fields)
    assert why in problem


def test_settings_that_play_no_part_are_refused_by_nobody(tiny_llama: Path, tmp_path: Path) -> None:
    folder = edited(tiny_llama, tmp_path / "m", "generation_config.json", temperature=0.0, max_time=-1)
    assert problems(folder) == []
    assert problems(folder, decoder={"do_sample": True, "temperature": 0.5}) == []
    assert problems(folder, pytorch={"guidance_scale": 1.5}) == []


@pytest.mark.parametrize("content", ["{", "[]"])
def test_generation_settings_that_are_none_are_told(tiny_llama: Path, tmp_path: Path, content: str) -> None:
    folder = copied(tiny_llama, tmp_path / "m")
    (folder / "generation_config.json").write_text(content)
    (problem,) = problems(folder)
    assert problem.startswith(str(folder / "generation_config.json"))
