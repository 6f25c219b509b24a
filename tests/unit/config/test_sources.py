"""Who has the last word on a field: flags > environment > experiment file > user file > built-in."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from llenergymeasure import _api, run_experiment
from llenergymeasure.config.engines import ENGINE_SECTIONS
from llenergymeasure.config.loader import Overrides, load_config, load_experiment_config
from llenergymeasure.config.models import (
    DecoderConfig,
    ExecutionConfig,
    ExperimentConfig,
    StudyConfig,
    measurement_config_hash,
)
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.config.reading.sources import environment_source, user_file_path
from llenergymeasure.exceptions import ConfigError, PreFlightError
from tests.unit.config.conftest import WriteConfig
from tests.unit.conftest import WriteUserFile

# From the one that wins over all others downwards, with the number that each of them gives below.
GIVES = {"flags": 61, "environment": 62, "file": 63, "user file": 64}
BUILT_IN = {"n": 100, "max_output_tokens": 128, "warmup.n_warmup": 5, "decoder.num_beams": 1, "pytorch.batch_size": 1}
SUBSETS = [subset for size in range(len(GIVES) + 1) for subset in itertools.combinations(GIVES, size)]

each_field = pytest.mark.parametrize("field", BUILT_IN)
each_subset = pytest.mark.parametrize("given", SUBSETS, ids=lambda given: "+".join(given) or "none")
with_vllm = pytest.mark.skipif("vllm" not in ENGINE_SECTIONS, reason="the section of vLLM is not registered")


@pytest.fixture
def give(write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, tuple[str, ...]], None]:
    """Set a field in the user's file and in the environment, as far as these are among those that give it."""

    def everywhere(field: str, given: tuple[str, ...]) -> None:
        if "user file" in given:
            write_user_file(yaml.safe_dump({"measurement": fields(field, GIVES["user file"])}))
        if "environment" in given:
            monkeypatch.setenv(f"LLEM_{field.replace('.', '__').upper()}", str(GIVES["environment"]))

    return everywhere


def fields(name: str, value: Any) -> dict[str, Any]:
    """The nested fields that set the one with this dotted name."""
    for part in reversed(name.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def value_of(config: ExperimentConfig, name: str) -> Any:
    value: Any = config.resolved()
    for part in name.split("."):
        value = value[part]
    return value


def highest(field: str, given: tuple[str, ...]) -> int:
    return next((number for source, number in GIVES.items() if source in given), BUILT_IN[field])


def experiment(path: Path | None, **flags: Any) -> ExperimentConfig:
    config = load_config(path, Overrides(fields=flags))
    assert isinstance(config, ExperimentConfig)
    return config


def study(path: Path, **flags: Any) -> StudyConfig:
    config = load_config(path, Overrides(fields=flags))
    assert isinstance(config, StudyConfig)
    return config


def errors_of(load: Callable[[], object], kind: Any = (ConfigError, ValidationError)) -> list[str]:
    """The lines of the error that loading raises."""
    with pytest.raises(kind) as caught:
        load()
    return str(caught.value).splitlines() if isinstance(caught.value, ConfigError) else list(caught.value.__notes__)


# Precedence.


@each_field
@each_subset
def test_of_all_that_give_a_field_the_highest_wins_in_an_experiment(
    write_config: WriteConfig, give: Callable[..., None], field: str, given: tuple[str, ...]
) -> None:
    give(field, given)
    own = fields(field, GIVES["file"]) if "file" in given else {}
    flags = fields(field, GIVES["flags"]) if "flags" in given else {}
    config = experiment(write_config(yaml.safe_dump({"model": "m", **own})), **flags)
    assert value_of(config, field) == highest(field, given)


@each_field
@each_subset
def test_of_all_that_give_a_field_the_highest_wins_in_each_experiment_of_a_study(
    write_config: WriteConfig, give: Callable[..., None], field: str, given: tuple[str, ...]
) -> None:
    give(field, given)
    own = fields(field, GIVES["file"]) if "file" in given else {}
    flags = fields(field, GIVES["flags"]) if "flags" in given else {}
    items = [{"model": "a"}, {"model": "b", **own}, {"model": "c"}]
    found = [
        value_of(e, field) for e in study(write_config(yaml.safe_dump({"experiments": items})), **flags).experiments
    ]
    silent = highest(field, tuple(source for source in given if source != "file"))
    assert found == [silent, highest(field, given), silent]


def test_who_wins_is_settled_field_by_field_inside_a_section(
    write_config: WriteConfig, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_user_file(
        "measurement:\n  warmup: {n_warmup: 11, window_size: 2, min_prompts: 13, thermal_floor_seconds: 31}\n"
    )
    path = write_config("model: m\nwarmup: {window_size: 12, min_prompts: 23, thermal_floor_seconds: 32}\n")
    monkeypatch.setenv("LLEM_WARMUP__MIN_PROMPTS", "33")
    monkeypatch.setenv("LLEM_WARMUP__THERMAL_FLOOR_SECONDS", "33")
    warmup = experiment(path, warmup={"thermal_floor_seconds": 34}).warmup
    assert (warmup.n_warmup, warmup.window_size, warmup.min_prompts) == (11, 12, 33)
    assert (warmup.thermal_floor_seconds, warmup.max_warmup_prompts) == (34, 20)


def test_null_in_the_file_is_a_value_and_wins_over_the_user_file(
    write_config: WriteConfig, write_user_file: WriteUserFile
) -> None:
    write_user_file("measurement: {energy: {backend: nvml}, pytorch: {attn_implementation: eager, num_threads: 3}}\n")
    config = experiment(
        write_config("model: m\nenergy: {backend: null}\npytorch: {attn_implementation: null, batch_size: 2}\n")
    )
    assert config.energy.backend is None
    assert config.pytorch is not None
    assert (config.pytorch.attn_implementation, config.pytorch.num_threads) == (None, 3)


def test_a_preset_in_the_file_replaces_the_decoder_of_the_user_file(
    write_config: WriteConfig, write_user_file: WriteUserFile
) -> None:
    write_user_file("measurement: {decoder: {do_sample: true, temperature: 0.2, min_p: 0.1}}\n")
    config = experiment(write_config("model: m\ndecoder: {preset: factual}\n"))
    assert config.decoder == DecoderConfig.model_validate({"preset": "factual"})


def test_a_field_in_the_file_wins_over_the_preset_of_the_user_file(
    write_config: WriteConfig, write_user_file: WriteUserFile
) -> None:
    write_user_file("measurement: {decoder: {preset: creative}}\n")
    decoder = experiment(write_config("model: m\ndecoder: {temperature: 0.5}\n")).decoder
    assert (decoder.temperature, decoder.top_p) == (0.5, 0.98)


@pytest.mark.parametrize(
    ("below", "above"), [("max_prompts", "max_warmup_prompts"), ("max_warmup_prompts", "max_prompts")]
)
def test_two_names_of_one_field_in_two_places_are_that_field(
    write_config: WriteConfig, write_user_file: WriteUserFile, below: str, above: str
) -> None:
    write_user_file(f"measurement: {{warmup: {{{below}: 9}}}}\n")
    path = write_config(f"model: m\nwarmup: {{{above}: 7}}\n")
    assert experiment(path).warmup.max_warmup_prompts == 7
    assert experiment(path, warmup={below: 8}).warmup.max_warmup_prompts == 8


def test_a_dataset_of_the_environment_replaces_the_one_of_the_file(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config("model: m\ndataset: {path: a.txt, order: as_is}\n")
    monkeypatch.setenv("LLEM_DATASET__NAME", "mixed")
    dataset = experiment(path).dataset
    assert (dataset.name, dataset.path, dataset.order) == ("mixed", None, "as_is")


# The environment.


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("LLEM_N", "7", "n", 7),
        ("LLEM_MODEL", "'5'", "model", "5"),
        ("LLEM_NAME", "a name", "name", "a name"),
        ("LLEM_PRECISION", "fp32", "precision", "fp32"),
        ("LLEM_DECODER__DO_SAMPLE", "true", "decoder.do_sample", True),
        ("LLEM_DECODER__TEMPERATURE", "0.5", "decoder.temperature", 0.5),
        ("LLEM_DECODER", "{do_sample: true, top_k: 3}", "decoder.top_k", 3),
        ("LLEM_ENERGY__BACKEND", "null", "energy.backend", None),
        ("LLEM_DATASET", "./a.jsonl", "dataset.path", "a.jsonl"),
        ("LLEM_LORA__PATH", "adapter", "lora.path", "adapter"),
        ("LLEM_PYTORCH__BATCH_SIZE", "4", "pytorch.batch_size", 4),
        ("LLEM_PYTORCH__SUPPRESS_TOKENS", "[1, 2]", "pytorch.suppress_tokens", [1, 2]),
        ("LLEM_PYTORCH__MAX_MEMORY", '{"0": 20GiB}', "pytorch.max_memory", {"0": "20GiB"}),
        ("LLEM_PASSTHROUGH_KWARGS", "{rope_theta: 5}", "passthrough_kwargs.rope_theta", 5),
        ("LLEM_PASSTHROUGH_KWARGS__ROPE_THETA", "5", "passthrough_kwargs.rope_theta", 5),
        ("LLEM_OUTPUT_DIR", "out", "output_dir", "out"),
        ("LLEM_n", "7", "n", 7),
        ("LLEM_Decoder__top_K", "3", "decoder.top_k", 3),
    ],
)
def test_a_variable_is_a_field_with_a_value_as_yaml_reads_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: Any
) -> None:
    monkeypatch.setenv("LLEM_MODEL", "m")
    monkeypatch.setenv(variable, text)
    assert value_of(experiment(None), field) == value


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_an_empty_variable_is_unset(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    for variable in ("LLEM_N", "LLEM_NO_SUCH_FIELD", "LLEM_DECODER"):
        monkeypatch.setenv(variable, text)
    assert experiment(write_config("model: m\nn: 5\n")).n == 5


@pytest.mark.parametrize(
    ("variable", "text", "near"),
    [
        ("LLEM_PRECISON", "fp32", "'precision'"),
        ("LLEM_BATCH_SIZE", "4", "'pytorch.batch_size'"),
        ("LLEM_BATCH_SISE", "4", "'pytorch.batch_size'"),
        ("LLEM_CV_TRESHOLD", "4", "'warmup.cv_threshold'"),
        ("LLEM_MAX_TOKENS", "4", "'max_input_tokens'"),
        ("LLEM_DECODER__BATCH_SIZE", "4", "'pytorch.batch_size'"),
        ("LLEM_DECODER__TOPK", "3", "'decoder.top_k'"),
        ("LLEM_DECODR__TOP_K", "3", "'decoder'"),
        ("LLEM_precison", "fp32", "'precision'"),
        ("LLEM_WARMUP", "{n_warmpu: 3}", "'warmup.n_warmup'"),
        ("LLEM_EXECUTION__PAUS_S", "3", "'execution.pause_s'"),
        pytest.param("LLEM_VLLM__MAX_NUM_SEQ", "3", "'vllm.max_num_seqs'", marks=with_vllm),
    ],
)
@pytest.mark.parametrize("text_of_file", ["model: m\n", "experiments:\n- model: m\n"], ids=["experiment", "study"])
def test_an_unknown_variable_is_named_with_the_nearest_field(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, near: str, text_of_file: str
) -> None:
    monkeypatch.setenv(variable, text)
    (error,) = errors_of(lambda: load_config(write_config(text_of_file), Overrides()), ConfigError)
    assert error.startswith(f"{variable}: ")
    assert f"did you mean {near}?" in error


def test_what_no_experiment_has_is_blamed_on_its_variable(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLEM_EXPERIMENTS", "[{model: x}]")
    (error,) = errors_of(lambda: experiment(write_config("model: m\n")), ConfigError)
    assert error.startswith("LLEM_EXPERIMENTS: ")


@pytest.mark.parametrize(
    ("variable", "text", "field"),
    [
        ("LLEM_N", "0", "n"),
        ("LLEM_n", "few", "n"),
        ("LLEM_N", "null", "n"),
        ("LLEM_MODEL", "5", "model"),
        ("LLEM_PRECISION", "int3", "precision"),
        ("LLEM_DECODER__TOP_P", "1.5", "decoder.top_p"),
        ("LLEM_WARMUP", "3", "warmup"),
        ("LLEM_N__X", "3", "n"),
        ("LLEM_PYTORCH__BATCH_SIZE", "true", "pytorch.batch_size"),
        ("LLEM_PASSTHROUGH_KWARGS__DTYPE", "fp32", "passthrough_kwargs.dtype"),
        ("LLEM_PASSTHROUGH_KWARGS", "{dtype: fp32}", "passthrough_kwargs.dtype"),
    ],
)
def test_a_wrong_value_of_a_variable_is_named_by_the_variable(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str
) -> None:
    monkeypatch.setenv(variable, text)
    (error,) = errors_of(lambda: experiment(write_config("model: m\nn: 5\ndecoder: {top_k: 3}\n")))
    assert error.startswith(f"{variable}: {field}: ")


@pytest.mark.parametrize("text", ["[1", "{a: b", "!!int x", "2024-13-45", "!!python/name:os.system", "'", "a: b: c"])
def test_a_variable_that_is_no_yaml_is_named(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("LLEM_N", text)
    (error,) = errors_of(lambda: experiment(write_config("model: m\n")), ConfigError)
    assert error.startswith("LLEM_N: ")


def test_a_wrong_variable_is_told_once_for_all_of_a_study_and_never_as_a_line_of_the_file(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLEM_N", "0")
    errors = errors_of(lambda: study(write_config("experiments:\n- {model: a, n: 3}\n- model: b\n")))
    assert [error.split(": ")[:2] for error in errors] == [["LLEM_N", "n"]]


def test_variables_of_a_study_go_to_the_study(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLEM_EXECUTION__PAUSE_S", "3")
    monkeypatch.setenv("LLEM_OUTPUT_DIR", "out")
    found = study(write_config("experiments:\n- model: a\nexecution: {pause_s: 1, on_failure: stop}\n"))
    assert (found.execution.pause_s, found.execution.on_failure, found.output_dir) == (3, "stop", Path("out"))
    assert found.experiments[0].output_dir is None


def test_execution_is_for_single_experiments_too_and_is_in_no_hash(
    write_config: WriteConfig, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_user_file("execution: {on_failure: stop}\n")
    monkeypatch.setenv("LLEM_EXECUTION__TIMEOUT_S", "3")
    found = experiment(write_config("model: m\nprecision: fp32\nexecution: {stall_timeout_s: null}\n"))
    assert found.execution == ExecutionConfig(on_failure="stop", timeout_s=3, stall_timeout_s=None)
    plain = ExperimentConfig(model="m", precision="fp32")
    assert measurement_config_hash(found) == measurement_config_hash(plain)
    assert found.equivalent_to(plain)
    assert "execution" not in found.resolved()


# The user's file.


def test_the_user_file_lies_where_the_platform_keeps_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert user_file_path() == tmp_path / "xdg" / "llenergymeasure" / "config.yaml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_file_path() == tmp_path / ".config" / "llenergymeasure" / "config.yaml"


def test_a_missing_user_file_changes_nothing(write_config: WriteConfig, write_user_file: WriteUserFile) -> None:
    assert not user_file_path().exists()
    assert experiment(write_config("model: m\n")) == ExperimentConfig(model="m")


@pytest.mark.parametrize(
    "text", ["", "\n", "# nothing yet\n", "null\n", "{}\n", "measurement: {}\n", "output: {}\nexecution: {}\n"]
)
def test_an_empty_user_file_changes_nothing(
    write_config: WriteConfig, write_user_file: WriteUserFile, text: str
) -> None:
    write_user_file(text)
    assert experiment(write_config("model: m\n")) == ExperimentConfig(model="m")
    assert study(write_config("experiments:\n- model: m\n")) == StudyConfig(experiments=[ExperimentConfig(model="m")])


def test_the_user_file_gives_defaults_for_measurement_execution_and_output(
    write_config: WriteConfig, write_user_file: WriteUserFile
) -> None:
    write_user_file(
        "output:\n  dir: /data/results\nmeasurement:\n  n: 7\n  baseline: {duration_seconds: 5}\n"
        "execution:\n  launcher: in_process\n"
    )
    found = study(write_config("experiments:\n- model: m\n- {model: m, n: 8}\n"))
    assert [e.n for e in found.experiments] == [7, 8]
    assert [e.baseline.duration_seconds for e in found.experiments] == [5, 5]
    assert (found.execution.launcher, found.output_dir) == ("in_process", Path("/data/results"))
    assert experiment(write_config("model: m\n")).output_dir == Path("/data/results")
    assert experiment(write_config("model: m\noutput_dir: here\n")).output_dir == Path("here")


def test_a_folder_for_results_may_start_at_home(
    write_config: WriteConfig, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_user_file("output: {dir: ~/llem/results}\n")
    found = experiment(write_config("model: m\n"))
    assert found.output_dir == Path("~/llem/results")
    assert in_use(found).output_dir == tmp_path / "llem" / "results"


@pytest.mark.parametrize("folder", ["results", "./results", "../results", "''", "~no-such-user-here/results"])
def test_a_folder_for_results_that_depends_on_where_one_stands_is_refused(
    write_config: WriteConfig, write_user_file: WriteUserFile, folder: str
) -> None:
    path = write_user_file(f"output:\n  dir: {folder}\n")
    (error,) = errors_of(lambda: experiment(write_config("model: m\n")))
    assert error.startswith(f"{path}:2: output.dir: ")


@pytest.mark.parametrize("name", ["model", "name", "dataset", "lora", "passthrough_kwargs", "output_dir"])
def test_what_an_experiment_is_about_is_no_default(
    write_config: WriteConfig, write_user_file: WriteUserFile, name: str
) -> None:
    path = write_user_file(f"measurement:\n  n: 3\n  {name}: x\n")
    (error,) = errors_of(lambda: experiment(write_config("model: m\n")), ConfigError)
    assert error.startswith(f"{path}:3: measurement.{name}: unknown key; ")


def test_every_other_field_of_an_experiment_has_a_default_in_the_user_file(
    write_config: WriteConfig, write_user_file: WriteUserFile
) -> None:
    given = {
        "precision": "fp32",
        "n": 3,
        "max_input_tokens": 4,
        "max_output_tokens": 5,
        "random_seed": 6,
        "decoder": {"do_sample": True, "top_k": 7},
        "warmup": {"n_warmup": 8},
        "energy": {"backend": "nvml"},
        "baseline": {"enabled": False},
        "backend": "pytorch",
        "pytorch": {"batch_size": 9},
    }
    write_user_file(yaml.safe_dump({"measurement": given}))
    assert experiment(write_config("model: m\n")) == ExperimentConfig.model_validate({"model": "m", **given})


def test_all_errors_of_the_user_file_are_told_with_their_lines(
    write_config: WriteConfig, write_user_file: WriteUserFile
) -> None:
    path = write_user_file(
        "output:\n  dir: here\n\nmeasurement:\n  n: 0\n  decoder:\n    top_kk: 3\n    top_p: 2\nexecution:\n"
        "  launcher: ssh\nresults: {}\n"
    )
    errors = errors_of(lambda: experiment(write_config("model: m\n")), ConfigError)
    assert sorted(error.split(": ")[:2] for error in errors) == sorted(
        [f"{path}:{line}", field]
        for line, field in {
            2: "output.dir",
            5: "measurement.n",
            7: "measurement.decoder.top_kk",
            8: "measurement.decoder.top_p",
            10: "execution.launcher",
            11: "results",
        }.items()
    )


def test_wrong_values_of_the_user_file_are_notes_on_pydantics_own_error(
    write_config: WriteConfig, write_user_file: WriteUserFile
) -> None:
    path = write_user_file("measurement:\n  n: 0\n  precision: int3\n")
    errors = errors_of(lambda: experiment(write_config("model: m\n")), ValidationError)
    assert sorted(error.split(": ")[:2] for error in errors) == [
        [f"{path}:2", "measurement.n"],
        [f"{path}:3", "measurement.precision"],
    ]


def test_a_default_that_only_the_experiment_makes_wrong_is_told_by_the_line_of_the_user_file(
    write_config: WriteConfig, write_user_file: WriteUserFile
) -> None:
    path = write_user_file("measurement:\n  pytorch:\n    load_in_4bit: true\n")
    (error,) = errors_of(lambda: experiment(write_config("model: m\npytorch: {load_in_8bit: true}\n")))
    assert error.startswith(f"{path}:3: pytorch.load_in_4bit: ")


@pytest.mark.parametrize("text", ["- 1\n", "words\n", "a: [\n", "n: 1\nn: 2\n", "1: 2\n"])
def test_a_user_file_that_is_no_configuration_is_a_config_error(
    write_config: WriteConfig, write_user_file: WriteUserFile, text: str
) -> None:
    path = write_user_file(text)
    (error,) = errors_of(lambda: experiment(write_config("model: m\n")), ConfigError)
    assert error.startswith(f"{path}:")


def test_a_user_file_that_cannot_be_read_is_a_config_error(
    write_config: WriteConfig, write_user_file: WriteUserFile
) -> None:
    path = write_user_file("")
    path.unlink()
    path.mkdir()
    assert str(path) in errors_of(lambda: experiment(write_config("model: m\n")), ConfigError)[0]
    path.rmdir()
    path.symlink_to("nowhere")
    assert str(path) in errors_of(lambda: experiment(write_config("model: m\n")), ConfigError)[0]


# Settings that were made for another engine.


@with_vllm
def test_defaults_for_another_engine_do_not_disturb_an_experiment(
    write_config: WriteConfig, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_user_file("measurement: {vllm: {max_num_seqs: 8}, pytorch: {batch_size: 4}}\n")
    monkeypatch.setenv("LLEM_VLLM__BLOCK_SIZE", "16")
    monkeypatch.setenv("LLEM_PYTORCH__NUM_THREADS", "2")
    on_pytorch = experiment(write_config("model: m\n"))
    on_vllm = experiment(write_config("model: m\nbackend: vllm\n"))
    assert on_pytorch == ExperimentConfig.model_validate({"model": "m", "pytorch": {"batch_size": 4, "num_threads": 2}})
    assert on_vllm == ExperimentConfig.model_validate(
        {"model": "m", "backend": "vllm", "vllm": {"max_num_seqs": 8, "block_size": 16}}
    )


@with_vllm
def test_each_experiment_of_a_study_gets_the_defaults_for_its_own_engine(
    write_config: WriteConfig, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_user_file("measurement: {vllm: {max_num_seqs: 8}, pytorch: {batch_size: 4}}\n")
    monkeypatch.setenv("LLEM_VLLM__MAX_NUM_SEQS", "16")
    found = study(write_config("experiments:\n- model: m\n- {model: m, backend: vllm}\n")).experiments
    assert [value_of(found[0], "pytorch.batch_size"), value_of(found[1], "vllm.max_num_seqs")] == [4, 16]
    assert (found[0].model_dump()["vllm"], found[1].pytorch) == (None, None)


@with_vllm
def test_an_engine_chosen_by_the_environment_leaves_the_others_defaults_alone(
    write_config: WriteConfig, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_user_file("measurement: {pytorch: {batch_size: 4}}\n")
    monkeypatch.setenv("LLEM_BACKEND", "vllm")
    assert experiment(write_config("model: m\n")) == ExperimentConfig(model="m", backend="vllm")


@with_vllm
def test_a_section_of_another_engine_that_the_experiment_itself_has_is_refused(write_config: WriteConfig) -> None:
    path = write_config("model: m\nvllm: {max_num_seqs: 8}\n")
    (error,) = errors_of(lambda: experiment(path))
    assert error.startswith(f"{path}:2: vllm: ")
    (error,) = errors_of(lambda: experiment(write_config("model: m\n"), vllm={"max_num_seqs": 8}))
    assert error.startswith("vllm: ")


@with_vllm
def test_flags_for_an_engine_go_to_the_experiments_of_a_study_that_run_on_it(write_config: WriteConfig) -> None:
    path = write_config("experiments:\n- model: m\n- {model: m, backend: vllm}\n")
    found = study(path, vllm={"max_num_seqs": 8}).experiments
    assert found[0] == ExperimentConfig(model="m")
    assert value_of(found[1], "vllm.max_num_seqs") == 8
    alone = write_config("experiments:\n- model: m\n")
    assert errors_of(lambda: study(alone, vllm={"max_num_seqs": 8}))[0].startswith("vllm: ")


# From Python.


def test_a_configuration_in_python_is_all_there_is(
    write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_user_file("measurement: {n: 3}\noutput: {dir: /data}\n")
    monkeypatch.setenv("LLEM_PRECISION", "fp32")
    config = ExperimentConfig(model="m", max_input_tokens=9)
    assert _api._experiment_config(config, {}) == config
    assert _api._experiment_config(config, {"warmup": {"n_warmup": 2}, "max_input_tokens": 8}) == (
        ExperimentConfig.model_validate({"model": "m", "max_input_tokens": 8, "warmup": {"n_warmup": 2}})
    )


@pytest.mark.pytorch
def test_neither_a_broken_user_file_nor_a_wrong_variable_stops_a_configuration_in_python(
    write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_user_file("no: [\n")
    monkeypatch.setenv("LLEM_N", "0")
    with pytest.raises(PreFlightError, match="no-such-model"):
        run_experiment(ExperimentConfig(model=str(tmp_path / "no-such-model")), n=3)
    with pytest.raises(ValidationError):
        run_experiment(ExperimentConfig(model="m"), n=-1)


def test_a_file_or_keywords_in_python_are_read_like_on_the_command_line(
    write_config: WriteConfig, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_user_file("measurement: {n: 3, precision: fp32, max_input_tokens: 4}\n")
    monkeypatch.setenv("LLEM_PRECISION", "fp16")
    path = write_config("model: m\nmax_input_tokens: 5\n")
    config = load_experiment_config(path, {"random_seed": 6})
    assert (config.n, config.precision, config.max_input_tokens, config.random_seed) == (3, "fp16", 5, 6)
    config = load_experiment_config(None, {"model": "m"})
    assert (config.n, config.precision, config.max_input_tokens) == (3, "fp16", 4)


def test_loading_leaves_the_environment_as_it_was(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLEM_N", "3")
    before = dict(os.environ)
    experiment(write_config("model: m\n"))
    assert dict(os.environ) == before


def test_two_variables_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(ConfigError, match="LLEM_N and LLEM_n set the same field"):
        environment_source({"LLEM_N": "7", "LLEM_n": "8"})


def test_a_section_of_the_user_file_may_be_empty(write_config: WriteConfig, write_user_file: WriteUserFile) -> None:
    write_user_file("measurement:\noutput:\nexecution:\n")
    assert experiment(write_config("model: m\n")) == ExperimentConfig(model="m")


def test_a_wrong_value_in_place_of_a_section_is_not_hidden_by_an_override(write_config: WriteConfig) -> None:
    (error,) = errors_of(lambda: experiment(write_config("model: m\ndecoder: 3\n"), decoder={"top_k": 3}))
    assert "decoder: Input should be a mapping" in error


def test_both_names_of_a_field_in_one_place_are_told_as_that(write_config: WriteConfig) -> None:
    path = write_config("model: m\nwarmup: {max_prompts: 7, max_warmup_prompts: 8}\n")
    (error,) = errors_of(lambda: experiment(path), ConfigError)
    assert error.endswith(
        "max_prompts: unknown key; it is another name of 'max_warmup_prompts', which is given too; keep one of them"
    )
