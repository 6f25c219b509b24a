"""Archives are not believed: what is damaged or hostile is one clear error, and nothing is written elsewhere."""

import hashlib
import random
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.sharing.opening import is_archive, opened
from llenergymeasure.results.sharing.packing import pack
from tests.fakes.effort import examples
from tests.unit.results.sharing.kinds import counted, saved


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return pack(saved(counted(), tmp_path / "run"), tmp_path / "run.zip")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where archives are unpacked: nothing may stay there."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rewritten(archive: Path, changes: Mapping[str, bytes | None]) -> Path:
    """The archive with other contents of some files, others added, or left out where None."""
    with zipfile.ZipFile(archive) as old:
        files: dict[str, bytes | None] = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, content in (files | dict(changes)).items():
            if content is not None:
                new.writestr(zipfile.ZipInfo(name), content)
    return archive


def bag(files: Mapping[str, bytes], path: Path) -> Path:
    """A bag of a payload of these files, with the right sums."""
    manifest = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()
    declaration = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    tags = {"bagit.txt": declaration, "manifest-sha256.txt": manifest}
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in tags.items()).encode()
    with zipfile.ZipFile(path, "w") as new:
        for name, data in {**files, **tags, "tagmanifest-sha256.txt": sums}.items():
            new.writestr(f"top/{name}", data)
    return path


def refused(path: Path, most_bytes: int = 2**30) -> str:
    """What is said of it; in one line, without a traceback, with nothing left behind."""
    with pytest.raises(ConfigError) as caught, opened(path, most_bytes):
        pass
    assert "\n" not in str(caught.value)
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    return str(caught.value)


def test_a_folder_is_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        assert folder == tmp_path


def test_an_archive_is_told_by_how_it_begins(archive: Path, tmp_path: Path) -> None:
    assert is_archive(archive)
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "run" / "result.json", Path("a\0b")):
        assert not is_archive(path)


def test_what_is_no_archive_is_said(archive: Path, tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nothing.zip")
    assert "no whole ZIP archive" in refused(tmp_path / "run" / "result.json")
    archive.write_bytes(b"")
    assert "no whole ZIP archive" in refused(archive)


def test_an_archive_that_was_compressed_again_is_read(archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new:
        new.mkdir("run")
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with opened(again) as folder:
        assert contents(folder) == contents(tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run/data/run/result.json": b"{}"}, "data/run/result.json: it is not the file that was packed"),
        ({"run/data/run/result.json": None}, "data/run/result.json: it is not there"),
        ({"run/data/run/more": b""}, "data/run/more: manifest-sha256.txt does not know it"),
        ({"run/bagit.txt": b"BagIt-Version: 9\n"}, "bagit.txt: it is not the file that was packed"),
        ({"run/manifest-sha256.txt": b""}, "manifest-sha256.txt: it is not the file that was packed"),
        ({"run/tagmanifest-sha256.txt": b"x\n"}, "tagmanifest-sha256.txt:1: it is no sum and name of a file"),
        ({"run/tagmanifest-sha256.txt": b"\xff\n"}, "not a text file in UTF-8"),
        ({"run/bagit.txt": None}, "no archive of llem pack"),
        ({"elsewhere": b""}, "no archive of llem pack"),
    ],
)
def test_what_was_changed_is_named(archive: Path, changes: dict[str, bytes | None], said: str) -> None:
    assert said in refused(rewritten(archive, changes))


@pytest.mark.parametrize(
    "name",
    ["../out", "run/../../out", "/out", "run//out", "run/./out", "C:/out", "run\\..\\out", "run/a\nb", "."],
)
def test_names_that_lead_out_of_the_folder_are_refused(archive: Path, tmp_path: Path, name: str) -> None:
    before = contents(tmp_path)
    with zipfile.ZipFile(archive, "a") as more:
        entry = zipfile.ZipInfo("x")
        entry.filename = name
        more.writestr(entry, b"")
    before["run.zip"] = archive.read_bytes()
    refused(archive)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(archive: Path, kind: int) -> None:
    with zipfile.ZipFile(archive, "a") as more:
        entry = zipfile.ZipInfo("run/data/run/link")
        entry.external_attr = (kind | 0o777) << 16
        more.writestr(entry, b"/etc/passwd")
    assert "it is a link, or no regular file" in refused(archive)


def test_names_that_are_there_twice_or_below_a_file_are_refused(archive: Path) -> None:
    copy = shutil.copy(archive, archive.with_name("copy.zip"))
    with zipfile.ZipFile(archive, "a") as more, pytest.warns(UserWarning, match="Duplicate"):
        more.writestr("run/data/run/result.json", b"")
    assert "it is there twice" in refused(archive)
    with zipfile.ZipFile(copy, "a") as more:
        more.writestr("run/data/run/result.json/x", b"")
    assert "something else has its name" in refused(Path(copy))


def test_what_has_another_make_is_refused(tmp_path: Path) -> None:
    assert "below data is not one folder" in refused(bag({"data/a/x": b"", "data/b/y": b""}, tmp_path / "two.zip"))
    assert "below data is not one folder" in refused(bag({"data/x": b""}, tmp_path / "file.zip"))
    assert "below data is not one folder" in refused(bag({}, tmp_path / "none.zip"))
    with zipfile.ZipFile(tmp_path / "way.zip", "w", zipfile.ZIP_BZIP2) as other:
        other.writestr("a/b", b"c")
    assert "compressed in a way" in refused(tmp_path / "way.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert "no archive of llem pack" in refused(tmp_path / "empty.zip")


def test_an_archive_that_would_be_too_large_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        for number in range(4):
            bomb.writestr(f"top/data/a/{number}", bytes(10**6))
    assert (tmp_path / "bomb.zip").stat().st_size < 10**5
    assert "4,000,000 bytes, and 3,999,999 are the most" in refused(tmp_path / "bomb.zip", 3_999_999)


def test_an_archive_that_understates_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("top/data/a/x", bytes(10**6))
    # Both headers say that it has ten bytes.
    data = path.read_bytes()
    assert data.count((10**6).to_bytes(4, "little")) == 2
    path.write_bytes(data.replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    refused(path, 1000)


def test_no_damage_passes_unseen(archive: Path, tmp_path: Path) -> None:
    """Bytes changed, cut off, put in or moved: an error in one line, or the files are those that were packed."""
    whole, original = archive.read_bytes(), contents(tmp_path / "run")
    draw, lines = random.Random(14), list[str]()
    for _ in range(examples(1000, 150)):
        data = bytearray(whole)
        at = draw.randrange(len(data))
        kind = draw.choice(("flip", "cut", "insert", "swap", "zero"))
        if kind == "flip":
            data[at] ^= 1 << draw.randrange(8)
        elif kind == "cut":
            del data[at:]
        elif kind == "insert":
            data[at:at] = draw.randbytes(draw.randrange(1, 9))
        elif kind == "swap":
            other = draw.randrange(len(data))
            data[at : at + 40], data[other : other + 40] = data[other : other + 40], data[at : at + 40]
        else:
            data[at : at + 200] = bytes(len(data[at : at + 200]))
        archive.write_bytes(data)
        try:
            with opened(archive) as folder:
                assert contents(folder) == original
        except ConfigError as error:
            lines.append(str(error))
    assert not any("\n" in line for line in lines)
    assert len(lines) > 0.8 * examples(1000, 150)
