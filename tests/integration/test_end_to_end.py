"""The command line on the real packaged model, as a user runs it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from jsonschema import Draft202012Validator

from llenergymeasure import ExperimentResult
from llenergymeasure._machine_folder import FOLDER_VARIABLE
from llenergymeasure.domain.meaning.schema import result_schema
from llenergymeasure.results.showing.lines import LABEL
from tests.fakes.effort import PATIENCE_S

WITHOUT_CODECARBON = """
from importlib.machinery import PathFinder

_find = PathFinder.find_spec


def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] == "codecarbon" else _find(name, path, target)


PathFinder.find_spec = staticmethod(find_spec)
"""
OUTPUT_TOKENS = 8
N = 6


@dataclass(frozen=True)
class Finished:
    """A run of the command that has ended."""

    code: int
    stdout: str
    stderr: str


def start(arguments: list[str], cache: Path, **environment: str) -> "subprocess.Popen[str]":
    """``llem`` in a process of its own, with its own cache and no model hub."""
    return subprocess.Popen(
        [sys.executable, "-m", "llenergymeasure", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As a user starts it: whatever is measured is measured in a process of its own.
        env={**_plain(os.environ), "XDG_CACHE_HOME": str(cache), "HF_HUB_OFFLINE": "1", **environment},
    )


def _plain(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith("LLEM_")}


def finish(process: "subprocess.Popen[str]") -> Finished:
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    return Finished(process.returncode, stdout, stderr)


def run_arguments(output: Path, *more: str) -> list[str]:
    config = output.parent / f"{output.name}.yaml"
    config.write_text(
        f"""
name: real model
model: smollm2-135m
precision: auto
max_input_tokens: 32
max_output_tokens: {OUTPUT_TOKENS}
warmup: {{n_warmup: 1}}
pytorch: {{batch_size: 3}}
"""
    )
    return ["run", str(config), "-n", str(N), "-o", str(output), *more]


@dataclass(frozen=True)
class TwoRuns:
    """The same experiment twice, at the same time, from an empty model cache."""

    cache: Path
    outputs: tuple[Path, Path]
    finished: tuple[Finished, Finished]

    def result(self, index: int) -> ExperimentResult:
        (folder,) = self.outputs[index].iterdir()
        return ExperimentResult.from_json(folder)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> TwoRuns:
    """Both processes find no converted model, so they also race for the conversion."""
    root = tmp_path_factory.mktemp("real")
    cache, first, second = root / "cache", root / "first", root / "second"
    # With locks of one folder one would wait for the other.
    processes = [
        start(run_arguments(output, "--quiet"), cache, **{FOLDER_VARIABLE: str(root / f"locks of {output.name}")})
        for output in (first, second)
    ]
    a, b = (finish(process) for process in processes)
    return TwoRuns(cache, (first, second), (a, b))


def test_a_real_model_is_measured_and_the_table_says_how(two_runs: TwoRuns) -> None:
    for finished in two_runs.finished:
        assert finished.code == 0, finished.stderr
        assert finished.stderr == ""
        labels = [line[:LABEL].strip() for line in finished.stdout.splitlines()]
        for label in ("environment", "model", "engine", "warm-up", "tokens", "throughput", "FLOPs", "result"):
            assert label in labels
        said = " ".join(finished.stdout.split())
        assert "135 M parameters" in said
        assert "modelled from CPU load, not sensed (codecarbon)" in said


def test_the_same_configuration_gives_the_same_tokens_twice(two_runs: TwoRuns) -> None:
    first, second = two_runs.result(0), two_runs.result(1)
    assert first.n_requests == second.n_requests == N
    assert (first.input_tokens, first.output_tokens) == (second.input_tokens, second.output_tokens)
    assert first.measurement_config_hash == second.measurement_config_hash
    assert first.experiment_id != second.experiment_id


def test_what_was_counted_is_what_the_model_can_have_done(two_runs: TwoRuns) -> None:
    result = two_runs.result(0)
    assert 0 < result.output_tokens <= N * OUTPUT_TOKENS
    assert result.tokens_per_second == pytest.approx(result.output_tokens / result.duration_sec)
    assert result.model.n_parameters == 134_515_008
    # What is multiplied in fp32 was kept in four bits.
    assert result.model.dense_from == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert result.flops_result is not None
    # SmolLM2 ties its head to an embedding of 49,152 x 576.
    n_parameters = 134_515_008 - 49_152 * 576
    assert result.flops_result.value == 2 * n_parameters * (result.input_tokens + result.output_tokens)
    assert result.total_energy_j is not None
    assert result.total_energy_j > 0
    assert {d.source for d in result.energy_devices} == {"modelled"}
    assert result.sensor_accuracy_pct is None
    assert result.baseline_power_w is None
    assert result.warmup_result.thermal_floor_wait_s == 0


def test_every_request_has_a_row_and_rows_add_up(two_runs: TwoRuns) -> None:
    (folder,) = two_runs.outputs[0].iterdir()
    result = two_runs.result(0)
    rows = pq.read_table(folder / "requests.parquet").to_pydict()
    assert rows["index"] == list(range(N))
    assert sum(rows["input_tokens"]) == result.input_tokens
    assert sum(rows["output_tokens"]) == result.output_tokens
    assert set(rows["finish_reason"]) <= {"stop", "length"}
    for ttft_s, e2e_s in zip(rows["ttft_s"], rows["e2e_s"], strict=True):
        assert 0 < ttft_s <= e2e_s <= result.duration_sec
    assert pq.read_table(folder / "timeseries.parquet").num_rows == 0  # no GPU, no telemetry


def test_the_folder_holds_the_result_and_what_it_was_made_of(two_runs: TwoRuns) -> None:
    (folder,) = two_runs.outputs[0].iterdir()
    assert folder.name.startswith("real-model_")
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert found == [
        ".state/process_0.done",
        ".state/process_0.json",
        ".state/state_0",
        "DONE",
        "log.txt",
        "outputs.parquet",
        "requests.parquet",
        "result.json",
        "timeseries.parquet",
    ]
    assert (folder / ".state" / "state_0").read_text() == "done\n"
    written = json.loads((folder / "result.json").read_text())
    assert written["schema_version"] == "2.0"
    Draft202012Validator(result_schema()).validate(written)
    # Nothing is written after the sums.
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in found if name != "DONE"}
    assert json.loads((folder / "DONE").read_text()) == sums


def test_the_model_was_converted_once_and_nothing_else_is_in_the_cache(two_runs: TwoRuns) -> None:
    models = two_runs.cache / "llenergymeasure" / "models"
    visible = [p.name for p in models.iterdir() if not p.name.startswith(".")]
    assert len(visible) == 1
    assert visible[0].startswith("smollm2-135m-")
    assert not list(models.glob(".*-partial"))


def test_without_codecarbon_energy_is_null_and_the_run_completes(two_runs: TwoRuns, tmp_path: Path) -> None:
    # An environment in which the package cannot be found, as if it were not installed.
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_CODECARBON)
    output = tmp_path / "out"
    arguments = run_arguments(output, "--quiet")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = finish(start(arguments, two_runs.cache, PYTHONPATH=path))
    assert done.code == 0, done.stderr
    (folder,) = output.iterdir()
    result = ExperimentResult.from_json(folder)
    assert result.total_energy_j is None
    assert result.energy_per_output_token_j is None
    reasons = [w for w in result.measurement_warnings if w.startswith("energy_unavailable")]
    assert len(reasons) == 1
    assert "pip install 'llenergymeasure[codecarbon]'" in reasons[0]
    assert "none measured" in done.stdout


def test_ctrl_c_ends_with_130_and_leaves_nothing_half_written(two_runs: TwoRuns, tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = start(run_arguments(output), two_runs.cache)
    assert process.stderr is not None
    for line in process.stderr:
        if "warming up" in line:
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.code == 130
    assert "interrupted; nothing was kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(output.iterdir()) == []


# With engines that take less to load it is tried in tests of studies, of the command line and of terminals.
@pytest.mark.slow
def test_ctrl_c_in_a_study_keeps_what_had_finished_and_says_where(two_runs: TwoRuns, tmp_path: Path) -> None:
    config = tmp_path / "study.yaml"
    experiment = "{model: smollm2-135m, n: 2, max_input_tokens: 32, max_output_tokens: 4, energy: {backend: null}}"
    config.write_text(
        f"""
experiments:
  - {experiment}
  - {experiment.replace("n: 2", "n: 50, name: slow").replace("output_tokens: 4", "output_tokens: 500")}
"""
    )
    output = tmp_path / "out"
    process = start(["run", str(config), "-o", str(output)], two_runs.cache)
    assert process.stderr is not None
    for line in process.stderr:
        if "experiment 2 of 2" in line:
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.code == 130
    (study,) = output.iterdir()
    assert done.stderr.splitlines()[-1] == (
        f"llem: interrupted; 1 of 2 experiments had finished; what they left is kept in {study}; "
        "slow, which was running, was removed"
    )
    (kept,) = (study / "runs").iterdir()
    assert ExperimentResult.from_json(kept).n_requests == 2


def test_a_study_runs_each_experiment_in_a_fresh_process(two_runs: TwoRuns, tmp_path: Path) -> None:
    config = tmp_path / "study.yaml"
    experiment = "{model: smollm2-135m, n: 2, max_input_tokens: 32, max_output_tokens: 4, warmup: {n_warmup: 1}}"
    config.write_text(
        f"""
name: two
experiments:
  - {experiment}
  - {experiment.replace("n: 2", "n: 2, precision: fp32")}
"""
    )
    output = tmp_path / "out"
    done = finish(start(["run", str(config), "-q", "-o", str(output)], two_runs.cache))
    assert done.code == 0, done.stderr
    assert "2 experiments, 0 failed" in done.stdout
    (study,) = output.iterdir()
    attempts = sorted(study.glob("runs/*/attempt-1"))
    assert [ExperimentResult.from_json(a).effective_config["precision"] for a in attempts] == ["bf16", "fp32"]
    for attempt in attempts:
        assert (attempt / "DONE").is_file()
        assert "measuring" in (attempt / "log.txt").read_text()
