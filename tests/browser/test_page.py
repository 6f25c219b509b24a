"""The page of a report in a real browser."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.results.report.data import report_data
from llenergymeasure.results.report.page import page_of, plotly_program
from llenergymeasure.results.sums import mark_done
from tests.fakes.studies import Study, of_batches

Open = Callable[..., Any]
TABS = ("table", "plots", "runs", "energy", "compare", "environment", "cite")
# No name of a run is longer; what stands for it in the page is.
NAME, LONG = "x" * 128, "x" * 10_000
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script><!--"


def requests(n: int, ttft_s: float) -> tuple[RequestOutput, ...]:
    """So many requests after each other, of 4 tokens each."""
    return tuple(
        RequestOutput(
            index=at, input_tokens=3, output_tokens=4, finish_reason="length", output_digest="0" * 64,
            sent_s=10.0 + at / 20, end_s=10.0 + at / 20 + ttft_s + 0.03,
            token_times_s=tuple(10.0 + at / 20 + ttft_s + step / 100 for step in range(4)),
        )
        for at in range(n)
    )  # fmt: skip


def write_page(study: Path, page: Path) -> Path:
    """The page of a study."""
    data = json.loads(json.dumps(report_data([study], lambda _: None)).replace(NAME, LONG))
    page.write_text(page_of(data, plotly_program()), encoding="utf-8")
    return page


def write_trace(attempt: Path) -> None:
    """Power that steps in the middle of the window."""
    rows = [(at / 10, 60.0 if at < 10 else 300.0) for at in range(-5, 25)]
    table = pa.table({
        "process": pa.array([0] * len(rows), pa.int32()), "device": ["GPU-0"] * len(rows),
        "sensor": ["nvml"] * len(rows), "what": ["power"] * len(rows), "time_s": [10.0 + time for time, _ in rows],
        "value": [watts for _, watts in rows],
    })  # fmt: skip
    clock = json.dumps([{"process": 0, "window_start_s": 10.0, "window_end_s": 12.0}])
    pq.write_table(table.replace_schema_metadata({"clock": clock, "windows": "[]"}), attempt / "trace.parquet")
    seconds = pa.table({"timestamp_s": [0.0, 1.0], "gpu_index": pa.array([0, 0], pa.int32()),
                        "temperature_c": [40.0, 45.0], "power_w": [60.0, 300.0]})  # fmt: skip
    pq.write_table(seconds.replace_schema_metadata({"window_start_s": "0.0"}), attempt / "timeseries.parquet")
    asked = pa.table({"output_tokens": [4], "ttft_s": [0.5], "token_times_s": [[0.5, 1.0, 1.5, 2.0]],
                      "due_s": pa.array([None], pa.float64()), "sent_s": [0.0]})  # fmt: skip
    pq.write_table(asked, attempt / "requests.parquet")
    (attempt / "DONE").unlink()
    mark_done(attempt)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three configurations with hostile names, of which the last has no citable energy."""
    folder = tmp_path_factory.mktemp("report")
    kinds: list[dict[str, Any]] = [{"name": HOSTILE}, {"name": NAME}, {"name": "modelled"}]
    configs = [of_batches(size, **fields)[0] for size, fields in enumerate(kinds, 1)]
    study = Study.of(folder / "study", configs, 3)
    for slot in study.plan.slots:
        modelled = {"device": {"source": "modelled", "basis": "load", "kind": "cpu"}} if slot.configuration == 2 else {}
        attempt = study.finish(
            slot, (1200.0, 640.0, 900.0)[slot.configuration] + slot.repeat,
            requests=requests(30, 0.1 * (slot.configuration + 1)), **modelled,
        )  # fmt: skip
        write_trace(attempt)
    return write_page(study.directory.path, folder / "page.html")


def rows_of(page: Any) -> list[str]:
    """The numbers of the rows that the table shows."""
    return [text.strip() for text in page.locator("#table tbody tr[data-row] th").all_inner_texts()]


def test_every_tab_is_opened_and_what_is_drawn_is_there(open_page: Open, page_file: Path) -> None:
    page = open_page(page_file)
    for name in TABS:
        page.click(f"#tab-{name}")
        assert page.locator(f"#panel-{name}").is_visible()
        assert page.locator("[role=tabpanel]:visible").count() == 1
    drawn = {"plots": ["plot-tokens_per_second", "plot-ttft_p50_s"], "energy": ["plot-energy"],
             "runs": ["course-power", "course-temperature", "course-tokens"]}  # fmt: skip
    for name, plots in drawn.items():
        page.click(f"#tab-{name}")
        for plot in plots:
            assert page.locator(f"#{plot} svg.main-svg").first.is_visible(), plot


def test_what_may_not_be_cited_is_said_before_anything_else(open_page: Open, page_file: Path) -> None:
    page = open_page(page_file)
    banner = page.locator("#banner")
    assert banner.inner_text().startswith("NOT CITABLE: the energy of 3 of 9 runs")
    assert "energy_modelled" in banner.inner_text()
    assert "not_citable" in banner.get_attribute("class")
    # The joules of that row have marks, those of the others have none.
    assert page.locator("#table tbody tr[data-row='2'] td.joules sup").first.inner_text() == "ab"
    assert page.locator("#table tbody tr[data-row='0'] sup").count() == 0


def test_hostile_names_are_text(open_page: Open, page_file: Path) -> None:
    page = open_page(page_file)
    assert page.locator("#table tbody tr[data-row='0'] .cell").first.inner_text() == HOSTILE
    assert page.locator("img").count() == 0
    for name in TABS:
        page.click(f"#tab-{name}")
    page.click("#tab-runs")
    for run in ("0", "3"):
        page.select_option("#run", run)
    assert page.locator("main img, main script").count() == 0
    # Ten thousand characters neither vanish nor make the page as wide.
    page.click("#tab-table")
    assert page.locator("#table tbody tr[data-row='1'] .cell").first.inner_text() == LONG
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")


def test_sorting_is_told_to_those_who_do_not_see_it(open_page: Open, page_file: Path) -> None:
    page = open_page(page_file)
    head = "#table thead button[data-key='energy_per_output_token_j']"
    page.click(head)
    assert rows_of(page) == ["2", "3", "1"]
    assert page.locator(f"th:has({head.removeprefix('#table thead ')})").get_attribute("aria-sort") == "ascending"
    page.click(head)
    assert rows_of(page) == ["1", "3", "2"]
    assert page.evaluate("document.activeElement.dataset.key") == "energy_per_output_token_j"


def test_rows_are_left_out_by_text_by_limits_and_by_what_may_be_cited(open_page: Open, page_file: Path) -> None:
    page = open_page(page_file)
    page.fill("#filter-text", "MODELLED")
    assert rows_of(page) == ["3"]
    page.click("#filter-reset")
    assert rows_of(page) == ["1", "2", "3"]
    # 30 requests a run: the p95 of TTFT is 0.1, 0.2 and 0.3 s.
    page.fill("#limit-ttft_p95_s", "0.25")
    assert rows_of(page) == ["1", "2"]
    # 640 J over 120 tokens are 5.3 J each, 1,200 J are 10.
    page.fill("#limit-energy_per_output_token_j", "6")
    assert rows_of(page) == ["2"]
    page.click("#filter-reset")
    page.check("#filter-citable")
    assert rows_of(page) == ["1", "2"]
    assert page.inner_text("#table-status") == "2 of 3 rows"


def test_a_row_opens_with_what_has_to_be_known_of_it(open_page: Open, page_file: Path) -> None:
    page = open_page(page_file)
    button = page.locator("#table tr[data-row='2'] button")
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    assert "no sensor stands behind the joules" in page.inner_text("#table tr.more")
    n_before = page.locator("#table thead th").count()
    page.check("#all-columns")
    assert page.locator("#table thead th").count() > n_before


def test_what_is_copied_is_what_is_shown(open_page: Open, page_file: Path) -> None:
    page = open_page(page_file)
    page.click("#tab-cite")
    for name in ("markdown", "latex", "bibtex", "command", "report"):
        page.click(f"#copy-{name}")
        page.wait_for_selector(f"#copy-{name}:has-text('(copied)')")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.evaluate(f"document.getElementById('text-{name}').textContent"), name
    assert page.inner_text("#text-bibtex").startswith("@software{llenergymeasure")
    assert "\\begin{tabular}" in page.inner_text("#text-latex")


def test_two_configurations_have_the_verdict_of_the_comparison(open_page: Open, page_file: Path) -> None:
    page = open_page(page_file)
    page.click("#tab-compare")
    assert "energy_per_output_token_j" in page.inner_text("#compared")
    # About 640 J over 1,200 J.
    assert "0.533" in page.inner_text("#compared")
    assert "different" in page.inner_text("#compared")
    assert "llem compare" in page.inner_text("#compared")
    page.select_option("#compare-b", "3")
    # Sensed and modelled joules are nothing that can be compared.
    assert "Not compared" in page.inner_text("#compared")
    page.select_option("#compare-a", "3")
    assert "the same configuration" in page.inner_text("#compared")


def test_tabs_are_reached_with_the_keyboard_alone(open_page: Open, page_file: Path) -> None:
    page = open_page(page_file)
    page.focus("#tab-table")
    for key, name in (
        ("ArrowRight", "plots"),
        ("End", "cite"),
        ("ArrowRight", "table"),
        ("ArrowLeft", "cite"),
        ("Home", "table"),
    ):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.id") == f"tab-{name}"
        assert page.get_attribute(f"#tab-{name}", "aria-selected") == "true"
        assert page.locator(f"#panel-{name}").is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") in ("main", "panel-table")
    # Each tab names its panel, each panel its tab; and every field has a label.
    for name in TABS:
        assert page.get_attribute(f"#tab-{name}", "aria-controls") == f"panel-{name}"
        assert page.get_attribute(f"#panel-{name}", "aria-labelledby") == f"tab-{name}"
    unlabelled = (
        "[...document.querySelectorAll('main input, main select')].filter((field) => !field.labels.length).length"
    )
    assert page.evaluate(unlabelled) == 0


@pytest.mark.parametrize(("scheme", "paper"), [("dark", "rgb(21, 24, 27)"), ("light", "rgb(255, 255, 255)")])
def test_it_follows_the_scheme_of_colours_and_prints_on_white(
    open_page: Open, page_file: Path, scheme: str, paper: str
) -> None:
    page = open_page(page_file, color_scheme=scheme)
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == paper
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    assert page.locator("[role=tabpanel]:visible").count() == len(TABS)
    assert not page.locator("[role=tablist]").is_visible()
    assert page.locator("#plot-tokens_per_second svg.main-svg").first.is_visible()


def test_ten_thousand_rows_stay_usable(open_page: Open, page_file: Path, tmp_path: Path) -> None:
    study = Study.of(tmp_path / "study", of_batches(1, 2))
    study.finish_all([80.0], [40.0])
    data = report_data([study.directory.path], lambda _: None)
    n = 10_000
    (first, second), columns = data["table"]["rows"], data["table"]["columns"]
    data["table"]["rows"] = [{**first, "number": at + 1, "fronts": []} for at in range(n - 1)] + [
        {**second, "number": n}
    ]
    data["energy"] = [data["energy"][0]] * n
    for column in columns:
        for name in {"values", "shown", "low", "high"} & set(column):
            column[name] = [column[name][0]] * n
    numbers, joules = (next(c for c in columns if c["key"] == key) for key in ("number", "energy_per_output_token_j"))
    numbers["values"] = list(range(1, n + 1))
    joules["values"] = [float(n - at) for at in range(n)]
    file = tmp_path / "page.html"
    file.write_text(page_of(data, plotly_program()), encoding="utf-8")
    assert file.stat().st_size < 8_000_000
    page = open_page(file)
    # Only a page of rows is in the document, and each of these takes a moment and not minutes.
    assert page.locator("#table tbody tr").count() == 50
    took_ms = page.evaluate(
        """() => { const began = performance.now();
        document.querySelector("#table thead button[data-key='energy_per_output_token_j']").click();
        return performance.now() - began; }"""
    )
    assert took_ms < 5_000
    assert rows_of(page)[:2] == ["10000", "9999"]
    page.click("button[data-turn='1']")
    assert rows_of(page)[0] == "9950"
    page.fill("#limit-energy_per_output_token_j", "3")
    assert rows_of(page) == ["10000", "9999", "9998"]
    page.click("#filter-reset")
    page.click("#tab-plots")
    page.wait_for_selector("#plot-tokens_per_second svg.main-svg")
    assert "of 10000 points are drawn" in page.inner_text("#panel-plots")
    assert page.locator("#plot-tokens_per_second path.point").count() <= 2_100


@pytest.mark.slow
def test_five_hundred_rows_take_less_than_six_megabytes(tmp_path: Path) -> None:
    configs = of_batches(*range(1, 501))
    study = Study.of(tmp_path / "study", configs)
    study.finish_all(*([80.0 + at] for at in range(500)))
    assert write_page(study.directory.path, tmp_path / "page.html").stat().st_size < 6_000_000


def test_the_front_is_drawn_through_what_nothing_is_better_than(open_page: Open, tmp_path: Path) -> None:
    study = Study.of(tmp_path / "study", of_batches(1, 2, 3, 4))
    # 4 tokens in 2, 4, 1 and 4 s: 2, 1, 4 and 1 tokens/s, at 20, 15, 25 and 26 J each. The last is beaten by all.
    for slot in study.plan.slots:
        total_j, duration_s = ((80.0, 2.0), (60.0, 4.0), (100.0, 1.0), (104.0, 4.0))[slot.configuration]
        study.finish(slot, total_j, duration_s=duration_s)
    page = open_page(write_page(study.directory.path, tmp_path / "page.html"))
    page.click("#tab-plots")
    page.wait_for_selector("#plot-tokens_per_second svg.main-svg")
    front = page.evaluate(
        "document.getElementById('plot-tokens_per_second').data.find((each) => each.name === 'Pareto front')"
    )
    assert (front["x"], front["y"]) == ([1.0, 2.0, 4.0], [15.0, 20.0, 25.0])
    # As a table for those who do not see it.
    page.click("#panel-plots details >> nth=0 >> summary")
    rows = page.locator("#panel-plots details >> nth=0 >> tbody tr").all_inner_texts()
    assert [row.split()[-1] for row in rows] == ["yes", "yes", "yes", "no"]
