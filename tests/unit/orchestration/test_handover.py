"""What passes between a launcher and its processes."""

import logging
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.orchestration.processes.handover import (
    PLAN_FILE,
    error_file,
    handed_over,
    received_plan,
    report,
    reported,
)
from llenergymeasure.orchestration.status import file_handler


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_plan_arrives_as_it_was_and_names_no_home_on_its_way(home: Path) -> None:
    (home / "run").mkdir()
    config = ExperimentConfig(model=f"{home}/m", passthrough_kwargs={"proxies": {"https": "http://me:${PW}@h"}})
    plan = ExperimentPlan.of(config, output_dir=home / "run", baseline_cache=home / "baseline.json")
    with handed_over(plan) as state_dir:
        assert str(home) not in (state_dir / PLAN_FILE).read_text(encoding="utf-8")
        assert received_plan(state_dir) == plan


def test_a_failure_is_reported_without_home_or_secrets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "0123456789abcdef")
    report(ExperimentError(f"{home}/m: 401 for 0123456789abcdef, half \udcff"), home)
    assert str(home) not in error_file(home).read_text(encoding="utf-8")
    assert str(reported(home)) == "~/m: 401 for ${SOME_API_KEY}, half \\udcff"


def test_a_processs_log_is_as_others_may_read_it(home: Path) -> None:
    handler = file_handler(home / "log.txt")
    handler.handle(logging.LogRecord("x", logging.INFO, "", 1, f"loading {home}/m\x1b[2J", None, None))
    handler.close()
    assert (home / "log.txt").read_text(encoding="utf-8").endswith("loading ~/m\\x1b[2J\n")
