"""The raw results of processes, and what is said when they are not whole."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.results.process_files import read_process_results, write_process_result
from tests.fakes.effort import examples
from tests.unit.results.conftest import values_of

RawOf = Callable[..., RawProcessResult]


@settings(max_examples=examples(40), deadline=None)
@given(values_of(RawProcessResult))
def test_a_raw_result_comes_back_equal(raw: RawProcessResult) -> None:
    raw = raw.model_copy(update={"process_index": 0})
    with tempfile.TemporaryDirectory() as folder:
        path = write_process_result(raw, Path(folder) / "made")
        assert path == Path(folder) / "made" / "process_0.json"
        assert list(read_process_results(path.parent, 1)) == [raw]


def test_the_marker_is_the_sha_256_of_the_file(raw_of: RawOf, tmp_path: Path) -> None:
    path = write_process_result(raw_of(process_index=3), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["process_3.done", "process_3.json"]
    marker = (tmp_path / "process_3.done").read_text(encoding="utf-8").strip()
    assert marker == hashlib.sha256(path.read_bytes()).hexdigest()


def test_processes_are_read_in_their_order(raw_of: RawOf, tmp_path: Path) -> None:
    for index in (2, 0, 1):
        write_process_result(raw_of(process_index=index, n_processes=3), tmp_path)
    assert [raw.process_index for raw in read_process_results(tmp_path, 3)] == [0, 1, 2]


def test_everything_that_is_wrong_is_said_at_once(raw_of: RawOf, tmp_path: Path) -> None:
    for index in range(6):
        write_process_result(raw_of(process_index=index, n_processes=6), tmp_path)
    (tmp_path / "process_1.json").unlink()
    (tmp_path / "process_2.done").unlink()
    torn = (tmp_path / "process_3.json").read_bytes()[:-20]
    (tmp_path / "process_3.json").write_bytes(torn)
    (tmp_path / "process_4.json").write_bytes(b"\xff\xfe")
    (tmp_path / "process_5.json").write_bytes(torn)
    (tmp_path / "process_5.done").write_text(hashlib.sha256(torn).hexdigest(), encoding="utf-8")
    with pytest.raises(ExperimentError) as caught:
        read_process_results(tmp_path, 6)
    said = str(caught.value).split(": ", 1)[1].split("; ")
    assert str(tmp_path) in str(caught.value)
    assert "process_0" not in str(caught.value)
    assert "process_1.json is missing" in said
    assert "process_2.done is missing" in said
    assert "process_3.json does not match its completion marker" in said
    assert any(line.startswith("process_4.json cannot be understood") for line in said)
    assert any(line.startswith("process_5.json cannot be understood") for line in said)


@settings(max_examples=examples(60), deadline=None)
@given(content=st.binary(max_size=40), marker=st.binary(max_size=70), matching=st.booleans())
def test_rubbish_is_an_experiment_error_and_never_a_traceback(content: bytes, marker: bytes, matching: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "process_0.json").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest().encode()
        (Path(folder) / "process_0.done").write_bytes(digest if matching else marker)
        with pytest.raises(ExperimentError, match=r"process_0\."):
            read_process_results(Path(folder), 1)
