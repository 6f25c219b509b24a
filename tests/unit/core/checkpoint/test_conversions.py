"""Conversions are made once, and again only of what has changed."""

import errno
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure._locks import locked
from llenergymeasure.core.checkpoint.conversions import kept_conversion, versions_of
from llenergymeasure.exceptions import BackendError

HOW = {"engine": "toy", "toy": "1.0"}


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def converted(folder: Path, how: dict[str, str] | None = None, make: Callable[[Path], None] | None = None) -> Path:
    def write(target: Path) -> None:
        target.mkdir()  # as converters do, which want a folder that is not there
        (target / "model.bin").write_bytes(b"converted")

    files = {"model.safetensors": folder / "model.safetensors"}
    return kept_conversion("some-model", folder, files, how or HOW, make or write)


def never(target: Path) -> None:
    raise AssertionError("it is there already")


def test_it_is_made_once_and_said(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        made = converted(checkpoint)
    assert "converting some-model for toy, once" in caplog.text
    assert (made / "model.bin").read_bytes() == b"converted"
    assert converted(checkpoint, make=never) == made


def test_other_weights_descriptions_and_versions_are_another(checkpoint: Path) -> None:
    found = [converted(checkpoint), converted(checkpoint, {**HOW, "toy": "1.1"})]
    (checkpoint / "config.json").write_text('{"rope_theta": 5}')
    found.append(converted(checkpoint))
    (checkpoint / "model.safetensors").write_bytes(b"other weights")
    found.append(converted(checkpoint))
    assert len(set(found)) == 4


def test_one_that_was_damaged_is_made_again(checkpoint: Path) -> None:
    made = converted(checkpoint)
    (made / "model.bin").write_bytes(b"conv")
    assert converted(checkpoint) == made
    assert (made / "model.bin").read_bytes() == b"converted"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no such architecture\nmore"), "could not be converted for toy: no such architecture"),
        (OSError("disk full"), "could not be converted into .*conversions: disk full$"),
        (OSError(errno.ENOSPC, "No space left"), "could not be converted into .*No space left; set XDG_CACHE_HOME$"),
        (OSError(errno.EROFS, "Read-only"), "could not be converted into .*Read-only; set XDG_CACHE_HOME$"),
    ],
)
def test_what_fails_is_told_and_leaves_nothing(checkpoint: Path, error: Exception, told: str) -> None:
    def fail(target: Path) -> None:
        target.mkdir()
        raise error

    with pytest.raises(BackendError, match=told):
        converted(checkpoint, make=fail)
    assert (converted(checkpoint) / "model.bin").is_file()


def test_one_that_another_process_makes_is_waited_for(checkpoint: Path) -> None:
    made = converted(checkpoint).parent
    (made / "model" / "model.bin").unlink()
    files = {"model.safetensors": checkpoint / "model.safetensors"}
    told = r"another process has been making it for 0 minutes; wait for it, or end that process$"
    with locked(made.with_name(f".{made.name}.lock")), pytest.raises(BackendError, match=told):
        kept_conversion("some-model", checkpoint, files, HOW, never, patience_s=0.1)


def test_versions_are_those_that_are_installed() -> None:
    assert versions_of("pytest", "no-such-distribution") == {"pytest": pytest.__version__}
