"""Zeus itself, on a machine without an NVIDIA GPU."""

from importlib import util

import pytest

from llenergymeasure.core.energy_backends import ZeusBackend
from llenergymeasure.core.gpu.machine import list_gpus

pytestmark = [
    pytest.mark.skipif(util.find_spec("zeus") is None, reason="needs the extra zeus"),
    pytest.mark.skipif(bool(list_gpus()), reason="there is an NVIDIA GPU"),
]


def test_it_is_refused_with_a_reason() -> None:
    backend = ZeusBackend()
    assert not backend.is_available()
    assert backend.problem() == "no NVIDIA GPU answered"


def test_a_gpu_that_zeus_cannot_read_is_a_reason_and_never_zero_joules(capfd: pytest.CaptureFixture[str]) -> None:
    backend = ZeusBackend(visible=lambda: ("GPU-nowhere",))
    assert (backend.problem() or "").startswith("Zeus ")
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert str(measured.warnings[0]).startswith("energy_unavailable: Zeus ")
    assert tuple(capfd.readouterr()) == ("", "")
