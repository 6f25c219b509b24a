"""Engines of other distributions, from the command line."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.command import Ran
from tests.fakes.distributions import TOY
from tests.unit.conftest import Install

BROKEN = "import a_library_that_is_not_there\n"
STUBBORN = """
class Engine:
    name = "stubborn"
    packages = ()
    def load(self, plan): raise RuntimeError("loaded")
    def installation_problem(self): raise ValueError("ask another\\nline two")
"""
COMMON = ("--model", "any", "--set", "energy.backend=null", "-n", "3")


def line_of(ran: Ran, label: str) -> str:
    """The paragraph of a label, in one line."""
    lines = ran.out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(label))
    end = next((i for i in range(start + 1, len(lines)) if not lines[i].startswith(" ")), len(lines))
    return " ".join(" ".join(lines[start:end]).split())


def test_each_is_a_line_and_a_broken_one_takes_no_other_down(
    toy: None, install: Install, llem: Callable[..., Ran]
) -> None:
    install({"llem_bad": BROKEN}, {"bad": "llem_bad:Engine"}, "llem-bad")
    install({"llem_stubborn": STUBBORN}, {"stubborn": "llem_stubborn:Engine"}, "llem-stubborn")
    ran = llem("config")
    assert (ran.code, ran.err) == (0, "")
    assert line_of(ran, "engine toy").startswith("engine toy usable")
    assert line_of(ran, "engine bad") == (
        "engine bad not usable: the engine 'bad' of llem-bad 1.0 cannot be loaded: ModuleNotFoundError: No module "
        "named 'a_library_that_is_not_there'"
    )
    assert line_of(ran, "engine stubborn") == (
        "engine stubborn not usable: the engine 'stubborn' of llem-stubborn 1.0 failed when it was asked: ValueError: "
        "ask another"
    )
    assert "engine pytorch" in ran.out


def test_one_that_nobody_has_run_yet_is_told_in_the_list_before_a_run_and_in_results(
    install: Install, llem: Callable[..., Ran], tmp_path: Path
) -> None:
    new = TOY.replace('"toy"', '"new"').replace("    section =", "    hardware_proven = False\n    section =")
    install({"llem_new": new}, {"new": "llem_new:ToyEngine"}, "llem-new")
    assert line_of(llem("config"), "engine new") == "engine new usable; not yet run on hardware"
    told = "engine_unproven: the engine 'new' of llem-new 1.0 is not yet run on hardware"
    assert told in llem("run", "--dry-run", "--backend", "new", *COMMON).out
    assert llem("run", "--backend", "new", *COMMON, "-o", str(tmp_path)).code == 0
    (path,) = tmp_path.rglob("result.json")
    result = json.loads(path.read_text("utf-8"))
    assert [text for text in result["measurement_warnings"] if text.startswith(told)]


def test_the_schema_for_editors_has_its_section(toy: None, llem: Callable[..., Ran]) -> None:
    schema = json.loads(llem("config", "--schema").out)
    assert "toy" in schema["properties"]
    assert schema["properties"]["backend"]["enum"][-2:] == ["toy", "auto"]


def test_a_dry_run_shows_its_section(toy: None, llem: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text("model: any\nbackend: toy\nn: 3\nenergy: {backend: null}\ntoy: {n_tokens: 2}\n", encoding="utf-8")
    ran = llem("run", path, "--set", "toy.label=mine", "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert "toy:\n  n_tokens: 2\n  label: mine" in ran.out


def test_it_measures(toy: None, llem: Callable[..., Ran], folder: Path) -> None:
    ran = llem("run", *COMMON, "--backend", "toy", "--set", "toy.n_tokens=5", "--set", "warmup.n_warmup=1", "--quiet")
    assert (ran.code, ran.err) == (0, "")
    [path] = folder.glob("results/any-toy-fp32_*/result.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["output_tokens"] == 15
    assert result["effective_config"]["toy"] == {"n_tokens": 5, "label": None}
    assert result["environment_snapshot"]["engine"] == {"toy build": "plain"}
    assert logging.getLogger("toy.library").level == logging.ERROR


def test_a_flag_that_its_section_lacks_is_refused(toy: None, llem: Callable[..., Ran]) -> None:
    ran = llem("run", *COMMON, "--backend", "toy", "--batch-size", "2")
    assert (ran.code, ran.out) == (2, "")
    assert "--batch-size: the engine 'toy' has no field batch_size" in ran.err


def test_one_that_raises_when_it_is_asked_is_told_in_one_line(install: Install, llem: Callable[..., Ran]) -> None:
    install({"llem_stubborn": STUBBORN}, {"stubborn": "llem_stubborn:Engine"}, "llem-stubborn")
    ran = llem("run", *COMMON, "--backend", "stubborn", "--dry-run")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "llem: the engine 'stubborn' of llem-stubborn 1.0 failed when it was asked: ValueError: ask another\n"
    )


@pytest.mark.parametrize("arguments", [("--model", "any", "--dry-run"), ("--model", "any", "--set", "n=0")])
def test_a_broken_one_is_no_ones_burden_that_does_not_ask_for_it(
    arguments: tuple[str, ...], install: Install, llem: Callable[..., Ran]
) -> None:
    install({"llem_bad": BROKEN}, {"bad": "llem_bad:Engine"}, "llem-bad")
    assert "bad" not in llem("run", *arguments).err


def test_what_is_left_to_the_machine_is_shown_and_kept_in_the_result(
    toy: None, llem: Callable[..., Ran], folder: Path
) -> None:
    auto = ("--backend", "auto", "--set", "toy.n_tokens=5", "--precision", "auto")
    ran = llem("run", *COMMON, *auto, "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    why = "because it is the only one with a section"
    assert f"# backend: auto is toy here, {why}\n# precision: auto is fp16 here\n" in ran.out
    assert llem("run", *COMMON, *auto, "--quiet").code == 0
    [path] = folder.glob("results/any-toy-fp16_*/result.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert (result["effective_config"]["backend"], result["effective_config"]["precision"]) == ("toy", "fp16")
    assert "precision was given as auto, and is fp16 on this machine" in result["reproducibility_notes"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("            sent = time.monotonic()\n", "            raise SystemExit(0)\n", "inference failed: "),
        (
            "        yield ToyModel(",
            "        raise SystemExit(0)\n        yield ToyModel(",
            "toy engine cannot load 'any'",
        ),
        (
            '        return ModelDescription(engine="toy", engine_version="1.0")',
            "        return None",
            "cannot describe",
        ),
        ("    def describe(self):\n", "    def describe(self):\n        raise SystemExit(0)\n", "cannot describe"),
        ("            on_done(", "            on_done(None) or (", "where a RequestOutput belongs"),
    ],
    ids=["run ends", "load ends", "describes nothing", "describe ends", "tells nothing"],
)
def test_one_that_does_what_none_may_is_a_failed_run_with_a_reason(
    install: Install, llem: Callable[..., Ran], old: str, new: str, said: str
) -> None:
    assert old in TOY
    install({"llem_toy": TOY.replace(old, new)}, {"toy": "llem_toy:ToyEngine"}, "llem-toy")
    ran = llem("run", *COMMON, "--backend", "toy", "--set", "warmup.enabled=false", "--quiet")
    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err


@pytest.mark.parametrize(
    ("method", "flag"),
    [
        ("def warnings(self): return 5", "engine_warnings_unavailable"),
        ("def warnings(self): raise SystemExit(0)", "engine_warnings_unavailable"),
        ('def identity(self): return "x"', "weights_digest_unavailable"),
        ('def flops(self, output): return "x"', "flops_unavailable"),
        ('def peak_memory_mb(self): return float("nan")', "peak_memory_unavailable"),
        ('def peak_memory_mb(self): return "much"', "peak_memory_unavailable"),
    ],
)
def test_what_one_tells_beside_the_requests_costs_only_itself(
    install: Install, llem: Callable[..., Ran], folder: Path, method: str, flag: str
) -> None:
    module = TOY.replace("    def describe(self):\n", f"    {method}\n\n    def describe(self):\n")
    install({"llem_toy": module}, {"toy": "llem_toy:ToyEngine"}, "llem-toy")
    ran = llem("run", *COMMON, "--backend", "toy", "--set", "warmup.enabled=false", "--quiet")
    assert (ran.code, ran.err) == (0, "")
    [path] = folder.glob("results/*/result.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["output_tokens"] == 12
    assert flag in [text.partition(":")[0] for text in result["measurement_warnings"]]


def test_one_that_tokenises_itself_and_does_not_cut_prompts_says_so(
    toy: None, llem: Callable[..., Ran], folder: Path
) -> None:
    ran = llem("run", *COMMON, "--backend", "toy", "--set", "max_input_tokens=2", "--quiet")
    assert (ran.code, ran.err) == (0, "")
    [path] = folder.glob("results/*/result.json")
    told = json.loads(path.read_text(encoding="utf-8"))["measurement_warnings"]
    assert any(
        text.startswith("prompts_not_truncated: the engine tokenises itself and left 3 prompts longer") for text in told
    )


@pytest.mark.parametrize("loggers", ["None", "property(lambda self: 1 / 0)"])
def test_loggers_that_cannot_be_had_are_no_ones_burden(
    install: Install, llem: Callable[..., Ran], loggers: str
) -> None:
    module = TOY.replace('loggers = ("toy.library",)', f"loggers = {loggers}")
    install({"llem_toy": module}, {"toy": "llem_toy:ToyEngine"}, "llem-toy")
    ran = llem("config")
    assert (ran.code, ran.err) == (0, "")
    assert line_of(ran, "engine toy").startswith("engine toy usable")


@pytest.mark.parametrize("how", ["raise SystemExit(0)", 'raise RuntimeError("the device is gone")'])
def test_one_that_fails_while_it_unloads_costs_nothing_that_was_measured(
    install: Install, llem: Callable[..., Ran], folder: Path, how: str
) -> None:
    yielding = '        yield ToyModel(plan.config.section_of("toy").n_tokens)\n'
    install(
        {"llem_toy": TOY.replace(yielding, f"{yielding}        {how}\n")}, {"toy": "llem_toy:ToyEngine"}, "llem-toy"
    )
    ran = llem("run", *COMMON, "--backend", "toy", "--quiet")
    assert ran.code == 0
    [path] = folder.glob("results/*/result.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["output_tokens"] == 12
    assert any(text.startswith("engine_unload_failed: ") for text in result["measurement_warnings"])


def test_why_a_run_failed_is_not_hidden_by_an_engine_that_fails_while_it_unloads(
    install: Install, llem: Callable[..., Ran]
) -> None:
    module = TOY.replace(
        '        yield ToyModel(plan.config.section_of("toy").n_tokens)\n',
        "        try:\n            yield ToyModel(4)\n        finally:\n            raise SystemExit(0)\n",
    ).replace("            sent = time.monotonic()\n", '            raise RuntimeError("no room")\n')
    install({"llem_toy": module}, {"toy": "llem_toy:ToyEngine"}, "llem-toy")
    ran = llem("run", *COMMON, "--backend", "toy", "--set", "warmup.enabled=false", "--quiet")
    assert (ran.code, ran.out) == (1, "")
    assert "inference failed: RuntimeError: no room" in ran.err


def test_a_run_and_a_study_show_their_footprint_beneath_where_that_is_asked_for(
    toy: None, llem: Callable[..., Ran], tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "name: s\nexperiments:\n"
        + "".join(
            f"- {{model: any, backend: toy, n: {n}, energy: {{backend: null}}, warmup: {{enabled: false}}}}\n"
            for n in (1, 2)
        ),
        encoding="utf-8",
    )
    out = ("-o", str(tmp_path / "out"), "--quiet", "--intensity", "450")
    for ran, n in (
        (llem("run", *COMMON, "--backend", "toy", "--set", "warmup.enabled=false", *out), 1),
        (llem("run", str(path), *out), 2),
    ):
        assert (ran.code, ran.err) == (0, "")
        beneath = ran.out.partition("\nFootprint: not measured, but estimated")[2]
        assert beneath.count("none was measured, so it has neither carbon nor cost") == n
        assert "450 gCO2e/kWh, as given" in beneath
