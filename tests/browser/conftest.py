"""A real browser, where there is one."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_MISSING = next(
    (
        f"the package {name} is not installed"
        for name in ("plotly", "playwright")
        if importlib.util.find_spec(name) is None
    ),
    None if _CHROMIUM else "there is no chromium on this machine",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a browser, or what draws, where it is not there."""
    for item in items:
        if _MISSING is not None and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=_MISSING))


# Not for the whole session: while it runs, its event loop does, and no test of others could have one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's own Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        # Its sandbox refuses to run as root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = started.chromium.launch(executable_path=_CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page from the disk; at the end nothing was on the console and nothing was asked for."""
    said: list[str] = []
    contexts = []

    def open_it(path: Path, **emulated: Any) -> Any:
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **emulated)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: _note(request.url, path, said))
        page.goto(path.as_uri())
        page.wait_for_selector("#tab-table[aria-selected=true]", timeout=60_000)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert said == []


def _note(url: str, path: Path, said: list[str]) -> None:
    # What a page makes of its own data is no request.
    if url != path.as_uri() and not url.startswith(("data:", "blob:")):
        said.append(f"request: {url[:200]}")
