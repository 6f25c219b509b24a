"""The page as a file: what is in it is text, and nothing may be fetched."""

import base64
import gzip
import hashlib
import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.results.report.page import as_json, page_of

PLOTLY = "const Plotly = {};"


def data_with(title: str) -> dict[str, Any]:
    """The least data that a page is made of."""
    return {"head": {"title": title}}


@given(st.text())
def test_data_ends_no_element_and_is_the_same_again(text: str) -> None:
    written = as_json({"text": text})
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {"text": text}


def test_a_title_of_markup_is_text() -> None:
    page = page_of(data_with("</title><script>alert(1)</script><!-- {{plotly}} {{data}}"), PLOTLY)
    assert "<script>alert" not in page
    assert "&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;!-- {{plotly}} {{data}}" in page


def test_the_policy_names_the_sums_of_the_programs_and_lets_nothing_be_fetched() -> None:
    page = page_of(data_with("a study"), "const ended = '</script>';\r\nconst two = 2;")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    programs = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(programs) == 2
    assert "\r" not in page
    for program in programs:
        digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none';")
    assert "http" not in policy[1]
    assert "unsafe-eval" not in policy[1]


def test_large_data_is_compressed_the_same_each_time() -> None:
    data = {**data_with("a study"), "values": list(range(100_000))}
    page = page_of(data, PLOTLY)
    found = re.search(r'id="data" data-coding="gzip">([^<]*)<', page)
    assert found is not None
    assert json.loads(gzip.decompress(base64.b64decode(found[1]))) == data
    assert page == page_of(data, PLOTLY)
    assert len(page) < 500_000


def test_nothing_of_the_page_itself_leads_elsewhere() -> None:
    page = page_of(data_with("a study"), PLOTLY)
    assert not re.findall(r"https?://|<link|<img|<iframe|src=|innerHTML|insertAdjacent|document\.write|eval\(", page)
