"""The section of a study that says which jobs are submitted."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from llenergymeasure.cli.cluster.submit import submit_command
from llenergymeasure.config.cluster import ClusterConfig, seconds_of
from llenergymeasure.config.loader import load_config, load_study_config
from llenergymeasure.config.models import StudyConfig, measurement_config_hash
from llenergymeasure.config.reading.layers import Overrides
from llenergymeasure.exceptions import ConfigError

FILE = {"model": "m", "sweep": {"n": [1, 2]}}


def written(folder: Path, **fields: object) -> Path:
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**FILE, **fields}), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ("4h", 14400), ("1h30m", 5400), ("90min", 5400), ("45s", 45), ("1d", 86400), ("30", 1800), ("02:00:00", 7200),
        ("02:30", 150), ("1-12:00:00", 129600), ("1-12:00", 129600), (" 2 h ", 7200),
        ("", None), ("0", None), ("4 weeks", None), ("h", None), ("1:99:00", None), ("-5", None), ("1.5h", None),
    ],
)  # fmt: skip
def test_a_time_is_read_as_slurm_reads_it(limit: str, seconds: float | None) -> None:
    assert seconds_of(limit) == seconds


def test_minutes_are_rounded_up() -> None:
    assert ClusterConfig(time_limit="90s").time_limit_min == 2
    assert ClusterConfig(time_limit=5).time_limit_s == 300
    assert ClusterConfig().time_limit_min is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"time_limit": "soon"}, "a time limit is such as 4h"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"executor": "pbs"}, "'slurm', 'local' or 'debug'"),
        ({"slurm": {"signal": "USR1"}}, "signal is set by llem itself"),
        ({"slurm": {"open_mode": "truncate"}}, "open-mode is set by llem itself"),
        ({"slurm": {"gres": ["gpu:1"]}}, "gres takes a single value"),
        ({"partion": "a"}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ClusterConfig.model_validate(given)


def test_it_is_the_studys_and_in_no_hash(tmp_path: Path) -> None:
    with_it = load_study_config(written(tmp_path, cluster={"partition": "a100", "workers": 4}))
    without = load_study_config(written(tmp_path))
    assert with_it.cluster == ClusterConfig(partition="a100", workers=4)
    assert without.cluster is None
    hashes = [[measurement_config_hash(each) for each in study.experiments] for study in (with_it, without)]
    assert hashes[0] == hashes[1]


def test_a_file_of_one_experiment_is_a_study_where_it_says_so(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("model: m\ncluster: {workers: 2}\n", encoding="utf-8")
    found = load_config(file, Overrides())
    assert isinstance(found, StudyConfig)
    assert (len(found.experiments), found.n_cycles, found.cluster) == (1, 1, ClusterConfig(workers=2))


def test_options_win_over_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, cluster={"partition": "a100", "workers": 4})
    found = load_config(file, Overrides(fields={"cluster": {"workers": 8}}, origin="command line"))
    assert isinstance(found, StudyConfig)
    assert found.cluster == ClusterConfig(partition="a100", workers=8)


def test_it_does_not_vary(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        load_study_config(written(tmp_path, sweep={"cluster.workers": [1, 2]}))


def test_a_wrong_value_is_told_with_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, cluster={"workers": "many"})
    with pytest.raises(ValidationError) as caught:
        load_study_config(file)
    notes = "\n".join(caught.value.__notes__)
    assert "study.yaml:2: cluster.workers" in notes or "study.yaml:1: cluster.workers" in notes


def test_every_field_is_an_option_and_stands_on_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text(encoding="utf-8")
    options = {option for each in submit_command.params for option in each.opts}
    for name in ClusterConfig.model_fields:
        assert f"`{name}`" in page, name
        assert f"--{name.replace('_', '-')}" in options, name


def test_a_job_is_told_three_minutes_before_or_at_two_thirds() -> None:
    assert ClusterConfig().warned_s == 180
    assert ClusterConfig(time_limit="4h").warned_s == 180
    assert ClusterConfig(time_limit="6m").warned_s == 120
    # SLURM counts whole minutes.
    assert ClusterConfig(time_limit="61s").warned_s == 40
    assert ClusterConfig(time_limit="1m", warn_s=30).warned_s == 30
    with pytest.raises(ValidationError, match="600 s before a limit of 120 s nothing has begun"):
        ClusterConfig(time_limit=2, warn_s=600)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"slurm": {"partition": "day"}}, "partition has a field of its own; give partition"),
        ({"slurm": {"cpus_per_task": 4}}, "cpus-per-task has a field of its own; give cpus_per_worker"),
        ({"setup": ["export WANDB_API_KEY=0123456789"]}, "WANDB_API_KEY looks like a secret"),
        ({"setup": ["db --password hunter2"]}, "password looks like a secret"),
        ({"setup": ["export DB_PASSWORD='hunter2'"]}, "DB_PASSWORD looks like a secret"),
        ({"slurm": {"export": "ALL,API_TOKEN=abcdef"}}, "API_TOKEN looks like a secret"),
        ({"python": "env HF_TOKEN=hf_abc python3"}, "HF_TOKEN looks like a secret"),
        ({"time_limit": "9" * 400}, "a time limit is such as 4h"),
    ],
)
def test_what_would_be_in_scripts_of_jobs_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as told:
        ClusterConfig.model_validate(fields)
    # Neither value is repeated by what llem says of it.
    assert "hunter2" not in told.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    "setup",
    [
        "module load cuda/12.4",
        "export HF_TOKEN=$HF_TOKEN",
        "source ~/env/bin/activate",
        'export KEY_FILE="$HOME/k"',
        "ulimit -n 4096",
    ],
)
def test_what_is_no_secret_may_stand_there(setup: str) -> None:
    assert ClusterConfig(setup=(setup,)).setup == (setup,)
