"""What keeps an experiment from running, known before anything is loaded; headers and memory."""

from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.engines import LlamaCppConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.backends.llamacpp import LlamaCppBackend
from llenergymeasure.core.backends.llamacpp.checks import room_of_a_slot
from llenergymeasure.core.backends.llamacpp.file import GgufFile, file_of, parts_of, read_header
from llenergymeasure.core.backends.llamacpp.memory import cache_bytes, estimate, value_bytes
from llenergymeasure.exceptions import BackendError
from tests.fakes.xllamacpp import fake_library

# A block of 32 values of Q8_0 has 34 bytes.
LLAMA = {
    "block_count": 30,
    "context_length": 8192,
    "embedding_length": 576,
    "attention.head_count": 9,
    "attention.head_count_kv": 3,
}


def header(settings: dict[str, Any] | None = None, **formats: int) -> GgufFile:
    known = formats or {"Q4_1": 900, "Q8_0": 100}
    return GgufFile(
        architecture="llama",
        n_by_format=known,
        n_parameters=1000,
        n_bytes=625,
        settings=LLAMA if settings is None else settings,
    )


def problems(model: object, section: dict[str, Any] | None = None, **fields: Any) -> list[str]:
    given = {"model": str(model), "backend": "llamacpp", "llamacpp": section or {}, **fields}
    return LlamaCppBackend(fake_library).problems(ExperimentConfig.model_validate(given))


def test_a_missing_package_is_one_line_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert get_backend("llamacpp").installation_problem() == (
        "the llamacpp engine needs xllamacpp, gguf, transformers, torch; install with "
        "pip install 'llenergymeasure[llamacpp]'"
    )


def test_a_package_that_cannot_be_imported_is_one_line() -> None:
    def broken() -> Any:
        raise BackendError("xllamacpp cannot be imported: GLIBC_2.35 not found; install it anew")

    config = ExperimentConfig(model="m.gguf", backend="llamacpp")
    assert LlamaCppBackend(broken).problems(config) == [
        "xllamacpp cannot be imported: GLIBC_2.35 not found; install it anew"
    ]


def test_what_is_no_gguf_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "w.safetensors").write_bytes(b"\x00" * 64)
    (tmp_path / "cut.gguf").write_bytes(b"GGU")
    for model, words in (
        (tmp_path / "folder", "folder has no config.json in it"),
        (
            tmp_path / "w.safetensors",
            "w.safetensors is not a GGUF file (it begins otherwise); give a GGUF file, or the",
        ),
        (tmp_path / "cut.gguf", "does not begin with GGUF"),
        (tmp_path / "none.gguf", "there is no such GGUF file"),
        ("someone/model", "is no file or directory here, and llama.cpp fetches none; download a GGUF file or"),
    ):
        (line,) = problems(model)
        assert words in line, line


@pytest.mark.pytorch
def test_a_damaged_header_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "torn.gguf").write_bytes(b"GGUF" + b"\x03\x00\x00\x00" + b"\xff" * 40)
    (line,) = problems(tmp_path / "torn.gguf")
    assert "torn.gguf cannot be read: " in line
    assert line.endswith("; fetch it again")


def test_all_parts_have_to_be_there(tmp_path: Path) -> None:
    first, second = (tmp_path / f"m-0000{i}-of-00002.gguf" for i in (1, 2))
    first.write_bytes(b"GGUF")
    with pytest.raises(BackendError, match=r"m-00002-of-00002\.gguf is missing"):
        parts_of(first)
    second.write_bytes(b"GGUF")
    assert list(parts_of(first)) == [first.name, second.name]
    with pytest.raises(BackendError, match=r"give the first part, m-00001-of-00002\.gguf"):
        parts_of(second)
    assert file_of(str(first)) == first


@pytest.mark.parametrize(
    ("formats", "precision"),
    [
        ({"F32": 10}, "fp32"),
        ({"F16": 10, "F32": 2}, "fp16"),
        ({"BF16": 10}, "bf16"),
        ({"F32": 10, "Q8_0": 1}, None),
        ({}, None),
    ],
)
def test_a_file_has_the_precision_of_most_of_its_matrices(formats: dict[str, int], precision: str | None) -> None:
    found = GgufFile(architecture="llama", n_by_format=formats, n_parameters=1, n_bytes=4)
    assert found.precision == precision


def test_a_slot_has_its_share_and_no_more_than_the_model_was_made_for() -> None:
    def room(**section: Any) -> int | None:
        return room_of_a_slot(LlamaCppConfig(**section), header())

    assert room() == 8192
    assert room(n_parallel=4) == 2048
    assert room(n_ctx=1000, n_parallel=2) == 500
    assert room(n_ctx=1000, n_parallel=2, kv_unified=True) == 1000
    assert room(n_ctx=100_000) == 8192
    assert room_of_a_slot(LlamaCppConfig(), header({})) is None


def test_a_cache_takes_what_its_types_say() -> None:
    # 1024 tokens of 30 layers, 3 heads of 64 keys and 64 values.
    values = 1024 * 30 * 3 * 64
    assert cache_bytes(header(), LlamaCppConfig(n_ctx=1000)) == values * (2 + 2)
    mixed = LlamaCppConfig(n_ctx=1024, cache_type_k="f32", cache_type_v="bf16")
    assert cache_bytes(header(), mixed) == values * (4 + 2)


def test_a_quantised_cache_has_scales() -> None:
    values = 1024 * 30 * 3 * 64
    quantised = LlamaCppConfig(n_ctx=1024, cache_type_k="q8_0")
    assert cache_bytes(header(), quantised) == pytest.approx(values * (34 / 32 + 2))


@pytest.mark.pytorch
def test_types_of_a_cache_are_ggmls() -> None:
    import gguf

    for name in ("f32", "f16", "bf16", "q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "iq4_nl"):
        n_values, n_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name.upper()]]
        assert value_bytes(name) == n_bytes / n_values, name


def test_a_cache_of_another_kind_is_not_known() -> None:
    assert cache_bytes(header({**LLAMA, "ssm.state_size": 16}), LlamaCppConfig(n_ctx=1024)) is None
    assert cache_bytes(header({"context_length": 8192}), LlamaCppConfig()) is None


def test_an_estimate_says_what_is_not_known() -> None:
    fixed = estimate(header(), LlamaCppConfig(n_ctx=1024))
    assert (fixed.weights_mb, fixed.kv_cache_mb) == (625 / 1e6, 1024 * 30 * 3 * 64 * 4 / 1e6)
    assert fixed.total_mb is None
    # 8192 tokens of 30 x 3 x 64 x 4 bytes are 188.7 MB, and llama.cpp may make fewer.
    fitted = estimate(header(), LlamaCppConfig())
    assert fitted.kv_cache_mb is None
    assert "up to 189 MB" in " ".join(fitted.unknown)
    assert estimate(header(), LlamaCppConfig(fit_params=False)).kv_cache_mb == pytest.approx(188.7, abs=0.1)


def test_gpus_are_used_where_it_was_built_for_them() -> None:
    config = ExperimentConfig.model_validate({"model": "m.gguf", "backend": "llamacpp"})
    visible = ("GPU-a", "GPU-b")
    assert LlamaCppBackend(fake_library).select_devices(config, visible) == ()
    cuda = "CUDA : ARCHS = 500,900 | USE_GRAPHS = 1 | CPU : SSE3 = 1 | "
    assert LlamaCppBackend(lambda: fake_library(system=cuda)).select_devices(config, visible) == visible


@pytest.mark.pytorch
class TestFile:
    """With a real file of a few kilobytes."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        import gguf
        import numpy as np

        path = tmp_path / "tiny.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_context_length(128)
        writer.add_block_count(1)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(["a", "b"])
        writer.add_token_types([1, 3])
        writer.add_file_type(gguf.LlamaFileType.ALL_F32)
        writer.add_tensor("blk.0.ffn_up.weight", np.zeros((4, 32), np.float32))
        writer.add_tensor("output_norm.weight", np.zeros(32, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def test_its_header_is_read(self, file: Path) -> None:
        found = read_header(file)
        assert (found.architecture, found.n_by_format, found.n_context) == ("llama", {"F32": 128}, 128)
        assert (found.n_parameters, found.n_bytes, found.bits_per_weight) == (160, 640, 32.0)
        assert (found.file_type, found.precision) == ("F32", "fp32")
        assert (found.vocabulary.texts, found.vocabulary.type_index) == (("a", "b"), (1, 3))

    def test_it_has_to_agree_with_the_precision(self, file: Path) -> None:
        lengths: dict[str, Any] = {"max_input_tokens": 64, "max_output_tokens": 64}
        assert problems(file, precision="fp32", **lengths) == []
        (line,) = problems(file, precision="bf16", **lengths)
        assert line.startswith("precision: bf16: ")
        assert line.endswith("set precision: fp32, or auto")
        config = ExperimentConfig.model_validate({"model": str(file), "backend": "llamacpp"})
        assert LlamaCppBackend(fake_library).native_precision(config) == "fp32"

    @pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
    def test_a_quantised_one_goes_with_any(self, precision: str, tmp_path: Path) -> None:
        import gguf
        import numpy as np

        path = tmp_path / "small.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        kind = gguf.GGMLQuantizationType.Q8_0
        weights = gguf.quantize(np.ones((4, 32), np.float32), kind)
        writer.add_tensor("blk.0.ffn_up.weight", weights, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        fields = {"model": str(path), "backend": "llamacpp", "precision": precision}
        config = ExperimentConfig.model_validate(fields)
        assert LlamaCppBackend(fake_library).native_precision(config) == precision
        assert not [line for line in problems(path, precision=precision) if line.startswith("precision")]

    @pytest.mark.parametrize(
        ("section", "fields", "words"),
        [
            ({}, {"max_output_tokens": 65}, ["need 129 tokens for a request", "has room for 128"]),
            (
                {"n_ctx": 128, "n_parallel": 2},
                {},
                ["each of 2 has room for 64", "made for 128", "llamacpp.n_ctx to 256 or more"],
            ),
            ({"n_parallel": 257, "n_ctx": 128 * 257}, {}, ["llama.cpp has at most 256 slots, not 257"]),
            ({"speculative_type": "draft_simple"}, {}, ["draft_simple needs llamacpp.draft_model"]),
            (
                {"speculative_type": "draft_simple", "draft_model": "none.gguf"},
                {},
                ["llamacpp.draft_model: there is no file none.gguf"],
            ),
            ({}, {"lora": {"path": "a"}}, ["lora: llama.cpp takes no adapter of peft"]),
            ({}, {"passthrough_kwargs": {"chek": 1}}, ["passthrough_kwargs.chek: llama.cpp has no such parameter"]),
        ],
    )
    def test_what_does_not_fit_is_told(
        self, file: Path, section: dict[str, Any], fields: dict[str, Any], words: list[str]
    ) -> None:
        lengths = {"max_input_tokens": 64, "max_output_tokens": 64}
        (line,) = problems(file, section, precision="fp32", **{**lengths, **fields})
        assert all(word in line for word in words), line
