"""What is said about the origin of a joule."""

from dataclasses import replace

import pytest

from llenergymeasure.domain.energy.provenance import (
    energy_origin,
    is_modelled,
    reproducibility_notes,
    sensor_accuracy_pct,
)
from llenergymeasure.domain.metrics import DeviceEnergy, WarmupResult

COUNTER = DeviceEnergy(device="GPU-a", kind="gpu", energy_j=5.0, source="counter")
INTEGRATED = DeviceEnergy(device="GPU-b", kind="gpu", energy_j=5.0, source="integrated")
PACKAGE = DeviceEnergy(device="package-0", kind="cpu", energy_j=5.0, source="counter")
MODELLED = DeviceEnergy(device="cpu", kind="cpu", energy_j=5.0, source="modelled")
MODELLED_RAM = DeviceEnergy(device="ram", kind="dram", energy_j=5.0, source="modelled")


@pytest.mark.parametrize(
    ("backend", "devices", "words"),
    [
        ("zeus", [COUNTER], ["sensed", "counter", "GPU", "zeus"]),
        ("zeus", [replace(COUNTER, sensor="zeus")], ["energy counter of the GPU (zeus)"]),
        ("nvml", [replace(COUNTER, sensor="nvml")], ["energy counter of the GPU (nvml)"]),
        (
            "zeus",
            [replace(COUNTER, sensor="nvml"), replace(COUNTER, sensor="zeus", headline=False)],
            ["energy counter of the GPU, ticks timed (nvml), beside zeus"],
        ),
        (
            "zeus",
            [replace(COUNTER, sensor="nvml"), replace(COUNTER, device="GPU-b", sensor="zeus")],
            ["energy counter of the 2 GPUs (nvml, zeus)"],
        ),
        (
            "zeus",
            [replace(INTEGRATED, sensor="nvml"), replace(COUNTER, device="GPU-b", sensor="zeus", headline=False)],
            ["sampled power of the GPU, integrated (nvml), beside zeus"],
        ),
        ("nvml", [INTEGRATED], ["sensed", "sampled power", "GPU", "nvml"]),
        ("nvml", [COUNTER, INTEGRATED], ["sensed", "sampled power", "2 GPUs"]),
        ("rapl", [PACKAGE, MODELLED_RAM], ["sensed", "counter", "CPU", "rapl"]),
        ("codecarbon", [MODELLED], ["modelled", "not sensed", "codecarbon"]),
        (None, [], ["not measured"]),
        ("nvml", [replace(COUNTER, scope="module")], ["counter of the module of GPU, CPU and memory (nvml)"]),
        ("plug", [replace(INTEGRATED, kind="host", scope="wall")], ["power of the machine at the wall, integrated"]),
    ],
)
def test_the_origin_names_source_device_and_backend(
    backend: str | None, devices: list[DeviceEnergy], words: list[str]
) -> None:
    origin = energy_origin(backend, devices)
    assert [word for word in words if word not in origin] == []


def test_an_origin_of_several_scopes_names_each() -> None:
    module = DeviceEnergy(device="GPU-c", kind="gpu", energy_j=5.0, source="counter", scope="module")
    origin = energy_origin("nvml", [COUNTER, module, COUNTER])
    assert "counter of the 2 GPUs and 1 module of GPU, CPU and memory (nvml)" in origin


def test_only_what_is_counted_decides_whether_the_total_is_modelled() -> None:
    assert is_modelled([MODELLED])
    assert not is_modelled([PACKAGE, MODELLED_RAM])
    assert not is_modelled([COUNTER, MODELLED])
    assert not is_modelled([])


def test_accuracy_is_five_percent_for_gpus_and_unknown_otherwise() -> None:
    assert sensor_accuracy_pct([INTEGRATED]) == 5.0
    assert sensor_accuracy_pct([PACKAGE, MODELLED_RAM]) is None, "no study of GPUs covers a processor's counters"
    assert sensor_accuracy_pct([MODELLED]) is None
    assert sensor_accuracy_pct([]) is None


def test_notes_describe_the_sensor_that_was_used() -> None:
    sensed = reproducibility_notes("nvml", [INTEGRATED, PACKAGE], 5.0)
    assert "GPU-b" in sensed
    assert "package-0" not in sensed
    assert "5 %" in sensed
    modelled = reproducibility_notes("codecarbon", [MODELLED], 5.0)
    assert "estimate" in modelled
    assert "On-board sensors" not in modelled
    assert "Energy was not obtained" in reproducibility_notes("nvml", [INTEGRATED], None)


def test_notes_say_what_each_device_covers() -> None:
    rows = [COUNTER, replace(COUNTER, device="GPU-c", scope="module"), PACKAGE]
    assert "Devices: GPU-a (gpu), GPU-c (module)." in reproducibility_notes("nvml", rows, 10.0)


def test_notes_do_not_deny_an_energy_whose_source_names_no_device() -> None:
    notes = reproducibility_notes("wattmeter", [], 5.0)
    assert "not measured" not in notes
    assert "wattmeter" in notes


def test_notes_say_when_the_thermal_floor_ended_early() -> None:
    waited = WarmupResult(
        converged=True, final_cv=None, iterations_completed=1, target_cv=0.05, max_prompts=1, thermal_floor_wait_s=27.0
    )
    early = replace(waited, thermal_floor_ended_early=True)
    plain = reproducibility_notes("nvml", [INTEGRATED], 5.0)
    assert reproducibility_notes("nvml", [INTEGRATED], 5.0, waited) == plain
    assert reproducibility_notes("nvml", [INTEGRATED], 5.0, early).startswith(
        f"{plain} The thermal floor ended early, after 27 s"
    )


def test_notes_say_what_a_rhythm_of_the_load_may_have_hidden() -> None:
    plain = reproducibility_notes("nvml", [COUNTER], 5.0)
    notes = reproducibility_notes("nvml", [COUNTER], 5.0, aliasing_pct=11.1)
    assert "up to 11.1 % more is open (energy_aliasing_pct)" in notes
    assert "energy_aliasing_pct" not in plain
    assert "energy_aliasing_pct" not in reproducibility_notes("nvml", [COUNTER], None, aliasing_pct=11.1)


def test_notes_say_that_weights_were_not_read() -> None:
    plain = reproducibility_notes("nvml", [INTEGRATED], 5.0)
    drawn = reproducibility_notes("nvml", [INTEGRATED], 5.0, weights="random, seed 42")
    assert drawn.startswith(f"{plain} Weights: random, seed 42; they were not read from files.")
