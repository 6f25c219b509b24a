"""The page *adding an engine*, followed by hand."""

from pathlib import Path

import pytest

from llenergymeasure.domain.result import ExperimentResult
from tests.fakes.pages import FreshEnvironment


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    return FreshEnvironment(tmp_path_factory.mktemp("page"), "llem-echo", "adding-an-engine.md")


def test_it_is_listed(environment: FreshEnvironment) -> None:
    ran = environment.llem("config")
    assert ran.returncode == 0, ran.stderr
    assert any(line.split()[:1] == ["echo"] or " echo " in line for line in ran.stdout.splitlines())


def test_it_measures(environment: FreshEnvironment, tmp_path: Path) -> None:
    ran = environment.llem("run", "echo.yaml", "--output", str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    (folder,) = tmp_path.iterdir()
    result = ExperimentResult.from_json(folder)
    assert (result.model.engine, result.n_requests) == ("echo", 4)
    # Every prompt of the built-in set has more than eight tokens, and is said again.
    assert result.output_tokens == 4 * 8
    assert result.effective_config["echo"] == {"token_ms": 2.0}
    assert result.latency_stats is not None
    assert result.latency_stats.itl_s is not None
    assert result.latency_stats.itl_s.mean >= 0.002


def test_a_setting_that_it_has_not_is_told_with_the_nearest_one(environment: FreshEnvironment) -> None:
    ran = environment.llem("run", "echo.yaml", "--set", "echo.tokens_ms=3", "--dry-run")
    assert ran.returncode == 2
    assert "token_ms" in ran.stderr


def test_it_conforms(environment: FreshEnvironment) -> None:
    ran = environment.pytest()
    assert ran.returncode == 0, ran.stdout
    # It has no seeds, no prompt that is too long, no request that fails, and takes no requests one by one.
    assert "10 passed, 5 skipped" in ran.stdout
