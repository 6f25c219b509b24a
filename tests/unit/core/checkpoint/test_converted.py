"""A folder that is made once: read-only ones are used, damaged ones made again, and two at once end well."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llenergymeasure.core.checkpoint.converted import folder_damage, kept_folder, whole_folder

_NOBODY = 65534


def weights(n_bytes: int = 8) -> bytes:
    """A safetensors file with one tensor of so many bytes."""
    header = json.dumps({"t": {"dtype": "U8", "shape": [n_bytes], "data_offsets": [0, n_bytes]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(n_bytes)


def make(folder: Path) -> None:
    """As a library makes a model: weights that only their owner may read among them."""
    (folder / "model.safetensors").write_bytes(weights())
    (folder / "model.safetensors").chmod(0o600)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text('{"model": {}}')
    (folder / "chat_template.jinja").write_text("{{ messages }}")


def never(folder: Path) -> None:
    raise AssertionError(f"{folder} was made again")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models" / "tiny-1.0"


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_it_is_made_once_and_nothing_else_is_left(target: Path) -> None:
    assert whole_folder(target) is None
    assert kept_folder(target, make) == target
    assert kept_folder(target, never) == whole_folder(target) == target
    assert [name for name in names(target.parent) if not name.endswith(".lock")] == ["tiny-1.0"]


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.linux
def test_the_disk_has_every_file_before_the_folder_gets_its_name(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    kept_folder(target, make)
    before = [p for p in flushed if "-partial" in str(p)]
    assert {p.name for p in before if p.suffix != ".llem-partial"} >= set(names(target)) - {".sizes.json"}
    assert before[-1].suffix == ".llem-partial"  # the folder, when all of its files are there
    assert flushed[-1] == target.parent


Harm = Callable[[Path], object]
HARMS: dict[str, Harm] = {
    "truncated weights": lambda f: (f / "model.safetensors").write_bytes(weights()[:-1]),
    "weights of none": lambda f: (f / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}"),
    "empty weights": lambda f: (f / "model.safetensors").write_bytes(b""),
    "missing weights": lambda f: (f / "model.safetensors").unlink(),
    "empty description": lambda f: (f / "config.json").write_text(""),
    "truncated tokenizer": lambda f: (f / "tokenizer.json").write_text('{"model": '),
    "missing tokenizer": lambda f: (f / "tokenizer.json").unlink(),
}
# What only the sizes can tell that were written down.
HARMS_OF_SIZE: dict[str, Harm] = {
    "empty template": lambda f: (f / "chat_template.jinja").write_text(""),
    "missing template": lambda f: (f / "chat_template.jinja").unlink(),
    "empty list of sizes": lambda f: (f / ".sizes.json").write_text(""),
    "list that is none": lambda f: (f / ".sizes.json").write_text("3"),
    "list of nothing": lambda f: (f / ".sizes.json").write_text("{}"),
    "everything gone": emptied,
}


@pytest.mark.parametrize("harm", [*HARMS, *HARMS_OF_SIZE])
def test_a_damaged_one_is_named_and_made_again(harm: str, target: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept_folder(target, make)
    (HARMS | HARMS_OF_SIZE)[harm](target)
    assert folder_damage(target) is not None
    assert whole_folder(target) is None
    assert kept_folder(target, make) == target
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert line.startswith(f"{target} is damaged: ")
    assert line.endswith("; it is made again")
    assert folder_damage(target) is None
    assert (target / "model.safetensors").read_bytes() == weights()
    assert not [name for name in names(target.parent) if name.endswith("-partial")]


@pytest.mark.parametrize("harm", [None, *HARMS])
def test_one_whose_sizes_nobody_wrote_down_is_looked_into(harm: str | None, target: Path) -> None:
    kept_folder(target, make)
    (target / ".sizes.json").unlink()
    if harm is None:
        assert kept_folder(target, never) == target
        return
    HARMS[harm](target)
    assert folder_damage(target) is not None


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077], ids=oct)
def test_who_may_read_it_is_the_users_choice(umask: int, target: Path) -> None:
    before = os.umask(umask)
    try:
        kept_folder(target, make)
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in [target, *target.iterdir()]}
    assert modes.pop("tiny-1.0") == 0o777 & ~umask
    assert set(modes.values()) == {0o666 & ~umask}


KILLED = """
import os, signal, sys
from pathlib import Path
from llenergymeasure.core.checkpoint.converted import kept_folder
def half(folder):
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
kept_folder(Path(sys.argv[1]), half)
"""


def test_what_a_killed_process_left_is_removed(target: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    (left,) = target.parent.glob(".*-partial")
    assert names(left) == ["half"]
    kept_folder(target, make)
    assert [name for name in names(target.parent) if name != ".tiny-1.0.lock"] == ["tiny-1.0"]


def test_a_failure_leaves_nothing_and_the_old_one_stays(target: Path) -> None:
    kept_folder(target, make)
    (target / "config.json").write_text("")

    def fail(folder: Path) -> None:
        (folder / "config.json").write_text("{")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        kept_folder(target.with_name("other"), fail)
    assert [name for name in names(target.parent) if not name.endswith(".lock")] == ["tiny-1.0"]


@pytest.fixture
def read_only(target: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """Takes away the right to write to the folder and what is above it, from root too, by being somebody else."""
    place = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    place.chmod(0o755)
    (place / "tmp").mkdir()
    (place / "tmp").chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(place / "tmp"))
    kept, user = place / "cache" / target.name, os.geteuid()

    def take_away() -> Path:
        for path in [*kept.rglob("*"), kept, kept.parent]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        if user == 0:
            os.seteuid(_NOBODY)
        return kept

    kept_folder(kept, make)
    yield take_away
    os.seteuid(user)
    for path in [kept.parent, kept]:
        path.chmod(0o755)
    shutil.rmtree(place)


def test_a_whole_one_that_cannot_be_written_to_is_used(read_only: Callable[[], Path]) -> None:
    kept = read_only()
    assert kept_folder(kept, never) == kept


def test_a_damaged_one_that_cannot_be_replaced_is_made_beside_it_once(
    read_only: Callable[[], Path], caplog: pytest.LogCaptureFixture
) -> None:
    (Path(tempfile.gettempdir()).parent / "cache" / "tiny-1.0" / "config.json").write_text("")
    kept = read_only()
    found = kept_folder(kept, make)
    assert found.parent == Path(tempfile.gettempdir(), f"llenergymeasure-{os.geteuid()}")
    assert folder_damage(found) is None
    assert f"it is made in {found.parent} instead" in caplog.text
    assert kept_folder(kept, never) == whole_folder(kept) == found
    # It is nobody else's to fill.
    assert found.parent.stat().st_mode & 0o777 == 0o700


def test_what_others_may_have_put_into_the_temporary_folder_is_not_used(read_only: Callable[[], Path]) -> None:
    (Path(tempfile.gettempdir()).parent / "cache" / "tiny-1.0" / "config.json").write_text("")
    theirs = Path(tempfile.gettempdir(), f"llenergymeasure-{_NOBODY if os.geteuid() == 0 else os.geteuid()}")
    kept_folder(theirs / "tiny-1.0", make)
    theirs.chmod(0o777)
    kept = read_only()
    assert whole_folder(kept) is None
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        kept_folder(kept, make)


RACE = """
import sys, time, logging
from pathlib import Path
from llenergymeasure.core.checkpoint.converted import kept_folder
from tests.unit.core.checkpoint.test_converted import make
def slow(folder):
    make(folder)
    time.sleep(0.5)
    Path(sys.argv[2]).open("a").write("made\\n")
print(kept_folder(Path(sys.argv[1]), slow))
"""


def test_two_processes_that_ask_at_once_have_it_made_once(target: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACE, str(target), str(tmp_path / "log")]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]) for _ in "ab"
    ]
    assert [p.communicate(timeout=60)[0].strip() for p in processes] == [str(target)] * 2
    assert (tmp_path / "log").read_text() == "made\n"
    assert folder_damage(target) is None
