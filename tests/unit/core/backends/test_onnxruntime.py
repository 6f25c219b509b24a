"""The ONNX Runtime engine over a recorded shape of onnxruntime-genai 0.18.0: what it is told and makes of it."""

import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.onnxruntime import OnnxRuntimeBackend
from llenergymeasure.domain.inference import InferenceOutput, Request, RequestOutput, tokens_digest
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError, ExperimentError

pytestmark = pytest.mark.pytorch  # transformers reads the checkpoint's description

N_TOKENS, END, N_CONTEXT = 40, 7, 32


class FakeConfig:
    """``onnxruntime_genai.Config``."""

    def __init__(self, path: str) -> None:
        self.path, self.overlaid = path, dict[str, Any]()
        self.ends = [3, 4]  # of the file
        described = json.loads((Path(path) / "genai_config.json").read_text("utf-8"))["model"]
        self.providers = [*described.get("providers", [])]

    def clear_providers(self) -> None:
        """Leaves the CPU."""
        self.providers = []

    def overlay(self, text: str) -> None:
        """As seen: a number takes the place of what there is, a list is added."""
        given = json.loads(text)["model"]
        ends = given.pop("eos_token_id")
        self.ends = [*self.ends, *ends] if isinstance(ends, list) else [ends]
        self.overlaid |= given


class FakeGenerator:
    """``onnxruntime_genai.Generator``: answers with the ids after a prompt's last token that is no filling."""

    def __init__(self, library: "FakeLibrary", model: Any, parameters: "FakeParameters") -> None:
        self.library, self.overlaid, self.options = library, model.config.overlaid, parameters.options
        self.ends = model.config.ends

    def append_tokens(self, tokens: Any) -> None:
        assert tokens.shape[-1] <= self.options["max_length"]
        assert tokens.dtype == numpy.int32
        assert tokens.ndim == (2 if self.options["batch_size"] > 1 else 1)
        rows = numpy.atleast_2d(tokens).tolist()
        self.library.appended.append(rows)
        pad = self.overlaid["pad_token_id"]
        self.last = [next((t for t in reversed(row) if t != pad), pad) for row in rows]
        self.ended = [self.library.fills_at_once] * len(rows)

    def generate_next_token(self) -> None:
        if self.library.fails is not None:
            raise self.library.fails
        for row, token in enumerate(self.last):
            if not self.ended[row]:
                self.last[row] = token + 1
                self.ended[row] = token + 1 in self.ends
            else:
                self.last[row] = self.overlaid["pad_token_id"]

    def get_next_tokens(self) -> Any:
        return numpy.array(self.last, dtype=numpy.int32)

    def get_output(self, name: str) -> Any:
        """Logits [1, tokens, vocabulary] that double the odds from each token to the next."""
        assert name == "logits"
        n = 1 if self.library.is_pruned else len(self.library.appended[-1][0])
        return numpy.tile(numpy.arange(N_TOKENS, dtype=numpy.float32) * numpy.log(2), (1, n, 1))


class FakeParameters:
    """``onnxruntime_genai.GeneratorParams``."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}

    def set_search_options(self, **options: Any) -> None:
        self.options |= options


class FakeLibrary:
    """The module ``onnxruntime_genai``."""

    __version__ = "0.18.0"
    fills_at_once = False
    Config = FakeConfig

    def __init__(self) -> None:
        self.appended: list[list[list[int]]] = []
        self.parameters: list[FakeParameters] = []
        self.configs: list[FakeConfig] = []
        self.fails: Exception | None = None
        self.is_pruned = False
        self.device_type = "CPU"

    def Model(self, config: FakeConfig) -> Any:  # noqa: N802
        self.configs.append(config)
        device = "CUDA" if config.providers else self.device_type
        return SimpleNamespace(config=config, type="llama", device_type=device)

    def GeneratorParams(self, model: Any) -> FakeParameters:  # noqa: N802
        self.parameters.append(FakeParameters())
        return self.parameters[-1]

    def Generator(self, model: Any, parameters: FakeParameters) -> FakeGenerator:  # noqa: N802
        n_tokens = parameters.options["max_length"]
        if n_tokens > N_CONTEXT:
            raise RuntimeError(f"max_length ({n_tokens}) cannot be greater than model context_length ({N_CONTEXT})")
        return FakeGenerator(self, model, parameters)


@pytest.fixture
def library() -> FakeLibrary:
    return FakeLibrary()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint, of which there is the description alone, and what was built of it."""
    checkpoint, built = tmp_path / "checkpoint", tmp_path / "built"
    checkpoint.mkdir()
    built.mkdir()
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    described = {"model_type": "llama", "vocab_size": N_TOKENS, "eos_token_id": END, "pad_token_id": None, **sizes}
    (checkpoint / "config.json").write_text(json.dumps(described))
    (built / "model.onnx").write_bytes(b"graph")
    (built / "model.onnx.data").write_bytes(b"weights")
    (built / "genai_config.json").write_text(
        json.dumps({"model": {"vocab_size": N_TOKENS, "context_length": N_CONTEXT}})
    )
    return checkpoint, built


def config_of(folders: tuple[Path, Path], section: dict[str, Any] | None = None, **fields: Any) -> ExperimentConfig:
    checkpoint, built = folders
    own = {"model_path": str(built), **(section or {})}
    return ExperimentConfig.model_validate(
        {"model": str(checkpoint), "backend": "onnxruntime", "onnxruntime": own, **fields}
    )


def ran(
    library: FakeLibrary, config: ExperimentConfig, requests: Sequence[tuple[Sequence[int], int]]
) -> list[RequestOutput]:
    done: list[RequestOutput] = []
    engine = OnnxRuntimeBackend(lambda: library)
    with engine.load(ExperimentPlan.of(config)) as model:
        given = [Request(index=i, token_ids=tuple(ids), max_output_tokens=n) for i, (ids, n) in enumerate(requests)]
        model.run(given, engine.load_of(config), done.append)
    return done


def test_rows_are_filled_up_on_the_right_and_end_each_for_itself(
    library: FakeLibrary, folders: tuple[Path, Path]
) -> None:
    outputs = ran(library, config_of(folders, {"batch_size": 3}), [([1, 10], 4), ([3, 4, 5], 9), ([20], 1)])
    assert library.appended == [[[1, 10, -1], [3, 4, 5], [20, -1, -1]]]
    (parameters,) = library.parameters
    options = {"batch_size": 3, "max_length": 12, "min_length": 0, "do_sample": False}
    assert parameters.options == options
    # The second answer is 6 and the end token; what the row says after it is filling.
    assert [o.output_ids for o in outputs] == [((11, 12, 13, 14),), ((6, 7),), ((21,),)]
    assert [o.finish_reason for o in outputs] == ["length", "stop", "length"]
    assert [len(o.token_times_s) for o in outputs] == [4, 2, 1]
    # A row's tokens of one step were there at one moment.
    assert outputs[0].token_times_s[0] == outputs[1].token_times_s[0] == outputs[2].token_times_s[0]


def test_settings_go_under_the_librarys_names(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    section = {"intra_op_num_threads": 3, "inter_op_num_threads": 2}
    decoder = {"ignore_eos": True, "min_output_tokens": 5, "do_sample": True, "temperature": 0.5, "top_p": 0.9}
    (output,) = ran(library, config_of(folders, section, decoder=decoder), [([3, 5], 6)])
    (config,) = library.configs
    # There has to be an end token: it is the last of all.
    assert config.ends == [N_TOKENS - 1]
    assert config.overlaid == {
        "pad_token_id": -1,
        "decoder": {"session_options": {"intra_op_num_threads": 3, "inter_op_num_threads": 2}},
    }
    options = library.parameters[0].options
    # The least length is of prompt and answer, and top_k that of transformers (50), or all there are.
    assert (options["min_length"], options["max_length"]) == (7, 8)
    assert (options["temperature"], options["top_p"], options["top_k"]) == (0.5, 0.9, N_TOKENS)
    assert output.output_ids == ((6, 7, 8, 9, 10, 11),)
    assert output.finish_reason == "length"


def test_each_batch_draws_from_a_seed_of_its_own_and_a_seed_begins_anew(
    library: FakeLibrary, folders: tuple[Path, Path]
) -> None:
    config = config_of(folders, decoder={"do_sample": True})
    requests = [Request(index=i, token_ids=(10,), max_output_tokens=1) for i in range(2)]
    with OnnxRuntimeBackend(lambda: library).load(ExperimentPlan.of(config)) as model:
        for seed in (5, 5, 6):
            model.seed(seed)
            model.run(requests, Load.in_batches(1), lambda _: None)
    seeds = [parameters.options["random_seed"] for parameters in library.parameters]
    assert seeds[0] == 5
    assert seeds[:2] == seeds[2:4]
    assert len({*seeds}) == 4


@pytest.mark.parametrize(
    ("requests", "reasons", "error"),
    [
        ([([41], 2), ([10], 2)], ["error", "length"], "token 41 of the prompt is none of the model's 40"),
        # The first fits by itself no more than beside others, and leaves those its room: 5 + 27 are 32.
        ([(range(40), 1), ([10], 31)], ["error", "length"], "of up to 40 tokens and 1 new ones are more than the 32"),
        ([([10], 28), (range(1, 6), 27)], ["error", "stop"], "of up to 5 tokens and 28 new ones are more than the 32"),
        ([(range(1, 6), 28), ([10], 2)], ["error", "length"], "of up to 5 tokens and 28 new ones are more than the 32"),
    ],
)
def test_what_cannot_be_run_fails_alone(
    library: FakeLibrary,
    folders: tuple[Path, Path],
    requests: list[tuple[Sequence[int], int]],
    reasons: list[str],
    error: str,
) -> None:
    outputs = ran(library, config_of(folders, {"batch_size": 2}), requests)
    assert [o.finish_reason for o in outputs] == reasons
    assert error in str(outputs[0].error)


def test_all_of_the_models_end_tokens_count_and_none_of_the_file(
    library: FakeLibrary, folders: tuple[Path, Path]
) -> None:
    (folders[0] / "generation_config.json").write_text(json.dumps({"eos_token_id": [9, END]}))
    outputs = ran(library, config_of(folders, {"batch_size": 2}), [([2], 9), ([8], 9)])
    assert library.configs[0].ends == [END, 9]
    assert [o.output_ids for o in outputs] == [((3, 4, 5, 6, 7),), ((9,),)]


def test_an_answer_that_the_library_ends_by_itself_has_failed(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    outputs = ran(library, config_of(folders, decoder={"ignore_eos": True}), [([N_TOKENS - 2], 3)])
    assert [(o.finish_reason, o.error) for o in outputs] == [
        ("error", "it took token 39 for an end, which is none here")
    ]


def test_one_that_ends_before_its_first_token_has_failed(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    library.fills_at_once = True
    outputs = ran(library, config_of(folders), [([5], 3)])
    assert [(o.finish_reason, o.error) for o in outputs] == [
        ("error", "it took token 5 for an end, which is none here")
    ]


def test_a_folder_that_was_built_for_a_gpu_runs_on_the_cpu_or_not_at_all(
    library: FakeLibrary, folders: tuple[Path, Path]
) -> None:
    described = {"vocab_size": N_TOKENS, "context_length": N_CONTEXT, "providers": ["cuda"]}
    (folders[1] / "genai_config.json").write_text(json.dumps({"model": described}))
    plan = ExperimentPlan.of(config_of(folders))
    with OnnxRuntimeBackend(lambda: library).load(plan) as model:
        assert (model.describe().parameters or {})["device"] == "CPU"
    library.device_type = "CUDA"
    with pytest.raises(BackendError, match="runs on CUDA, and this engine measures models on the CPU; build it for"):
        OnnxRuntimeBackend(lambda: library).load(plan).__enter__()


def test_memory_that_is_out_ends_all(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    library.fails = RuntimeError("Failed to allocate memory for requested buffer of size 8589934592")
    with pytest.raises(ExperimentError, match=r"out of memory at batch size 1: .*; lower batch_size or the token"):
        ran(library, config_of(folders), [([1], 2)])


def test_a_batch_that_the_library_refuses_has_failed(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    library.fails = RuntimeError("no kernel")
    outputs = ran(library, config_of(folders), [([1], 2), ([2], 2)])
    assert [(o.finish_reason, o.error) for o in outputs] == [("error", "no kernel")] * 2


def test_log_probabilities_are_of_each_token_after_those_before(
    library: FakeLibrary, folders: tuple[Path, Path]
) -> None:
    with OnnxRuntimeBackend(lambda: library).load(ExperimentPlan.of(config_of(folders))) as model:
        found = model.token_log_probs([1, 39, 38])
    # Odds 2^39 and 2^38 of 2^40 - 1.
    assert found == pytest.approx([numpy.log(2**39 / (2**40 - 1)), numpy.log(2**38 / (2**40 - 1))])


def test_log_probabilities_are_had_of_a_full_context(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    with OnnxRuntimeBackend(lambda: library).load(ExperimentPlan.of(config_of(folders))) as model:
        found = model.token_log_probs([39] * N_CONTEXT)
        assert model.token_log_probs([39]) == []
    # The last token is read by nobody.
    assert library.appended == [[[39] * (N_CONTEXT - 1)]]
    assert found == pytest.approx([numpy.log(2**39 / (2**40 - 1))] * (N_CONTEXT - 1))


@pytest.mark.parametrize(("is_pruned", "n_prompt_scores"), [(False, 3), (True, 1)])
def test_the_head_is_counted_as_often_as_it_runs(
    library: FakeLibrary, folders: tuple[Path, Path], is_pruned: bool, n_prompt_scores: int
) -> None:
    library.is_pruned = is_pruned
    output = RequestOutput(
        index=0, input_tokens=3, output_tokens=4, finish_reason="length", output_digest=tokens_digest([1, 2, 3, 4])
    )
    with OnnxRuntimeBackend(lambda: library).load(ExperimentPlan.of(config_of(folders))) as model:
        flops = model.flops(InferenceOutput(requests=(output,)))
    assert flops is not None
    assert flops.prefill is not None
    assert flops.decode is not None
    # A head of 16 x 40, two operations each: on the prompt's tokens, and on three of the four said.
    assert (flops.prefill.head, flops.decode.head) == (2 * 16 * 40 * n_prompt_scores, 2 * 16 * 40 * 3)


def test_a_pruned_head_tells_no_log_probabilities(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    library.is_pruned = True
    with (
        OnnxRuntimeBackend(lambda: library).load(ExperimentPlan.of(config_of(folders))) as model,
        pytest.raises(BackendError, match="scores no token of a prompt but the last; build it without prune_lm_head"),
    ):
        model.token_log_probs([1, 2, 3])


def test_it_says_what_it_is(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    with OnnxRuntimeBackend(lambda: library).load(ExperimentPlan.of(config_of(folders))) as model:
        described, identity = model.describe(), model.identity()
        # Of a folder that was built elsewhere nobody knows whether its weights are quantised.
        assert model.number_format() is None
    assert described.engine_version is not None
    assert described.engine_version.startswith("onnxruntime-genai 0.18.0, onnxruntime ")
    assert described.devices == ()
    assert identity.weights_digest is not None


def test_another_transformers_makes_another_conversion(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    made_by = OnnxRuntimeBackend(lambda: library).made_by(config_of(folders))
    own = {"engine": "onnxruntime", "onnxruntime-genai": "0.18.0", "weights": "fp32"}
    versions = {name: importlib.metadata.version(name) for name in ("transformers", "torch")}
    assert made_by.items() >= {**own, **versions}.items()


def test_quantised_weights_are_not_of_a_folder_that_is_named(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="the folder holds what was built already"):
        config_of(folders, {"quantization": "int4"})


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_other_number_formats_are_refused(folders: tuple[Path, Path], precision: str) -> None:
    with pytest.raises(ValueError, match=f"precision {precision} cannot go with backend: onnxruntime"):
        config_of(folders, precision=precision)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"model": {"vocab_size": 30, "context_length": 32}}', "is of a model with 30 tokens, and model .* has 40"),
        ('{"model": {}}', r"genai_config.json cannot be read \(KeyError: 'vocab_size'\)"),
        ("no json", r"genai_config.json cannot be read \(JSONDecodeError"),
    ],
)
def test_a_folder_of_another_model_is_refused(
    library: FakeLibrary, folders: tuple[Path, Path], text: str, problem: str
) -> None:
    (folders[1] / "genai_config.json").write_text(text)
    with pytest.raises(BackendError, match=problem):
        OnnxRuntimeBackend(lambda: library).load(ExperimentPlan.of(config_of(folders))).__enter__()


def test_a_folder_that_was_built_is_not_the_model(library: FakeLibrary, folders: tuple[Path, Path]) -> None:
    (problem,) = OnnxRuntimeBackend(lambda: library).problems(config_of((folders[1], folders[1])))
    assert "is in onnxruntime's own format; give it as onnxruntime.model_path" in problem
