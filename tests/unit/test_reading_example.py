"""The example that reads a study's Parquet files, run as a reader would."""

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llenergymeasure.results.study.writer import SummaryWriter
from tests.fakes.studies import Study, of_batches

EXAMPLE = Path(__file__).parents[2] / "examples" / "reading_results.py"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two configurations of three runs of 4 tokens each; the last run has a table of its two requests."""
    study = Study.of(tmp_path / "study", of_batches(1, 8), 3)
    study.finish_all([80.0, 80.0, 80.0], [36.0, 40.0, 400.0 / 9.0])
    SummaryWriter(study.directory, study.plan).finish()
    last = study.directory.folder(study.plan, study.slot(1, 2)) / "attempt-1" / "requests.parquet"
    pq.write_table(pa.table({"ttft_s": [0.25, 0.75], "e2e_s": [2.0, 1.5]}), last)
    return study


def ran(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_it_prints_means_with_their_intervals_and_what_requests_took(study: Study, tmp_path: Path) -> None:
    said = ran(study.directory.path, tmp_path / "figure.png")
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    # 80 J over 4 tokens, each time; and 36, 40 and 40 / 0.9 J, whose logarithms are ln(10 / 9) apart: t(.975, 2) is
    # 4.3027, so that the interval is a factor of exp(4.3027 ln(10 / 9) / sqrt(3)) to either side of 10.
    factor = math.exp(4.3027 * math.log(10 / 9) / math.sqrt(3))
    assert " ".join(lines[2].split()) == "batch_size 1 3 20 (20 to 20) 2 (2 to 2)"
    assert " ".join(lines[3].split()) == f"batch_size 8 3 10 ({10 / factor:.3g} to {10 * factor:.3g}) 2 (2 to 2)"
    assert f"({10 / factor:.3g} to {10 * factor:.3g})" == "(7.7 to 13)"
    assert lines[4].startswith("energy: ")
    [of_requests] = [line.split() for line in lines if "attempt-1" in line]
    assert of_requests[1:] == ["2", "0.5", "2"]


def test_it_draws_where_matplotlib_is_and_says_so_where_it_is_not(study: Study, tmp_path: Path) -> None:
    figure = tmp_path / "figure.png"
    said = ran(study.directory.path, figure)
    assert said.returncode == 0, said.stderr
    if importlib.util.find_spec("matplotlib") is None:
        assert said.stdout.endswith("not drawn: pip install matplotlib\n")
        assert not figure.exists()
    else:
        assert said.stdout.endswith(f"drawn: {figure}\n")
        assert figure.read_bytes().startswith(b"\x89PNG")


def test_without_a_study_it_says_how_it_is_called() -> None:
    said = ran()
    assert (said.returncode, said.stdout) == (1, "")
    assert "results/STUDY" in said.stderr
