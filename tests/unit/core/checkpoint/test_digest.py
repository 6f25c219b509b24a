"""Digests of weight files, against sha256sum, and when a file is read again."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from llenergymeasure.core.checkpoint.digest import weights_digest
from tests.fakes.effort import PATIENCE_S

LARGE = 17_000_000  # bytes; files under 16 MB leave no note


def large_file(path: Path, first: bytes = b"") -> Path:
    path.write_bytes(first)
    os.truncate(path, LARGE)  # the rest is a hole of zeros
    return path


def note_in(cache: Path) -> Path:
    (note,) = cache.glob("*.json")
    return note


def forged(cache: Path) -> str:
    """Put another digest into the only note; whoever gives it back has not read the file."""
    note = note_in(cache)
    digest = "f" * 64
    note.write_text(json.dumps({**json.loads(note.read_text()), "sha256": digest}))
    return f"sha256:{digest}"


def test_one_file_has_its_own_sha_256_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert weights_digest({"a": tmp_path / "a"}, tmp_path) == expected
    assert weights_digest({"b": tmp_path / "a"}, tmp_path) == expected


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not here")
def test_several_files_have_the_digest_of_what_sha256sum_prints_for_them(tmp_path: Path) -> None:
    names = ["b.bin", "a.bin", "sub/c.bin"]
    (tmp_path / "sub").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * 1000)
    printed = subprocess.run(["sha256sum", *sorted(names)], cwd=tmp_path, capture_output=True, check=True).stdout
    expected = f"sha256:{hashlib.sha256(printed).hexdigest()}"
    for order in (names, names[::-1]):
        assert weights_digest({name: tmp_path / name for name in order}, tmp_path / "cache") == expected


def test_a_byte_changes_the_digest_and_a_time_does_not(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = large_file(tmp_path / "w")
    first = weights_digest({"w": path}, cache)
    # 17,000,000 zeros, by hashlib.
    assert first == f"sha256:{hashlib.sha256(bytes(LARGE)).hexdigest()}"
    os.utime(path, ns=(1, 1))
    assert weights_digest({"w": path}, cache) == first
    with path.open("r+b") as file:
        file.seek(LARGE - 1)
        file.write(b"\x01")
    assert weights_digest({"w": path}, cache) != first


def test_a_large_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = large_file(tmp_path / "w")
    true = weights_digest({"w": path}, cache)
    planted = forged(cache)
    assert weights_digest({"w": path}, cache) == planted
    os.utime(path, ns=(1, 1))
    assert weights_digest({"w": path}, cache) == true


def test_other_content_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    # As when an archive whose times are all alike is unpacked over another.
    cache = tmp_path / "cache"
    path = large_file(tmp_path / "w")
    os.utime(path, ns=(1, 1))
    first = weights_digest({"w": path}, cache)
    large_file(path, b"other")
    os.utime(path, ns=(1, 1))
    assert weights_digest({"w": path}, cache) == f"sha256:{hashlib.sha256(b'other' + bytes(LARGE - 5)).hexdigest()}"
    assert weights_digest({"w": path}, cache) != first


def test_a_link_is_known_by_what_it_leads_to(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (tmp_path / "link").symlink_to(large_file(tmp_path / "one"))
    first = weights_digest({"link": tmp_path / "link"}, cache)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(large_file(tmp_path / "two", b"x"))
    assert weights_digest({"link": tmp_path / "link"}, cache) != first


@pytest.mark.parametrize(
    "torn", [b"", b'{"path"', b"[]", b"null", b'{"sha256": 5}', b"\xff\xfe", b'{"sha256": "' + b"f" * 64 + b'"}']
)
def test_a_torn_or_foreign_note_is_ignored_and_written_anew(tmp_path: Path, torn: bytes) -> None:
    cache = tmp_path / "cache"
    path = large_file(tmp_path / "w")
    true = weights_digest({"w": path}, cache)
    note_in(cache).write_bytes(torn)
    assert weights_digest({"w": path}, cache) == true
    planted = forged(cache)
    assert weights_digest({"w": path}, cache) == planted, "the new note is good"


def test_a_note_whose_digest_is_none_is_ignored(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = large_file(tmp_path / "w")
    true = weights_digest({"w": path}, cache)
    note = note_in(cache)
    note.write_text(json.dumps({**json.loads(note.read_text()), "sha256": "no digest"}))
    assert weights_digest({"w": path}, cache) == true


def test_small_files_leave_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"small")
    weights_digest({"w": tmp_path / "w"}, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    path = large_file(tmp_path / "w")
    (tmp_path / "file").write_text("in the way")
    expected = f"sha256:{hashlib.sha256(bytes(LARGE)).hexdigest()}"
    assert weights_digest({"w": path}, tmp_path / "file") == expected


def test_a_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        weights_digest({"w": tmp_path / "missing"}, tmp_path)


def hub_cache(root: Path, blob: str, content: bytes = b"not what the name says") -> Path:
    """A file as the hub's library stores it; gives the link in the snapshot."""
    repository = root / "models--org--name"
    snapshot = repository / "snapshots" / ("c" * 40)
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (repository / "blobs" / blob).write_bytes(content)
    link = snapshot / "model.safetensors"
    link.symlink_to(Path("../../blobs", blob))
    return link


def test_a_large_file_in_the_hubs_cache_is_known_by_its_name_without_reading(tmp_path: Path) -> None:
    link = hub_cache(tmp_path, "ab" * 32)
    assert weights_digest({link.name: link}, tmp_path / "cache") == f"sha256:{'ab' * 32}"


@pytest.mark.parametrize("blob", ["ab" * 20, "AB" * 32, "ab" * 31 + "xy"])
def test_other_names_there_are_no_sha_256_and_the_file_is_read(tmp_path: Path, blob: str) -> None:
    # Small files are named by git's SHA-1.
    link = hub_cache(tmp_path, blob, b"abc")
    expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert weights_digest({link.name: link}, tmp_path / "cache") == expected


def test_a_file_elsewhere_is_not_believed_for_its_name(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    path = tmp_path / "blobs" / ("ab" * 32)
    path.write_bytes(b"abc")
    expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert weights_digest({"w": path}, tmp_path / "cache") == expected


SCRIPT = """
import sys
from pathlib import Path
from llenergymeasure.core.checkpoint.digest import weights_digest
print(weights_digest({"w": Path(sys.argv[1])}, Path(sys.argv[2])))
"""


def start(path: Path, cache: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), str(cache)], stdout=subprocess.PIPE, text=True)


def test_processes_that_ask_at_once_agree_and_leave_one_note(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = large_file(tmp_path / "w")
    processes = [start(path, cache) for _ in range(3)]
    said = {process.communicate(timeout=PATIENCE_S)[0].strip() for process in processes}
    assert said == {f"sha256:{hashlib.sha256(bytes(LARGE)).hexdigest()}"}
    assert note_in(cache)
    assert not list(cache.glob("*.tmp"))


def test_a_process_killed_while_reading_leaves_neither_a_lock_nor_a_wrong_note(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = tmp_path / "w"
    path.touch()
    os.truncate(path, 100_000_000_000)  # a hole that takes minutes to read
    process = start(path, cache)
    deadline = time.monotonic() + 60
    while not list(cache.glob("*.lock")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    assert not list(cache.glob("*.json"))
    os.truncate(path, LARGE)
    assert weights_digest({"w": path}, cache) == f"sha256:{hashlib.sha256(bytes(LARGE)).hexdigest()}"


def test_a_file_that_changes_while_it_is_read_has_no_digest(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.touch()
    os.truncate(path, 300_000_000)
    read = threading.Event()

    def keep_changing() -> None:
        while not read.wait(0.005):
            path.touch()

    thread = threading.Thread(target=keep_changing)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="changed while it was being read"):
            weights_digest({"w": path}, tmp_path / "cache")
    finally:
        read.set()
        thread.join()
    assert not list((tmp_path / "cache").glob("*.json"))
