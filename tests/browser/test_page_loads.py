"""Curves over load in a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.results.report.data import report_data
from llenergymeasure.results.report.loads import loads_of
from llenergymeasure.results.report.page import page_of, plotly_program
from tests.fakes.studies import Study, of_batches
from tests.unit.results.loads.made import run
from tests.unit.results.report.test_loads import gathered_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """That of a small study without a load."""
    study = Study.of(tmp_path_factory.mktemp("loads") / "study", of_batches(1))
    study.finish_all([80.0])
    return report_data([study.directory.path], lambda _: None)


def test_without_a_load_there_is_no_such_tab(
    open_page: Callable[..., Any], data: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "page.html"
    file.write_text(page_of(data, plotly_program()), encoding="utf-8")
    page = open_page(file)
    assert page.locator("#tab-plots").count() == 1
    assert page.locator("#tab-loads").count() == 0


def test_energy_and_latency_are_drawn_against_the_load_with_what_was_promised(
    open_page: Callable[..., Any], data: dict[str, Any], tmp_path: Path
) -> None:
    runs: list[list[Any]] = [
        [run(r, 100 + 50 * r, energy_per_output_token_j=10 / r, ttft_p95_s=0.1 * r)] for r in (1.0, 2.0, 4.0)
    ]
    over = run(7.0, 500.0, energy_per_output_token_j=1.0, ttft_p95_s=9.0, overloaded="yes", slo_met="no")
    loads = loads_of(gathered_of((1, 2, 4, 9), [*runs, [over]], slo={"ttft_p95_s": 0.5}))
    file = tmp_path / "page.html"
    file.write_text(page_of({**data, "loads": loads}, plotly_program()), encoding="utf-8")
    page = open_page(file)
    page.click("#tab-loads")
    for plot in ("load-0-energy", "load-0-latency"):
        assert page.locator(f"#{plot} svg.main-svg").first.is_visible()
    legend = page.locator("#load-0-latency .legendtext").all_text_contents()
    assert {"TTFT p95", "TTFT p95, overloaded", "SLO: TTFT p95 0.5 s"} <= set(legend)
    cells = page.locator("#panel-loads tbody tr").last.inner_text()
    assert "NOT met" in cells
    assert "OVERLOADED" in cells
    assert "highest load within the SLO: 4; 9 was beyond it" in page.locator("#panel-loads").inner_text()
