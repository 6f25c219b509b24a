"""Edits by somebody who makes the sums anew, so that they hold: what is found by looking at what the files say."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.results.verification.verify import in_lines, verify
from tests.unit.results.verification.test_bundles import GOLDEN, wrong

Edit = Callable[[dict[str, Any]], object]
QUICK = GOLDEN / "revision-5" / "quickstart"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A recorded run, which agrees."""
    return Path(shutil.copytree(QUICK, tmp_path / "run"))


def edited(folder: Path, name: str, *edits: Edit) -> None:
    file = folder / name
    content = json.loads(file.read_text())
    for edit in edits:
        edit(content)
    file.write_text(json.dumps(content))


FIRST_OF_THE_NEWEST = ("trace", "energy_interval_j", "energy_interval_parts_j", "dither_energy_j")
OTHERS_OF_THE_NEWEST = (
    "definitions", "energy_host_j", "energy_host_uncertainty_j", "energy_host_scope", "dither_pause_s",
    "energy_net_of_loaded_idle_uncertainty_j", "idle_loaded_power_uncertainty_w", "attached_logs",
)  # fmt: skip


def made_older(folder: Path, *without: str) -> None:
    """Say that a result is of revision 4, and may be cited."""

    def edit(result: dict[str, Any]) -> None:
        for name in without:
            del result[name]
        result.update(schema_revision=4, validity="citable", validity_flags=[], measurement_warnings=[])

    edited(folder, "result.json", edit)
    (folder / "DONE").unlink()
    shutil.rmtree(folder / ".state")


def without_nested(result: dict[str, Any]) -> None:
    """Take out what came with revision 5 below the top."""
    for row in result["energy_devices"]:
        row.pop("duration_sec", None)
        row.pop("uncertainty_parts_j", None)
    for name in ("baseline_power_uncertainty_w", "adjusted_uncertainty_j"):
        del result["energy_breakdown"][name]
    for name in ("baseline_power_uncertainty_w", "idle_loaded_power_uncertainty_w"):
        del result["process_results"][0][name]
    del result["warmup_result"]["thermal_settled"]


def test_what_came_with_the_newest_revision_marks_a_file_as_one_of_it(copy: Path) -> None:
    made_older(copy, *FIRST_OF_THE_NEWEST)
    found = wrong(verify(copy))
    assert "damaged: schema_revision: it is 4, and definitions came with 5" in found
    edited(copy, "result.json", lambda result: [result.pop(name) for name in OTHERS_OF_THE_NEWEST])
    at = "energy_breakdown.baseline_power_uncertainty_w"
    assert f"damaged: schema_revision: it is 4, and {at} came with 5" in wrong(verify(copy))


def test_no_revision_makes_modelled_joules_citable(copy: Path) -> None:
    made_older(copy, *FIRST_OF_THE_NEWEST, *OTHERS_OF_THE_NEWEST)
    edited(copy, "result.json", without_nested)
    # Joules are modelled, and others took 85 % of the machine.
    why = "the file says citable, and by figures and warnings it is not_citable: energy_modelled, foreign_load_high"
    assert wrong(verify(copy)) == [f"differs: validity: {why}"]
    edited(copy, "result.json", lambda result: result.update(validity="not_citable"))
    assert wrong(verify(copy)) == ["differs: validity_flags: the file says [], and validity is not_citable"]


def test_of_an_earlier_revision_the_last_line_says_what_was_not_verified() -> None:
    report = verify(GOLDEN / "revision-3" / "quickstart")
    said = list(in_lines(report))[-1].removeprefix(f"{report.folder}: ")
    assert said.startswith(f"agrees as far as revision 3 can be verified: {report.n_agreed} figures derived again, ")
    assert said.endswith(")")
    assert {"DONE", ".state", "validity"} <= set(said.partition("(")[2].removesuffix(")").split(", "))
