"""Room on the disk for what will be written."""

from pathlib import Path

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ProcessLayout
from llenergymeasure.orchestration.output_folder import bytes_to_write, output_problems

ONE = ProcessLayout()


def test_a_disk_that_is_too_small_is_told_with_both_numbers(tmp_path: Path) -> None:
    (line,) = output_problems(tmp_path / "not" / "yet", 9e18)
    assert "9,000,000,000,000 MB will be written" in line
    assert "MB are free on that disk" in line
    assert "--output" in line
    assert output_problems(tmp_path / "not" / "yet", 1.0) == []
    assert not (tmp_path / "not").exists()


def test_nothing_is_written_without_a_folder() -> None:
    assert output_problems(None, 1e30) == []


def test_what_is_written_goes_by_the_requests_that_there_are() -> None:
    config = ExperimentConfig.model_validate({"model": "m", "n": 10**9, "max_output_tokens": 1000})
    answers = config.model_copy(update={"decoder": config.decoder.model_copy(update={"num_return_sequences": 3})})
    # A margin of 50 MB; per experiment 60 kB, per request 740 bytes, per token 76.
    assert bytes_to_write([config], [200], [ONE]) == 50e6 + 60_000 + 200 * 740 + 200_000 * 76
    assert bytes_to_write([config, answers], [200, 1], [ONE, ONE]) == 50e6 + 120_000 + 201 * 740 + 203_000 * 76
    assert bytes_to_write([config], [None], [ONE]) == 50e6 + 60_000


def test_processes_that_share_a_model_each_write_all_requests() -> None:
    config = ExperimentConfig.model_validate({"model": "m", "n": 100, "max_output_tokens": 1000})
    split, shared = ProcessLayout.of(4, "tensor"), ProcessLayout.of(4, "data")
    # Of 76 bytes for a token 40 are in the raw result of each process, and 36 in the one table.
    assert bytes_to_write([config], [100], [split]) == 50e6 + 4 * (60_000 + 100 * 740 + 100_000 * 40) + 100_000 * 36
    assert bytes_to_write([config], [100], [shared]) == 50e6 + 60_000 + 100 * 740 + 100_000 * 76
