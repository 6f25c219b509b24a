"""Models of random weights: from config.json alone, repeatable, and said to be random."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, MixtralConfig

from llenergymeasure import ExperimentResult
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch.random_weights import random_model
from llenergymeasure.core.checkpoint.source import ModelSource
from llenergymeasure.core.session import measure
from llenergymeasure.domain.inference import ChatMessage, Prompt, Request
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError, ExperimentError
from tests.fakes.pytorch import generated, prepared
from tests.integration.conftest import VOCABULARY, tiny_tokenizer

# Token ids as the engine draws them for a prompt of random tokens.
IDS = (5, 17, 300, 2, 88)
RANDOM = {"random_weights": True}


def only_config(directory: Path) -> Path:
    """A directory with the description of a small Llama in it, and nothing else."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=1,
    )
    config.save_pretrained(directory)
    assert [path.name for path in directory.iterdir()] == ["config.json"]
    return directory


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    (tmp_path / "shape").mkdir()
    return only_config(tmp_path / "shape")


def config_of(model: Path, **fields: Any) -> ExperimentConfig:
    section = {**RANDOM, **fields.pop("pytorch", {})}
    return ExperimentConfig.model_validate(
        {"model": str(model), "precision": "fp32", "max_output_tokens": 4, "pytorch": section, **fields}
    )


def drawn(model: Path, **fields: Any) -> Any:
    return random_model(config_of(model, **fields), ModelSource(location=str(model)))


def digest(model: Any) -> str:
    """SHA-256 over all tensors, buffers that no file has included."""
    found = hashlib.sha256()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found.update(name.encode() + tensor.detach().float().numpy().tobytes())
    return found.hexdigest()


def test_the_same_seed_gives_the_same_weights_and_another_one_others(shape: Path) -> None:
    first = digest(drawn(shape))
    torch.manual_seed(99)
    assert digest(drawn(shape)) == first
    assert digest(drawn(shape, random_seed=7)) != first


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_weights_are_drawn_in_the_number_format_and_spread_as_the_description_says(shape: Path, precision: str) -> None:
    model = drawn(shape, precision=precision)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    assert {p.dtype for p in model.parameters()} == {dtype}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert (parameter == 1).all(), name  # norms
        else:
            # 0.02 is LlamaConfig's initializer_range; of 2,048 values and more the spread is known to 5 %.
            assert parameter.float().std().item() == pytest.approx(0.02, rel=0.1), name
            assert abs(parameter.float().mean().item()) < 0.002, name
    # theta ** (-2 i / d) with theta 10,000 and heads of 16.
    expected = torch.tensor([10_000 ** (-2 * i / 16) for i in range(8)])
    assert torch.allclose(model.model.rotary_emb.inv_freq, expected)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_scores_of_a_deep_model_are_finite_and_differ(tmp_path: Path, precision: str) -> None:
    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=40,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    config.save_pretrained(tmp_path)
    model = drawn(tmp_path, precision=precision)
    with torch.inference_mode():
        scores = model(torch.arange(64).reshape(1, -1)).logits.float()
    assert torch.isfinite(scores).all()
    assert scores.std() > 0.01


def test_a_mixture_of_experts_is_drawn_too(tmp_path: Path) -> None:
    config = MixtralConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
    )
    config.save_pretrained(tmp_path)
    model = drawn(tmp_path)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    assert all(p.std() > 0.01 for p in matrices)
    assert digest(model) == digest(drawn(tmp_path))


@pytest.mark.parametrize("spread", [1.0, 1e-9])
def test_weights_that_overflow_or_vanish_are_refused(tmp_path: Path, spread: float) -> None:
    # With a spread of 1, gate and up give some 32 each, their products are summed over 8,192: over
    # 65,504, the most of fp16. One of 1e-9 is nothing in it.
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=1024,
        intermediate_size=8192,
        num_hidden_layers=1,
        num_attention_heads=8,
        num_key_value_heads=8,
        initializer_range=spread,
    )
    config.save_pretrained(tmp_path)
    with pytest.raises(BackendError, match=r"no finite and distinct scores in fp16; give another precision"):
        drawn(tmp_path, precision="fp16")


def test_settings_of_loading_reach_a_drawn_model(shape: Path) -> None:
    model = drawn(
        shape,
        pytorch={"attn_implementation": "eager", "device_map": "auto"},
        passthrough_kwargs={"rms_norm_eps": 0.5},
    )
    assert model.config._attn_implementation == "eager"
    assert model.config.rms_norm_eps == 0.5
    assert digest(model) == digest(drawn(shape))


def test_a_map_that_puts_layers_on_disk_is_refused(shape: Path) -> None:
    places = {"model.embed_tokens": "cpu", "model.layers": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu"}
    with pytest.raises(BackendError, match="drawn ones are put on no disk"):
        drawn(shape, pytorch={"device_map": {**places, "lm_head": "disk"}})


def test_the_directorys_own_generation_config_is_followed(shape: Path) -> None:
    assert drawn(shape).generation_config.eos_token_id == 1
    (shape / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9], "temperature": 0.5}))
    generation = drawn(shape).generation_config
    assert (generation.eos_token_id, generation.temperature) == ([7, 9], 0.5)


def test_a_model_in_a_subfolder(shape: Path, tmp_path: Path) -> None:
    (tmp_path / "outer").mkdir()
    shutil.copytree(shape, tmp_path / "outer" / "inner")
    assert digest(drawn(tmp_path / "outer", pytorch={"subfolder": "inner"})) == digest(drawn(shape))


def test_quantised_descriptions_and_gguf_files_are_refused_before_and_on_loading(shape: Path, tmp_path: Path) -> None:
    description = json.loads((shape / "config.json").read_text())
    quantised = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    (shape / "config.json").write_text(json.dumps({**description, "quantization_config": quantised}))
    (problem,) = PyTorchBackend().problems(config_of(shape, dataset="random"))
    assert problem.startswith("pytorch.random_weights: config.json of model")
    assert "take quantization_config out of it" in problem
    with pytest.raises(BackendError, match="is of a quantised checkpoint"):
        drawn(shape)
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF")
    # An empty file has no description either.
    found = PyTorchBackend().problems(config_of(gguf))
    assert [p for p in found if p.startswith("pytorch.random_weights: a GGUF file is weights")]
    with pytest.raises(BackendError, match="a GGUF file is weights"):
        random_model(config_of(gguf), ModelSource(location=str(tmp_path), gguf_file="m.gguf"))


def test_a_directory_with_its_description_only_has_no_problem(shape: Path) -> None:
    assert PyTorchBackend().problems(config_of(shape, dataset="random")) == []


def test_without_a_tokenizer_token_ids_run_and_text_is_refused_with_a_way_out(shape: Path) -> None:
    with PyTorchBackend().load(ExperimentPlan.of(config_of(shape, decoder={"min_output_tokens": 4}))) as loaded:
        with pytest.raises(ExperimentError, match=r"has no tokenizer\.json .* set dataset\.random"):
            prepared(loaded, [Prompt(index=0, messages=(ChatMessage("user", "text"),))])
        ready = [Request(index=i, token_ids=tuple(IDS[:n]), max_output_tokens=4) for i, n in enumerate((len(IDS), 2))]
        output = generated(loaded, ready)
    assert [r.input_tokens for r in output.requests] == [5, 2]
    assert [r.output_tokens for r in output.requests] == [4, 4]


def test_text_to_a_model_without_a_tokenizer_ends_the_session_with_the_reason_alone(shape: Path) -> None:
    with pytest.raises(ExperimentError) as caught:
        measure(ExperimentPlan.of(config_of(shape, n=1, energy={"backend": None})), PyTorchBackend())
    assert str(caught.value).startswith("the prompts are text, and ")


def test_a_drawn_model_says_so_and_has_no_digest(shape: Path) -> None:
    with PyTorchBackend().load(ExperimentPlan.of(config_of(shape, random_seed=7))) as loaded:
        description, identity, warnings = loaded.describe(), loaded.identity(), loaded.warnings()
    assert description.weights == "random, seed 7"
    assert (identity.revision, identity.weights_digest, identity.warnings) == (None, None, ())
    assert [w.flag for w in warnings] == ["random_weights"]


def test_a_real_model_does_not(tiny_llama: Path) -> None:
    config = ExperimentConfig(model=str(tiny_llama), precision="fp32")
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        assert loaded.describe().weights is None
        assert loaded.warnings() == []


def test_the_seed_is_a_setting_of_a_drawn_model() -> None:
    fields = {"model": "m", "dataset": {"order": "as_is"}, "random_seed": 7}
    assert set(ExperimentConfig.model_validate(fields).dormant_fields()) == {"random_seed"}
    drawn_one = ExperimentConfig.model_validate({**fields, "pytorch": RANDOM})
    assert drawn_one.dormant_fields() == {}
    assert not drawn_one.equivalent_to(ExperimentConfig.model_validate({**fields, "pytorch": RANDOM, "random_seed": 8}))


def test_the_command_line_measures_a_shape_and_says_that_it_is_one(shape: Path, tmp_path: Path) -> None:
    tiny_tokenizer().save_pretrained(shape)
    file, output = tmp_path / "run.yaml", tmp_path / "out"
    file.write_text(
        f"model: {shape}\nprecision: auto\nn: 2\nmax_output_tokens: 4\nenergy: {{backend: null}}\n"
        "warmup: {n_warmup: 1}\npytorch: {random_weights: true}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "llenergymeasure", "run", str(file), "-q", "-o", str(output)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said = " ".join(done.stdout.split())
    assert "weights not read: random, seed 42" in said
    assert "random_weights: the weights were drawn and not read" in said
    (folder,) = output.iterdir()
    result = ExperimentResult.from_json(folder)
    assert result.n_requests == 2
    assert result.weights_digest is None
    assert result.model.weights == "random, seed 42"
    assert "Weights: random, seed 42" in result.reproducibility_notes
    assert any(w.startswith("random_weights: ") for w in result.measurement_warnings)


MEASURE_PEAK = """
import sys
import torch, transformers
from transformers import LlamaForCausalLM, MixtralForCausalLM
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.random_weights import random_model
from llenergymeasure.core.memory.free import reset_resident_peak, resident_peak_mb
from tests.fakes.pytorch import generated, prepared
from llenergymeasure.core.checkpoint.source import ModelSource
config = ExperimentConfig(model=sys.argv[1], pytorch={"random_weights": True})
torch.nn.Linear(8, 8)(torch.zeros(1, 8))
assert reset_resident_peak()
before = resident_peak_mb()
model = random_model(config, ModelSource(location=sys.argv[1]))
weights_mb = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6
print(weights_mb, resident_peak_mb() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the kernel counts no peak here")
def test_no_second_copy_of_the_weights_is_made(tmp_path: Path) -> None:
    LlamaConfig(
        vocab_size=32_000,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=8,
    ).save_pretrained(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE_PEAK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    weights_mb, grown_mb = map(float, done.stdout.split())
    # In bf16: 2 embeddings of 32,000 x 1024, 8 layers of 4 x 1024^2 + 3 x 1024 x 3072, small norms.
    assert weights_mb == pytest.approx(2 * (2 * 32_000 * 1024 + 8 * (4 * 1024**2 + 3 * 1024 * 3072)) / 1e6, rel=0.001)
    assert grown_mb < 1.3 * weights_mb


def test_a_description_alone_is_measured_with_random_prompts(shape: Path) -> None:
    fields = {"dataset": {"random": {"input_tokens": 7, "output_tokens": 3}}, "n": 2, "energy": {"backend": None}}
    result = PyTorchBackend().run(config_of(shape, **fields))
    assert (result.input_tokens, result.output_tokens) == (14, 6)
    assert [w for w in result.measurement_warnings if w.startswith("random_weights: ")]
