"""Calibrations are kept for a card and its driver, and one that cannot be read does not count."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from llenergymeasure.core.calibration.store import calibrations_dir, keep, known
from llenergymeasure.domain.energy.calibration import Calibration, ReadingProperties

READING = ReadingProperties(field="f", update_s=0.1, window_s=0.025, lag_s=0.0, unexplained=0.01, n_readings=300)
FOUND = Calibration(
    device="GPU-1", name="A", driver_version="570", timestamp=1.5, tool_version="2", load="toy", duration_s=30.0,
    power=READING, counter_tick_s=0.1, counter_fed_by="power", counter_unexplained={"power": 0.01, "everything": 0.2},
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_what_was_kept_is_known_for_that_driver_alone() -> None:
    assert known("GPU-1", "570") is None
    path = keep(FOUND)
    assert path.parent == calibrations_dir()
    assert known("GPU-1", "570") == FOUND
    assert known("GPU-1", "580") is None
    assert known("GPU-2", "570") is None
    keep(replace(FOUND, timestamp=2.5))
    assert known("GPU-1", "570") == replace(FOUND, timestamp=2.5)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"device": "GPU-1"}', b"\xff"])
def test_a_damaged_one_does_not_count_and_is_said(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    keep(FOUND).write_bytes(content)
    assert known("GPU-1", "570") is None
    assert "does not count" in caplog.text


@pytest.mark.parametrize("wrong", ['"update_s": 0.0', '"window_s": -1.0', '"lag_s": -5.0', '"update_s": NaN'])
def test_one_with_times_that_are_none_does_not_count(wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    path = keep(FOUND)
    name = wrong.split(":", maxsplit=1)[0]
    text = re.sub(rf"{name}: [0-9.]+", wrong, path.read_text("utf-8"))
    assert wrong in text
    path.write_text(text, "utf-8")
    assert known("GPU-1", "570") is None
    assert "does not count" in caplog.text


def test_one_that_was_copied_under_another_name_does_not_count() -> None:
    path = keep(FOUND)
    path.rename(path.with_name("GPU-2.json"))
    assert known("GPU-2", "570") is None


def test_no_name_leads_out_of_the_folder() -> None:
    assert keep(replace(FOUND, device="../../GPU-1")).parent == calibrations_dir()
