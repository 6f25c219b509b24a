"""What cannot work is told before anything is loaded: by the configuration, or by problems()."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch.placement import devices_of
from llenergymeasure.core.backends.pytorch.processes import process_problems
from llenergymeasure.domain.warnings import validity_of
from tests.fakes.model import TINY_LLAMA, TINY_SHAPES, write_description, write_safetensors
from tests.integration.conftest import save_tiny_llama, tiny_tokenizer
from tests.integration.pytorch.test_engine import TEXTS
from tests.integration.pytorch.test_options import config_of, run

GPUS = ["GPU-a", "GPU-b", "GPU-c"]
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


def without(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(module) is not None, reason=f"{module} is here")


@pytest.mark.parametrize(
    ("device_map", "devices"),
    [
        ("cuda", GPUS[:1]),
        ("cuda:0", GPUS[:1]),
        ("cuda:2", GPUS[2:]),
        ("cuda:9", []),
        ("cpu", []),
        ("disk", []),
        ("auto", GPUS),
        ("balanced", GPUS),
        ("balanced_low_0", GPUS),
        ("sequential", GPUS),
        ({"": 1}, GPUS[1:2]),
        ({"a": "cuda:2", "b": 0, "c": "cpu", "d": "disk", "e": 0}, ["GPU-a", "GPU-c"]),
        ({"a": "cuda", "b": "1"}, ["GPU-a", "GPU-b"]),
        ({"": "cpu"}, []),
    ],
    ids=str,
)
def test_devices_are_those_that_the_map_names(device_map: Any, devices: list[str]) -> None:
    assert devices_of(device_map, GPUS) == tuple(devices)


@pytest.mark.parametrize(("device_map", "n_there", "said"), [
    ("cuda:2", 2, "pytorch.device_map: it names GPU 2, counted from 0, and torch sees 2"),
    ({"a": 0, "b": "cuda:1"}, 1, "pytorch.device_map: it names GPU 1, counted from 0, and torch sees 1"),
    ({"a": 0, "b": 1}, 2, None), ("auto", 1, None), ("cuda", 1, None), ({"": "cpu"}, 1, None),
])  # fmt: skip
def test_a_gpu_that_is_not_there_is_told(device_map: Any, n_there: int, said: str | None) -> None:
    config = ExperimentConfig.model_validate({"model": "m", "pytorch": {"device_map": device_map}})
    found = list(process_problems(config, n_there))
    assert [line.partition(";")[0] for line in found] == ([] if said is None else [said])


DRAFT = {"assistant_model": "draft"}
QUANTISED = {"cache_implementation": "quantized"}


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ({"assistant_ensemble_weight": 0.5, "prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens"),
        ({**QUANTISED, **DRAFT}, "cache_implementation"),
        ({**QUANTISED, "prompt_lookup_num_tokens": 3}, "cache_implementation"),
        ({"prefill_chunk_size": 8, "use_cache": False}, "prefill_chunk_size"),
        ({"prefill_chunk_size": 8, "prompt_lookup_num_tokens": 3}, "prefill_chunk_size"),
        ({"compile": True, "compile_mode": "max-autotune", "compile_backend": "eager"}, "compile_mode"),
        ({**QUANTISED, "cache_backend": "fp8", "cache_nbits": 4}, "cache_nbits"),
        ({**QUANTISED, "cache_backend": "fp8", "cache_group_size": 64}, "cache_group_size"),
        ({**QUANTISED, "cache_nbits": 8}, "cache_backend: quanto, which has 2, 4"),
        ({**QUANTISED, "cache_backend": "quanto", "cache_nbits": 1}, "which has 2, 4"),
        ({**QUANTISED, "cache_backend": "hqq", "cache_nbits": 5}, "which has 1, 2, 3, 4, 8"),
        ({**QUANTISED, "cache_nbits": True}, "cache_nbits"),
        ({"suppress_tokens": [3, 5], "forced_eos_token_id": 5}, "forced_eos_token_id 5 cannot go with suppress_tokens"),
        ({"use_mtp": True}, "use_mtp"),
    ],
    ids=str,
)
def test_settings_that_cannot_go_together_are_refused(section: dict[str, Any], names: str) -> None:
    with pytest.raises(ValidationError, match=names):
        config_of(Path("m"), pytorch=section)


@pytest.mark.parametrize(
    "section",
    [
        {"compile": True, "compile_mode": "max-autotune", "compile_backend": "inductor"},
        {**QUANTISED, "cache_backend": "fp8"},
        {**QUANTISED, "cache_backend": "hqq", "cache_nbits": 8},
        {"suppress_tokens": [3], "forced_eos_token_id": 5},
        {"experts_implementation": "deepgemm_megamoe"},
        {**DRAFT, "assistant_revision": "main", "assistant_ensemble_weight": 0.5},
        {"device_map": "sequential", "max_memory": {"cpu": "1GB"}},
    ],
    ids=str,
)
def test_settings_that_can_go_together_are_taken_and_all_awake(section: dict[str, Any]) -> None:
    assert config_of(Path("m"), pytorch=section).dormant_fields() == {}


@pytest.mark.parametrize("device_map", ["cpu", {"": 0}], ids=str)
def test_most_memory_is_only_asked_for_by_a_strategy(device_map: Any) -> None:
    config = config_of(Path("m"), pytorch={"device_map": device_map, "max_memory": {"cpu": "1GB"}})
    assert set(config.dormant_fields()) == {"pytorch.max_memory"}


def problems(model: Path, **fields: Any) -> list[str]:
    return PyTorchBackend().problems(config_of(model, **fields))


@without_cuda
@pytest.mark.parametrize("kind", ["offloaded", "offloaded_static"])
def test_an_offloaded_cache_needs_a_gpu(tiny_llama: Path, kind: str) -> None:
    (problem,) = problems(tiny_llama, pytorch={"cache_implementation": kind})
    assert problem.startswith(f"pytorch.cache_implementation: {kind} needs a CUDA device")


@without("flash_attn")
@without("kernels")
@without_cuda
def test_flash_attention_needs_a_package_and_a_gpu(tiny_llama: Path) -> None:
    package, device = problems(tiny_llama, pytorch={"attn_implementation": "flash_attention_2"})
    assert "flash_attn; install with pip install flash-attn" in package
    assert device.startswith("pytorch.attn_implementation: flash_attention_2 needs a CUDA device")


@without("kernels")
def test_a_kernel_of_the_hub_needs_the_package_that_fetches_it(tiny_llama: Path) -> None:
    (problem,) = problems(tiny_llama, pytorch={"attn_implementation": "kernels-community/flash-attn"})
    assert problem.endswith("needs kernels; install with pip install kernels")


@without("mslk")
def test_4_bit_weights_of_torchao_need_a_package_of_their_own(tiny_llama: Path) -> None:
    (problem,) = problems(tiny_llama, pytorch={"torchao": "int4_weight_only"})
    assert problem == "pytorch.torchao: int4_weight_only needs mslk; install with pip install mslk"


@pytest.mark.parametrize(("backend", "n_problems"), [("eagre", 1), ("eager", 0), ("inductor", 0), (None, 0)])
def test_a_compiler_that_torch_does_not_have(tiny_llama: Path, backend: str | None, n_problems: int) -> None:
    found = problems(tiny_llama, pytorch={"compile": True, "compile_backend": backend})
    assert len(found) == n_problems
    assert all("'eagre'" in problem and "inductor" in problem for problem in found)


def test_an_adapter_that_is_not_there_or_is_none(tiny_llama: Path, tmp_path: Path) -> None:
    (missing,) = problems(tiny_llama, lora={"path": str(tmp_path / "missing")})
    assert "there is no directory" in missing
    (empty,) = problems(tiny_llama, lora={"path": str(tmp_path)})
    assert "has no adapter_config.json" in empty


def with_settings(adapter: Path, target: Path, **changes: Any) -> Path:
    """A copy of an adapter whose description says something else."""
    shutil.copytree(adapter, target)
    file = target / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return target


def test_an_adapter_of_this_model_is_taken(tiny_llama: Path, adapter: Path) -> None:
    assert problems(tiny_llama, lora={"path": str(adapter)}) == []


def test_an_adapter_of_another_kind_is_refused(tiny_llama: Path, adapter: Path, tmp_path: Path) -> None:
    path = with_settings(adapter, tmp_path / "tuned", peft_type="PROMPT_TUNING")
    (problem,) = problems(tiny_llama, lora={"path": str(path)})
    assert problem.startswith(f"lora.path: {path} is an adapter of type PROMPT_TUNING, and only LoRA is measured: ")


@pytest.mark.parametrize("text", ["{", "[]"])
def test_an_adapter_whose_description_is_none_is_refused(
    tiny_llama: Path, adapter: Path, tmp_path: Path, text: str
) -> None:
    path = with_settings(adapter, tmp_path / "broken")
    (path / "adapter_config.json").write_text(text)
    (problem,) = problems(tiny_llama, lora={"path": str(path)})
    assert problem.startswith("lora.path: ")


def test_an_adapter_of_a_wider_model_is_refused_with_the_first_layer_and_how_many_more(
    adapter: Path, tmp_path: Path
) -> None:
    # A and B of q and v in two layers are of a model of 64, and none of the eight fits one of 96.
    wider = save_tiny_llama(tmp_path / "wider", hidden_size=96)
    (problem,) = problems(wider, lora={"path": str(adapter)})
    assert problem == (
        f"lora.path: {adapter} does not fit the model: lora_A of model.layers.0.self_attn.q_proj is for 64 values, and "
        "the layer has 96, and 7 more do not fit either; give one made for this model"
    )


def test_adapter_weights_that_cannot_be_read_are_told(tiny_llama: Path, adapter: Path, tmp_path: Path) -> None:
    path = with_settings(adapter, tmp_path / "cut")
    (path / "adapter_model.safetensors").write_bytes(b"cut off")
    (problem,) = problems(tiny_llama, lora={"path": str(path)})
    assert problem.startswith(f"lora.path: {path / 'adapter_model.safetensors'} is cut off, or no safetensors file (")


def without_files(model: Path, target: Path, *names: str) -> Path:
    """A copy of a model with some files left out."""
    shutil.copytree(model, target, ignore=shutil.ignore_patterns(*names))
    return target


def test_a_directory_without_weights_is_told_unless_they_are_drawn(tiny_llama: Path, tmp_path: Path) -> None:
    bare = without_files(tiny_llama, tmp_path / "bare", "*.safetensors")
    (problem,) = problems(bare)
    assert problem.startswith(f"model directory {bare} has no weights to read: none of model.safetensors, ")
    assert problem.endswith("set pytorch.random_weights: true")
    assert problems(bare, pytorch={"random_weights": True}) == []
    (draft,) = problems(tiny_llama, pytorch={"assistant_model": str(bare)})
    assert draft.startswith(f"pytorch.assistant_model: model directory {bare} has no weights to read: ")


def test_weights_are_looked_for_as_they_are_asked_for(tiny_llama: Path) -> None:
    (variant,) = problems(tiny_llama, pytorch={"variant": "fp8"})
    assert "model.fp8.safetensors" in variant
    (pickled,) = problems(tiny_llama, pytorch={"use_safetensors": False})
    assert "none of pytorch_model.bin, " in pickled


def test_a_file_of_the_index_that_is_missing_is_told(tiny_llama: Path, tmp_path: Path) -> None:
    cut = without_files(tiny_llama, tmp_path / "cut", "*.safetensors")
    names = {f"tensor-{i}": f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)}
    (cut / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (cut / names["tensor-1"]).touch()
    (problem,) = problems(cut)
    assert "lacks model-00002-of-00003.safetensors and 1 more of the 3 files" in problem


@pytest.mark.parametrize("tied", [False, True])
def test_layers_of_the_files_that_the_description_lacks_are_a_warning(tmp_path: Path, tied: bool) -> None:
    fields: Any = TINY_LLAMA | {"tie_word_embeddings": tied}
    LlamaForCausalLM(LlamaConfig(**fields)).save_pretrained(tmp_path)
    config = config_of(tmp_path)
    assert [w.flag for w in PyTorchBackend().cautions(config)].count("weights_left_out") == 0
    described = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(described | {"num_hidden_layers": 1}))
    (warning,) = (w for w in PyTorchBackend().cautions(config) if w.flag == "weights_left_out")
    # A layer of a Llama has four matrices of attention, three of its MLP, and two norms.
    assert "no place for 9 of the tensors in its files (among them all of model.layers.1)" in warning.text
    assert "compare config.json with the files" in warning.advice
    assert validity_of([warning.flag]).verdict == "questionable"


def test_single_tensors_that_are_left_out_are_named(tmp_path: Path) -> None:
    model = write_description(tmp_path / "model")
    shapes = TINY_SHAPES | {f"model.layers.1.mlp.{name}.bias": (2,) for name in "abcd"}
    write_safetensors(model / "model.safetensors", shapes)
    (warning,) = (w for w in PyTorchBackend().cautions(config_of(model)) if w.flag == "weights_left_out")
    names = ", ".join(f"model.layers.1.mlp.{name}.bias" for name in "abc")
    assert f"no place for 4 of the tensors in its files ({names} and 1 more)" in warning.text


def test_text_needs_a_tokenizer_and_random_prompts_do_not(tiny_llama: Path, tmp_path: Path) -> None:
    silent = without_files(tiny_llama, tmp_path / "silent", "tokenizer*", "chat_template*")
    (problem,) = problems(silent)
    assert problem.startswith(f"the prompts are text, and {silent} has no tokenizer.json (or other tokenizer files)")
    assert problems(silent, dataset="random") == []


def test_settings_of_a_tokenizer_are_no_tokenizer(tiny_llama: Path, tmp_path: Path) -> None:
    silent = without_files(tiny_llama, tmp_path / "silent", "tokenizer.json")
    (problem,) = problems(silent)
    assert problem.startswith(f"the prompts are text, and {silent} has no tokenizer.json (or other tokenizer files)")
    assert problems(silent, dataset="random") == []
    for alone in ({"tokenizer_class": "ByT5Tokenizer"}, {"auto_map": {"AutoTokenizer": ["own.Own", None]}}):
        (silent / "tokenizer_config.json").write_text(json.dumps(alone))
        assert problems(silent) == []


def test_a_steady_state_needs_batches_enough_in_half_of_the_run(tiny_llama: Path) -> None:
    steady = {"methodology": "steady_state", "n_steady_batches": 3}
    # 21 requests in fours are 6 batches, of which half are the 3 that are looked at; 20 are 5, and half of them 2.
    assert problems(tiny_llama, measurement=steady, n=21, pytorch={"batch_size": 4}) == []
    (problem,) = problems(tiny_llama, measurement=steady, n=20, pytorch={"batch_size": 4})
    for words in ("looks at 3 batches", "which has 2 of 5 (n 20, batch_size 4)", "raise n, or lower"):
        assert words in problem
    assert problems(tiny_llama, n=1) == []


def test_a_dense_checkpoint_has_nothing_to_choose_kernels_for(tiny_llama: Path) -> None:
    (problem,) = problems(tiny_llama, pytorch={"checkpoint_backend": "marlin"})
    assert problem == "pytorch.checkpoint_backend: this checkpoint is not quantised; remove the field"


def test_a_model_is_looked_for_in_its_subfolder(tmp_path: Path) -> None:
    save_tiny_llama(tmp_path / "inner")
    assert problems(tmp_path, pytorch={"subfolder": "inner"}) == []
    (without_it,) = problems(tmp_path)
    assert without_it == f"model directory {tmp_path} has no config.json in it"
    (elsewhere,) = problems(tmp_path, pytorch={"subfolder": "outer"})
    assert elsewhere == f"model directory {tmp_path / 'outer'} has no config.json in it"
    output, _ = run(tmp_path, TEXTS[:1], max_output_tokens=2, pytorch={"subfolder": "inner"})
    assert output.output_tokens == 2


def test_a_draft_with_another_vocabulary_is_told(tiny_llama: Path, tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=100, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    (problem,) = problems(tiny_llama, pytorch={"assistant_model": str(tmp_path)})
    assert "has a vocabulary of 100 tokens" in problem
    assert "one of 320" in problem
    assert problems(tiny_llama, pytorch={"assistant_model": str(tiny_llama)}) == []


def test_a_description_of_a_draft_that_cannot_be_read_is_told_beside_what_the_model_lacks(
    tiny_llama: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{")
    draft, quantised = problems(tiny_llama, pytorch={"assistant_model": str(tmp_path), "checkpoint_dequantize": True})
    assert draft.startswith(f"pytorch.assistant_model: {tmp_path / 'config.json'} cannot be read as JSON: ")
    assert quantised.startswith("pytorch.checkpoint_dequantize: this checkpoint is not quantised")


@pytest.mark.parametrize("merge", [True, False])
def test_a_model_with_an_adapter_is_compiled_merged_or_not(tiny_llama: Path, tmp_path: Path, merge: bool) -> None:
    from torch._dynamo.utils import counters

    base = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(str(tmp_path))
    torch._dynamo.reset()
    before = counters["stats"]["unique_graphs"]
    section = {"compile": True, "compile_backend": "eager"}
    run(tiny_llama, TEXTS[:1], max_output_tokens=2, lora={"path": str(tmp_path), "merge": merge}, pytorch=section)
    assert counters["stats"]["unique_graphs"] > before


def test_a_cache_of_8_bit_floats_runs(tiny_llama: Path) -> None:
    output, description = run(tiny_llama, TEXTS[:1], pytorch={**QUANTISED, "cache_backend": "fp8"})
    assert output.output_tokens == 12
    assert json.dumps((description.parameters or {})["cache_config"]) == "\"{'backend': 'fp8'}\""


def test_where_no_way_leads_to_the_hub_nothing_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from huggingface_hub import constants

    nobody = "http://127.0.0.1:1"
    monkeypatch.setattr(constants, "ENDPOINT", nobody)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nobody + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # The library would wait half a minute between its tries.
    monkeypatch.setattr("time.sleep", lambda s: pytest.fail(f"{s} s were waited for"))
    caplog.set_level("WARNING", "huggingface_hub")
    config = config_of(Path("nobody/nothing"))
    (problem,) = PyTorchBackend().problems(config)
    assert "the hub cannot be reached" in problem
    PyTorchBackend().cautions(config)
    assert [record for record in caplog.records if record.name.startswith("huggingface_hub")] == []
