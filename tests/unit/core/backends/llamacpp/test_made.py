"""GGUF files that are made here: order of weights, formats, vocabulary, and what no file is made of."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.llamacpp import LlamaCppBackend
from llenergymeasure.core.backends.llamacpp.file import read_header
from llenergymeasure.core.backends.llamacpp.llama import frequency_factors, interleaved
from llenergymeasure.core.backends.llamacpp.opened import header_for, opened
from llenergymeasure.core.backends.llamacpp.vocabulary import words_of
from llenergymeasure.core.backends.llamacpp.writing import DenseTensor, save
from llenergymeasure.exceptions import BackendError
from tests.fakes.gguf_files import save_llama, save_tiny_gguf, save_words
from tests.fakes.xllamacpp import fake_library

pytestmark = pytest.mark.pytorch


@pytest.fixture(autouse=True)
def _conversions_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def config_of(model: Path, section: dict[str, Any] | None = None, **fields: Any) -> ExperimentConfig:
    lengths = {"max_input_tokens": 16, "max_output_tokens": 16}
    given = {"model": str(model), "backend": "llamacpp", "precision": "fp32", "llamacpp": section or {}, **lengths}
    return ExperimentConfig.model_validate({**given, **fields})


def problems(model: Path, section: dict[str, Any] | None = None, **fields: Any) -> list[str]:
    return LlamaCppBackend(fake_library).problems(config_of(model, section, **fields))


def contents(path: Path) -> dict[str, tuple[str, Any]]:
    """Each tensor of a file by its name: ggml's type, and its values in fp32."""
    import gguf

    reader = gguf.GGUFReader(path)
    return {t.name: (t.tensor_type.name, gguf.dequantize(t.data, t.tensor_type)) for t in reader.tensors}


def save_one(target: Path, values: list[list[float]], precision: str) -> Path:
    array = np.array(values, np.float32)
    tensors = [
        DenseTensor(name="output.weight", n_along=array.shape, values=lambda: array),
        DenseTensor(name="output_norm.weight", n_along=array[0].shape, values=lambda: array[0]),
    ]
    save(target, "llama", lambda writer: writer.add_block_count(0), tensors, precision)
    return target


def test_halves_of_each_head_are_interleaved() -> None:
    # Two heads of six values: what is rotated together, 0 with 3, 1 with 4, 2 with 5, comes to lie side by side.
    rows = np.arange(12, dtype=np.float32)
    assert interleaved(rows, 2).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    both = np.stack([rows, -rows], axis=1)
    assert interleaved(both, 2)[:, 1].tolist() == [0, -3, -1, -4, -2, -5, -6, -9, -7, -10, -8, -11]


def test_a_file_has_every_tensor_where_another_writer_puts_it(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "model")
    expected = contents(save_tiny_gguf(folder, tmp_path / "other.gguf"))
    found = contents(opened(config_of(folder)).path)
    assert set(found) == set(expected)
    for name, (kind, values) in found.items():
        assert kind == "F32"
        np.testing.assert_array_equal(values, expected[name][1], err_msg=name)


def test_a_tied_head_is_left_out(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "model", tie_word_embeddings=True)
    assert "output.weight" not in contents(opened(config_of(folder)).path)


def test_positions_are_stretched_by_factors_of_frequencies(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    def factors(**rope: Any) -> Any:
        sizes: dict[str, Any] = {
            "hidden_size": 32,
            "intermediate_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        }
        rope = {"rope_theta": 10_000.0, **rope}
        found = frequency_factors(LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=8, rope_parameters=rope)))
        return None if found is None else found.tolist()

    assert factors(rope_type="default") is None
    assert factors(rope_type="linear", factor=4.0) == pytest.approx([4.0] * 8)
    # Frequencies of a head of 16 values are 10^(-i/2): waves of 6.28, 19.87, 62.8, 198.7 tokens and so on. Those under
    # 64/4 stay, those over 64/1 are 8 times as long, and those between are mixed: s = (64/wave - 1)/(4 - 1), and
    # 1/((1 - s)/8 + s).
    s = [(64 / (2 * np.pi * 10 ** (i / 2)) - 1) / 3 for i in (1, 2)]
    mixed = [1 / ((1 - share) / 8 + share) for share in s]
    given = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    assert factors(rope_type="llama3", **given) == pytest.approx([1.0, *mixed, *[8.0] * 5], rel=1e-5)


def test_matrices_have_the_precision_and_vectors_are_fp32(tmp_path: Path) -> None:
    # 1 + 2^-8 lies between two values of bf16, and goes to the even one; fp16 has it.
    values = [[1.0 + 2**-8, -3.0, 0.0, 2.5]]
    for precision, kind, first in (("fp32", "F32", 1 + 2**-8), ("fp16", "F16", 1 + 2**-8), ("bf16", "BF16", 1.0)):
        path = save_one(tmp_path / f"{precision}.gguf", values, precision)
        found = contents(path)
        assert (found["output.weight"][0], found["output_norm.weight"][0]) == (kind, "F32")
        assert found["output.weight"][1].tolist() == [[first, -3.0, 0.0, 2.5]]
        assert found["output_norm.weight"][1].tolist() == values[0]
        assert (read_header(path).precision, read_header(path).file_type) == (precision, kind)


def test_what_fp16_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"output\.weight has weights that fp16 cannot hold; set precision: fp32"):
        save_one(tmp_path / "large.gguf", [[65_505.0, 1.0]], "fp16")


def test_a_quantised_file_is_made_dense_and_is_else_the_same(tmp_path: Path) -> None:
    import gguf

    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(128)
    writer.add_token_list(["a", "\u00e9"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    # A block of Q8_0 is a scale in fp16 and 32 whole numbers: here 0.5, and from -16 to 15.
    block = np.concatenate(
        [np.array([0.5], np.float16).view(np.uint8), np.arange(-16, 16).astype(np.int8).view(np.uint8)]
    )
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("blk.0.ffn_up.weight", np.stack([block, block]), raw_dtype=kind)
    writer.add_tensor("output_norm.weight", np.full(32, 2.0, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    config = config_of(path, {"dequantize": True})
    assert LlamaCppBackend(fake_library).problems(config) == []
    file = opened(config)
    assert contents(file.path)["blk.0.ffn_up.weight"][1].tolist() == [[0.5 * n for n in range(-16, 16)]] * 2
    assert (file.header.architecture, file.header.n_context) == ("qwen2", 128)
    assert (file.header.vocabulary.texts, file.header.file_type) == (("a", "\u00e9"), "F32")
    assert file.dense_from == "small.gguf"
    assert file.files == {"small.gguf": path}
    # 64 values of four bytes and 32 of the norm; the file that it is made of is run where nothing is said.
    planned = header_for(config)
    assert (planned.precision, planned.n_bytes, file.header.n_bytes) == ("fp32", 96 * 4, 96 * 4)
    assert opened(config_of(path)).path == path
    assert opened(config_of(path)).dense_from is None
    halved = header_for(config_of(path, {"dequantize": True}, precision="bf16"))
    assert (halved.precision, halved.n_bytes) == ("bf16", 64 * 2 + 32 * 4)


def test_a_file_that_is_dense_is_not_made_so(tmp_path: Path) -> None:
    path = save_one(tmp_path / "dense.gguf", [[1.0] * 4], "fp32")
    (line,) = problems(path, {"dequantize": True})
    assert line == f"llamacpp.dequantize: {path} holds dense weights; remove it"
    folder = save_llama(tmp_path / "model")
    (line,) = problems(folder, {"dequantize": True})
    assert line == f"llamacpp.dequantize: {str(folder)!r} is a checkpoint's directory, and dense; remove it"


def test_a_checkpoint_is_checked_before_anything_is_made(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "model")
    assert problems(folder) == []
    (line,) = problems(folder, max_output_tokens=300)
    assert "made for 256" in line
    auto = LlamaCppBackend(fake_library).native_precision(config_of(folder))
    assert auto == "fp32"
    estimate = LlamaCppBackend(fake_library).estimate_memory(config_of(folder, {"n_ctx": 256}))
    assert estimate is not None
    # 256 tokens of 2 layers, 2 heads of 16 keys and values, of two bytes each.
    assert estimate.kv_cache_mb == 256 * 2 * 2 * (16 + 16) * 2 / 1e6
    assert not (tmp_path / "cache" / "llenergymeasure" / "conversions").exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model_type": "gpt2"}, "is a checkpoint of 'gpt2', and GGUF files are made here of the Llama architecture"),
        ({"hidden_act": "gelu"}, "has hidden_act 'gelu', and llama.cpp computes a Llama with silu alone; convert it"),
        (
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}},
            "stretches its positions by 'yarn', and files are made here of default, linear, llama3; convert it with",
        ),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "is quantised already (gptq), and the llamacpp"),
    ],
)
def test_no_file_is_made_of_what_would_be_another_model(changed: dict[str, Any], words: str, tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "model")
    described = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**described, **changed}), "utf-8")
    found = problems(folder)
    assert any(words in line for line in found), found


def test_what_a_directory_lacks_is_told(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "model")
    (folder / "adapter_config.json").write_text("{}", "utf-8")
    assert any("has an adapter (adapter_config.json), and the llamacpp engine has none" in p for p in problems(folder))
    (folder / "adapter_config.json").unlink()
    for file in folder.glob("tokenizer*"):
        file.unlink()
    random = {"random": {"input_tokens": 4}}
    (line,) = problems(folder, dataset=random)
    assert line.endswith("has no tokenizer, and llama.cpp loads no file without a vocabulary; add it")
    save_words(folder)
    (folder / "model.safetensors").unlink()
    (line,) = problems(folder)
    assert "no weights" in line


def test_a_tokenizer_of_another_kind_is_told_when_the_file_is_made(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    folder = save_llama(tmp_path / "model")
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    with pytest.raises(
        BackendError, match=r"could not be converted for llamacpp: its tokenizer \(WordLevel\) is neither"
    ):
        opened(config_of(folder))


class TestWords:
    """Of a tokenizer with two control tokens, a word beside them, and bytes as letters."""

    @staticmethod
    def tokenizer(**changed: Any) -> Any:
        model = {"type": "BPE", "vocab": {"<s>": 0, "</s>": 1, "a": 2, "\u0120a": 3}, "merges": [["\u0120", "a"]]}
        added = [
            {"id": 0, "content": "<s>", "special": True},
            {"id": 1, "content": "</s>", "special": True},
            {"id": 4, "content": "<tool>", "special": False},
        ]
        spec = {"model": model, "added_tokens": added, "decoder": {"type": "ByteLevel"}, **changed}
        return SimpleNamespace(backend_tokenizer=SimpleNamespace(to_str=lambda: json.dumps(spec)))

    def test_control_tokens_that_end_nothing_have_other_names(self) -> None:
        words = words_of(self.tokenizer(), 6, [2], 0)
        assert words.texts == ("<control 0>", "<control 1>", "a", "\u0120a", "<tool>", "<unused 5>")
        # Control, control, normal, normal, of a user, unused.
        assert words.type_index == (3, 3, 1, 1, 4, 5)
        assert (words.kind, words.merges, words.end_token_ids, words.first_token_id) == ("gpt2", ("\u0120 a",), (2,), 0)

    def test_ends_keep_theirs(self) -> None:
        words = words_of(self.tokenizer(), 3, {1, 0}, None)
        assert (words.texts, words.end_token_ids) == (("<s>", "</s>", "a"), (0, 1))

    @pytest.mark.parametrize("ends", [[], [0, 1, 2, 3]])
    def test_a_file_names_one_end_to_three(self, ends: list[int]) -> None:
        with pytest.raises(ValueError, match=f"it has {len(ends)} end tokens, and a GGUF file names from one to 3"):
            words_of(self.tokenizer(), 6, ends, None)

    @pytest.mark.parametrize("spec", [{"decoder": None}, {"model": {"type": "Unigram", "vocab": []}}])
    def test_other_kinds_are_refused(self, spec: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="is neither of bytes written as letters nor of pieces"):
            words_of(self.tokenizer(**spec), 6, [1], None)

    def test_a_tokenizer_of_no_library_is_refused(self) -> None:
        with pytest.raises(ValueError, match="its tokenizer is not one of the library tokenizers"):
            words_of(SimpleNamespace(), 6, [1], None)
