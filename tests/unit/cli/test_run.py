"""``llem run``: what is refused, with which code and words, and what a dry run shows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llenergymeasure.config.models import ExperimentConfig, measurement_config_hash
from tests.fakes.command import Ran
from tests.fakes.effort import examples

pytestmark = pytest.mark.pytorch

Llem = Callable[..., Ran]


def refused(ran: Ran, code: int, *said: str) -> None:
    """It ended with the code, said all of that on stderr, each line as its own, and nothing on stdout."""
    assert (ran.code, ran.out) == (code, "")
    assert "Traceback" not in ran.err
    assert "unforeseen" not in ran.err
    for words in said:
        assert words in ran.err


def write(folder: Path, text: str, name: str = "run.yaml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def documents(text: str) -> list[dict[str, Any]]:
    """The experiments that a dry run shows."""
    parts = text.split("# experiment ")[1:]
    return [yaml.safe_load(part.split("\n", 1)[1]) for part in parts]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "no-such.yaml"], ["llem: no-such.yaml", "No such file"]),
        (["run", "."], ["llem: .: ", "it is a folder; give a regular file"]),
        (["run"], ["nothing to run", "--model"]),
        (["run", "-n", "0"], ["nothing to run"]),
        (["run", "--model", "./m", "-n", "0"], ["n: ", "greater than or equal to 1", "0"]),
        (["run", "--model", "./m", "-n", "few"], ["'few' is not a valid integer"]),
        (["run", "--model", "./m", "--precision", "int3"], ["precision", "'int3'"]),
        (["run", "--model", ""], ["model"]),
        (["run", "--model", "./m", "--dataset", "mixd"], ["dataset", "'mixd'", "mixed"]),
        (["run", "--model", "./m", "--batch-size", "0"], ["pytorch.batch_size", "0"]),
        (["run", "--model", "./m", "--batch-size", "4", "--backend", "vllm"], ["--batch-size", "'vllm'"]),
        (
            ["run", "--model", "./m", "--batch-size", "0", "--backend", "vllm", "-n", "0", "--set", "bach=1"],
            ["--batch-size: the engine 'vllm' has no field batch_size", "n: ", "bach: unknown key"],
        ),
        (
            ["run", "--model", "./m", "--batch-size", "4", "--backend", "slow"],
            ["called 'slow'"],
        ),
        (["run", "--bach-size", "4"], ["--bach-size", "--batch-size"]),
        (["rum"], ["'rum'"]),
    ],
)
def test_wrong_usage_is_code_2_and_writes_nothing(llem: Llem, folder: Path, args: list[str], said: list[str]) -> None:
    refused(llem(*args), 2, *said)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "model: ./m\nmax_output_tokns: 3\n",
            ["run.yaml:2: max_output_tokns: unknown key; did you mean 'max_output_tokens'?"],
        ),
        ("model: ./m\nwarmup:\n  n_warmpu: 2\n", ["run.yaml:3: warmup.n_warmpu", "did you mean 'warmup.n_warmup'?"]),
        ("model: ./m\nn: 0\nprecision: int3\n", ["run.yaml:2: n: ", "run.yaml:3: precision: "]),
        ("n: 3\n", ["model: Field required"]),
        ("experiments:\n- model: ./m\n- modle: ./m\n", ["run.yaml:3: experiments.1.modle", "'model'"]),
        ("experiments: []\n", ["run.yaml:1: experiments"]),
        ("experiments:\n", ["run.yaml:1: experiments"]),
        ("a: [", ["run.yaml:", "not valid YAML"]),
        ("", ["run.yaml:1", "empty"]),
        ("- 1\n", ["run.yaml:1", "mapping"]),
        ("model: ./m\nwarmup: 3\n", ["run.yaml:2: warmup"]),
        ("model: ./m\noutput_dir: [a, b]\n", ["run.yaml:2: output_dir"]),
        ("model: ./m\noutput_dir: 5\n", ["run.yaml:2: output_dir"]),
        ("model: ./m\nbackend: pytorhc\n", ["'pytorhc'; did you mean 'pytorch'?"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_a_wrong_file_is_code_2_with_file_line_and_field(
    llem: Llem, folder: Path, text: str, said: list[str], flags: list[str]
) -> None:
    ran = llem("run", write(folder, text), *flags)
    refused(ran, 2, *said)
    assert all(line.startswith("llem: ") for line in ran.err.splitlines())
    assert [p.name for p in folder.iterdir()] == ["run.yaml"]


def test_a_wrong_flag_is_not_blamed_on_the_file(llem: Llem, folder: Path, model: str) -> None:
    ran = llem("run", write(folder, f"model: {model}\nn: 5\n"), "-n", "0", "--dry-run")
    refused(ran, 2, "n: ")
    assert "run.yaml:2" not in ran.err


def test_all_errors_of_a_file_are_said_at_once(llem: Llem, folder: Path) -> None:
    ran = llem("run", write(folder, "modl: ./m\nn: 0\nprecision: x\ndecoder:\n  top_p: 7\n"))
    refused(ran, 2, "run.yaml:1: modl", "run.yaml:2: n:", "run.yaml:3: precision:", "run.yaml:5: decoder.top_p:")


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_a_missing_model_directory_is_code_1_and_writes_nothing(llem: Llem, folder: Path, flags: list[str]) -> None:
    refused(llem("run", "--model", "./no-such-model", *flags), 1, "./no-such-model")
    assert list(folder.iterdir()) == []


def test_every_missing_thing_of_a_study_is_said(llem: Llem, folder: Path) -> None:
    ran = llem("run", write(folder, "experiments:\n- model: ./first\n- model: ./second\n"), "--output", "run.yaml")
    refused(ran, 1, "./first", "./second", "is a file, not a folder")
    told, *problems = ran.err.splitlines()
    assert told == "llem: checking what is to be run, and this machine"
    assert len(problems) == 3


def test_an_existing_csv_file_is_refused_before_anything(llem: Llem, folder: Path, model: str) -> None:
    (folder / "out.csv").write_text("mine", encoding="utf-8")
    refused(llem("run", "--model", model, "--export-csv", "out.csv"), 2, "--export-csv out.csv", "exists")
    assert (folder / "out.csv").read_text(encoding="utf-8") == "mine"
    assert [p.name for p in folder.iterdir()] == ["out.csv"]


def test_a_csv_file_in_a_missing_folder_is_refused_before_anything(llem: Llem, folder: Path, model: str) -> None:
    refused(llem("run", "--model", model, "--export-csv", "absent/out.csv", "--dry-run"), 2, "--export-csv", "absent")
    assert list(folder.iterdir()) == []


def test_a_dry_run_shows_the_experiment_with_every_default_and_writes_nothing(
    llem: Llem, folder: Path, model: str
) -> None:
    text = f"model: {model}\nn: 5\npytorch:\n  batch_size: 2\n"
    ran = llem("run", write(folder, text), "--precision", "fp32", "--dry-run", "-n", "7")
    assert (ran.code, ran.err) == (0, "")
    (shown,) = documents(ran.out)
    expected = {
        "model": model,
        "n": 7,
        "precision": "fp32",
        "max_input_tokens": 512,
        "max_output_tokens": 128,
        "random_seed": 42,
        "backend": "pytorch",
    }
    assert {k: shown[k] for k in expected} == expected
    assert shown["pytorch"]["batch_size"] == 2
    assert shown["warmup"]["thermal_floor_seconds"] == 60.0
    assert "nothing was run" in ran.out
    assert "results would go to results" in ran.out
    assert [p.name for p in folder.iterdir()] == ["run.yaml"]


def test_what_a_dry_run_shows_is_the_experiment_it_names(llem: Llem, folder: Path, model: str) -> None:
    ran = llem("run", "--model", model, "--batch-size", "3", "--dry-run", "-o", "elsewhere")
    (shown,) = documents(ran.out)
    config = ExperimentConfig.model_validate(shown)
    assert config == ExperimentConfig.model_validate({"model": model, "pytorch": {"batch_size": 3}})
    assert f"hash {measurement_config_hash(config)}" in ran.out
    assert "elsewhere" in ran.out
    assert list(folder.iterdir()) == []


def test_a_dry_run_of_a_study_is_a_line_for_each_configuration(llem: Llem, folder: Path, model: str) -> None:
    text = f"""
model: {model}
max_output_tokens: 8
decoder: {{top_k: 5}}
sweep:
  n: [1, 2]
  precision: [fp32, bf16]
execution: {{cycles: 5, seed: 7}}
"""
    ran = llem("run", write(folder, text), "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    header, _, *lines = ran.out.splitlines()
    assert header.split() == ["#", "precision", "n", "memory", "cautions"]
    cells = [line.split() for line in lines[:4]]
    assert [row[:4] for row in cells] == [
        ["1", "fp32", "1", "fits"], ["2", "bf16", "1", "fits"], ["3", "fp32", "2", "fits"], ["4", "bf16", "2", "fits"],
    ]  # fmt: skip
    # Beside what this machine has to say of a precision.
    (number,) = [line.partition(":")[0] for line in lines if ": decoder.top_k changes nothing: " in line]
    assert all(number in row[4:] for row in cells)
    assert "runs: 4 configurations, 5 runs each: 20 runs; order: blocks, seed 7" in lines
    assert "time: not known; no study in the output folder has run any of these" in lines
    # 20 runs of 60 kB and little more, and a margin of 50 MB.
    assert "disk: at most 51 MB" in lines
    # k = 2.02 at n = 5, by measurement.md.
    assert "differences: of about 2 times the scatter of runs (CV) on can be seen; at a CV of 1 %: 2.0 %" in lines
    assert lines[-1].startswith("everything needed is here; results would go to results; nothing was run")
    assert [p.name for p in folder.iterdir()] == ["run.yaml"]


def test_a_dry_run_of_a_study_shows_all_of_each_where_more_is_asked_for(llem: Llem, folder: Path, model: str) -> None:
    text = f"experiments:\n- {{model: {model}, n: 1}}\n- {{model: {model}, n: 2, precision: fp16}}\n"
    ran = llem("run", write(folder, text), "--dry-run", "-v", "--batch-size", "4", "--dataset", "mixed")
    assert ran.code == 0
    shown = documents(ran.out)
    assert [(s["n"], s["precision"], s["pytorch"]["batch_size"]) for s in shown] == [(1, "bf16", 4), (2, "fp16", 4)]
    assert "experiment 2 of 2" in ran.out
    assert [p.name for p in folder.iterdir()] == ["run.yaml"]


def test_a_dry_run_estimates_memory(llem: Llem, folder: Path, model: str) -> None:
    assert "memory" in llem("run", "--model", model, "--dry-run").out.replace(model, "")


def test_the_output_flag_wins_over_the_file(llem: Llem, folder: Path, model: str) -> None:
    file = write(folder, f"model: {model}\noutput_dir: from-file\n")
    assert "results would go to from-file;" in llem("run", file, "--dry-run").out
    assert "results would go to from-flag;" in llem("run", file, "--dry-run", "-o", "from-flag").out


def test_a_dataset_flag_replaces_the_whole_source_of_the_file(llem: Llem, folder: Path, model: str) -> None:
    file = write(folder, f"model: {model}\ndataset:\n  path: gone.txt\n")
    refused(llem("run", file, "--dry-run"), 2, "gone.txt")
    ran = llem("run", file, "--dry-run", "--dataset", "mixed")
    assert ran.code == 0
    assert documents(ran.out)[0]["dataset"]["name"] == "mixed"


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from(["model: ./x\n", "n: ", "0\n", "- ", "experiments:\n", "&a ", "*a\n", "{", "]", "  "]))
    .map("".join)
    .map(str.encode)
)
def test_whatever_the_file_says_there_is_a_message_and_a_code(llem: Llem, folder: Path, content: bytes) -> None:
    (folder / "any.yaml").write_bytes(content)
    ran = llem("run", "any.yaml", "--dry-run")
    assert ran.code in (1, 2)
    refused(ran, ran.code, "llem: ")
    assert [p.name for p in folder.iterdir()] == ["any.yaml"]


def test_set_changes_any_field_and_wins_over_flag_and_file(llem: Llem, folder: Path, model: str) -> None:
    file = write(folder, f"model: {model}\nn: 5\nwarmup: {{n_warmup: 4}}\n")
    settings = ["--set", "warmup.thermal_floor_seconds=31", "--set", "n=7", "--set", "pytorch.batch_size=3"]
    ran = llem("run", file, "--dry-run", "-n", "6", *settings)
    (shown,) = documents(ran.out)
    assert (shown["n"], shown["pytorch"]["batch_size"]) == (7, 3)
    assert (shown["warmup"]["n_warmup"], shown["warmup"]["thermal_floor_seconds"]) == (4, 31)


def test_a_wrong_setting_is_refused_like_a_wrong_file(llem: Llem, folder: Path, model: str) -> None:
    file = write(folder, f"model: {model}\n")
    refused(
        llem("run", file, "--set", "warmup.n_warmpu=3"),
        2,
        "warmup.n_warmpu: unknown key; did you mean 'warmup.n_warmup'?",
    )
    refused(llem("run", file, "--set", "n"), 2, "write it as field=value")
    refused(llem("run", "--set", "n=0", "--model", model), 2, "n: Input should be greater than or equal to 1")


def test_a_model_can_be_set_without_a_file(llem: Llem, folder: Path, model: str) -> None:
    assert llem("run", "--set", f"model={model}", "--dry-run").code == 0
