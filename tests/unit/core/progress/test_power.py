"""Watts of now, for whoever watches."""

from pathlib import Path

import pytest

from llenergymeasure.core.energy_backends.hwmon import HwmonBackend
from llenergymeasure.core.energy_backends.rapl import RAPLBackend
from llenergymeasure.core.energy_backends.watching import between_reads
from llenergymeasure.core.instruments import NoTelemetry
from llenergymeasure.core.power_thermal import PowerThermalSampler
from llenergymeasure.core.progress.power import in_words, watts_of
from tests.fakes.hwmon import Meter
from tests.fakes.rapl import Zone


@pytest.mark.parametrize(
    ("watts", "text"),
    [({}, ""), ({"GPU 0": 311.6}, "GPU 0 312 W"), ({"GPU 0": 1000.0, "GPU 1": 1450.4}, "2 devices 2,450 W")],
)
def test_watts_in_words(watts: dict[str, float], text: str) -> None:
    assert in_words(watts) == text


def test_power_is_what_counters_rose_by_since_they_were_read_last() -> None:
    now_s, counters = [10.0], {"a": 5.0, "b": 7.0}
    power = between_reads(lambda: dict(counters), lambda: now_s[0])
    now_s[0], counters["a"], counters["b"] = 12.0, 45.0, 6.0
    # 40 J in 2 s; a counter that went back says nothing.
    assert power() == {"a": 20.0}
    now_s[0], counters["b"] = 12.5, 11.0
    assert power() == {"a": 0.0, "b": 10.0}
    assert power() == {}


def test_packages_tell_their_power(tmp_path: Path) -> None:
    now_s = [0.0]
    package = Zone(tmp_path, "intel-rapl:0", "package-0")
    Zone(tmp_path, "intel-rapl:0/intel-rapl:0:0", "dram")
    read = watts_of(NoTelemetry(), RAPLBackend(tmp_path, clock=lambda: now_s[0]))
    assert read is not None
    package.use(90.0)
    now_s[0] = 2.0
    assert read() == "package-0 45 W"
    package.say("unreadable")
    now_s[0] = 3.0
    assert read() == ""


def test_sockets_tell_their_power(tmp_path: Path) -> None:
    Meter(tmp_path, "hwmon1", "CPU Power Socket 0", 81.0)
    read = watts_of(NoTelemetry(), HwmonBackend(tmp_path))
    assert read is not None
    assert read().endswith(" 81 W")


def test_where_nothing_tells_power_nothing_is_read() -> None:
    assert watts_of(NoTelemetry(), None) is None
    assert watts_of(PowerThermalSampler(devices=()), None) is None
