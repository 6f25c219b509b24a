"""What is believed of what Zeus returns, with a monitor that stands in for Zeus's."""

import math
from types import SimpleNamespace

import pytest

from llenergymeasure.core.energy_backends import ZeusBackend
from llenergymeasure.domain.metrics import DeviceEnergy
from llenergymeasure.testing import FakeClock

A, B, C = "GPU-a", "GPU-b", "GPU-c"


class FakeMonitor:
    """Behaves as ``ZeusMonitor`` about windows; raises at the call whose log line is ``fail_at``."""

    def __init__(self, energies: dict[int, float], fail_at: str = "") -> None:
        self.energies = energies
        self.fail_at = fail_at
        self.log: list[str] = []
        self.indices: list[list[int]] = []
        self._open: set[str] = set()

    def __call__(self, indices: list[int]) -> "FakeMonitor":
        self.indices.append(indices)
        self._tell("create")
        return self

    def begin_window(self, key: str, sync_execution: bool = True) -> None:
        self._tell(f"begin sync={sync_execution}")
        if key in self._open:
            raise ValueError(f"Measurement window '{key}' already exists")
        self._open.add(key)

    def end_window(self, key: str, sync_execution: bool = True) -> SimpleNamespace:
        self._open.remove(key)
        self._tell(f"end sync={sync_execution}")
        return SimpleNamespace(gpu_energy=dict(self.energies))

    def _tell(self, line: str) -> None:
        self.log.append(line)
        if self.fail_at and line.startswith(self.fail_at):
            raise RuntimeError("the vendor library is gone")


def _backend(
    monitor: FakeMonitor, clock: FakeClock, devices: tuple[str, ...] | None = (A,), indices: list[int] | None = None
) -> ZeusBackend:
    return ZeusBackend(
        indices,
        devices=devices,
        monitor_factory=monitor,
        visible=lambda: (A, B, C),
        has_counter=lambda uuid: uuid != A,
        clock=clock,
    )


def test_gpus_given_by_uuid_are_watched_by_cudas_index_and_summed(clock: FakeClock) -> None:
    monitor = FakeMonitor({2: 300.0, 0: 45.5})
    backend = _backend(monitor, clock, devices=(C, A))
    tracker = backend.start_tracking()
    clock.sleep(5)
    measured = backend.stop_tracking(tracker)
    assert monitor.indices == [[2, 0]]
    assert (measured.total_j, measured.duration_sec, measured.warnings) == (345.5, 5.0, ())
    assert measured.per_gpu_j == {C: 300.0, A: 45.5}
    assert measured.devices == (
        DeviceEnergy(device=C, kind="gpu", energy_j=300.0, source="counter", field="ZeusMonitor gpu_energy"),
        DeviceEnergy(device=A, kind="gpu", energy_j=45.5, source="integrated", field="ZeusMonitor gpu_energy"),
    )


def test_by_default_all_visible_gpus_are_watched(clock: FakeClock) -> None:
    monitor = FakeMonitor({0: 1.0, 1: 2.0, 2: 3.0})
    assert _backend(monitor, clock, devices=None).is_available()
    assert _backend(monitor, clock, devices=None, indices=[1]).is_available()
    assert monitor.indices == [[0, 1, 2], [1]]


def test_zeus_never_synchronises_the_device_for_that_would_make_a_cuda_context(clock: FakeClock) -> None:
    monitor = FakeMonitor({0: 10.0})
    backend = _backend(monitor, clock)
    assert backend.is_available()
    backend.stop_tracking(backend.start_tracking())
    assert monitor.log == ["create", *["begin sync=False", "end sync=False"] * 2]


@pytest.mark.parametrize("energy_j", [0.0, -250.0, math.nan])
def test_an_energy_that_no_gpu_can_have_used_is_refused(clock: FakeClock, energy_j: float) -> None:
    backend = _backend(FakeMonitor({0: 120.0, 1: energy_j}), clock, devices=(A, B))
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert [d.energy_j for d in measured.devices] == [120.0, None]
    assert measured.warnings[0].startswith("energy_unavailable: ")
    assert repr(energy_j) in measured.warnings[0]


def test_a_gpu_that_zeus_does_not_see_makes_it_unusable_and_leaves_no_total(clock: FakeClock) -> None:
    backend = _backend(FakeMonitor({0: 120.0}), clock, devices=(A, B))
    assert backend.problem() == "Zeus does not see GPU-b"
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert [d.energy_j for d in measured.devices] == [120.0, None]


@pytest.mark.parametrize("fail_at", ["create", "begin", "end"])
def test_a_library_that_raises_is_a_reason_and_never_an_error(clock: FakeClock, fail_at: str) -> None:
    backend = _backend(FakeMonitor({0: 120.0}, fail_at), clock)
    assert not backend.is_available()
    tracker = backend.start_tracking()
    clock.sleep(2)
    measured = backend.stop_tracking(tracker)
    assert (measured.total_j, measured.duration_sec) == (None, 2.0)
    assert "the vendor library is gone" in measured.warnings[0]


@pytest.mark.parametrize("fail_at", ["begin", "end"])
def test_a_gpu_lost_after_the_probe_is_a_reason_too(clock: FakeClock, fail_at: str) -> None:
    monitor = FakeMonitor({0: 120.0})
    backend = _backend(monitor, clock)
    assert backend.is_available()
    monitor.fail_at = fail_at
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert "the vendor library is gone" in measured.warnings[0]


@pytest.mark.parametrize(
    ("devices", "indices", "reason"),
    [
        ((), None, "no GPU is in use"),
        (("GPU-z",), None, "GPU-z is not visible to CUDA"),
        (None, [3], "3 are visible"),
    ],
)
def test_gpus_that_are_not_there_are_refused(
    clock: FakeClock, devices: tuple[str, ...] | None, indices: list[int] | None, reason: str
) -> None:
    backend = _backend(FakeMonitor({0: 1.0}), clock, devices, indices)
    assert reason in (backend.problem() or "")


def test_without_a_visible_gpu_zeus_is_not_even_asked(clock: FakeClock) -> None:
    monitor = FakeMonitor({0: 0.0})
    backend = ZeusBackend(monitor_factory=monitor, visible=tuple, clock=clock)
    assert backend.problem() == "no NVIDIA GPU answered"
    assert monitor.log == []
