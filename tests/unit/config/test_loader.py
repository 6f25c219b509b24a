"""Reading configuration files: what is wrong, in which line, and never a traceback."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llenergymeasure.config.base import nearest
from llenergymeasure.config.loader import load_experiment_config, load_study_config
from llenergymeasure.config.models import ExperimentConfig, QualityConfig, StudyConfig
from llenergymeasure.config.reading.merging import merged
from llenergymeasure.config.sweep.looks import WHAT_A_STUDY_IS
from llenergymeasure.exceptions import ConfigError
from tests.fakes.effort import examples
from tests.unit.config.conftest import WriteConfig, calm
from tests.unit.conftest import WriteUserFile

FIVE_WRONG_VALUES = """\
# a comment moves every line by one
model: ""
n: 0
precision: int3

decoder:
  top_p: 1.5
warmup:
  thermal_floor_seconds: 10
"""

on_files = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def errors_of(path: Path, **overrides: Any) -> list[str]:
    """The lines of the error that loading an experiment or a study raises."""
    load = load_study_config if "experiments:" in path.read_text() else load_experiment_config
    with pytest.raises((ConfigError, ValidationError)) as caught:
        load(path, overrides)
    if isinstance(caught.value, ConfigError):
        return str(caught.value).splitlines()
    return list(caught.value.__notes__)


def fields_by_line(path: Path) -> dict[int, str]:
    """``{line: field}`` of the errors in a file, each of which has the form ``file:line: field: message``."""
    found = {}
    for error in errors_of(path):
        match = re.fullmatch(rf"{re.escape(str(path))}:(\d+): ([^ ]+): .+", error)
        assert match is not None, error
        found[int(match[1])] = match[2]
    return found


def test_a_file_of_only_the_model_is_an_experiment_of_defaults(write_config: WriteConfig) -> None:
    assert load_experiment_config(write_config("model: tiny\n")) == ExperimentConfig(model="tiny")


def test_a_path_may_be_text(write_config: WriteConfig) -> None:
    assert load_experiment_config(str(write_config("model: tiny\n"))).model == "tiny"


def test_five_wrong_values_are_five_notes_with_their_lines(write_config: WriteConfig) -> None:
    path = write_config(FIVE_WRONG_VALUES)
    with pytest.raises(ValidationError) as caught:
        load_experiment_config(path)
    assert caught.value.error_count() == len(caught.value.__notes__) == 5
    assert fields_by_line(path) == {
        2: "model",
        3: "n",
        4: "precision",
        7: "decoder.top_p",
        9: "warmup.thermal_floor_seconds",
    }


def test_a_wrong_value_is_quoted_with_what_would_be_right(write_config: WriteConfig) -> None:
    errors = errors_of(write_config("model: m\nprecision: int3\nn: 0\n"))
    assert any("'fp32', 'fp16', 'bf16', 'as_served' or 'auto', got 'int3'" in e for e in errors)
    assert any("greater than or equal to 1, got 0" in e for e in errors)


def test_one_misspelt_key_makes_all_errors_of_the_file_one_config_error(write_config: WriteConfig) -> None:
    path = write_config(FIVE_WRONG_VALUES + "max_output_token: 5\n")
    with pytest.raises(ConfigError):
        load_experiment_config(path)
    assert len(errors_of(path)) == 6
    assert fields_by_line(path)[10] == "max_output_token"
    assert set(fields_by_line(path)) == {2, 3, 4, 7, 9, 10}


@pytest.mark.parametrize(
    ("text", "line", "field", "suggestion"),
    [
        ("model: m\nprecison: bf16\n", 2, "precison", "precision"),
        ("model: m\ndecoder:\n  tempratur: 1\n", 3, "decoder.tempratur", "decoder.temperature"),
        ("model: m\nwarmup:\n  n_warmpu: 3\n", 3, "warmup.n_warmpu", "warmup.n_warmup"),
        ("model: m\nwarmup: {max_promts: 3}\n", 2, "warmup.max_promts", "warmup.max_prompts"),
        ("model: m\nbaseline: {cache_ttl: 3}\n", 2, "baseline.cache_ttl", "baseline.cache_ttl_sec"),
        ("model: m\nenergy: {backnd: nvml}\n", 2, "energy.backnd", "energy.backend"),
        ("model: m\ndataset:\n  name: mixed\n  ordr: as_is\n", 4, "dataset.ordr", "dataset.order"),
        ("model: m\nlora:\n  path: a\n  merg: true\n", 4, "lora.merg", "lora.merge"),
        ("model: m\npytorch:\n  batchsize: 2\n", 3, "pytorch.batchsize", "pytorch.batch_size"),
        ("experiments:\n- model: m\nexecuton: {}\n", 3, "executon", "execution"),
        ("experiments:\n- model: m\nexecution:\n  launchr: in_process\n", 4, "execution.launchr", "execution.launcher"),
        ("experiments:\n- model: m\n- model: m\n  nn: 3\n", 4, "experiments.1.nn", "n"),
        (
            "experiments:\n- model: m\n- model: m\n  decoder:\n    top_kk: 1\n",
            5,
            "experiments.1.decoder.top_kk",
            "decoder.top_k",
        ),
    ],
)
def test_a_misspelt_key_is_refused_at_any_depth_with_the_nearest_name(
    write_config: WriteConfig, text: str, line: int, field: str, suggestion: str
) -> None:
    path = write_config(text)
    with pytest.raises(ConfigError):
        (load_study_config if "experiments:" in text else load_experiment_config)(path)
    assert errors_of(path) == [f"{path}:{line}: {field}: unknown key; did you mean {suggestion!r}?"]


def test_a_key_like_no_other_lists_the_known_ones(write_config: WriteConfig) -> None:
    (error,) = errors_of(write_config("model: m\nenergy:\n  zzz: 1\n"))
    assert error.endswith("unknown key; known: backend, sample_interval_ms")


def test_nearest_takes_the_closest_of_several_names() -> None:
    assert nearest("modell", ["mode", "model", "backend"]) == "did you mean 'model'?"
    assert nearest("q", ["b", "a"]) == "known: a, b"


@pytest.mark.parametrize("key", ["1", "null", "true", "2.5", "2024-01-01"])
@pytest.mark.parametrize("indent", ["", "decoder:\n  "])
def test_a_key_that_is_no_text_is_a_config_error_in_its_line(write_config: WriteConfig, key: str, indent: str) -> None:
    path = write_config(f"model: m\n{indent}{key}: x\n")
    with pytest.raises(ConfigError) as caught:
        load_experiment_config(path)
    assert str(caught.value).startswith(f"{path}:{3 if indent else 2}: ")


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("model: a\nn: 3\nmodel: b\n", 3),
        ("model: a\ndecoder:\n  top_k: 1\n  top_p: 0.5\n  top_k: 2\n", 5),
        ("model: a\ndecoder: {top_k: 1}\nn: 3\ndecoder: {top_p: 0.5}\n", 4),
    ],
)
def test_a_key_given_twice_is_a_config_error(write_config: WriteConfig, text: str, second: int) -> None:
    path = write_config(text)
    with pytest.raises(ConfigError) as caught:
        load_experiment_config(path)
    assert f"{path}:{second}: " in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("", 1, "empty"),
        ("# only a comment\n", 1, "empty"),
        ("- model: m\n", 1, "list"),
        ("just words\n", 1, "str"),
        ("model: m\n\tn: 3\n", 2, r"character.*in '\\tn: 3'"),
        ("model: m\nn: [1, 2\n", 2, "not valid YAML"),
        ("model: m\n---\nmodel: n\n", 2, "document"),
        ("model: m\nn: *nowhere\n", 2, "nowhere"),
        ("model: m\n? [a, b]\n: 1\n", 2, "key"),
        ("model: !!python/object/apply:os.system ['false']\n", 1, "python"),
        ("model: m\nn: !!python/name:os.system\n", 2, "python"),
        (bytes(range(256)), 1, "UTF-8"),
        ("model: m\n".encode("utf-16"), 1, "UTF-8"),
        (b"model: m\nname: a\0b\n", None, "character"),
        ("model: " + "[" * 20_000, None, "not valid YAML"),
    ],
)
def test_what_is_no_configuration_is_a_config_error_that_says_so(
    write_config: WriteConfig, content: str | bytes, line: int | None, says: str
) -> None:
    path = write_config(content)
    with pytest.raises(ConfigError, match=says) as caught:
        load_experiment_config(path)
    place = f"{path}:" if line is None else f"{path}:{line}: "
    assert str(caught.value).startswith(place)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "value",
    [
        "2024-13-45",
        "!!int x",
        "!!int ''",
        "!!float ''",
        "!!bool x",
        "!!timestamp x",
        "1" + ":0" * 400 + ".5",
        "9" * 5000,
    ],
    ids=lambda value: value[:14],
)
def test_a_value_that_yaml_cannot_build_is_a_config_error_in_its_line(write_config: WriteConfig, value: str) -> None:
    path = write_config(f"model: m\n\nn: {value}\n")
    with pytest.raises(ConfigError) as caught:
        load_experiment_config(path)
    assert str(caught.value).startswith(f"{path}:3: ")


@pytest.mark.parametrize("name", ["missing.yaml", ".", "x" * 5000, "nul\0byte"])
def test_a_path_that_cannot_be_read_is_a_config_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_experiment_config(tmp_path / name)


def test_a_huge_file_is_refused_before_it_is_parsed(write_config: WriteConfig) -> None:
    with pytest.raises(ConfigError, match="too large"):
        load_experiment_config(write_config(b"a" * (8 * 2**20)))


def sequence_bomb(levels: int) -> str:
    rows = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels + 1)]
    return "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *rows, "model: m", ""])


def merge_bomb(levels: int) -> str:
    rows = [f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels + 1)]
    return "\n".join(["a0: &a0 {k: v}", *rows, "model: m", ""])


@pytest.mark.timeout(3)
@pytest.mark.parametrize("bomb", [sequence_bomb, merge_bomb])
def test_anchors_that_expand_to_billions_are_refused_at_once(write_config: WriteConfig, bomb: Any) -> None:
    with pytest.raises(ConfigError):
        load_experiment_config(write_config(bomb(9)))


def test_a_large_wrong_value_does_not_flood_the_message(write_config: WriteConfig) -> None:
    errors = errors_of(write_config(f"model: m\nn: '{'x' * 100_000}'\n"))
    assert max(map(len, errors)) < 1000


def test_a_line_break_in_a_key_does_not_break_the_line_of_its_error(write_config: WriteConfig) -> None:
    assert len(errors_of(write_config('model: m\n"a\\nb": 1\n'))) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model: m\ndecoder: &d\n  do_sample: *d\n", 3),
        ("model: m\npytorch:\n  device_map: &x [*x]\n", 3),
        ("&r\nmodel: m\npytorch: *r\n", 3),
        ("model: m\npytorch:\n  device_map: &x {a: *x}\n", 3),
    ],
)
def test_an_anchor_that_contains_itself_is_an_ordinary_error(write_config: WriteConfig, text: str, line: int) -> None:
    assert all(f"config.yaml:{line}: " in error for error in errors_of(write_config(text)))


def test_anchors_and_merge_keys_of_an_honest_file_work(write_config: WriteConfig) -> None:
    text = "experiments:\n- &first\n  model: a\n  decoder: &d {top_k: 3}\n- <<: *first\n  model: b\n"
    study = load_study_config(write_config(text))
    assert [(e.model, e.decoder.top_k) for e in study.experiments] == [("a", 3), ("b", 3)]


def test_a_wrong_value_of_a_union_is_one_error_under_the_name_of_the_field(write_config: WriteConfig) -> None:
    path = write_config("model: m\npytorch:\n  device_map: 3\n")
    (error,) = errors_of(path)
    assert error.startswith(f"{path}:3: pytorch.device_map: ")


def test_an_alias_is_found_in_its_own_line(write_config: WriteConfig) -> None:
    assert list(fields_by_line(write_config("model: m\nwarmup:\n  n_warmup: 2\n  max_prompts: 0\n"))) == [4]


def test_a_check_over_several_fields_is_reported_beside_the_wrong_values(write_config: WriteConfig) -> None:
    errors = errors_of(write_config("model: m\nbackend: vllm\npytorch:\n  batch_size: 1\nn: 0\n"))
    assert any("another engine" in error for error in errors)
    assert any(": n: " in error for error in errors)


def test_a_missing_field_is_reported_where_it_is_missing(write_config: WriteConfig) -> None:
    text = "name: s\nexperiments:\n- model: a\n-\n  n: 3\n"
    (error,) = errors_of(write_config(text))
    assert ":5: experiments.1.model: " in error


def test_a_study_is_not_an_experiment_and_the_reverse(write_config: WriteConfig) -> None:
    path = write_config("experiments:\n- model: m\n")
    with pytest.raises(ConfigError, match="run_study"):
        load_experiment_config(path)
    assert load_study_config(path) == StudyConfig(experiments=[ExperimentConfig(model="m")])
    path = write_config("model: m\n")
    with pytest.raises(ConfigError, match="experiments"):
        load_study_config(path)


@pytest.mark.parametrize("experiments", ["[]", "3", "{model: m}", "[3]", "null"])
def test_experiments_of_a_wrong_shape_are_wrong_values(write_config: WriteConfig, experiments: str) -> None:
    path = write_config(f"name: s\nexperiments: {experiments}\n")
    with pytest.raises(ValidationError) as caught:
        load_study_config(path, {"n": 3})
    assert all(note.startswith(f"{path}:2: experiments") for note in caught.value.__notes__)


def test_overrides_win_over_the_file_field_by_field(write_config: WriteConfig) -> None:
    path = write_config("model: m\nn: 5\ndecoder:\n  top_k: 3\n  top_p: 0.5\n")
    config = load_experiment_config(path, {"n": 7, "decoder": {"top_k": 4}})
    assert (config.n, config.decoder.top_k, config.decoder.top_p) == (7, 4, 0.5)


def test_overrides_go_into_every_experiment_of_a_study(write_config: WriteConfig) -> None:
    path = write_config("experiments:\n- model: a\n  n: 5\n- model: b\n")
    assert [e.n for e in load_study_config(path, {"n": 7}).experiments] == [7, 7]


@pytest.mark.parametrize(("overrides", "field"), [({"n": 0}, "n"), ({"modle": "x"}, "modle")])
def test_a_wrong_override_is_not_blamed_on_a_line_of_the_file(
    write_config: WriteConfig, overrides: dict[str, Any], field: str
) -> None:
    (error,) = errors_of(write_config("model: m\nn: 5\n"), **overrides)
    assert re.search(rf"\b{field}: ", error)
    assert re.search(r"config\.yaml:\d", error) is None


@pytest.mark.parametrize(
    ("below", "given", "enabled", "n_pairs"),
    [
        (True, {"n_pairs": 7}, True, 7),
        ({"n_pairs": 7}, True, True, 7),
        ({"enabled": True, "n_pairs": 7}, False, False, 7),
        (True, False, False, 5),
    ],
    ids=str,
)
def test_phases_in_shorthand_are_merged_in_their_full_form(below: Any, given: Any, enabled: bool, n_pairs: int) -> None:
    values = merged({"model": "m", "phases": below}, {"phases": given})
    phases = ExperimentConfig.model_validate(values).phases
    assert (phases.enabled, phases.n_pairs) == (enabled, n_pairs)


@pytest.mark.parametrize(
    ("below", "given", "found"),
    [
        (None, True, {"text": None, "n_scored_tokens": 4096}),
        (None, "a/text.txt", {"text": "a/text.txt", "n_scored_tokens": 4096}),
        ("a.txt", {"n_scored_tokens": 9}, {"text": "a.txt", "n_scored_tokens": 9}),
        # The built-in sample is a text like any other.
        ({"text": "a.txt", "n_scored_tokens": 9}, True, {"text": None, "n_scored_tokens": 9}),
        (True, {"text": "a.txt"}, {"text": "a.txt", "n_scored_tokens": 4096}),
        ({"text": "a.txt"}, False, None),
        (True, None, None),
        (False, {"n_scored_tokens": 9}, {"text": None, "n_scored_tokens": 9}),
    ],
    ids=str,
)
def test_quality_in_shorthand_is_merged_in_its_full_form(below: Any, given: Any, found: dict[str, Any] | None) -> None:
    values = merged({"model": "m", "quality": below}, {"quality": given})
    quality = ExperimentConfig.model_validate(values).quality
    assert (quality and quality.model_dump(mode="json", exclude={"n_context_tokens"})) == found


def test_quality_comes_from_every_place_that_has_a_say(
    write_config: WriteConfig, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = write_config("model: m\n")
    assert load_experiment_config(plain).quality is None
    write_user_file("measurement: {quality: true}\n")
    assert load_experiment_config(plain).quality == QualityConfig()
    monkeypatch.setenv("LLEM_QUALITY__N_SCORED_TOKENS", "9")
    assert load_experiment_config(plain).quality == QualityConfig(n_scored_tokens=9)
    of_a_text = write_config("model: m\nquality: ~/text.txt\n")
    assert load_experiment_config(of_a_text).quality == QualityConfig(text=Path("~/text.txt"), n_scored_tokens=9)
    assert load_experiment_config(of_a_text, {"quality": False}).quality is None


def test_a_dataset_in_shorthand_is_merged_in_its_full_form() -> None:
    base = {"dataset": "./p.jsonl"}
    assert merged(base, {"dataset": {"order": "as_is"}}) == {"dataset": {"path": "./p.jsonl", "order": "as_is"}}
    assert merged(base, {"dataset": "mixed"}) == {"dataset": "mixed"}
    assert base == {"dataset": "./p.jsonl"}


sections = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3)
mappings = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3) | sections, max_size=3)


@calm
@given(mappings, mappings)
def test_merging_is_idempotent_and_keeps_every_key(base: dict[str, Any], over: dict[str, Any]) -> None:
    once = merged(base, over)
    assert merged(once, over) == once
    assert set(once) == set(base) | set(over)
    assert merged(base, {}) == base
    assert merged({}, over) == over
    for key in set(base) - set(over):
        assert once[key] == base[key]


configs = st.fixed_dictionaries(
    {"model": st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20)},
    optional={
        "name": st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=20),
        "precision": st.sampled_from(["fp32", "fp16", "bf16"]),
        "dataset": st.sampled_from(["mixed", "./a.jsonl"]) | st.just({"path": "b.txt", "order": "as_is", "chat": True}),
        "n": st.integers(1, 10**9),
        "random_seed": st.integers(0, 2**32 - 1),
        "decoder": st.fixed_dictionaries({}, optional={"top_p": st.floats(1e-9, 1), "top_k": st.integers(0, 99)}),
        "warmup": st.fixed_dictionaries({}, optional={"cv_threshold": st.floats(1e-6, 0.99), "enabled": st.booleans()}),
        "energy": st.sampled_from([{"backend": None}, {"backend": "nvml"}]),
        "pytorch": st.fixed_dictionaries({}, optional={"batch_size": st.integers(1, 64)}),
    },
)


@on_files
@given(fields=configs)
def test_a_configuration_comes_back_from_its_file_as_it_was(write_config: WriteConfig, fields: dict[str, Any]) -> None:
    config = ExperimentConfig.model_validate(fields)
    for kept in (fields, config.model_dump(mode="json")):
        assert load_experiment_config(write_config(yaml.safe_dump(kept, allow_unicode=True))) == config


VALID_FILE = "model: m\nn: 5\ndecoder: &d\n  top_p: 0.5\ndataset: {path: a.txt}\nwarmup:\n  n_warmup: 3\n"
FRAGMENTS = [
    "\n", "\t", "  ", ":", ": ", "- ", "[", "]", "{", "}", "&d ", "*d", "<<: *d\n", "? ", "!!", "!!bool ", "!!int ",
    "!!set ", "!!timestamp ", "!!binary ", "!!python/tuple ", "'", '"', "|", ">", "%", "@", "#", "---\n", "...\n",
    "0x", "1e999", ".nan", "-", "null", "~", "true: ", "1: ", "2024-99-99", "1:90.5", "\x85", "\ufeff", "é", "\\ud800",
    '"\\ud800"', "=",
]  # fmt: skip


@st.composite
def broken_files(draw: st.DrawFn) -> str:
    """A valid file after a few random cuts and insertions."""
    text = VALID_FILE
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 3))
        text = text[:at] + draw(st.sampled_from(FRAGMENTS) | st.text(max_size=3)) + text[at + cut :]
    return text


def assert_a_config_or_its_own_errors(path: Path, n_lines: int) -> None:
    """Nothing but a valid configuration, ``ConfigError`` or an annotated ``ValidationError`` comes out."""
    for load in (load_experiment_config, load_study_config):
        try:
            config = load(path)
        except ConfigError as error:
            said = str(error).replace(f"\n{WHAT_A_STUDY_IS}", "").splitlines()
        except ValidationError as error:
            said = [note for note in error.__notes__ if note != WHAT_A_STUDY_IS]
        else:
            assert type(config).model_validate(config.model_dump()) == config
            continue
        assert said
        for line in said:
            match = re.match(rf"{re.escape(str(path))}:((\d+):)? ", line)
            assert match is not None, line
            assert 1 <= int(match[2] or 1) <= n_lines


@on_files
@given(text=broken_files() | st.text())
@example(text="model: m\nn: !!bool 3\n")
@example(text='model: "\\ud800"\n')
@example(text='"\\ud800": m\n')
@example(text="experiments: !!set {a, b}\n")
@example(text="model: m\nn: 5\n[")
def test_a_broken_file_gives_only_errors_of_configuration(write_config: WriteConfig, text: str) -> None:
    content = text.encode(errors="surrogatepass")
    assert_a_config_or_its_own_errors(write_config(content), n_lines=len(re.split("\r\n|[\n\r\x85\u2028\u2029]", text)))


@on_files
@given(content=st.binary(max_size=200))
def test_arbitrary_bytes_give_only_errors_of_configuration(write_config: WriteConfig, content: bytes) -> None:
    assert_a_config_or_its_own_errors(write_config(content), n_lines=201)
