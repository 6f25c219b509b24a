"""Archives of results: the same bytes each time, nothing from outside of the folder, whole or absent."""

import hashlib
import json
import os
import resource
import socket
import stat
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.sharing.crate import Stated
from llenergymeasure.results.sharing.opening import opened
from llenergymeasure.results.sharing.packing import pack
from tests.unit.results.sharing.kinds import counted, packages, saved, study


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """Files cannot grow beyond the limit; the write fails halfway, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return saved(counted(), tmp_path / "a run")


def test_what_was_packed_comes_back_as_it_was(run: Path, tmp_path: Path) -> None:
    archive = pack(run, tmp_path / "out.zip")
    assert archive == tmp_path / "out.zip"
    with opened(archive) as folder:
        assert folder.name == "a-run"
        assert contents(folder) == contents(run)
        # And packs into the same again, wherever it lies.
        again = pack(folder, tmp_path / "again.zip")
        place = folder
    assert not place.exists()
    with opened(again) as folder:
        assert contents(folder) == contents(run)


def test_what_jobs_were_submitted_with_stays_where_it_is(run: Path, tmp_path: Path) -> None:
    kept = contents(run)
    (run / "cluster" / "submission-1" / "jobs").mkdir(parents=True)
    (run / "cluster" / "submission-1" / "submission.json").write_text('{"user": "me"}\n', encoding="utf-8")
    with opened(pack(run, tmp_path / "out.zip")) as folder:
        assert contents(folder) == kept


def test_packing_twice_gives_the_same_bytes_whoever_touched_the_files(run: Path, tmp_path: Path) -> None:
    first = pack(run, tmp_path / "1.zip").read_bytes()
    file = run / "result.json"
    os.utime(file, (time.time() - 1e6, time.time() - 1e6))
    file.chmod(0o600)
    # In another order on the disk.
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)
    assert pack(run, tmp_path / "2.zip").read_bytes() == first


def test_the_archive_is_a_bag_with_the_sums_of_every_file(run: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(pack(run, tmp_path / "out.zip")) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        # The first time that there is, whatever a clock says.
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {stat.S_IMODE(entry.external_attr >> 16) for entry in archive.infolist()} == {0o644}
    assert files["a-run/bagit.txt"] == b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    payload = {name.removeprefix("a-run/"): data for name, data in files.items() if name.startswith("a-run/data/")}
    assert set(payload) == {
        "data/a-run/result.json", "data/a-run/.state/process_0.json", "data/ro-crate-metadata.json",
    }  # fmt: skip
    lines = "".join(f"{hashlib.sha256(payload[name]).hexdigest()}  {name}\n" for name in sorted(payload))
    assert files["a-run/manifest-sha256.txt"] == lines.encode()
    tags = ("bag-info.txt", "bagit.txt", "manifest-sha256.txt")
    sums = "".join(f"{hashlib.sha256(files[f'a-run/{name}']).hexdigest()}  {name}\n" for name in tags)
    assert files["a-run/tagmanifest-sha256.txt"] == sums.encode()
    n_bytes = sum(map(len, payload.values()))
    assert f"Payload-Oxum: {n_bytes}.3\n" in files["a-run/bag-info.txt"].decode()


def test_the_crate_names_every_file_the_tool_and_how_it_was_measured(run: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(pack(run, tmp_path / "out.zip")) as archive:
        crate = json.loads(archive.read("a-run/data/ro-crate-metadata.json"))
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    by_id: dict[str, dict[str, Any]] = {entity["@id"]: entity for entity in crate["@graph"]}
    assert by_id["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    assert by_id["ro-crate-metadata.json"]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = by_id["./"]
    # The day of the measurement; nothing is of the time of packing.
    assert (root["@type"], root["datePublished"]) == ("Dataset", "2026-03-04")
    assert "It was 80 J, 20 J per output token" in root["description"]
    assert root["hasPart"] == {"@id": "a-run/"}
    assert by_id[root["license"]["@id"]]["name"] == "No licence stated"
    assert "author" not in root
    parts = [part["@id"] for part in by_id["a-run/"]["hasPart"]]
    assert parts == ["a-run/.state/process_0.json", "a-run/result.json"]
    file = by_id["a-run/result.json"]
    content = (run / "result.json").read_bytes()
    assert (file["@type"], file["encodingFormat"]) == ("File", "application/json")
    assert (file["contentSize"], file["sha256"]) == (str(len(content)), hashlib.sha256(content).hexdigest())
    action = by_id["#measurement"]
    assert (action["startTime"], action["endTime"]) == ("2026-03-04T05:06:07+00:00", "2026-03-04T05:06:09+00:00")
    assert by_id[action["instrument"]["@id"]]["version"] == "0.0"


def test_authors_and_licence_are_those_that_were_stated(run: Path, tmp_path: Path) -> None:
    stated = Stated(authors=("A. Author", "B. Author"), license="CC-BY-4.0")
    with zipfile.ZipFile(pack(run, tmp_path / "out.zip", stated=stated)) as archive:
        crate = json.loads(archive.read("a-run/data/ro-crate-metadata.json"))
    by_id = {entity["@id"]: entity for entity in crate["@graph"]}
    assert [by_id[link["@id"]]["name"] for link in by_id["./"]["author"]] == ["A. Author", "B. Author"]
    assert by_id["./"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert by_id["https://spdx.org/licenses/CC-BY-4.0"]["@type"] == "CreativeWork"
    with pytest.raises(ConfigError, match="--license my own: give an identifier"):
        Stated(license="my own")


def test_files_are_in_order(run: Path, tmp_path: Path) -> None:
    for number in (7, 30, 2, 11, 5, 19, 3):
        (run / f"{number}").write_text("")
    with zipfile.ZipFile(pack(run, tmp_path / "out.zip")) as archive:
        names = [name for name in archive.namelist() if name.startswith("a-run/data/a-run/")]
    assert len(names) == 9
    assert names == sorted(names)


def test_a_study_is_packed_whole(tmp_path: Path) -> None:
    folder = study(tmp_path / "s", counted(), packages(), n_failed=1, n_planned=3)
    with opened(pack(folder, tmp_path / "out.zip")) as found:
        assert contents(found) == contents(folder)


def test_names_with_spaces_percents_and_other_scripts_come_back(run: Path, tmp_path: Path) -> None:
    for name in ("a b.txt", "100%25.txt", "größe/über.txt"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(name)
    with opened(pack(run, tmp_path / "out.zip")) as folder:
        assert contents(folder) == contents(run)


def test_links_are_never_followed(run: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("x")
    (run / "to-a-file").symlink_to(secret / "key")
    (run / ".state" / "to-a-folder").symlink_to(secret)
    (run / "inside").symlink_to("result.json")
    with pytest.raises(ConfigError) as caught:
        pack(run, tmp_path / "out.zip")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(": this is a link, and links are not followed" in line for line in lines)
    assert not (tmp_path / "out.zip").exists()


def test_what_is_no_file_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s")
        with pytest.raises(ConfigError, match="no regular file"):
            pack(run, tmp_path / "out.zip")


@pytest.mark.parametrize("name", [b"half-\xff", b"back\\slash", b"line\nbreak"])
def test_names_that_no_archive_can_have_are_refused(run: Path, tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(run) + b"/" + name)).write_text("")
    with pytest.raises(ConfigError, match="a run/"):
        pack(run, tmp_path / "out.zip")


def test_what_is_there_is_not_overwritten_unless_it_is_asked_for(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.zip"
    target.write_text("mine")
    with pytest.raises(ConfigError, match=r"not overwritten.*--force"):
        pack(run, target)
    assert target.read_text() == "mine"
    pack(run, target, force=True)
    assert zipfile.is_zipfile(target)
    with pytest.raises(ConfigError, match="folder"):
        pack(run, tmp_path, force=True)
    with pytest.raises(ConfigError, match="there is no folder"):
        pack(run, tmp_path / "no" / "out.zip")


def test_an_archive_does_not_lie_in_what_it_packs(run: Path) -> None:
    for place in (run / "out.zip", run / ".state" / "out.zip"):
        with pytest.raises(ConfigError, match="lies in the folder that is packed"):
            pack(run, place)


@pytest.mark.parametrize("limit_bytes", [0, 100, 3000])
def test_a_full_disk_leaves_no_half_archive(run: Path, tmp_path: Path, limit_bytes: int) -> None:
    (run / "big").write_bytes(os.urandom(5000))
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.zip").write_text("mine")
    for target in (out / "new.zip", out / "old.zip"):
        with full_disk(limit_bytes), pytest.raises(OSError, match="File too large") as caught:
            pack(run, target, force=True)
        assert caught.value.filename == str(target)
    assert contents(out) == {"old.zip": b"mine"}


def test_a_result_that_cannot_be_read_is_not_packed(run: Path, tmp_path: Path) -> None:
    (run / "result.json").write_text("{")
    with pytest.raises(ConfigError, match="no JSON"):
        pack(run, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_the_archive_is_called_as_the_folder_in_the_working_directory(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pack(Path("a run")) == Path("a-run.zip")
    assert (tmp_path / "a-run.zip").is_file()
