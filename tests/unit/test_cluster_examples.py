"""Files for schedulers that the documentation shows."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from llenergymeasure.cli.studies.worker import worker_command
from llenergymeasure.config.cluster import seconds_of
from llenergymeasure.config.loader import load_study_config

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "cluster"
# Those that are kept up today, and the newest known.
VERSIONS = ("1.34", "1.37")


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / "kubernetes-job.yaml").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_the_job_is_one_by_the_schema_of_kubernetes(version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kubernetes_validate.validate(manifest(), version, strict=True)


def test_the_schema_finds_what_is_wrong() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    wrong = manifest()
    wrong["spec"]["template"]["spec"]["containers"][0]["comand"] = ["llem"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_its_command_is_one_of_ours() -> None:
    (container,) = manifest()["spec"]["template"]["spec"]["containers"]
    program, command, *arguments = container["command"]
    assert (program, command) == ("llem", "worker")
    parsed = worker_command.make_context("worker", list(arguments)).params
    assert parsed["time_limit"] == 4 * 3600
    assert str(parsed["directory"]).startswith(container["volumeMounts"][0]["mountPath"])
    # What one worker may run beside another is said by Kubernetes for Indexed Jobs.
    assert manifest()["spec"]["parallelism"] <= manifest()["spec"]["completions"]


def test_the_pbs_script_is_one_of_the_shell_and_leaves_time_before_the_limit() -> None:
    script = EXAMPLES / "pbs.sh"
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    lines = script.read_text(encoding="utf-8").splitlines()
    (walltime,) = (line.partition("walltime=")[2] for line in lines if "walltime=" in line)
    (given,) = (line.partition("--time-limit ")[2] for line in lines if line.startswith("llem worker"))
    assert (seconds_of(walltime) or 0) - (seconds_of(given) or 0) == 600
    # As the worker's help says.
    assert "75 if time was over" in " ".join(CliRunner().invoke(worker_command, ["--help"]).output.split())
    assert any('"$code" = 75' in line for line in lines)


def test_the_study_is_one_with_what_is_asked_for() -> None:
    study = load_study_config(EXAMPLES / "study.yaml")
    assert study.cluster is not None
    assert (study.cluster.workers, study.cluster.gpus_per_worker, study.cluster.time_limit_s) == (2, 1, 7200)
    assert len(study.experiments) * study.n_cycles == 24


@pytest.mark.parametrize("name", ["kubernetes-job.yaml", "pbs.sh"])
def test_the_page_shows_the_files_as_they_are(name: str) -> None:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert (EXAMPLES / name).read_text(encoding="utf-8").rstrip() in page
