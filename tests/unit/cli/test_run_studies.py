"""``llem run`` with several values: studies on the spot, and over a study file."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.command import Ran

pytestmark = pytest.mark.pytorch

Llem = Callable[..., Ran]


def planned(ran: Ran, *names: str) -> list[tuple[Any, ...]]:
    """The experiments that a dry run shows, each as the values of these fields."""
    assert ran.code == 0, ran.err
    found = []
    for part in ran.out.split("# experiment ")[1:]:
        values = yaml.safe_load(part.split("\n", 1)[1])
        row = []
        for name in names:
            value: Any = values
            for key in name.split("."):
                value = value.get(key)
            row.append(value)
        found.append(tuple(row))
    return found


def refused(ran: Ran, said: str) -> None:
    """It ended with code 2 and one line that has this in it."""
    assert (ran.code, ran.out) == (2, "")
    assert re.search(said, ran.err), ran.err


def write(folder: Path, text: str) -> str:
    """The name of a configuration with this content."""
    (folder / "run.yaml").write_text(text, encoding="utf-8")
    return "run.yaml"


BATCH = "pytorch.batch_size"


def test_commas_make_a_study_of_all_combinations_the_first_option_slowest(llem: Llem, folder: Path, model: str) -> None:
    ran = llem("run", "--model", model, "--batch-size", "1,4,16", "--precision", "fp32,bf16", "--dry-run", "-v")
    assert planned(ran, BATCH, "precision") == [
        (1, "fp32"), (1, "bf16"), (4, "fp32"), (4, "bf16"), (16, "fp32"), (16, "bf16"),
    ]  # fmt: skip
    assert list(folder.iterdir()) == []


def test_any_field_varies_by_set(llem: Llem, model: str) -> None:
    ran = llem("run", "--model", model, "--set", "max_output_tokens=5,6", "--set", f"{BATCH}=1, 2", "--dry-run", "-v")
    assert planned(ran, "max_output_tokens", BATCH) == [(5, 1), (5, 2), (6, 1), (6, 2)]


def test_a_comma_inside_of_a_list_makes_no_study(llem: Llem, model: str) -> None:
    ran = llem("run", "--model", model, "--set", "pytorch.suppress_tokens=[1, 2]", "--dry-run", "-v")
    assert planned(ran, "pytorch.suppress_tokens") == [([1, 2],)]


def test_a_file_whose_name_has_a_comma_is_one_file(llem: Llem, folder: Path, model: str) -> None:
    for name in ("a,b.jsonl", "c.jsonl"):
        (folder / name).write_text('{"prompt": "hello"}\n' * 100, encoding="utf-8")
    ran = llem("run", "--model", model, "--dataset", "a,b.jsonl", "--dry-run", "-v")
    assert planned(ran, "dataset.path") == [("a,b.jsonl",)]
    ran = llem("run", "--model", model, "--set", "dataset.path=a,b.jsonl", "--dry-run", "-v")
    assert planned(ran, "dataset.path") == [("a,b.jsonl",)]
    ran = llem("run", "--model", model, "--dataset", "mixed,c.jsonl", "--dry-run", "-v")
    assert planned(ran, "dataset.name", "dataset.path") == [("mixed", None), (None, "c.jsonl")]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], [("fp32", 1), ("fp32", 4), ("bf16", 1), ("bf16", 4)]),
        (["--batch-size", "2,8"], [("fp32", 2), ("fp32", 8), ("bf16", 2), ("bf16", 8)]),
        (["--precision", "bf16,fp16"], [("bf16", 1), ("bf16", 4), ("fp16", 1), ("fp16", 4)]),
        (["--precision", "bf16"], [("bf16", 1), ("bf16", 4)]),
        (["--batch-size", "8"], [("fp32", 8), ("bf16", 8)]),
        (["--batch-size", "8,9", "--set", f"{BATCH}=2"], [("fp32", 2), ("bf16", 2)]),
        (["--batch-size", "8", "--set", f"{BATCH}=2,3"], [("fp32", 2), ("fp32", 3), ("bf16", 2), ("bf16", 3)]),
        (["--precision", "fp32,fp16", "--set", "precision=bf16"], [("bf16", 1), ("bf16", 4)]),
    ],
)
def test_a_flag_replaces_what_varies_in_the_file(
    llem: Llem, folder: Path, model: str, flags: list[str], expected: list[Any]
) -> None:
    name = write(folder, f"model: {model}\nsweep:\n  precision: [fp32, bf16]\n  pytorch.batch_size: [1, 4]\n")
    assert planned(llem("run", name, *flags, "--dry-run", "-v"), "precision", BATCH) == expected


def test_what_a_file_leaves_out_may_be_gone_once_a_flag_replaces_it(llem: Llem, folder: Path, model: str) -> None:
    name = write(
        folder,
        f"model: {model}\nsweep: {{precision: [fp32, bf16], pytorch.batch_size: [1, 4]}}\n"
        "exclude: [{precision: fp32, pytorch.batch_size: 4}]\n",
    )
    names = ("precision", BATCH)
    assert planned(llem("run", name, "--batch-size", "4,8", "--dry-run", "-v"), *names) == [
        ("fp32", 8), ("bf16", 4), ("bf16", 8),
    ]  # fmt: skip
    assert planned(llem("run", name, "--precision", "bf16", "--dry-run", "-v"), *names) == [("bf16", 1), ("bf16", 4)]


def test_a_flag_adds_what_varies_to_each_experiment_of_a_list(llem: Llem, folder: Path, model: str) -> None:
    name = write(folder, f"model: {model}\nexperiments: [{{n: 3}}, {{n: 4}}]\n")
    assert planned(llem("run", name, "--precision", "fp32,bf16", "--dry-run", "-v"), "n", "precision") == [
        (3, "fp32"), (3, "bf16"), (4, "fp32"), (4, "bf16"),
    ]  # fmt: skip


def test_a_variable_wins_over_what_varies_in_the_file_and_a_flag_over_both(
    llem: Llem, folder: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write(folder, f"model: {model}\nn: 3\nsweep: {{precision: [fp32, bf16], n: [1, 2]}}\n")
    monkeypatch.setenv("LLEM_PRECISION", "fp16")
    assert planned(llem("run", name, "--dry-run", "-v"), "precision", "n") == [("fp16", 1), ("fp16", 2)]
    ran = llem("run", name, "--precision", "bf16,fp32", "-n", "7", "--dry-run", "-v")
    assert planned(ran, "precision", "n") == [("bf16", 7), ("fp32", 7)]


def test_a_dry_run_lists_what_is_left_out_with_the_reason(llem: Llem, model: str) -> None:
    same = ["--set", "decoder.do_sample=false", "--set", "decoder.temperature=0.5,0.7"]
    ran = llem("run", "--model", model, *same, "--dry-run", "-v")
    assert ran.out.splitlines()[-2:] == [
        "# left out: 1 (1 equal to another)",
        "# - decoder.temperature: 0.7: it would be run like experiment 1: "
        "decoder.temperature changes nothing: it needs do_sample",
    ]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--batch-size", "1,0"], r"^llem: command line: pytorch\.batch_size: .*, got 0$"),
        (["--precision", "fp32,int3"], r"^llem: command line: precision: .*, got 'int3'$"),
        (["--set", "vllm.max_num_seqs=1,2"], r"^llem: command line: vllm\.max_num_seqs: no configuration runs vllm"),
        (
            ["-n", "1,2", "--set", "vllm.max_num_seqs=3"],
            r"^llem: command line: vllm: section 'vllm' belongs to another",
        ),
        (["--set", "n=1,2,1"], "n=1,2,1: 1 is there twice"),
        (["--set", "precison=fp32,bf16"], "precison: unknown key; did you mean 'precision'?"),
        (["--order", "random"], r"execution\.order: .*'blocks', 'sequential' or 'shuffled', got 'random'"),
        (["--cycles", "0"], r"execution\.cycles: .*greater than or equal to 1, got 0"),
    ],
)
def test_a_wrong_value_among_several_is_told_as_one_of_the_command_line(
    llem: Llem, model: str, flags: list[str], said: str
) -> None:
    refused(llem("run", "--model", model, *flags, "--dry-run"), said)


@pytest.mark.parametrize("text", ["1,,4", "1,", ",", "1,x", "4,4"])
def test_a_list_with_something_wrong_in_it_is_wrong_usage(llem: Llem, model: str, text: str) -> None:
    ran = llem("run", "--model", model, "--batch-size", text, "--dry-run", "-v")
    assert ran.code == 2
    assert "--batch-size" in ran.err


def test_cycles_of_a_single_configuration_make_a_study_of_one(llem: Llem, folder: Path, model: str) -> None:
    name = write(folder, f"model: {model}\nn: 3\n")
    assert planned(
        llem("run", name, "--cycles", "3", "--order", "shuffled", "--seed", "7", "--dry-run", "-v"), "n"
    ) == [(3,)]


def test_an_engine_without_the_field_of_an_option_is_named(llem: Llem, model: str) -> None:
    ran = llem("run", "--model", model, "--backend", "pytorch,vllm", "--batch-size", "1,4", "--dry-run", "-v")
    refused(ran, "--batch-size: the engine 'vllm' has no field batch_size")


@pytest.mark.parametrize(
    ("execution", "place"),
    [
        ("{gate_temperature_c: 5}", "execution.gate_temperature_c: this ends a pause early"),
        ("{launcher: in_process, timeout_s: 5}", "execution.timeout_s: this cannot go with launcher: in_process"),
        ("{launcher: in_process, max_memory_mb: 5}", "execution.max_memory_mb: this cannot go with launcher"),
    ],
)
def test_what_cannot_go_with_another_field_is_told_at_its_own_name(
    tmp_path: Path, llem: Callable[..., Ran], execution: str, place: str
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"model: any\nexecution: {execution}\nsweep: {{precision: [fp32]}}\n", encoding="utf-8")
    ran = llem("run", str(path), "--dry-run")
    assert ran.code == 2
    assert f"{path.name}:2: {place}" in ran.err
