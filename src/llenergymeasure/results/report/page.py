"""A report as one file that needs nothing else: markup, style, program and data.

Texts of results are in the data alone, as JSON that no browser takes for markup, and the page's program sets them as
text. The policy of the page lets run what was written here and nothing else, and lets nothing be fetched.
"""

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from llenergymeasure.exceptions import config_error

# From here on data is compressed.
_LARGE_BYTES = 200_000
# In this order: each uses what those before it have.
_PROGRAMS = ("basics.js", "table.js", "plots.js", "loads.js", "runs.js", "compare.js", "rest.js", "main.js")
_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'"
)
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def page_of(data: Mapping[str, Any], plotly: str) -> str:
    """The page that shows the data of a report.

    Args:
        data: what ``report_data`` gives.
        plotly: the program that draws, ``plotly_program``.
    """
    plotly = _script(plotly)
    program = _script("\n".join(["(() => {", '"use strict";', *map(_file, _PROGRAMS), "})();"]))
    coding, written = _written(data)
    parts = {
        "policy": _POLICY.format(scripts=" ".join(map(_digest, (plotly, program)))),
        "title": html.escape(data["head"]["title"][:120]),
        "style": _file("page.css"),
        "coding": coding,
        "data": written,
        "plotly": plotly,
        "program": program,
    }
    # All at once, so that nothing in a part is taken for a place.
    return _PLACE.sub(lambda found: parts[found[1]], _file("page.html"))


def as_json(data: Mapping[str, Any]) -> str:
    """Data as JSON that ends no element, begins no comment and breaks no line wherever it stands in a page.

    Raises:
        ValueError: a number is none.
    """
    # What is not ASCII is escaped anyway, so separators of lines are.
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _written(data: Mapping[str, Any]) -> tuple[str, str]:
    text = as_json(data)
    if len(text) <= _LARGE_BYTES:
        return "json", text
    # Without a time, so that the same data gives the same page.
    return "gzip", base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _script(text: str) -> str:
    """A program that can stand in an element, as a browser will read it: with its sum the lines have to be the same."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")


def _digest(program: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return resources.files("llenergymeasure").joinpath("data", "report", name).read_text(encoding="utf-8")


def plotly_program() -> str:
    """The program of plotly, as its package has it.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise config_error(
            "plotly is not installed, and a report draws with it; install with pip install 'llenergymeasure[report]'"
        ) from None
    return str(get_plotlyjs())
