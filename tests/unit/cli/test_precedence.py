"""Flags > environment > experiment file > user file > built-in, as ``llem run`` and ``llem config`` have it."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from llenergymeasure.config.engines import ENGINE_SECTIONS
from llenergymeasure.config.introspection import field_defaults
from tests.fakes.command import Ran
from tests.unit.conftest import WriteUserFile

pytestmark = pytest.mark.pytorch

Llem = Callable[..., Ran]

# From the one that wins over all others downwards, with the batch size that each of them gives below.
GIVES = {"--set": 61, "--batch-size": 62, "environment": 63, "file": 64, "user file": 65}
SUBSETS = [subset for size in range(len(GIVES) + 1) for subset in itertools.combinations(GIVES, size)]


def shown(ran: Ran) -> list[dict[str, Any]]:
    """The experiments that a dry run shows."""
    assert ran.code == 0
    # With -v, libraries may say what they like when they are first imported.
    assert [line for line in ran.err.splitlines() if "llem" in line] == []
    return [yaml.safe_load(part.split("\n", 1)[1]) for part in ran.out.split("# experiment ")[1:]]


def told(ran: Ran) -> dict[str, tuple[str, str]]:
    """``{field: (default here, where it comes from)}`` of what ``llem config --verbose`` shows."""
    assert (ran.code, ran.err) == (0, "")
    (header,) = re.findall(r"^field +default here +from$", ran.out, re.MULTILINE)
    rows = ran.out.split(header)[1].splitlines()[2:]
    second, third = header.index("default here"), header.index("from")
    return {row[:second].strip(): (row[second:third].strip(), row[third:].strip()) for row in rows}


def refused(ran: Ran, *lines: str) -> None:
    """It ended with code 2 and said these lines, each from its beginning, and nothing on stdout."""
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == len(lines)
    for said, line in zip(ran.err.splitlines(), lines, strict=True):
        assert said.startswith(f"llem: {line}")


# llem run.


@pytest.mark.parametrize("given", SUBSETS, ids=lambda given: "+".join(given) or "none")
def test_of_all_that_give_a_batch_size_the_highest_wins(
    llem: Llem,
    folder: Path,
    model: str,
    write_user_file: WriteUserFile,
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str, ...],
) -> None:
    if "user file" in given:
        write_user_file(f"measurement: {{pytorch: {{batch_size: {GIVES['user file']}}}}}\n")
    if "environment" in given:
        monkeypatch.setenv("LLEM_PYTORCH__BATCH_SIZE", str(GIVES["environment"]))
    own = f"\n  pytorch: {{batch_size: {GIVES['file']}}}" if "file" in given else ""
    (folder / "run.yaml").write_text(f"experiments:\n- model: {model}{own}\n- model: {model}\n", encoding="utf-8")
    flags = ["--batch-size", GIVES["--batch-size"]] if "--batch-size" in given else []
    flags += ["--set", f"pytorch.batch_size={GIVES['--set']}"] if "--set" in given else []
    first, second = shown(llem("run", "run.yaml", "--dry-run", "-v", *map(str, flags)))
    assert first["pytorch"]["batch_size"] == next((GIVES[source] for source in GIVES if source in given), 1)
    silent = [source for source in given if source != "file"]
    assert second["pytorch"]["batch_size"] == next((GIVES[source] for source in GIVES if source in silent), 1)


@pytest.mark.parametrize(
    ("flag", "field", "variable"),
    [
        (["--precision", "fp32"], "precision", "LLEM_PRECISION"),
        (["-n", "3"], "n", "LLEM_N"),
        (["--set", "max_output_tokens=3"], "max_output_tokens", "LLEM_MAX_OUTPUT_TOKENS"),
    ],
)
def test_a_flag_wins_over_a_variable_even_a_wrong_one(
    llem: Llem, model: str, monkeypatch: pytest.MonkeyPatch, flag: list[str], field: str, variable: str
) -> None:
    monkeypatch.setenv(variable, "wrong")
    (config,) = shown(llem("run", "--model", model, "--dry-run", *flag))
    assert config[field] in ("fp32", 3)
    refused(llem("run", "--model", model, "--dry-run"), f"{variable}: {field}: ")


def test_results_go_where_the_highest_says(
    llem: Llem, folder: Path, model: str, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def goes_to(*args: str) -> str:
        (place,) = re.findall(r"results would go to ([^;]*);", llem("run", *args, "--dry-run").out)
        return str(place)

    (folder / "plain.yaml").write_text(f"model: {model}\n", encoding="utf-8")
    (folder / "own.yaml").write_text(f"model: {model}\noutput_dir: from-file\n", encoding="utf-8")
    (folder / "study.yaml").write_text(f"experiments: [{{model: {model}}}]\n", encoding="utf-8")
    assert [goes_to("plain.yaml"), goes_to("study.yaml")] == ["results", "results"]
    user_folder = folder / "from-user"
    write_user_file(f"output: {{dir: {user_folder}}}\n")
    assert [goes_to("plain.yaml"), goes_to("study.yaml")] == [str(user_folder)] * 2
    assert goes_to("own.yaml") == "from-file"
    monkeypatch.setenv("LLEM_OUTPUT_DIR", "from-variable")
    assert [goes_to("own.yaml"), goes_to("study.yaml")] == ["from-variable"] * 2
    assert [goes_to("own.yaml", "-o", "from-flag"), goes_to("study.yaml", "-o", "from-flag")] == ["from-flag"] * 2


@pytest.mark.parametrize("variable", ["LLEM_MODEL", "LLEM_model", "LLEM_Model"])
def test_a_model_in_the_environment_needs_no_file(
    llem: Llem, model: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, model)
    (config,) = shown(llem("run", "--dry-run"))
    assert (config["model"], config["n"]) == (model, 100)


def test_a_model_by_flag_wins_over_the_environment(llem: Llem, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLEM_MODEL", "./no-such-model")
    assert shown(llem("run", "--dry-run", "--model", model))[0]["model"] == model
    assert shown(llem("run", "--dry-run", "--set", f"model={model}"))[0]["model"] == model


@pytest.mark.parametrize("text", ["", " "])
def test_without_a_model_anywhere_there_is_nothing_to_run(
    llem: Llem, monkeypatch: pytest.MonkeyPatch, write_user_file: WriteUserFile, text: str
) -> None:
    write_user_file("measurement: {n: 3}\n")
    monkeypatch.setenv("LLEM_MODEL", text)
    ran = llem("run", "--dry-run")
    assert (ran.code, ran.out) == (2, "")
    lines = ran.err.splitlines()
    assert lines[0] == "llem: nothing to run: give a CONFIG file, or at least --model"
    # What can be run, in five lines that a terminal does not break.
    assert len(lines) == 5
    assert all(line.startswith("llem:   llem run ") for line in lines[1:])
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("command", [["run", "--model", "./m"], ["run", "--model", "./m", "--dry-run"]])
@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("LLEM_N", "0", "LLEM_N: n: "),
        ("LLEM_NN", "3", "LLEM_NN: nn: unknown key; did you mean 'n'?"),
        ("LLEM_DECODER__TOPK", "3", "LLEM_DECODER__TOPK: decoder.topk: unknown key; did you mean 'decoder.top_k'?"),
        ("LLEM_N", "[3", "LLEM_N: "),
    ],
)
def test_a_wrong_variable_is_code_2_and_named(
    llem: Llem,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    variable: str,
    text: str,
    line: str,
) -> None:
    monkeypatch.setenv(variable, text)
    refused(llem(*command), line)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", [["run", "--model", "./m"], ["run", "--model", "./m", "--dry-run"]])
@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("measurement:\n  n: 0\n", [":2: measurement.n: "]),
        ("measurement:\n  model: m\n", [":2: measurement.model: unknown key; "]),
        ("output:\n  dir: here\nmeasurment: {}\n", [":2: output.dir: ", ":3: measurment: unknown key; did you mean "]),
        ("- 1\n", [":1: "]),
        ("a: [\n", [":1: this is not valid YAML"]),
    ],
)
def test_a_wrong_user_file_is_code_2_with_its_lines(
    llem: Llem, folder: Path, write_user_file: WriteUserFile, command: list[str], text: str, ends: list[str]
) -> None:
    path = write_user_file(text)
    refused(llem(*command), *(f"{path}{end}" for end in ends))
    assert list(folder.iterdir()) == []


def test_errors_of_flags_files_and_variables_are_told_together_each_by_its_place(
    llem: Llem, folder: Path, model: str, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_user_file("measurement:\n  pytorch: {load_in_8bit: true, load_in_4bit: true}\n")
    refused(llem("run", "--model", model), f"{path}:2: measurement.pytorch.load_in_4bit: ")
    write_user_file("measurement:\n  pytorch:\n    load_in_8bit: true\n")
    monkeypatch.setenv("LLEM_RANDOM_SEED", "-1")
    (folder / "run.yaml").write_text(
        f"model: {model}\nprecision: x\npytorch:\n  load_in_4bit: true\n", encoding="utf-8"
    )
    ran = llem("run", "run.yaml", "-n", "0")
    assert ran.code == 2
    assert sorted(line.removeprefix("llem: ").split(": ")[0] for line in ran.err.splitlines()) == [
        "LLEM_RANDOM_SEED",
        "command line",
        "run.yaml:2",
        "run.yaml:4",
    ]


# llem config.


def test_config_names_the_user_file_whether_or_not_there_is_one(llem: Llem, write_user_file: WriteUserFile) -> None:
    path = write_user_file("")
    (line,) = [row for row in llem("config").out.splitlines() if row.startswith("user file")]
    assert line.split(None, 2)[2] == str(path)
    path.unlink()
    (line,) = [row for row in llem("config").out.splitlines() if row.startswith("user file")]
    assert str(path) in line
    assert line.endswith("(none yet)")


def test_config_shows_each_default_and_where_it_comes_from(
    llem: Llem, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_user_file(
        "output:\n"
        "  dir: /data/results\n"
        "measurement:\n"
        "  n: 7\n"
        "  max_input_tokens: 9\n"
        "  energy: {backend: null}\n"
        "  warmup:\n"
        "    n_warmup: 2\n"
        "  pytorch:\n"
        "    num_threads: 2\n"
    )
    monkeypatch.setenv("LLEM_N", "8")
    monkeypatch.setenv("LLEM_pytorch__Batch_Size", "3")
    monkeypatch.setenv("LLEM_DECODER", "{do_sample: true}")
    rows = told(llem("config", "--verbose"))
    expected = {
        "output_dir": ('"/data/results"', f"{path}:2"),
        "n": ("8", "LLEM_N"),
        "max_input_tokens": ("9", f"{path}:5"),
        "energy.backend": ("null", f"{path}:6"),
        "warmup.n_warmup": ("2", f"{path}:8"),
        "pytorch.num_threads": ("2", f"{path}:10"),
        "pytorch.batch_size": ("3", "LLEM_pytorch__Batch_Size"),
        "decoder.do_sample": ("true", "LLEM_DECODER"),
        "decoder.num_beams": ("1", "built-in"),
        "precision": ('"bf16"', "built-in"),
        "max_output_tokens": ("128", "built-in"),
        "warmup.thermal_floor_seconds": ("60.0", "built-in"),
        "pytorch.attn_implementation": ("null", "built-in"),
    }
    assert {name: rows[name] for name in expected} == expected
    # Every field that has a default, of this engine or of all, and where each comes from.
    others = tuple(f"{engine}." for engine in ENGINE_SECTIONS if engine != "pytorch")
    assert {
        name
        for name in field_defaults()
        if not name.startswith((*others, "lora.", "quality.", "device.", "dataset.random.", "load.", "slo.", "nodes."))
    } <= set(rows)
    assert not [name for name in rows if name.startswith(others)]
    origin = re.compile(rf"built-in|LLEM_\w+|{re.escape(str(path))}:\d+")
    assert all(origin.fullmatch(place) for _, place in rows.values())


def test_config_shows_the_default_behind_every_way_to_write_it(llem: Llem, write_user_file: WriteUserFile) -> None:
    path = write_user_file(
        "measurement:\n"
        "  warmup:\n"
        "    max_prompts: 9\n"
        "  decoder:\n"
        "    preset: creative\n"
        "    top_k: 5\n"
        "execution:\n"
        "  pause_s: 3\n"
    )
    rows = told(llem("config", "--verbose"))
    expected = {
        # Another name of the field.
        "warmup.max_warmup_prompts": ("9", f"{path}:3"),
        # What a preset fills in comes from where the preset was given, what is given beside it does not.
        "decoder.preset": ('"creative"', f"{path}:5"),
        "decoder.do_sample": ("true", f"{path}:5"),
        "decoder.temperature": ("1.1", f"{path}:5"),
        "decoder.top_k": ("5", f"{path}:6"),
        "decoder.num_beams": ("1", "built-in"),
        # Defaults of studies are defaults too.
        "execution.pause_s": ("3.0", f"{path}:8"),
        "execution.on_failure": ('"continue"', "built-in"),
    }
    assert {name: rows.get(name) for name in expected} == expected


def test_config_shows_the_defaults_of_the_engine_that_is_the_default(
    llem: Llem, write_user_file: WriteUserFile
) -> None:
    path = write_user_file("measurement:\n  backend: vllm\n  vllm: {max_num_seqs: 8}\n  pytorch: {batch_size: 4}\n")
    rows = told(llem("config", "--verbose"))
    assert rows["backend"] == ('"vllm"', f"{path}:2")
    assert rows["vllm.max_num_seqs"] == ("8", f"{path}:3")
    assert not [name for name in rows if name.startswith("pytorch.")]


def test_config_shows_no_table_of_defaults_unless_asked(llem: Llem) -> None:
    assert "default here" not in llem("config").out
