"""What every test stands on: neither the developer's own defaults nor LLEM_* variables play a part.

Side by side each test process has one thread, since two threads beside another busy process are many times slower than
one; without the extras what needs them is skipped, so that the unit tests run with the base install.
"""

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from llenergymeasure._machine_folder import FOLDER_VARIABLE
from tests.fakes.effort import EVERYTHING, THREADS_OF_TESTS

_EXTRAS = {"pytorch": "torch", "zeus": "zeus"}

# By default the examples of a property are the same in every run, so that what passed passes again anywhere;
# `make test-all` looks for new ones.
settings.register_profile("the same each time", derandomize=not EVERYTHING)
settings.load_profile("the same each time")

# No test needs the model hub, and some of its libraries wait half a minute for one that does not answer.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

if "PYTEST_XDIST_WORKER" in os.environ and "OMP_NUM_THREADS" not in os.environ:
    os.environ |= {"OMP_NUM_THREADS": "1", THREADS_OF_TESTS: "1"}


# Python processes that tests start keep what they compile, or each of hundreds would compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Files that take longest begin first, so that none of them is left to one process at the end: in turns those that
# mostly wait for seconds to pass and those that compute, so that the cores have something to do while others wait.
_LONGEST = (
    "test_two_at_once", "test_end_to_end", "test_closed_form", "test_processes", "test_fault_table", "test_chaos",
    "test_page_sensor", "test_how_tos", "test_calibrate", "test_processes_that_end", "test_kills", "test_knobs",
    "test_disturbed_runs", "test_gpus_not_used", "test_foreign_code", "test_workers", "test_process", "test_benches",
    "test_terminal", "test_sensor_conformance", "test_further_sensors",
)  # fmt: skip
_PLACES = {stem: place for place, stem in enumerate(_LONGEST)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs an extra or a system that is not there; the longest files first."""
    items.sort(key=lambda item: _PLACES.get(item.path.stem, len(_LONGEST)))
    if not sys.platform.startswith("linux"):
        for item in items:
            if item.get_closest_marker("linux") is not None:
                item.add_marker(pytest.mark.skip(reason="only Linux has it"))
    for extra, module in _EXTRAS.items():
        if importlib.util.find_spec(module) is not None:
            continue
        for item in items:
            if item.get_closest_marker(extra) is not None:
                item.add_marker(pytest.mark.skip(reason=f"the extra {extra} is not installed"))


# Tests beside each other measure simulated devices that have the same names.
os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="llem-test-locks-")
atexit.register(shutil.rmtree, os.environ[FOLDER_VARIABLE], ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_defaults_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in [name for name in os.environ if name.startswith("LLEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(_empty_folder(tmp_path_factory)))


def _empty_folder(factory: pytest.TempPathFactory) -> Path:
    path = factory.getbasetemp() / "no-user-file"
    path.mkdir(exist_ok=True)
    return path
