"""``--json``: the result alone on stdout, as JSON that says the same to whoever parses it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.persistence import save_result
from llenergymeasure.testing import fake_process_result
from tests.fakes.command import Ran
from tests.fakes.faulty import arguments, environment, study
from tests.fakes.studies import Study, of_batches

Llem = Callable[..., Ran]
# What a terminal would do something about, and JSON has another word for than Python.
HOSTILE = 'a\x7fb\x9fc\u2028d\u202ee\x1b[2J\n"<script>'


def test_a_result_is_shown_as_its_file_has_it(plain_llem: Llem, tmp_path: Path) -> None:
    plan = ExperimentPlan.of(ExperimentConfig(model="org/a-model", name=HOSTILE))
    save_result(ExperimentResult.from_processes([fake_process_result(plan)]), tmp_path)
    ran = plain_llem("show", tmp_path, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out) == json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert json.loads(ran.out)["effective_config"]["name"] == HOSTILE
    assert not set(ran.out) & set("\x7f\x9f\u2028\u202e\x1b")


def test_a_study_has_the_rows_of_its_table_and_what_failed(plain_llem: Llem, tmp_path: Path) -> None:
    made = Study.of(tmp_path / "s", of_batches(1, 4), 3)
    for slot in made.plan.slots:
        if slot.configuration and not slot.repeat:
            made.fail(slot)
        else:
            # 4 output tokens each.
            made.finish(slot, 80.0 if slot.configuration else 40.0)
    ran = plain_llem("show", tmp_path / "s", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert (found["n_planned"], found["n_finished"], found["n_failed"], found["reference"]) == (6, 5, 1, 0)
    assert found["folder"] == str(tmp_path / "s")
    assert [(row["row"], row["pytorch.batch_size"]) for row in found["rows"]] == [(1, 1), (2, 4)]
    assert [row["energy_per_output_token_j"] for row in found["rows"]] == pytest.approx([10.0, 20.0])
    assert [row["energy_per_output_token_j_n"] for row in found["rows"]] == [3, 2]
    assert [failure["message"] for failure in found["failures"]] == ["no such weights"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("show", "a", "--json", "--price", "0.30EUR"), "see llem footprint"),
        (("run", "--model", "./m", "--json", "--price", "0.30EUR"), "see llem footprint"),
        (("run", "--model", "./m", "--json", "--dry-run"), "a dry run has no result"),
    ],
)
def test_json_is_the_result_alone(llem: Llem, args: tuple[str, ...], said: str) -> None:
    ran = llem(*args)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_run_prints_its_result_on_stdout_and_all_else_on_stderr(tmp_path: Path) -> None:
    ran = subprocess.run(
        arguments(tmp_path / "out", "--json"), env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    (file,) = (tmp_path / "out").rglob("result.json")
    assert json.loads(ran.stdout) == json.loads(file.read_text(encoding="utf-8"))
    assert f"llem: the result is in {file.parent}\n" in ran.stderr


def test_a_study_that_runs_prints_its_rows(tmp_path: Path) -> None:
    command = [*arguments(tmp_path / "out")[:5], str(study(tmp_path, 2)), "-o", str(tmp_path / "out"), "--json", "-q"]
    assert command[4] == "run"
    ran = subprocess.run(command, env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [row["n_finished"] for row in json.loads(ran.stdout)["rows"]] == [1, 1]
    assert "the results are in" not in ran.stderr
