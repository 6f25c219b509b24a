"""The grammar of study files: what varies, in which order, and what is wrong, in which line."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llenergymeasure.config.loader import load_experiment_config, load_study_config, study_config
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.sweep.left_out import LeftOut, counted
from llenergymeasure.exceptions import ConfigError
from tests.fakes.effort import examples
from tests.unit.config.conftest import WriteConfig


def of(config: ExperimentConfig, *names: str) -> tuple[Any, ...]:
    """The values of fields by dotted name."""
    found = []
    for name in names:
        value: Any = config
        for part in name.split("."):
            value = getattr(value, part)
        found.append(value)
    return tuple(found)


def study(text: str, write_config: WriteConfig, *names: str) -> list[tuple[Any, ...]]:
    """The experiments of a study file, each as the values of these fields."""
    return [of(each, *names) for each in load_study_config(write_config(text)).experiments]


def wrong(text: str, write_config: WriteConfig) -> list[str]:
    """The lines of the error that a study file raises, without the name of the file."""
    path = write_config(text)
    with pytest.raises((ConfigError, ValidationError)) as caught:
        load_study_config(path)
    lines = str(caught.value).splitlines() if isinstance(caught.value, ConfigError) else caught.value.__notes__
    assert all(line.startswith(f"{path}:") for line in lines), lines
    return [line.removeprefix(f"{path}:") for line in lines]


# What varies.


def test_a_sweep_is_the_product_of_its_lists_the_first_slowest(write_config: WriteConfig) -> None:
    text = "model: m\nn: 7\nsweep:\n  precision: [fp32, bf16]\n  pytorch.batch_size: [1, 4, 16]\n"
    assert study(text, write_config, "precision", "pytorch.batch_size", "n") == [
        ("fp32", 1, 7), ("fp32", 4, 7), ("fp32", 16, 7), ("bf16", 1, 7), ("bf16", 4, 7), ("bf16", 16, 7),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sweep",
    [
        "{pytorch.batch_size: [1, 4]}",
        "{pytorch: {batch_size: [1, 4]}}",
        "{pytorch.batch_size: {from: 1, to: 4, num: 2}}",
    ],
)
def test_a_key_may_be_dotted_or_nested_or_have_a_range(write_config: WriteConfig, sweep: str) -> None:
    text = f"model: m\npytorch: {{num_threads: 2}}\nsweep: {sweep}\n"
    names = ("pytorch.batch_size", "pytorch.num_threads")
    assert study(text, write_config, *names) == [(1, 2), (4, 2)]


def test_powers_of_two_need_no_number_of_values(write_config: WriteConfig) -> None:
    text = "model: m\nsweep: {pytorch.batch_size: {from: 1, to: 16, scale: pow2}}\n"
    assert study(text, write_config, "pytorch.batch_size") == [(1,), (2,), (4,), (8,), (16,)]


def test_a_field_that_is_a_list_takes_a_list_of_lists(write_config: WriteConfig) -> None:
    text = "model: m\nsweep: {pytorch.suppress_tokens: [[1, 2], [3], null]}\n"
    assert study(text, write_config, "pytorch.suppress_tokens") == [([1, 2],), ([3],), (None,)]


def test_a_field_that_is_a_mapping_or_a_section_takes_a_list_of_mappings(write_config: WriteConfig) -> None:
    text = "model: m\nsweep:\n  passthrough_kwargs: [{}, {a: 1}]\n  decoder: [{top_p: 0.5, do_sample: true}, {}]\n"
    assert study(text, write_config, "passthrough_kwargs", "decoder.top_p") == [
        ({}, 0.5), ({}, None), ({"a": 1}, 0.5), ({"a": 1}, None),
    ]  # fmt: skip


def test_a_key_passed_through_varies_over_the_others(write_config: WriteConfig) -> None:
    text = "model: m\npassthrough_kwargs: {a: 1}\nsweep: {passthrough_kwargs.b: [true, [1]]}\n"
    assert study(text, write_config, "passthrough_kwargs") == [({"a": 1, "b": True},), ({"a": 1, "b": [1]},)]


def test_a_section_and_a_field_of_it_vary_together(write_config: WriteConfig) -> None:
    text = "model: m\nsweep:\n  dataset.order: [as_is, shuffled]\n  dataset: [mixed, a.txt]\n"
    found = study(text, write_config, "dataset.order", "dataset.name", "dataset.path")
    assert found == [
        ("as_is", "mixed", None), ("as_is", None, Path("a.txt")),
        ("shuffled", "mixed", None), ("shuffled", None, Path("a.txt")),
    ]  # fmt: skip


def test_fields_of_a_group_move_together_as_one_axis(write_config: WriteConfig) -> None:
    text = (
        "model: m\nsweep: {precision: [fp32, bf16]}\n"
        "zip:\n- {pytorch.batch_size: [1, 8], n: [10, 80]}\n- max_output_tokens: [5, 6]\n"
    )
    assert study(text, write_config, "precision", "pytorch.batch_size", "n", "max_output_tokens") == [
        ("fp32", 1, 10, 5), ("fp32", 1, 10, 6), ("fp32", 8, 80, 5), ("fp32", 8, 80, 6),
        ("bf16", 1, 10, 5), ("bf16", 1, 10, 6), ("bf16", 8, 80, 5), ("bf16", 8, 80, 6),
    ]  # fmt: skip
    assert study("zip: {model: [a, b], n: [1, 2]}\n", write_config, "model", "n") == [("a", 1), ("b", 2)]


def test_a_key_of_an_engine_varies_where_that_engine_runs(write_config: WriteConfig) -> None:
    text = (
        "model: m\npytorch: {num_threads: 2}\nvllm: {max_model_len: 64}\n"
        "sweep:\n  vllm.max_num_seqs: [8, 16]\n  backend: [pytorch, vllm]\n  pytorch.batch_size: [1, 2]\n"
    )
    experiments = load_study_config(write_config(text)).experiments
    assert [(each.backend, each.engine_section.model_dump(exclude_unset=True)) for each in experiments] == [
        ("pytorch", {"num_threads": 2, "batch_size": 1}),
        ("pytorch", {"num_threads": 2, "batch_size": 2}),
        ("vllm", {"max_model_len": 64, "max_num_seqs": 8}),
        ("vllm", {"max_model_len": 64, "max_num_seqs": 16}),
    ]


def test_two_engines_with_large_grids_of_their_own_do_not_multiply(write_config: WriteConfig) -> None:
    ranges = "{from: 1, to: 300, num: 300}"
    text = (
        f"model: m\nsweep:\n  backend: [pytorch, vllm]\n"
        f"  pytorch.batch_size: {ranges}\n  vllm.max_num_seqs: {ranges}\n  vllm.max_model_len: [64, 65]\n"
    )
    engines = [each.backend for each in load_study_config(write_config(text)).experiments]
    assert (engines.count("pytorch"), engines.count("vllm")) == (300, 600)


def test_explicit_experiments_stand_over_the_common_fields_and_after_the_grid(write_config: WriteConfig) -> None:
    text = "model: m\nn: 5\nexperiments:\n- {n: 6}\n- {precision: fp32}\n"
    assert study(text, write_config, "model", "n", "precision") == [("m", 6, "bf16"), ("m", 5, "fp32")]
    text += "sweep: {precision: [fp16, fp32]}\n"
    found = load_study_config(write_config(text))
    names = ("n", "precision")
    assert [of(each, *names) for each in found.experiments] == [(5, "fp16"), (5, "fp32"), (6, "bf16")]
    assert [(each.kind, each.settings, each.equal_to) for each in found.left_out] == [
        ("equal", {"precision": "fp32"}, 1)
    ]


def test_a_plain_list_is_run_as_it_is_written(write_config: WriteConfig) -> None:
    found = load_study_config(write_config("experiments:\n- model: m\n- model: m\n"))
    assert (len(found.experiments), found.left_out, found.n_cycles) == (2, (), 1)


def test_how_often_is_five_for_what_varies_and_as_the_file_says(write_config: WriteConfig) -> None:
    sweep = "model: m\nsweep: {n: [1, 2]}\n"
    assert load_study_config(write_config(sweep)).execution.cycles == 5
    assert load_study_config(write_config("zip: {model: [a, b]}\n")).execution.cycles == 5
    assert load_study_config(write_config(f"{sweep}execution: {{cycles: 2, order: shuffled}}\n")).execution.cycles == 2
    assert load_study_config(write_config(f"{sweep}execution: {{cycles: null}}\n")).execution.cycles == 5


@pytest.mark.parametrize(("key", "said"), [("cycles", 3), ("order", "shuffled"), ("seed", 1)])
def test_a_single_experiment_that_says_how_often_is_a_study_of_one(
    write_config: WriteConfig, key: str, said: Any
) -> None:
    path = write_config(f"model: m\nname: s\nn: 3\nexecution: {{{key}: {said}, pause_s: 2}}\n")
    found = load_study_config(path)
    assert found.experiments == [ExperimentConfig(model="m", n=3)]
    assert (found.name, found.execution.pause_s, found.n_cycles) == ("s", 2, 3 if key == "cycles" else 1)
    with pytest.raises(ConfigError, match=rf"this is a study \(it has 'execution.{key}:'\)"):
        load_experiment_config(path)


def test_a_study_written_out_loads_as_the_same_study(write_config: WriteConfig) -> None:
    text = (
        "model: m\nsweep:\n  decoder.do_sample: [true, false]\n  decoder.temperature: [0.5, 0.7]\n"
        "  pytorch.load_in_4bit: [false, true]\n  pytorch.load_in_8bit: [false, true]\n"
        "exclude:\n- {decoder.do_sample: true, decoder.temperature: 0.7}\n"
    )
    found = load_study_config(write_config(text))
    # 16 combinations: 4 excluded, 3 of 12 with both quantisations, 3 of 9 greedy ones with another temperature.
    assert (len(found.experiments), counted(found.left_out)) == (6, "10 (3 cannot be, 4 excluded, 3 equal to another)")
    written = yaml.safe_dump(found.model_dump(mode="json", exclude_unset=True), sort_keys=False)
    assert load_study_config(write_config(written)) == found
    assert StudyConfig.model_validate(found.model_dump()) == found
    assert StudyConfig.model_validate_json(found.model_dump_json()) == found
    assert study_config(found.model_dump(mode="json")) == found


# What is left out.


def test_a_combination_that_cannot_be_is_left_out_with_the_reason(write_config: WriteConfig) -> None:
    text = "model: m\nsweep:\n  pytorch.load_in_4bit: [true, false]\n  pytorch.load_in_8bit: [true, false]\n"
    found = load_study_config(write_config(text))
    names = ("pytorch.load_in_4bit", "pytorch.load_in_8bit")
    assert [of(each, *names) for each in found.experiments] == [(True, False), (False, True), (False, False)]
    (left_out,) = found.left_out
    assert (left_out.kind, left_out.settings) == ("invalid", dict.fromkeys(names, True))
    assert left_out.reason.startswith("pytorch.load_in_4bit: load_in_4bit cannot go with load_in_8bit: true; ")


def test_what_would_be_run_alike_is_run_once_and_says_which_fields_sleep(write_config: WriteConfig) -> None:
    text = "model: m\nsweep:\n  decoder.do_sample: [true, false]\n  decoder.temperature: [0.5, 0.7]\n"
    found = load_study_config(write_config(text))
    names = ("decoder.do_sample", "decoder.temperature")
    assert [of(each, *names) for each in found.experiments] == [(True, 0.5), (True, 0.7), (False, 0.5)]
    assert found.left_out == (
        LeftOut(
            kind="equal",
            settings={"decoder.do_sample": False, "decoder.temperature": 0.7},
            reason="it would be run like experiment 3: decoder.temperature changes nothing: it needs do_sample",
            equal_to=2,
            dormant=("decoder.temperature",),
        ),
    )


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ("{precision: fp32, pytorch.batch_size: 16}", 5),
        ("{precision: fp32, pytorch: {batch_size: [1, 16]}}", 4),
        ("{pytorch.batch_size: 4.0}", 4),
        ("{precision: [fp32, fp16]}", 3),
        ("{n: 100, precision: fp32}", 3),  # a default
        ("{dataset: a.txt, precision: fp32}", 3),  # a common field, in shorthand
        ("{dataset.path: a.txt, precision: fp32}", 3),
    ],
)
def test_an_exclusion_leaves_out_what_has_all_of_its_values(write_config: WriteConfig, exclude: str, left: int) -> None:
    text = (
        "model: m\ndataset: a.txt\nsweep:\n  precision: [fp32, bf16]\n  pytorch.batch_size: [1, 4, 16]\n"
        f"exclude: [{exclude}]\n"
    )
    found = load_study_config(write_config(text))
    assert len(found.experiments) == left
    assert {each.kind for each in found.left_out} == {"excluded"}
    assert len(found.left_out) == 6 - left


# What is wrong.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # A value that no configuration could have, in its own line.
        ("sweep:\n  precision:\n  - fp32\n  - int3\n  n: [1, 2]\n",
         ["5: sweep.precision: Input should be 'fp32', 'fp16', 'bf16', 'as_served' or 'auto', got 'int3'"]),
        ("sweep:\n  n: [1, 0]\n", ["3: sweep.n: Input should be greater than or equal to 1, got 0"]),
        ("sweep:\n  n: [1, '2']\n", ["3: sweep.n: Input should be a valid integer, got '2'"]),
        ("sweep:\n  pytorch: {batch_size: [1, 0]}\n",
         ["3: sweep.pytorch.batch_size: Input should be greater than or equal to 1, got 0"]),
        ("zip:\n- n: [1, 0]\n  precision: [fp32, bf16]\n",
         ["3: zip.0.n: Input should be greater than or equal to 1, got 0"]),
        ("sweep:\n  n: [1, 0]\nprecision: x\n",
         ["3: sweep.n: Input should be greater than or equal to 1, got 0",
          "4: precision: Input should be 'fp32', 'fp16', 'bf16', 'as_served' or 'auto', got 'x'"]),
        ("sweep:\n  decoder:\n  - {top_k: 1}\n  - {top_kk: 1}\n",
         ["5: sweep.decoder.1.top_kk: unknown key; did you mean 'decoder.top_k'?"]),
        ("pytorch:\n  load_in_8bit: true\nsweep:\n  pytorch.load_in_4bit: [true, false]\n",
         ["5: sweep.pytorch.load_in_4bit: load_in_4bit cannot go with load_in_8bit: true; a model is quantised one "
          "way; remove one of them, got true"]),
        ("precison: bf16\nsweep: {n: [1, 2]}\n", ["2: precison: unknown key; did you mean 'precision'?"]),
        ("execution: {cycels: 3}\nsweep: {n: [1, 2]}\n",
         ["2: execution.cycels: unknown key; did you mean 'execution.cycles'?"]),
        # Keys.
        ("sweep:\n  precison: [fp32]\n", ["3: sweep.precison: unknown key; did you mean 'precision'?"]),
        ("sweep:\n  pytorch.batchsize: [1]\n",
         ["3: sweep.pytorch.batchsize: unknown key; did you mean 'pytorch.batch_size'?"]),
        ("sweep:\n  n.x: [1]\n", ["3: sweep.n.x: n is a field, it has no fields"]),
        ("sweep:\n  name: [a, b]\n", ["3: sweep.name: name is said once for the whole study, at the top of the file"]),
        ("sweep:\n  n: [1, 2]\nzip:\n  n: [1, 2]\n", ["5: zip.n: this field varies twice; keep one of the lists"]),
        # Lists.
        ("sweep:\n  n: 3\n",
         ["3: sweep.n: this is no list; give a list of values, or put a single value among the fields at the top of "
          "the file"]),
        ("sweep:\n  n: []\n", ["3: sweep.n: this list is empty; give a list of values"]),
        ("sweep:\n  n: [1, 2, 1]\n",
         ["3: sweep.n: 1 is there twice; execution.cycles runs each one several times"]),
        ("sweep:\n  pytorch.suppress_tokens: [1, 2]\n",
         ["3: sweep.pytorch.suppress_tokens: one value of this field is a list itself; give a list of lists"]),
        ("sweep:\n  n: {from: 1, to: 3, num: 9}\n",
         ["3: sweep.n: the range gives 1 twice; lower num; or write from: with a decimal point, for numbers that are "
          "not whole"]),
        ("sweep:\n", ["2: sweep: nothing stands here; say what, or remove it"]),
        ("sweep: {}\n", ["2: sweep: nothing varies; give a field a list of values"]),
        ("sweep: [1]\n", ["2: sweep: this is a mapping of fields, such as precision: [fp32, bf16]"]),
        ("zip: {n: [1, 2], precision: [fp32]}\n",
         ["2: zip: lists that move together are equally long; n has 2, precision has 1"]),
        ("zip: 3\n", ["2: zip: this is a mapping of fields to lists of equal length, or a list of such mappings"]),
        # Engines that do not run.
        ("sweep:\n  vllm.max_num_seqs: [1, 2]\n",
         ["3: sweep.vllm.max_num_seqs: no configuration runs vllm (only pytorch); add it to backend, or remove this"]),
        ("vllm: {max_num_seqs: 3}\nsweep: {n: [1, 2]}\n",
         ["2: vllm: no configuration runs vllm (only pytorch); add it to backend, or remove this"]),
        ("execution: {cycles: 3}\nvllm: {max_num_seqs: 3}\n",
         ["3: vllm: no configuration runs vllm (only pytorch); add it to backend, or remove this"]),
        ("execution: {cycles: 3}\nn: 0\n", ["3: n: Input should be greater than or equal to 1, got 0"]),
        # Explicit experiments, beside what is shared and what varies.
        ("n: 0\nexperiments:\n- {precision: fp32}\n- {precision: x}\n",
         ["2: n: Input should be greater than or equal to 1, got 0",
          "5: experiments.1.precision: Input should be 'fp32', 'fp16', 'bf16', 'as_served' or 'auto', got 'x'"]),
        ("sweep: {n: [1, 2]}\nexperiments:\n- {n: 3}\n- {n: 0}\n",
         ["5: experiments.1.n: Input should be greater than or equal to 1, got 0"]),
        ("sweep: {n: [1, 2]}\nexperiments:\n- {n: 3}\n- 4\n",
         ["5: experiments.1: Input should be a mapping of fields, got 4"]),
        # Exclusions.
        ("sweep: {n: [1, 2]}\nexclude:\n- n: 1\n- n: 3\n", ["5: exclude.1: no combination has n: 3"]),
        ("sweep: {n: [1, 2]}\nexclude:\n- nn: 1\n", ["4: exclude.0.nn: unknown key; did you mean 'n'?"]),
        ("sweep: {n: [1, 2]}\nexclude: {n: 1}\n",
         ["3: exclude: this is a list of mappings, such as - {precision: fp32, pytorch.batch_size: 16}"]),
        ("sweep: {n: [1, 2]}\nexclude: [{n: [1, 2]}]\n", ["3: exclude: this leaves nothing to run"]),
        ("experiments: [{n: 1}]\nexclude: [{n: 1}]\n",
         ["3: exclude: there is nothing to leave out without 'sweep:' or 'zip:'"]),
        # What looks like something else.
        ("sweeps: {n: [1]}\nexperiments: [{n: 1}]\n", ["2: sweeps: unknown key; did you mean 'sweep'?"]),
        ("precision: [fp32, bf16]\nexperiments: [{n: 1}]\n",
         ["2: precision: here is room for a single value; a list of values stands under 'sweep:'"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_its_line(write_config: WriteConfig, text: str, said: list[str]) -> None:
    assert wrong(f"model: m\n{text}", write_config) == said


def test_where_no_combination_can_be_a_few_reasons_are_told(write_config: WriteConfig) -> None:
    # TensorRT-LLM has no fp32 and llama.cpp one answer: each for a reason of its own.
    decoder = "{do_sample: true, num_return_sequences: 2}"
    text = f"model: m\nprecision: fp32\ndecoder: {decoder}\nsweep:\n  backend: [tensorrt, llamacpp]\n"
    lines = wrong(text, write_config)
    assert lines[0] == "4: sweep: none of the 2 combinations can be"
    assert lines[1].startswith("2: precision: precision fp32 cannot go with backend: tensorrt, ")
    assert lines[2].startswith("3: decoder.num_return_sequences: num_return_sequences cannot go with backend: llamacpp")
    assert len(lines) == 3


def test_what_every_combination_lacks_is_told_once(write_config: WriteConfig) -> None:
    text = "model: m\nsweep:\n  dataset.random.output_tokens: [200, 300]\n  n: [1, 2]\n"
    assert [line.split("; ")[0] for line in wrong(text, write_config)] == [
        "1: max_output_tokens: dataset.random.output_tokens needs up to 200 tokens"
    ]
    assert wrong("sweep: {n: [1, 2]}\n", write_config) == [
        "1: model: Field required; give a hub id, a directory, a GGUF file, or a packaged model's short name"
    ]


def test_a_product_without_end_is_refused_before_it_is_made(write_config: WriteConfig) -> None:
    rows = "".join(
        f"  {name}: {{from: 1, to: 1000, num: 1000}}\n" for name in ("n", "max_output_tokens", "random_seed")
    )
    assert wrong(f"model: m\nsweep:\n{rows}", write_config) == [
        "2: sweep: 1000000000 combinations are too many (over 100000); shorten the lists"
    ]


def test_a_file_that_is_neither_says_what_a_study_looks_like(write_config: WriteConfig) -> None:
    for text in (
        "model: m\nprecision: [fp32, bf16]\n",
        "model: m\nsweeps: {n: [1, 2]}\n",
        "model: m\ngrid: {n: [1]}\n",
    ):
        with pytest.raises((ConfigError, ValidationError)) as caught:
            load_experiment_config(write_config(text))
        said = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
        assert ":2: " in said
        assert "  sweep:\n    precision: [fp32, bf16]\n" in said
    path = write_config("model: m\n")
    with pytest.raises(ConfigError, match="this file is a single experiment\na study has fields"):
        load_study_config(path)


# From Python.


def test_a_mapping_has_the_same_grammar_and_no_place_in_a_file() -> None:
    found = study_config({"model": "m", "sweep": {"n": [1, 2], "precision": ("fp32", "bf16")}})
    assert [of(each, "n", "precision") for each in found.experiments] == [
        (1, "fp32"), (1, "bf16"), (2, "fp32"), (2, "bf16"),
    ]  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        study_config({"model": "m", "sweep": {"n": [1, 0]}})
    assert str(caught.value) == "sweep.n: Input should be greater than or equal to 1, got 0"


def test_experiments_from_python_stand_over_the_common_fields_too() -> None:
    one = ExperimentConfig(model="m", n=3)
    assert study_config({"experiments": [one]}) == StudyConfig(experiments=[one])
    found = study_config({"precision": "fp32", "experiments": [one, {"model": "b"}]}).experiments
    assert [of(each, "model", "n", "precision") for each in found] == [("m", 3, "fp32"), ("b", 100, "fp32")]


# Any product.

_VALUES = {
    "n": st.integers(1, 10**6),
    "precision": st.sampled_from(["fp32", "fp16", "bf16"]),
    "pytorch.batch_size": st.integers(1, 64),
    "max_output_tokens": st.integers(1, 10**6),
}
_LISTS = {name: st.lists(values, min_size=1, max_size=4, unique=True) for name, values in _VALUES.items()}


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.lists(st.sampled_from(sorted(_LISTS)), min_size=1, max_size=4, unique=True))
def test_a_product_counts_like_an_odometer(data: st.DataObject, names: list[str]) -> None:
    lists = {name: data.draw(_LISTS[name]) for name in names}
    found = study_config({"model": "m", "sweep": lists}).experiments
    assert len(found) == math.prod(map(len, lists.values()))
    for number, each in enumerate(found):
        rest = number
        expected: list[Any] = []
        for values in reversed(lists.values()):
            rest, digit = divmod(rest, len(values))
            expected.insert(0, values[digit])
        assert of(each, *names) == tuple(expected)
