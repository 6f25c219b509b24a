"""Files that are whole or absent, and may be read by whom the user lets read them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure._files import (
    is_own,
    is_private_folder,
    mode_of_new_files,
    open_regular,
    read_regular,
    write_atomically,
    written_atomically,
)
from llenergymeasure._folders import working_folder
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.reading.yaml_file import read_config_file
from llenergymeasure.core.prompts.files import read_file
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.orchestration.processes.handover import PLAN_FILE, handed_over
from llenergymeasure.orchestration.sidecars import write_sidecars
from llenergymeasure.results.export import export_csv
from llenergymeasure.results.persistence import publish, save_result
from llenergymeasure.results.process_files import write_process_result
from llenergymeasure.results.sums import mark_done
from llenergymeasure.testing import fake_process_result


@pytest.fixture(params=[0o002, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    mask = int(request.param)
    before = os.umask(mask)
    yield mask
    os.umask(before)


def wrong_modes(root: Path, umask: int) -> dict[str, str]:
    """Files and folders whose permissions are not those that the umask leaves."""
    found = [root, *root.rglob("*")]
    expected = {path: (0o777 if path.is_dir() else 0o666) & ~umask for path in found}
    return {str(p): oct(p.stat().st_mode & 0o777) for p in found if p.stat().st_mode & 0o777 != expected[p]}


def test_everything_that_a_run_leaves_obeys_the_umask(umask: int, tmp_path: Path) -> None:
    root = tmp_path / "results"
    with working_folder(root, "run") as staging:
        plan = ExperimentPlan.of(ExperimentConfig(model="m"), output_dir=staging)
        raw = fake_process_result(plan)
        with handed_over(plan) as state_dir:
            write_process_result(raw, state_dir)
            assert (state_dir / PLAN_FILE).stat().st_mode & 0o777 == 0o666 & ~umask
        result = ExperimentResult.from_processes([raw], write_sidecars(staging, [raw]))
        save_result(result, staging)
        mark_done(staging)
        folder = publish(staging, root, "run")
    export_csv([result], root / "table.csv")
    assert {"result.json", "DONE", "timeseries.parquet", "requests.parquet"} <= {p.name for p in folder.iterdir()}
    assert wrong_modes(root, umask) == {}


def test_what_new_files_may_be_read_by_is_asked_without_a_trace(umask: int, tmp_path: Path) -> None:
    assert mode_of_new_files(tmp_path) == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == []


class TornError(Exception):
    pass


def test_a_file_has_its_name_when_it_is_whole_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("old")
    with written_atomically(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"

    def tear() -> None:
        with written_atomically(path) as aside:
            aside.write_text("half")
            raise TornError

    with pytest.raises(TornError):
        tear()
    assert [p.name for p in tmp_path.iterdir()] == ["table"]
    assert path.read_text() == "new"


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"no-such-folder/file'$"):
        write_atomically(tmp_path / "no-such-folder" / "file", "text")
    assert list(tmp_path.iterdir()) == []


# Opening what is a file, and nothing else.


@pytest.fixture
def swapped(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Put a pipe in the place of a file as soon as somebody has looked what it is."""

    def swap(file: Path) -> None:
        look = Path.stat

        def stat(path: Path, **how: Any) -> os.stat_result:
            found = look(path, **how)
            if path == file:
                file.unlink()
                os.mkfifo(file)
                monkeypatch.setattr(Path, "stat", look)
            return found

        monkeypatch.setattr(Path, "stat", stat)

    return swap


@pytest.mark.timeout(20)
def test_a_pipe_that_takes_the_place_of_a_file_is_waited_for_by_nobody(
    tmp_path: Path, swapped: Callable[[Path], None]
) -> None:
    readers: list[Callable[[Path], object]] = [
        open_regular,
        lambda path: read_regular(path, 10),
        lambda path: read_file(path, None),
        read_config_file,
    ]
    for number, read in enumerate(readers):
        path = tmp_path / f"{number}.jsonl"
        path.write_text('{"prompt": "x"}\n', encoding="utf-8")
        swapped(path)
        with pytest.raises((OSError, ConfigError), match="no regular file"):
            read(path)


def test_no_descriptor_stays_open_of_what_is_refused(tmp_path: Path, swapped: Callable[[Path], None]) -> None:
    path = tmp_path / "x"
    path.touch()
    swapped(path)
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(OSError, match="no regular file"):
        open_regular(path)
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_folder_is_private_that_is_ones_own_no_link_and_written_by_nobody_else(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir(mode=0o700)
    link.symlink_to(folder)
    (tmp_path / "file").touch(mode=0o600)
    assert [is_private_folder(path) for path in (folder, link, tmp_path / "file", tmp_path / "missing")] == [
        True, False, False, False,
    ]  # fmt: skip
    assert [is_own(path) for path in (folder, link, tmp_path / "missing")] == [True, False, False]
    for mode in (0o720, 0o702):
        folder.chmod(mode)
        assert not is_private_folder(folder)
        assert is_own(folder)
