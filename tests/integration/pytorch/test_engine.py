"""The PyTorch engine on tiny real models, against decoding by hand."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.flops import estimate_flops_palm
from llenergymeasure.core.session import measure
from llenergymeasure.domain.inference import ChatMessage, InferenceOutput, Prompt, tokens_digest
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError
from tests.fakes.pytorch import generated, prepared, requests_of
from tests.integration.conftest import greedy_by_hand, save_tiny_llama

TEXTS = [
    "joule",
    "the quick brown fox jumps over the lazy dog and the dog does not mind at all",
    "a watt",
    "how much energy does a language model need",
    "lazy dog second second",
    "question",
    "answer a question about the brown fox, the joule, and the lazy watt per second",
    "over the",
]


def prompts(texts: list[str], *, chat: bool = False) -> list[Prompt]:
    return [Prompt(index=i, messages=(ChatMessage("user", text),), chat=chat) for i, text in enumerate(texts)]


def generate(model: Path, texts: list[str], **fields: object) -> InferenceOutput:
    config = ExperimentConfig.model_validate(
        {"model": str(model), "precision": "fp32", "max_output_tokens": 12, **fields}
    )
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        batches = prepared(loaded, prompts(texts))
        loaded.seed(config.random_seed)
        return InferenceOutput(requests=tuple(r for batch in batches for r in generated(loaded, batch).requests))


def token_ids(model: Path, text: str) -> list[int]:
    return list(AutoTokenizer.from_pretrained(model)(text)["input_ids"])


def test_a_batch_of_mixed_lengths_gives_each_request_what_it_gets_alone(tiny_llama: Path) -> None:
    together = generate(tiny_llama, TEXTS, pytorch={"batch_size": 8})
    for request, text in zip(together.requests, TEXTS, strict=True):
        ids = token_ids(tiny_llama, text)
        expected = greedy_by_hand(tiny_llama, ids, 12, {1})
        assert request.input_tokens == len(ids)
        assert request.output_tokens == len(expected)
        assert request.output_digest == tokens_digest(expected)


def test_tokens_end_with_the_rows_own_end_token_and_padding_is_not_counted(tiny_llama: Path, tmp_path: Path) -> None:
    # An end token that some rows meet early and others never: the third token of the second row.
    free = [greedy_by_hand(tiny_llama, token_ids(tiny_llama, text), 12, set()) for text in TEXTS]
    end = free[1][2]
    model = save_tiny_llama(tmp_path, eos_token_id=end)
    output = generate(model, TEXTS, pytorch={"batch_size": 8})
    expected = [tokens[: tokens.index(end) + 1] if end in tokens else tokens for tokens in free]
    assert len({len(tokens) for tokens in expected}) > 1, "the example must have rows of different lengths"
    assert [r.output_tokens for r in output.requests] == [len(tokens) for tokens in expected]
    assert [r.finish_reason for r in output.requests] == [
        "stop" if tokens[-1] == end else "length" for tokens in expected
    ]
    assert [r.output_digest for r in output.requests] == [tokens_digest(tokens) for tokens in expected]


def test_each_token_has_its_time_and_a_row_ends_at_its_own_last_token(tiny_llama: Path, tmp_path: Path) -> None:
    end = greedy_by_hand(tiny_llama, token_ids(tiny_llama, TEXTS[1]), 12, set())[2]
    output = generate(save_tiny_llama(tmp_path, eos_token_id=end), TEXTS, pytorch={"batch_size": 8})
    for request in output.requests:
        assert len(request.token_times_s) == request.output_tokens
        assert list(request.token_times_s) == sorted(request.token_times_s)
        assert request.first_token_s == request.token_times_s[0]
        assert request.end_s == request.token_times_s[-1]
    by_length = sorted(output.requests, key=lambda r: r.output_tokens)
    assert by_length[0].e2e_s is not None
    assert by_length[-1].e2e_s is not None
    assert by_length[0].e2e_s < by_length[-1].e2e_s


def test_long_prompts_are_cut_and_said_to_be_cut(tiny_llama: Path) -> None:
    config = ExperimentConfig(model=str(tiny_llama), precision="fp32", max_input_tokens=5)
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        batches = prepared(loaded, prompts(TEXTS[:2]))
    cut = [p for batch in batches for p in batch]
    assert [p.truncated for p in cut] == [len(token_ids(tiny_llama, t)) > 5 for t in TEXTS[:2]]
    assert len(cut[1].token_ids or ()) == 5


def test_a_chat_goes_through_the_template_and_plain_text_does_not(tiny_llama: Path) -> None:
    config = ExperimentConfig(model=str(tiny_llama), precision="fp32")
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        chat = prepared(loaded, prompts(["hello"], chat=True))[0][0]
        plain = prepared(loaded, prompts(["hello"]))[0][0]
    assert tokenizer.decode(list(chat.token_ids or ())) == "<s>user: hello\nassistant:"
    assert tokenizer.decode(list(plain.token_ids or ())) == "hello"


def test_the_description_is_of_the_model_that_was_loaded(tiny_llama: Path) -> None:
    config = ExperimentConfig(model=str(tiny_llama), precision="bf16")
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        description = loaded.describe()
    assert description.parameters is not None
    assert description.parameters["dtype"] == "bfloat16"
    # By hand: 2 embeddings of 320 x 64; per layer q 64x64, k and v 64x32, o 64x64, three MLP
    # matrices 64x128, two norms of 64; a last norm of 64.
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
    assert description.n_parameters == 2 * 320 * 64 + 2 * layer + 64


@pytest.mark.parametrize("content", [None, "{}", "not json"])
def test_a_directory_that_is_no_model_is_an_error_that_names_it(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    config = ExperimentConfig(model=str(tmp_path))
    with pytest.raises(BackendError, match=str(tmp_path)), PyTorchBackend().load(ExperimentPlan.of(config)):
        pass


def test_a_run_in_python_measures_without_writing(tiny_llama: Path, tmp_path: Path, monkeypatch: object) -> None:
    config = ExperimentConfig.model_validate(
        {
            "model": str(tiny_llama),
            "n": 4,
            "max_output_tokens": 5,
            "energy": {"backend": None},
            "warmup": {"n_warmup": 1},
            "pytorch": {"batch_size": 3},
        }
    )
    before = list(tmp_path.iterdir())
    result = PyTorchBackend().run(config)
    assert list(tmp_path.iterdir()) == before
    assert result.n_requests == 4
    assert result.output_tokens <= 20
    assert result.total_energy_j is None
    assert any("energy_unavailable" in w for w in result.measurement_warnings)
    assert result.peak_memory_mb is not None
    assert result.peak_memory_mb > 50
    assert result.flops_result is not None
    assert result.flops_result.confidence == "high"


def test_sampling_is_repeatable_with_the_same_seed(tiny_llama: Path) -> None:
    fields = {"decoder": {"do_sample": True, "temperature": 1.5, "top_k": 0}, "max_output_tokens": 8}
    first, again = (generate(tiny_llama, TEXTS[:3], **fields) for _ in range(2))
    other = generate(tiny_llama, TEXTS[:3], **fields, random_seed=7)
    digests = [[r.output_digest for r in output.requests] for output in (first, again, other)]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_sampled_tokens_do_not_depend_on_how_often_was_warmed_up(tiny_llama: Path) -> None:
    def digests(n_warmup: int) -> list[str]:
        config = ExperimentConfig.model_validate(
            {
                "model": str(tiny_llama),
                "n": 3,
                "max_output_tokens": 6,
                "decoder": {"do_sample": True, "temperature": 1.5},
                "energy": {"backend": None},
                "warmup": {"n_warmup": n_warmup},
            }
        )
        return [r.output_digest for r in measure(ExperimentPlan.of(config), PyTorchBackend()).requests]

    assert digests(1) == digests(3)


def test_it_is_told_how_many_prompts_went_through_the_template(tiny_llama: Path) -> None:
    config = ExperimentConfig(model=str(tiny_llama))
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        found = requests_of(loaded, [*prompts(["a"], chat=True), *prompts(["b", "c"])])
    assert found.template_use == "applied to 1 of 3 prompts"


def test_gpt2_small_has_85056000_parameters_that_count() -> None:
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())
    result = estimate_flops_palm(model, 10, 20, batch_size=2)
    # 12 layers of 7,087,872 and a last norm of 1,536, as in the published model without wte and wpe.
    assert result.n_parameters == 85_056_000
    assert result.value == 2 * 85_056_000 * 30 * 2
    assert result.confidence == "high"


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_head_counts_no_more_and_no_less_than_an_untied_one(tied: bool) -> None:
    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
    assert estimate_flops_palm(model, 1, 0).n_parameters == 3 * layer + 64


def test_a_mixture_counts_the_experts_a_token_visits() -> None:
    config = MixtralConfig(
        vocab_size=1000,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=8,
        num_experts_per_tok=2,
    )
    with torch.device("meta"):
        model = MixtralForCausalLM(config)
    attention = 2 * 64 * 64 + 2 * 64 * 32
    router, norms, expert = 8 * 64, 2 * 64, 3 * 64 * 128
    result = estimate_flops_palm(model, 1, 0)
    assert result.n_parameters == 2 * (attention + router + norms + 2 * expert) + 64
    assert result.confidence == "medium"


def test_a_model_of_unknown_make_is_counted_by_its_tensors_with_low_confidence() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 4, bias=False))
    result = estimate_flops_palm(model, 3, 2)
    assert result.value == 2 * 16 * 5
    assert result.confidence == "low"


def test_a_prompt_that_becomes_no_tokens_begins_with_the_models_first_token_whatever_its_number(
    tiny_llama: Path,
) -> None:
    config = ExperimentConfig.model_validate({"model": str(tiny_llama), "precision": "fp32", "max_output_tokens": 1})
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        (batch,) = prepared(loaded, prompts([""]))
    assert [prompt.token_ids for prompt in batch] == [(0,)]
