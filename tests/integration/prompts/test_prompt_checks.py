"""What a dry run and preflight know of prompts and model together, before any weight is loaded."""

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, GPTJConfig, GPTJForCausalLM, OPTConfig, OPTForCausalLM

from llenergymeasure import run_experiment
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.checkpoint.source import Checkpoint, ModelSource
from llenergymeasure.core.prompts import template
from llenergymeasure.core.prompts.fitting import room_of
from llenergymeasure.exceptions import ConfigError, PreFlightError
from llenergymeasure.orchestration.preflight.check import examine
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.results.verification.verify import reports_of
from tests.fakes.command import Ran
from tests.fakes.effort import examples
from tests.integration.conftest import VOCABULARY, tiny_tokenizer

NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
)
PARTS = "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"  # noqa: E501
QUICK: dict[str, Any] = {
    "precision": "fp32",
    "max_output_tokens": 4,
    "energy": {"backend": None},
    "warmup": {"enabled": False},
}


@pytest.fixture
def model(tiny_llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama that a test may change."""
    return shutil.copytree(tiny_llama, tmp_path / "model")


def with_template(model: Path, text: str) -> Path:
    (model / "chat_template.jinja").write_text(text, encoding="utf-8")
    return model


def dataset(folder: Path, *messages: Sequence[tuple[str, str]]) -> dict[str, Any]:
    rows = [{"messages": [{"role": role, "content": text} for role, text in each]} for each in messages]
    (folder / "p.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return {"path": str(folder / "p.jsonl"), "order": "as_is"}


def found(model: Path, **fields: Any) -> ExaminedExperiment:
    here = {"execution": {"launcher": "in_process"}}
    (one,) = examine([ExperimentConfig.model_validate({"model": str(model), **here, **QUICK, **fields})], None)
    return one


def tokens(model: Path, **fields: Any) -> tuple[int, ...]:
    prompts = found(model, **fields).prompts
    assert prompts is not None
    return prompts.input_tokens


def n_tokens(model: Path, text: str) -> int:
    return len(Tokenizer.from_file(str(model / "tokenizer.json")).encode(text, add_special_tokens=False).ids)


def test_the_built_in_set_runs_on_a_template_that_takes_no_system_message(model: Path) -> None:
    one = found(with_template(model, NO_SYSTEM), n=150, max_input_tokens=100)
    assert one.prompts is not None
    assert len(one.prompts.input_tokens) == 150
    (said,) = [caution for caution in one.cautions if caution.startswith("system_merged")]
    assert "in 6 of 150 prompts" in said


def test_a_template_that_wants_parts_is_given_all_text(model: Path, tmp_path: Path) -> None:
    text = "the quick brown fox " * 4
    prompts = dataset(tmp_path, [("user", "a")], [("user", text)])
    expected = (n_tokens(model, "a"), n_tokens(model, text))
    assert tokens(with_template(model, PARTS), dataset=prompts, n=2) == expected
    result = run_experiment(model=str(model), dataset=prompts, n=2, **QUICK)
    assert result.input_tokens == sum(expected)


def test_a_row_that_the_template_refuses_is_named_before_the_run_beside_all_else(model: Path, tmp_path: Path) -> None:
    prompts = dataset(tmp_path, [("user", "hi")], [("user", "hi"), ("user", "hi")])
    with_template(
        model, "{% if messages|length > 1 %}{{ raise_exception('roles must alternate') }}{% endif %}" + NO_SYSTEM
    )
    with pytest.raises(ConfigError, match=r"^row 2 of the dataset: .* cannot write it: roles must alternate; "):
        found(model, dataset=prompts, n=2)
    with pytest.raises(PreFlightError) as error:
        found(model, dataset=prompts, n=2, lora={"path": "./no-such-adapter"})
    text = str(error.value)
    assert "row 2 of the dataset" in text
    assert "no-such-adapter" in text


def test_a_template_that_never_ends_is_ended(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    monkeypatch.setattr(template.TemplateRenderer.__init__, "__defaults__", (0.5,))
    with pytest.raises(
        ConfigError, match=r"chat template cannot write it: it did not end within 0\.5 s of processor time"
    ):
        found(with_template(model, endless), n=2)


def test_what_is_no_template_is_told(model: Path) -> None:
    with pytest.raises(PreFlightError, match="its chat template cannot be used: TemplateSyntaxError"):
        found(with_template(model, "{% for %}"), n=2)


def test_a_template_that_asks_for_the_date_has_the_same_tokens_in_every_run(model: Path) -> None:
    with_template(model, "{{ strftime_now('%Y-%m-%d %H:%M:%S') }} " + NO_SYSTEM)
    result = run_experiment(model=str(model), n=2, max_input_tokens=100_000, **QUICK)
    assert "template_date_fixed" in {warning.partition(":")[0] for warning in result.measurement_warnings}
    assert (
        result.inputs_digest == run_experiment(model=str(model), n=2, max_input_tokens=100_000, **QUICK).inputs_digest
    )


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused_where_a_prompt_has_one(
    model: Path, tmp_path: Path
) -> None:
    words = {f"w{i}": i for i in range(VOCABULARY + 1)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(model / "tokenizer.json"))
    for name, problem in ((VOCABULARY - 1, False), (VOCABULARY, True)):
        (tmp_path / "p.txt").write_text(f"w1 w{name}", encoding="utf-8")
        if problem:
            with pytest.raises(PreFlightError, match="token id 320, and the model has ids up to 319"):
                found(model, dataset={"path": str(tmp_path / "p.txt")}, n=1)
        else:
            assert tokens(model, dataset={"path": str(tmp_path / "p.txt")}, n=1) == (2,)


def saved(folder: Path, network: Any) -> Path:
    network.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def gpt2() -> Any:
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=4, n_positions=16,
                                      bos_token_id=0, eos_token_id=1))  # fmt: skip


def gptj() -> Any:
    return GPTJForCausalLM(GPTJConfig(vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=4, n_positions=16,
                                      rotary_dim=8, bos_token_id=0, eos_token_id=1))  # fmt: skip


def opt() -> Any:
    return OPTForCausalLM(OPTConfig(vocab_size=VOCABULARY, hidden_size=64, num_hidden_layers=2, ffn_dim=64,
                                    num_attention_heads=4, max_position_embeddings=16, word_embed_proj_dim=64,
                                    bos_token_id=0, eos_token_id=1))  # fmt: skip


@pytest.mark.parametrize("network", [gpt2, gptj, opt])
def test_a_prompt_with_its_answer_has_to_fit_a_table_of_positions_and_just_fits(
    tmp_path: Path, network: Callable[[], Any]
) -> None:
    model = saved(tmp_path / "model", network())
    fields: dict[str, Any] = {"n": 2, "max_output_tokens": 8}
    fields["dataset"] = {"random": {"input_tokens": 10, "output_tokens": 7}}
    assert tokens(model, **fields) == (10, 10)
    assert run_experiment(model=str(model), **{**QUICK, **fields}).output_tokens == 14
    fields["dataset"] = {"random": {"input_tokens": 10, "output_tokens": 8}}
    with pytest.raises(ConfigError, match=r"10 tokens with an answer of up to 8 needs 17 positions, .* has 16: "):
        found(model, **fields)


def test_without_a_table_more_tokens_than_it_was_made_for_are_a_caution(model: Path) -> None:
    one = found(model, dataset={"random": {"input_tokens": 300, "output_tokens": 2}}, n=1, max_input_tokens=512)
    (said,) = [caution for caution in one.cautions if caution.startswith("beyond_context")]
    assert "301 positions, and the model was made for 256" in said


@pytest.mark.parametrize(("n_output", "said"), [(7, []), (8, ["took 257 positions, and the model was made for 256"])])
def test_before_a_run_and_in_its_result_one_rule_says_whether_it_was_made_for_so_many(
    model: Path, n_output: int, said: list[str]
) -> None:
    # The last token is never read: 250 + 7 - 1.
    fields: dict[str, Any] = {"n": 1, "max_output_tokens": 8}
    fields["dataset"] = {"random": {"input_tokens": 250, "output_tokens": n_output}}
    before = [c for c in found(model, max_input_tokens=512, **fields).cautions if c.startswith("beyond_context")]
    result = run_experiment(model=str(model), max_input_tokens=512, **{**QUICK, **fields})
    after = [w for w in result.measurement_warnings if w.startswith("beyond_context")]
    assert [len(before), len(after)] == [len(said), len(said)]
    assert all(part in warning for part, warning in zip(said, after, strict=True))


@pytest.mark.parametrize("value", [-1, None, "x"])
def test_a_limit_that_is_none_limits_nothing(model: Path, value: Any) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": value}), encoding="utf-8")
    assert room_of(Checkpoint(source=ModelSource(location=str(model))), 10**6).n_positions is None


def test_the_dry_run_says_prompts_and_tokens(model: Path, tmp_path: Path, llem: Callable[..., Ran]) -> None:
    prompts = dataset(tmp_path, [("user", "a")], [("user", "the quick brown fox")], [("user", "fox " * 300)])
    lengths = [n_tokens(model, f"<s>user: {text}\nassistant:") for text in ("a", "the quick brown fox")]
    settings = [f"--set=dataset={json.dumps(prompts)}", "--set=max_input_tokens=100", "--set=max_output_tokens=4"]
    ran = llem("run", "--model", str(model), "-n", "3", "--precision", "fp32", "--dry-run", *settings)
    assert ran.code == 0, ran.err
    total = sum(lengths) + 100
    assert (
        f"# prompts: 3, with {total} input tokens (least {min(lengths)}, mean {total / 3:.1f}, most 100); "
        "1 are cut to max_input_tokens"
    ) in ran.out


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, 5, -1, 1e308, True, [], {}, "", "x", ["a"], {"a": 1}, "\ud800", "a" * 10_000, [[]], 2**70]
)
TEMPLATE_LIKE = st.lists(
    st.sampled_from(["{{", "}}", "{%", "%}", " for m in messages ", " endfor ", "m.content", "messages[0]", "|tojson",
                     "|trim", " if ", " endif ", "'a'", "[", "]", "(", ")", ".", "strftime_now('%Y')", "range(9)"]),
    max_size=12,
).map("".join)  # fmt: skip


def places_in(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values in a JSON value, but for the words of a vocabulary."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))[:3] if isinstance(value, list) else []
    inner = [place for key in keys if key != "vocab" for place in places_in(value[key], (*at, key))]
    return [*((*at, key) for key in keys), *inner]


@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_broken_tokenizer_or_template_ends_in_a_traceback(model: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]))
    whole = (model / name).read_text(encoding="utf-8")
    if name.endswith("jinja"):
        broken = data.draw(TEMPLATE_LIKE)
    elif data.draw(st.booleans()):
        broken = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        values = json.loads(whole)
        *above, key = data.draw(st.sampled_from(places_in(values)))
        inner = values
        for step in above:
            inner = inner[step]
        inner[key] = data.draw(ODD)
        broken = json.dumps(values)
    (model / name).write_text(broken, encoding="utf-8")
    with contextlib.suppress(ConfigError, PreFlightError):
        found(model, n=2)
    (model / name).write_text(whole, encoding="utf-8")


def test_a_list_of_prompts_is_run_by_a_process_as_a_file_of_them_is(model: Path, tmp_path: Path) -> None:
    rows = ["the quick brown fox", {"messages": [{"role": "user", "content": "hi"}]}]
    with_template(model, NO_SYSTEM)
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": r} if isinstance(r, str) else r) for r in rows), encoding="utf-8")
    given = run_experiment(model=str(model), dataset=rows, n=2, output_dir=tmp_path / "out", **QUICK)
    read = run_experiment(model=str(model), dataset=str(path), n=2, **QUICK)
    assert (given.prompts_digest, given.inputs_digest) == (read.prompts_digest, read.inputs_digest)
    assert given.measurement_config_hash != read.measurement_config_hash
    (folder,) = (tmp_path / "out").iterdir()
    (file,) = folder.glob("prompts-*.jsonl")
    assert [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] == [
        {"prompt": rows[0]},
        rows[1],
    ]
    (report,) = reports_of(folder)
    assert [str(finding) for finding in report.findings if finding.kind != "not verifiable"] == []
    assert not any(finding.name == file.name for finding in report.findings)
