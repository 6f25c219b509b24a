"""The installed vLLM has the settings that were recorded, and no others.

Where it is another release: ``python -m tests.integration.vllm.recorded``, and then see what
``tests/unit/core/backends/vllm/test_audit.py`` says of the new names.
"""

import pytest

from tests.fakes.recorded_api import Shape, recorded
from tests.integration.vllm.recorded import FILE, release, shapes

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("default")]

pytest.importorskip("vllm")


@pytest.fixture(scope="module")
def installed() -> dict[str, Shape]:
    return shapes()


@pytest.mark.parametrize("settings", ["EngineArgs", "SamplingParams", "CompilationConfig", "SpeculativeConfig"])
def test_the_installed_release_has_what_was_recorded(settings: str, installed: dict[str, Shape]) -> None:
    kept = recorded(FILE)[settings]
    assert {name for name in installed[settings] if name not in kept} == set()
    assert {name for name in kept if name not in installed[settings]} == set()
    assert installed[settings] == kept


def test_the_record_is_of_the_installed_release(installed: dict[str, Shape]) -> None:
    assert recorded(FILE) == {"version": release(), **installed}
