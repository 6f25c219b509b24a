"""The CTranslate2 engine over a recorded shape of ctranslate2 4.8.5: what it is told, and what is made of its steps."""

import importlib.metadata
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.ctranslate2 import CTranslate2Backend
from llenergymeasure.core.checkpoint.source import packaged_file
from llenergymeasure.domain.inference import InferenceOutput, Request, RequestOutput, tokens_digest
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError, ExperimentError

pytestmark = pytest.mark.pytorch  # transformers reads the checkpoint's description

N_TOKENS, END = 40, 7


class FakeGenerator:
    """``ctranslate2.Generator``: answers a prompt with the ids after its last token, step by step."""

    def __init__(self, library: "FakeLibrary", path: str, device: str, compute_type: str, options: Any) -> None:
        self.library, self.path, self.device, self.compute_type = library, path, device, compute_type
        self.device_index = [options.get("device_index", 0)]

    def generate_batch(
        self, start_tokens: list[list[str]], *, callback: Callable[[Any], bool] | None = None, **options: Any
    ) -> list[Any]:
        self.library.asked.append((start_tokens, options))
        if self.library.fails is not None:
            raise self.library.fails
        alive, step = dict(enumerate(start_tokens)), 0
        while alive and step < options["max_length"]:
            for row, names in list(alive.items()):
                token = self.library.names.index(names[-1]) + step + 1
                last = token in options["end_token"]
                told = SimpleNamespace(step=step, batch_id=row, token_id=token, hypothesis_id=0, is_last=last)
                if (callback is not None and callback(told)) or last:
                    del alive[row]
            step += 1
        return [SimpleNamespace(sequences_ids=[[]]) for _ in start_tokens]


class FakeLibrary:
    """The module ``ctranslate2``."""

    __version__ = "4.8.5"

    def __init__(self, n_gpus: int = 0, offered: Sequence[str] = ("float32", "int8_float32")) -> None:
        self.n_gpus, self.offered = n_gpus, set(offered)
        self.names = [f"<{i}>" for i in range(N_TOKENS)]
        self.asked: list[tuple[list[list[str]], dict[str, Any]]] = []
        self.opened: list[dict[str, Any]] = []
        self.seeds: list[int] = []
        self.fails: Exception | None = None

    def Generator(self, path: str, device: str, compute_type: str, **options: Any) -> FakeGenerator:  # noqa: N802
        self.opened.append({"device": device, "compute_type": compute_type, **options})
        return FakeGenerator(self, path, device, compute_type, options)

    def get_cuda_device_count(self) -> int:
        return self.n_gpus

    def get_supported_compute_types(self, device: str, device_index: int = 0) -> set[str]:
        return self.offered

    def set_random_seed(self, seed: int) -> None:
        self.seeds.append(seed)


@pytest.fixture
def library() -> FakeLibrary:
    return FakeLibrary()


@pytest.fixture
def folders(tmp_path: Path, library: FakeLibrary) -> tuple[Path, Path]:
    """A checkpoint, of which there is the description alone, and what it was converted to."""
    checkpoint, converted = tmp_path / "checkpoint", tmp_path / "converted"
    checkpoint.mkdir()
    converted.mkdir()
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    described = {"model_type": "llama", "vocab_size": N_TOKENS, "eos_token_id": END, "pad_token_id": None, **sizes}
    (checkpoint / "config.json").write_text(json.dumps({**described, "tie_word_embeddings": False}))
    (converted / "model.bin").write_bytes(b"weights")
    (converted / "vocabulary.json").write_text(json.dumps(library.names))
    return checkpoint, converted


def config_of(folders: tuple[Path, Path], section: dict[str, Any] | None = None, **fields: Any) -> ExperimentConfig:
    checkpoint, converted = folders
    own = {"model_path": str(converted), **(section or {})}
    given = {"model": str(checkpoint), "backend": "ctranslate2", "ctranslate2": own, **fields}
    return ExperimentConfig.model_validate(given)


def ran(
    library: FakeLibrary, config: ExperimentConfig, requests: Sequence[tuple[Sequence[int], int]]
) -> list[RequestOutput]:
    done: list[RequestOutput] = []
    engine = CTranslate2Backend(lambda: library)
    with engine.load(ExperimentPlan.of(config)) as model:
        given = [Request(index=i, token_ids=tuple(ids), max_output_tokens=n) for i, (ids, n) in enumerate(requests)]
        model.run(given, engine.load_of(config), done.append)
    return done


def test_what_is_not_written_is_fp32(folders: tuple[Path, Path]) -> None:
    assert config_of(folders).precision == "fp32"


def test_tokens_go_in_by_name_and_each_row_ends_at_its_own_limit(
    library: FakeLibrary, folders: tuple[Path, Path]
) -> None:
    outputs = ran(library, config_of(folders, {"batch_size": 3}), [([1, 10], 4), ([3, 4], 9), ([20], 1)])
    ((names, options),) = library.asked
    assert names == [["<1>", "<10>"], ["<3>", "<4>"], ["<20>"]]
    assert (options["max_length"], options["end_token"], options["sampling_topk"]) == (9, [END], 1)
    assert not options["include_prompt_in_result"]
    # The second answer is 5, 6, and the end token.
    assert [o.output_ids for o in outputs] == [((11, 12, 13, 14),), ((5, 6, 7),), ((21,),)]
    assert [o.finish_reason for o in outputs] == ["length", "stop", "length"]
    assert [len(o.token_times_s) for o in outputs] == [4, 3, 1]
    # Tokens of one step were there at one moment, and count as one observation.
    assert outputs[0].token_times_s[:3] == outputs[1].token_times_s
    assert outputs[0].token_times_s[0] == outputs[2].token_times_s[0]
    assert len({*outputs[0].token_times_s}) == 4
    assert outputs[1].output_digest == tokens_digest([5, 6, 7])
    assert outputs[1].end_s == outputs[1].token_times_s[-1]


def test_settings_go_under_the_librarys_names(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    section = {"batch_size": 2, "intra_threads": 3, "inter_threads": 1, "max_batch_size": 64, "batch_type": "tokens"}
    decoder = {"ignore_eos": True, "min_output_tokens": 5, "do_sample": True, "temperature": 0.5, "top_p": 0.9}
    ran(library, config_of(folders, section, decoder=decoder), [([3, 4], 6)])
    (opened,) = library.opened
    assert opened == {"device": "cpu", "compute_type": "float32", "intra_threads": 3, "inter_threads": 1}
    options = library.asked[0][1]
    assert (options["max_batch_size"], options["batch_type"]) == (64, "tokens")
    # An empty list and not None, which would be the model's own end token.
    assert (options["end_token"], options["min_length"]) == ([], 5)
    sampling = {name: options[f"sampling_{name}"] for name in ("temperature", "topp", "topk")}
    # top_k is what transformers takes where nobody says it.
    assert sampling == {"temperature": 0.5, "topp": 0.9, "topk": 50}


def test_a_seed_takes_effect_where_tokens_were_drawn_before(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    config = config_of(folders, decoder={"do_sample": True})
    request = [Request(index=0, token_ids=(3,), max_output_tokens=2)]
    with CTranslate2Backend(lambda: library).load(ExperimentPlan.of(config)) as model:
        model.seed(1)
        assert len(library.opened) == 1
        model.run(request, Load.in_batches(1), lambda _: None)
        model.seed(2)
        assert len(library.opened) == 2
        # What makes it warm draws nothing, so that the seed is untouched.
        assert library.asked[-1][1]["sampling_topk"] == 1
        model.seed(3)
        assert len(library.opened) == 2
        # The library takes this one as none.
        model.seed(2**32 - 1)
        model.seed(2**32 - 2)
    assert library.seeds == [1, 2, 3, 0, 2**32 - 2]


def test_a_batch_that_is_refused_fails_and_memory_that_is_out_ends_all(
    library: FakeLibrary, folders: tuple[Path, Path]
) -> None:
    library.fails = RuntimeError("No position encodings are defined for positions >= 16")
    outputs = ran(library, config_of(folders), [([1], 2), ([2], 2)])
    assert [(o.finish_reason, o.error) for o in outputs] == [("error", str(library.fails))] * 2
    for fails in (
        MemoryError("full"),
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("std::bad_alloc"),
    ):
        library.fails = fails
        with pytest.raises(ExperimentError, match=r"out of memory at batch size 1: .*; lower batch_size or the token"):
            ran(library, config_of(folders), [([1], 2)])


def test_a_token_that_the_model_has_not_fails_alone(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    outputs = ran(library, config_of(folders, {"batch_size": 2}), [([1, 41], 2), ([10], 2)])
    assert [o.finish_reason for o in outputs] == ["error", "length"]
    assert outputs[0].error == "token 41 of the prompt is none of the model's 40"


def test_it_says_what_it_is(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    config = config_of(folders, {"compute_type": "int8_float32"})
    with CTranslate2Backend(lambda: library).load(ExperimentPlan.of(config)) as model:
        described, identity = model.describe(), model.identity()
        output = RequestOutput(
            index=0, input_tokens=3, output_tokens=2, finish_reason="length", output_digest=tokens_digest([1, 2])
        )
        flops = model.flops(InferenceOutput(requests=(output,)))
    assert described.engine_version == "ctranslate2 4.8.5"
    assert described.quantization == "int8_float32"
    # Embeddings and head, four projections and three matrices of the layer, three norms.
    assert described.n_parameters == 2 * 40 * 16 + 4 * 16 * 16 + 3 * 16 * 32 + 3 * 16
    # What sha256sum says of "weights".
    assert identity.weights_digest == "sha256:9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert flops is not None
    # 2 x (weights without embeddings and head) x 5 tokens.
    assert flops.value == 2 * (4 * 16 * 16 + 3 * 16 * 32 + 3 * 16) * 5
    assert flops.number_format is None


@pytest.mark.parametrize(
    ("section", "fields", "problem"),
    [
        ({"device": "cuda"}, {}, "ctranslate2.device: cuda: CTranslate2 sees no GPU"),
        ({"device_index": 1}, {}, "ctranslate2.device_index: 1: CTranslate2 sees 0 GPUs"),
        ({}, {"precision": "bf16"}, "precision: bf16 is not what CTranslate2 computes on this CPU, which has float32"),
        ({"compute_type": "int16"}, {}, "ctranslate2.compute_type: int16 is not what CTranslate2 computes"),
        ({"compute_type": "int8_float16"}, {}, "computes in fp16, and precision is fp32; set precision: fp16"),
        (
            {"inter_threads": 2, "max_batch_size": 4},
            {"decoder": {"do_sample": True}},
            "ctranslate2.inter_threads: 2: each of its threads draws the same from random_seed",
        ),
        ({}, {"lora": {"path": "adapter"}}, "lora: the ctranslate2 engine has no adapters"),
        ({}, {"passthrough_kwargs": {"colour": 1}}, "passthrough_kwargs.colour: the ctranslate2 engine has no such"),
        ({"model_path": "nowhere"}, {}, "ctranslate2.model_path: there is no model.bin and no vocabulary.json in"),
        ({}, {"model": "some.gguf"}, "model 'some.gguf' is a GGUF file; the ctranslate2 engine takes directories"),
    ],
)
def test_what_cannot_be_is_told_before(
    library: FakeLibrary, folders: tuple[Path, Path], section: dict[str, Any], fields: dict[str, Any], problem: str
) -> None:
    found = CTranslate2Backend(lambda: library).problems(config_of(folders, section, **fields))
    assert any(problem in line for line in found), found


def test_a_folder_in_its_own_format_is_not_the_model(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    config = config_of((folders[1], folders[1]))
    (problem,) = CTranslate2Backend(lambda: library).problems(config)
    assert "is in ctranslate2's own format; give it as ctranslate2.model_path" in problem


def test_another_transformers_makes_another_conversion(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    made_by = CTranslate2Backend(lambda: library).made_by(config_of(folders))
    versions = {name: importlib.metadata.version(name) for name in ("transformers", "torch")}
    assert made_by == {"engine": "ctranslate2", "ctranslate2": "4.8.5", **versions}


def converting(folder: Path, **fields: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": str(folder), "backend": "ctranslate2", **fields})


def test_a_model_that_is_converted_needs_its_weights_and_one_beside_a_folder_needs_none(
    library: FakeLibrary, folders: tuple[Path, Path]
) -> None:
    engine, drawn = CTranslate2Backend(lambda: library), {"dataset": {"random": {"input_tokens": 4}}}
    assert engine.problems(config_of(folders, **drawn)) == []
    (problem,) = engine.problems(converting(folders[0], **drawn))
    assert "has no weights to read" in problem
    assert problem.endswith("; add them, or set ctranslate2.model_path")


def test_an_adapter_beside_the_weights_is_refused(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    (folders[0] / "adapter_config.json").write_text("{}")
    (problem,) = CTranslate2Backend(lambda: library).problems(converting(folders[0]))
    assert "has an adapter (adapter_config.json), and the ctranslate2 engine has none; merge it" in problem


@pytest.mark.parametrize("named", [True, False])
def test_a_checkpoint_that_is_quantised_is_refused(
    library: FakeLibrary, folders: tuple[Path, Path], named: bool
) -> None:
    path = folders[0] / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": {"quant_method": "awq"}}))
    config = config_of(folders) if named else converting(folders[0])
    (problem,) = CTranslate2Backend(lambda: library).problems(config)
    assert "is quantised already (awq), and the ctranslate2 engine would take it for a dense one; give the" in problem


def in_hub_cache(folder: Path, cache: Path, revision: str, commit: str) -> None:
    """A checkpoint of the hub's model ``owner/name``, as its library keeps one of a revision."""
    kept = cache / "models--owner--name"
    (kept / "refs").mkdir(parents=True, exist_ok=True)
    (kept / "refs" / revision).write_text(commit)
    shutil.copytree(folder, kept / "snapshots" / commit)


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache of the hub's library, and no way to the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_damage_is_looked_for_in_the_engines_own_revision(
    library: FakeLibrary, folders: tuple[Path, Path], hub_cache: Path
) -> None:
    in_hub_cache(folders[0], hub_cache, "main", "a" * 40)
    (folders[0] / "model.safetensors").write_bytes(b"cut off")
    in_hub_cache(folders[0], hub_cache, "v1", "b" * 40)
    engine, given = CTranslate2Backend(lambda: library), {"model": "owner/name", "backend": "ctranslate2"}
    assert engine.problems(ExperimentConfig.model_validate(given)) == []
    (problem,) = engine.problems(ExperimentConfig.model_validate({**given, "ctranslate2": {"revision": "v1"}}))
    assert "no weights: " in problem
    assert "b" * 40 in problem


def test_no_weights_of_a_hub_model_are_fetched_beside_a_folder(
    library: FakeLibrary, folders: tuple[Path, Path], hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise AssertionError("it was fetched")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    in_hub_cache(folders[0], hub_cache, "main", "a" * 40)
    config = config_of((Path("owner/name"), folders[1]))
    with CTranslate2Backend(lambda: library).load(ExperimentPlan.of(config)) as model:
        assert model.identity().weights_digest is not None
    with pytest.raises(BackendError, match="it was fetched"):
        CTranslate2Backend(lambda: library).load(ExperimentPlan.of(converting(Path("owner/name")))).__enter__()


@pytest.mark.slow  # its tokenizer is read from the GGUF file
def test_a_packaged_model_is_not_converted_beside_a_folder(
    library: FakeLibrary, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    library.names = [f"<{i}>" for i in range(49_152)]
    (folders[1] / "vocabulary.json").write_text(json.dumps(library.names))
    config = config_of((Path("smollm2-135m"), folders[1]))
    engine = CTranslate2Backend(lambda: library)
    assert engine.problems(config) == []
    with engine.load(ExperimentPlan.of(config)) as model:
        # The end of its turn, as its file says.
        model.run([Request(index=0, token_ids=(1,), max_output_tokens=4)], Load.in_batches(1), lambda _: None)
    assert library.asked[0][1]["end_token"] == [2]
    assert not (tmp_path / "cache" / "llenergymeasure" / "models").exists()


def test_an_adapter_in_a_hub_model_is_refused_when_it_is_there(
    library: FakeLibrary, folders: tuple[Path, Path], hub_cache: Path
) -> None:
    (folders[0] / "adapter_config.json").write_text("{}")
    in_hub_cache(folders[0], hub_cache, "main", "a" * 40)
    with pytest.raises(BackendError, match=r"has an adapter .*; merge it into the weights"):
        CTranslate2Backend(lambda: library).load(ExperimentPlan.of(converting(Path("owner/name")))).__enter__()


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["a"] * N_TOKENS, "has one name for several tokens"),
        (["a", "b"], "has 2 tokens, and model .* has 40"),
        ({"a": 0}, "has 0 tokens"),
    ],
)
def test_a_vocabulary_that_is_not_the_models_is_refused(
    library: FakeLibrary, folders: tuple[Path, Path], names: Any, problem: str
) -> None:
    (folders[1] / "vocabulary.json").write_text(json.dumps(names))
    with pytest.raises(BackendError, match=problem):
        CTranslate2Backend(lambda: library).load(ExperimentPlan.of(config_of(folders))).__enter__()


@pytest.mark.parametrize(
    ("n_gpus", "section", "devices"),
    [(0, {}, ()), (2, {}, ("GPU-a",)), (2, {"device_index": 1}, ("GPU-b",)), (2, {"device": "cpu"}, ())],
)
def test_the_gpu_is_known_before(
    folders: tuple[Path, Path], n_gpus: int, section: dict[str, Any], devices: tuple[str, ...]
) -> None:
    engine = CTranslate2Backend(lambda: FakeLibrary(n_gpus))
    assert engine.select_devices(config_of(folders, section), ("GPU-a", "GPU-b")) == devices


@pytest.mark.parametrize(
    ("offered", "precision"),
    [(("float32",), "fp32"), (("float32", "bfloat16", "float16"), "bf16"), (("float32", "float16"), "fp16")],
)
def test_auto_is_what_the_device_computes(folders: tuple[Path, Path], offered: tuple[str, ...], precision: str) -> None:
    engine = CTranslate2Backend(lambda: FakeLibrary(offered=offered))
    assert engine.native_precision(config_of(folders)) == precision


@pytest.mark.parametrize(
    ("compute_type", "precision"),
    [("int8_float32", "fp32"), ("int16", "fp32"), ("int8_float16", "fp16"), ("int8_bfloat16", "bf16")],
)
def test_auto_is_what_quantised_weights_go_with(folders: tuple[Path, Path], compute_type: str, precision: str) -> None:
    engine = CTranslate2Backend(lambda: FakeLibrary(offered=("float32", "float16", "bfloat16", compute_type)))
    config = config_of(folders, {"compute_type": compute_type}, precision="auto")
    assert engine.native_precision(config) == precision


@pytest.mark.parametrize("name", ["num_beams", "repetition_penalty", "min_p", "no_repeat_ngram_size"])
def test_decoding_that_it_does_otherwise_is_refused(folders: tuple[Path, Path], name: str) -> None:
    decoder = {"do_sample": name == "min_p", name: 2 if name != "min_p" else 0.1}
    with pytest.raises(ValueError, match=f"{name} cannot go with backend: ctranslate2"):
        config_of(folders, decoder=decoder)


def test_own_settings_that_are_not_followed_are_told(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    own = {"eos_token_id": [END, 9], "repetition_penalty": 1.3, "temperature": 0.6, "max_length": 99, "top_p": 0.9}
    (folders[0] / "generation_config.json").write_text(json.dumps(own))
    with CTranslate2Backend(lambda: library).load(ExperimentPlan.of(config_of(folders))) as model:
        (warning,) = model.warnings()
        assert "repetition_penalty: 1.3, which was not followed" in str(warning)
        model.run([Request(index=0, token_ids=(8,), max_output_tokens=4)], Load.in_batches(1), lambda _: None)
    assert library.asked[0][1]["end_token"] == [END, 9]


def test_a_packaged_model_needs_room_only_where_it_is_converted(
    library: FakeLibrary, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if packaged_file("smollm2-135m") is None:
        pytest.skip("the package with the model is not installed")
    # A file system without a free byte.
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/cache")

    def room(section: dict[str, Any]) -> list[str]:
        config = ExperimentConfig.model_validate(
            {"model": "smollm2-135m", "backend": "ctranslate2", "ctranslate2": section}
        )
        return [line for line in CTranslate2Backend(lambda: library).problems(config) if "has to be converted" in line]

    assert len(room({})) == 1
    assert room({"model_path": str(folders[1])}) == []
