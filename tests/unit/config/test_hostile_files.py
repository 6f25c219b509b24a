"""Files that are wrong in every way one can think of: each is told what is wrong with it, at once and completely.

A file is made from valid fields and then broken. Whatever comes of it is a ``ConfigError``, or pydantic's own
error with one note for each wrong field, or a configuration that comes back from its file as it was.
"""

import os
import re
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from llenergymeasure.config.engines import ENGINE_SECTIONS
from llenergymeasure.config.introspection import experiment_schema, field_test_values
from llenergymeasure.config.loader import Overrides, load_config, load_experiment_config
from llenergymeasure.config.models import ExecutionConfig, ExperimentConfig, StudyConfig, measurement_config_hash
from llenergymeasure.config.reading.sources import user_source
from llenergymeasure.config.reading.user_file import UserConfig
from llenergymeasure.config.reading.yaml_file import printable
from llenergymeasure.config.sweep.looks import WHAT_A_STUDY_IS
from llenergymeasure.exceptions import ConfigError
from tests.fakes.effort import PATIENCE_S
from tests.unit.config.conftest import WriteConfig

MOST_SECONDS = 3.0
LINE_ENDS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
# What pydantic puts between fields: the branch of a union.
BRANCH = re.compile(r"(dict|list|tuple|literal|union|nullable|(function|constrained)-\w+)\[.*\]")
VALUES = field_test_values()
OF_ALL_ENGINES = [name for name in VALUES if name.partition(".")[0] not in ENGINE_SECTIONS and name != "backend"]
OF_ENGINE = {e: [name for name in VALUES if name.startswith(f"{e}.")] for e in ENGINE_SECTIONS}
VALIDATOR = Draft202012Validator(experiment_schema())
Location = tuple[str | int, ...]


def hostile(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# Valid documents.


def with_field(document: dict[str, Any], name: str, value: Any) -> None:
    *sections, last = name.split(".")
    for section in sections:
        document = document.setdefault(section, {})
    document[last] = value


@st.composite
def experiments(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of an experiment on any engine, each with a value that is valid by itself."""
    engine = draw(st.sampled_from([*ENGINE_SECTIONS]))
    names = st.sampled_from(OF_ALL_ENGINES) | st.sampled_from(OF_ENGINE[engine])
    document: dict[str, Any] = {"model": draw(st.sampled_from(["m", "org/model", "./models/m.gguf", "modèle"]))}
    if engine != "pytorch" or draw(st.booleans()):
        document["backend"] = engine
    for name in draw(st.lists(names, max_size=9, unique=True)):
        if VALUES[name]:
            with_field(document, name, deepcopy(draw(st.sampled_from(VALUES[name]))))
    if "lora" in document:
        document["lora"].setdefault("path", "adapter")
    if draw(st.booleans()):
        document["passthrough_kwargs"] = draw(st.dictionaries(keys, values, max_size=3))
    return document


@st.composite
def studies(draw: st.DrawFn) -> dict[str, Any]:
    document: dict[str, Any] = {"experiments": draw(st.lists(experiments(), min_size=1, max_size=2))}
    for name in draw(st.sets(st.sampled_from([*ExecutionConfig.model_fields]))):
        with_field(document, f"execution.{name}", ExecutionConfig.model_fields[name].default)
    return document


@st.composite
def user_files(draw: st.DrawFn) -> dict[str, Any]:
    taken = ("model", "name", "dataset", "lora", "passthrough_kwargs", "output_dir")
    measurement = {name: value for name, value in draw(experiments()).items() if name not in taken}
    return {"measurement": measurement, "output": {"dir": "~/results"}, "execution": {"on_failure": "stop"}}


def wrapped(depth: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


# What breaks them. No half characters and no numbers of over 4300 digits: these have tests of their own below.

text = st.text(st.characters(codec="utf-8"), max_size=12)
# A colon would end the name of a field for those who read the errors below.
names = st.text(st.characters(codec="utf-8", exclude_characters=":"), max_size=12)
keys = st.sampled_from(["a", "rope_theta", "clé", "with space", "dtype", "top_k"]) | names
odd_text = st.sampled_from(
    ["", " ", "null", "~", "1", "true", "0x10", "1e5", "2024-01-01", "\n", "a\nb", "\t", "\u2028", "\ufeff", "\x00",
     "é" * 99, "x" * 3000, "{", "- ", "# ", "*a", "&a", "!!int", "<<", "=", "../..", "/", "f.txt", "🎈", "%s{0}"]
)  # fmt: skip
numbers = (
    st.sampled_from([0, -1, 1, 2, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**400, 0.5, 1.5, -0.0, 1e308, 5e-324])
    | st.sampled_from([float("nan"), float("inf"), float("-inf")])
    | st.integers()
    | st.floats()
)
scalars: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | numbers | odd_text | text | st.binary(max_size=4) | st.just(date(2024, 2, 29))
    | st.just(datetime(2024, 2, 29, 12, 30)) | st.just({"a", "b"})
)  # fmt: skip
values: st.SearchStrategy[Any] = (
    scalars
    | st.lists(scalars, max_size=3)
    | st.dictionaries(keys, scalars, max_size=3)
    | st.builds(wrapped, st.integers(1, 60), st.sampled_from(["list", "mapping"]))
)
misspelt = st.sampled_from(
    ["modle", "n_", "N", "batch_size", "topk", "max_prompt", "decoders", "pytorc", "energie", "experiment", "k" * 100]
)
unknown_keys: st.SearchStrategy[Any] = (
    misspelt | names | st.sampled_from([*ExperimentConfig.model_fields]) | st.sampled_from([1, 1.5, None, True])
)


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a document with every one of its keys."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(items):
        yield document, key
        if isinstance(value, dict | list):
            yield from places(value)


@st.composite
def broken(draw: st.DrawFn, documents: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """A valid document after one to four blows."""
    document = draw(documents)
    for _ in range(draw(st.integers(1, 4))):
        found = list(places(document))
        if not found:
            break
        container, key = found[draw(st.integers(0, len(found) - 1))]
        blow = draw(st.sampled_from(["replace", "replace", "add", "remove", "wrap", "section"]))
        if blow == "replace":
            container[key] = draw(values)
        elif blow == "add" and isinstance(container, dict):
            container[draw(unknown_keys)] = draw(values)
        elif blow == "remove":
            del container[key]
        elif blow == "wrap":
            container[key] = [container[key]] if draw(st.booleans()) else {"a": container[key]}
        elif blow == "section" and isinstance(container, dict):
            container[draw(st.sampled_from([*ENGINE_SECTIONS]))] = draw(st.sampled_from([{}, {"batch_size": 1}, None]))
    return document


layouts = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([False, False, None, True]),
        "allow_unicode": st.booleans(),
        "width": st.sampled_from([20, 80, 100_000]),
        "indent": st.sampled_from([2, 4]),
        "explicit_start": st.booleans(),
    }
)


# What comes of them.


def lines_of(content: str) -> dict[Location, int]:
    """The line of every key and item, by its place in the document."""
    lines: dict[Location, int] = {}

    def walk(node: yaml.Node, at: Location) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[(*at, str(key.value))] = key.start_mark.line + 1
                walk(value, (*at, str(key.value)))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                lines[(*at, number)] = value.start_mark.line + 1
                walk(value, (*at, number))

    root = yaml.compose(content, Loader=yaml.SafeLoader)
    assert root is not None
    lines[()] = root.start_mark.line + 1
    walk(root, ())
    return lines


def locations_of(error: ValidationError) -> list[Location]:
    """Where pydantic found errors; a conflict in a section is at the field that it names."""
    found = []
    for detail in error.errors(include_url=False):
        field = detail.get("ctx", {}).get("field")
        fields = [part for part in detail["loc"] if not BRANCH.fullmatch(str(part))]
        found.append((*fields, *([field] if field else [])))
    return found


def assert_one_line_for_each_wrong_field(
    said: Sequence[str], locations: Sequence[Location], path: Path, content: str
) -> None:
    """Every error of pydantic's is in one of the lines, by the longest name that fits; no line is without one."""
    lines = lines_of(content)
    used: Counter[str] = Counter()
    for location in dict.fromkeys(locations):
        for length in range(len(location), -1, -1):
            name = ".".join(printable(str(part)) for part in location[:length]) or "configuration"
            found = [line for line in said if re.match(rf"{re.escape(f'{path}:')}\d+: {re.escape(name)}: ", line)]
            if found:
                assert len(found) == 1, found
                place = next(lines[location[:n]] for n in range(length, -1, -1) if location[:n] in lines)
                assert found[0].startswith(f"{path}:{place}: "), (found[0], place)
                used[found[0]] += 1
                break
        else:
            raise AssertionError(f"nothing is said of {location}: {said}")
    assert sorted(used) == sorted(said)


def assert_told_or_kept(
    load: Callable[[Path], BaseModel], model: Callable[[Any], type[BaseModel]], path: Path, content: str
) -> str:
    """The file is refused completely and in the right lines, or is a configuration that comes back as it was.

    Returns:
        Which of them it was.
    """
    path.write_text(content, encoding="utf-8", newline="")
    started = time.process_time()
    try:
        config = load(path)
    except ConfigError as error:
        assert time.process_time() - started < MOST_SECONDS
        said = str(error).replace(f"\n{WHAT_A_STUDY_IS}", "").splitlines()
        for line in said:
            match = re.match(rf"{re.escape(str(path))}:(\d+): .", line)
            assert match is not None, line
            assert 1 <= int(match[1]) <= len(LINE_ENDS.split(content))
        values = yaml.safe_load(content)
        if any(": unknown key; " in line for line in said) and not shares_fields(values):
            try:
                model(values).model_validate(values)
            except ConfigError:
                # A secret that is written out is told alone, and not shown by pydantic.
                return "refused as a file"
            except ValidationError as wrong:
                assert_one_line_for_each_wrong_field(said, locations_of(wrong), path, content)
            else:
                raise AssertionError("the model takes what the file was refused for")
        return "refused as a file"
    except ValidationError as error:
        assert time.process_time() - started < MOST_SECONDS
        said = [note for note in error.__notes__ if note != WHAT_A_STUDY_IS]
        if not shares_fields(yaml.safe_load(content)):
            assert_one_line_for_each_wrong_field(said, locations_of(error), path, content)
        return "wrong values"
    else:
        assert time.process_time() - started < MOST_SECONDS
        assert_comes_back(config, load, path)
        return "kept"


def assert_comes_back(config: BaseModel, load: Callable[[Path], BaseModel], path: Path) -> None:
    dumped = config.model_dump(mode="json")
    # PyYAML itself loses a lone \x85 when it is to write more than ASCII.
    path.write_text(yaml.safe_dump(dumped), encoding="utf-8")
    again = load(path)
    assert again == config
    assert type(config).model_validate_json(config.model_dump_json()) == config
    if isinstance(config, ExperimentConfig) and isinstance(again, ExperimentConfig):
        if "auto" not in (config.precision, config.backend):  # until the machine has chosen there is no hash
            assert measurement_config_hash(again) == measurement_config_hash(config)
        assert again.equivalent_to(config)
        assert list(VALIDATOR.iter_errors(dumped)) == []


def load_any(path: Path) -> BaseModel:
    return load_config(path, Overrides())


def model_of(values: Any) -> type[BaseModel]:
    return StudyConfig if isinstance(values, Mapping) and "experiments" in values else ExperimentConfig


def shares_fields(values: Any) -> bool:
    """Whether it is a study with fields for all of its experiments, which pydantic by itself does not know."""
    return model_of(values) is StudyConfig and not set(values) <= set(StudyConfig.model_fields)


def load_user_file(path: Path) -> BaseModel:
    user_source(path)
    return UserConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})


@hostile(800)
@given(document=broken(experiments()), layout=layouts)
def test_a_broken_experiment_is_told_or_kept(tmp_path: Path, document: dict[str, Any], layout: dict[str, Any]) -> None:
    content = yaml.safe_dump(document, sort_keys=False, **layout)
    event(assert_told_or_kept(load_any, model_of, tmp_path / "config.yaml", content))


@hostile(150)
@given(document=broken(studies()), layout=layouts)
def test_a_broken_study_is_told_or_kept(tmp_path: Path, document: dict[str, Any], layout: dict[str, Any]) -> None:
    content = yaml.safe_dump(document, sort_keys=False, **layout)
    event(assert_told_or_kept(load_any, model_of, tmp_path / "config.yaml", content))


@hostile(150)
@given(document=broken(user_files()), layout=layouts)
def test_a_broken_user_file_is_told_or_kept(tmp_path: Path, document: dict[str, Any], layout: dict[str, Any]) -> None:
    content = yaml.safe_dump(document, sort_keys=False, **layout)
    event(assert_told_or_kept(load_user_file, lambda _: UserConfig, tmp_path / "config.yaml", content))


# Valid files.


def packed(engine: str) -> list[dict[str, Any]]:
    """A few valid documents that have between them every valid value of every field of the engine."""
    documents: list[dict[str, Any]] = []
    taken: list[set[str]] = []
    for name in (*OF_ALL_ENGINES, *OF_ENGINE[engine]):
        for value in VALUES[name]:
            for names, document in zip(taken, documents, strict=True):
                larger = deepcopy(document)
                with_field(larger, name, value)
                if name not in names and is_valid(larger):
                    document.update(larger)
                    names.add(name)
                    break
            else:
                alone: dict[str, Any] = {"model": "m", "backend": engine, "lora": {"path": "adapter"}}
                with_field(alone, name, value)
                if is_valid(alone):  # else the engine has nothing like it
                    documents.append(alone)
                    taken.append({name})
    return documents


def is_valid(document: dict[str, Any]) -> bool:
    try:
        ExperimentConfig.model_validate(document)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("engine", ENGINE_SECTIONS)
def test_every_valid_value_of_every_field_comes_back_and_is_admitted_by_the_schema(
    write_config: WriteConfig, engine: str
) -> None:
    documents = packed(engine)
    # A small section has fewer values than there are documents.
    given = {name for document in documents for name in document.get(engine, {})}
    assert given == {name.partition(".")[2] for name in OF_ENGINE[engine] if VALUES[name]}
    for document in documents:
        content = yaml.safe_dump(document)
        assert assert_told_or_kept(load_any, model_of, write_config(content), content) == "kept"


def test_the_schema_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(experiment_schema())


@pytest.mark.parametrize(
    "document",
    [
        {"model": "m"},
        {"model": "m", "dataset": "mixed"},
        {"model": "m", "dataset": {"path": "a.txt", "order": "as_is"}},
        {"model": "m", "energy": {"backend": None}},
        {"model": "m", "warmup": {"cv_threshold": 0.1, "max_warmup_prompts": 9}},
        {"model": "m", "lora": {"path": "adapter"}, "passthrough_kwargs": {"a": [1, None, {"b": "c"}]}},
        {"model": "m", "pytorch": {"device_map": {"": 0}, "max_memory": {"cpu": "8GiB"}, "bad_words_ids": [[1], [2]]}},
        {"model": "m", "pytorch": {"exponential_decay_length_penalty": [4, 1.5], "attn_implementation": "org/kernel"}},
    ],
)  # fmt: skip
def test_what_people_write_is_admitted_by_the_schema_too(document: dict[str, Any]) -> None:
    ExperimentConfig.model_validate(document)
    assert list(VALIDATOR.iter_errors(document)) == []


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"model": ""},
        {"model": "m", "n": 0},
        {"model": "m", "n": "5"},
        {"model": "m", "precision": "int3"},
        {"model": "m", "nn": 3},
        {"model": "m", "decoder": {"top_p": 1.5}},
        {"model": "m", "decoder": {"topk": 3}},
        {"model": "m", "warmup": {"thermal_floor_seconds": 29}},
        {"model": "m", "dataset": 3},
        {"model": "m", "pytorch": {"batch_size": 0}},
        {"model": "m", "pytorch": {"attn_implementation": "fast"}},
        {"model": "m", "lora": {}},
    ],
)
def test_what_is_wrong_in_one_place_is_refused_by_the_schema_too(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ExperimentConfig.model_validate(document)
    assert not VALIDATOR.is_valid(document)


# All at once.


def test_errors_of_seven_kinds_are_told_in_one_go_each_in_its_line(write_config: WriteConfig) -> None:
    path = write_config(
        "# line 1\n"
        "n: 0\n"
        "precision: int3\n"
        "max_output_token: 5\n"
        "warmup: [1, 2]\n"
        "decoder:\n"
        "  do_sample: true\n"
        "  temprature: 0.5\n"
        "  top_k: '3'\n"
        "baseline:\n"
        "  duration_seconds: .inf\n"
        "passthrough_kwargs:\n"
        "  dtype: fp32\n"
        "vllm:\n"
        "  max_num_seqs: 8\n"
        "pytorch:\n"
        "  load_in_4bit: true\n"
        "  load_in_8bit: true\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_experiment_config(path)
    told = {}
    for line in str(caught.value).splitlines():
        place, field, message = line.removeprefix(f"{path}:").split(": ", 2)
        told[int(place), field] = message
    expected = {
        (1, "model"): "Field required",  # missing: where the document begins, see below
        (2, "n"): "greater than or equal to 1",
        (3, "precision"): "'fp32', 'fp16', 'bf16', 'as_served' or 'auto'",
        (4, "max_output_token"): "did you mean 'max_output_tokens'?",
        (5, "warmup"): "mapping",
        (8, "decoder.temprature"): "did you mean 'decoder.temperature'?",
        (9, "decoder.top_k"): "valid integer, got '3'",
        (11, "baseline.duration_seconds"): "finite number",
        (13, "passthrough_kwargs.dtype"): "the field precision",
        (14, "vllm"): "another engine",
        (17, "pytorch.load_in_4bit"): "load_in_8bit: true",
    }
    # A document begins with its first key, after the comment.
    expected[2, "model"] = expected.pop((1, "model"))
    assert set(told) == set(expected)
    for place_and_field, words in expected.items():
        assert words in told[place_and_field]


# Files that would take long, or never end.


def refused_at_once(path: Path) -> str:
    """The error, provided that it came within a second of this process's own time."""
    started = time.process_time()
    with pytest.raises((ConfigError, ValidationError)) as caught:
        load_config(path, Overrides())
    assert time.process_time() - started < MOST_SECONDS
    return str(caught.value)


def test_a_file_of_100_mb_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    with path.open("wb") as file:
        file.write(b"model: m\n")
        file.truncate(100 * 2**20)
    tracemalloc.start()
    try:
        message = refused_at_once(path)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert message.startswith(f"{path}: too large")
    assert most_bytes < 4 * 2**20


def test_a_file_without_end_is_refused() -> None:
    assert refused_at_once(Path("/dev/zero")).startswith("/dev/zero: cannot be read: it is no regular file")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refused_at_once(tmp_path).startswith(f"{tmp_path}: cannot be read: ")


def outcome_of_a_thread(path: Path) -> tuple[threading.Thread, list[object]]:
    """Loads the file beside the test, which can then see whether it hangs."""
    outcome: list[object] = []

    def load() -> None:
        try:
            outcome.append(load_experiment_config(path))
        except ConfigError as error:
            outcome.append(error)

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    return thread, outcome


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    thread, outcome = outcome_of_a_thread(pipe)
    pipe.write_text("model: m\nn: 3\n", encoding="utf-8")
    thread.join(timeout=PATIENCE_S)
    assert outcome == [ExperimentConfig(model="m", n=3)]


def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    thread, outcome = outcome_of_a_thread(pipe)
    thread.join(timeout=PATIENCE_S)
    hangs = thread.is_alive()
    if hangs:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        thread.join(timeout=PATIENCE_S)
    assert not hangs
    assert isinstance(outcome[0], ConfigError)


def rows(pattern: str, count: int, head: str = "model: m\n") -> str:
    return head + "".join(pattern.format(number) for number in range(count))


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "content",
    [
        rows("k{0}: 1\n", 1500),
        rows("  k{0}: 1\n", 1500, "model: m\nwarmup:\n"),
        rows("  k{0}: 2024-01-01\n", 1500, "model: m\npassthrough_kwargs:\n"),
        f"model: m\npytorch:\n  suppress_tokens: [{'x, ' * 2000}]\n",
        f"model: m\nexperiments: [{'1, ' * 2000}]\n",
        rows("k{0}: " + "[" * 250 + "]" * 250 + "\n", 20),
        rows("- " + "{{a: " * 100 + "1" + "}}" * 100 + "\n", 20, "experiments:\n"),
        f"model: m\nx: [{'a,' * 120_000}]\n",
        f"model: {'[' * 10_000}",
        f"model: m\nn: {'{' * 10_000}",
        f"model: m\nn: {'- ' * 50_000}",
        f"model: m\nn: {'1:' * 100_000}0\n",
        f"model: m\nn: {'9' * 200_000}\n",
        rows("k{0}: &a{0} [1, *a{0}]\n", 1500),
        f"model: m\nn: '{'x' * 200_000}'\n",
        f"model: m\n? {'x' * 200_000}\n: 1\n",
    ],
    ids=[
        "unknown keys", "unknown keys of a section", "wrong keys passed through", "wrong items", "wrong experiments",
        "rows of deep lists", "deep experiments", "many values", "deep list", "deep mapping", "deep sequence",
        "sexagesimal", "digits", "anchors", "long value", "long key",
    ],
)  # fmt: skip
def test_a_small_file_is_refused_within_a_second(write_config: WriteConfig, content: str) -> None:
    assert len(content) <= 256 * 1024
    assert refused_at_once(write_config(content))


# Numbers and characters that Python has and files have not.

HUGE = f"0x{'f' * 5000}"


@pytest.mark.parametrize(
    "fields",
    [
        f"n: {HUGE}",
        f"n: -{HUGE}",
        f"random_seed: {HUGE}",
        f"precision: {HUGE}",
        f"name: {HUGE}",
        f"dataset: {HUGE}",
        f"decoder: {{temperature: {HUGE}}}",
        f"decoder: {{preset: {HUGE}}}",
        f"warmup: {HUGE}",
        f"pytorch: {{device_map: {{a: {HUGE}}}}}",
        f"passthrough_kwargs: {{a: {HUGE}}}",
        f"nn: {HUGE}",
        f"n: {'1:' * 3000}0",
        f"n: 0b{'1' * 20_000}",
        f"n: 0{'7' * 6000}",
    ],
    ids=lambda text: text[:30],
)
def test_a_number_of_thousands_of_digits_is_told_or_kept(write_config: WriteConfig, fields: str) -> None:
    content = f"model: m\n{fields}\n"
    assert_told_or_kept(load_any, model_of, write_config(content), content)


@pytest.mark.parametrize(
    "fields",
    [
        'name: "{0}"',
        'output_dir: "a/{0}"',
        'dataset: "./{0}"',
        'dataset: {{path: "{0}"}}',
        'pytorch: {{device_map: "{0}"}}',
        'pytorch: {{device_map: {{"{0}": 0}}}}',
        'pytorch: {{offload_folder: "{0}"}}',
        'pytorch: {{llm_int8_skip_modules: ["{0}"]}}',
        'passthrough_kwargs: {{a: "{0}"}}',
        'passthrough_kwargs: {{a: [{{b: "{0}"}}]}}',
        'passthrough_kwargs: {{"{0}": 1}}',
        '"{0}": 1',
    ],
)
def test_half_a_character_is_told_or_kept(write_config: WriteConfig, fields: str) -> None:
    content = f"model: m\n{fields.format(chr(92) + 'ud800')}\n"
    assert_told_or_kept(load_any, model_of, write_config(content), content)


@pytest.mark.parametrize("depth", [100, 190, 210, 250, 300, 400])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ("{a: ", "}")], ids=["list", "mapping"])
def test_what_is_deep_is_told_or_kept(write_config: WriteConfig, depth: int, left: str, right: str) -> None:
    content = f"model: m\npassthrough_kwargs: {{x: {left * depth}1{right * depth}}}\n"
    assert_told_or_kept(load_any, model_of, write_config(content), content)
