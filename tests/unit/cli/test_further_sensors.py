"""Sensors of other distributions, from the command line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.command import Ran
from tests.fakes.distributions import BARE, SENSORS
from tests.unit.cli.test_further_engines import line_of
from tests.unit.conftest import Install

MODEL = ("--model", "any", "--backend", "toy", "-n", "3", "--set", "toy.n_tokens=5", "--quiet")
# Idle power and temperatures are waited for in earnest; a test has no time for that.
AT_ONCE = ("--set", "baseline.enabled=false", "--set", "warmup.n_warmup=1")
MODELLED = BARE.replace('    name = "bare"', '    name = "bare"\n    modelled = True')
STUBBORN = BARE.replace('"bare"', '"stubborn"').replace("return True", 'raise ValueError("ask another\\nline two")')


@pytest.fixture
def bare(install: Install, toy: None) -> None:
    """A distribution ``llem-bare`` with the sensor ``bare``, which has no idle power; and an engine."""
    install({"llem_bare": MODELLED}, {"bare": "llem_bare:BareSensor"}, "llem-bare", SENSORS)


def measured(folder: Path) -> dict[str, object]:
    [path] = folder.glob("results/*/result.json")
    found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_each_is_a_line_and_a_broken_one_takes_no_other_down(
    bare: None, install: Install, llem: Callable[..., Ran]
) -> None:
    install({"llem_bad": "import a_library_that_is_not_there\n"}, {"bad": "llem_bad:Sensor"}, "llem-bad", SENSORS)
    install({"llem_stubborn": STUBBORN}, {"stubborn": "llem_stubborn:BareSensor"}, "llem-stubborn", SENSORS)
    ran = llem("config")
    assert (ran.code, ran.err) == (0, "")
    assert line_of(ran, "energy bare").startswith("energy bare usable (modelled, not sensed): ")
    assert line_of(ran, "energy bad") == (
        "energy bad not usable: the sensor 'bad' of llem-bad 1.0 cannot be loaded: ModuleNotFoundError: No module "
        "named 'a_library_that_is_not_there'"
    )
    assert line_of(ran, "energy stubborn") == (
        "energy stubborn not usable: it failed when it was asked: ValueError: ask another"
    )
    assert "energy rapl" in ran.out
    assert "bare" not in line_of(ran, "energy auto"), "auto takes this package's own"


def test_a_bare_one_measures_from_yaml(bare: None, llem: Callable[..., Ran], folder: Path) -> None:
    path = folder / "experiment.yaml"
    path.write_text("model: any\nbackend: toy\nn: 3\nenergy: {backend: bare}\n", encoding="utf-8")
    ran = llem("run", path, "--quiet", *AT_ONCE)
    assert (ran.code, ran.err) == (0, "")
    result = measured(folder)
    assert result["energy_backend"] == "bare"
    assert result["total_energy_j"] == pytest.approx(50.0 * float(str(result["duration_sec"])), rel=0.1)


def test_it_is_taken_from_a_variable_and_the_command_line_goes_first(
    bare: None, llem: Callable[..., Ran], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLEM_ENERGY__BACKEND", "bare")
    assert "backend: bare" in llem("run", *MODEL, "--dry-run").out
    assert "backend: null" in llem("run", *MODEL, "--dry-run", "--set", "energy.backend=null").out


def test_an_unknown_name_is_refused_with_the_line_and_the_nearest(
    bare: None, llem: Callable[..., Ran], folder: Path
) -> None:
    path = folder / "experiment.yaml"
    path.write_text("model: any\nenergy:\n  backend: baer\n", encoding="utf-8")
    ran = llem("run", path)
    assert ran.code == 2
    assert f"{path.name}:3: energy.backend: no sensor is called 'baer'; did you mean 'bare'?" in ran.err


def test_a_broken_one_stops_whoever_names_it_before_anything_runs_and_nobody_else(
    toy: None, install: Install, llem: Callable[..., Ran]
) -> None:
    install({"llem_stubborn": STUBBORN}, {"stubborn": "llem_stubborn:BareSensor"}, "llem-stubborn", SENSORS)
    ran = llem("run", *MODEL, "--set", "energy.backend=stubborn")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.strip() == (
        "llem: energy backend 'stubborn' is not usable: it failed when it was asked: ValueError: ask another"
    )
    assert llem("run", *MODEL, *AT_ONCE, "--set", "energy.backend=null").code == 0


ENDINGS = {
    "exit": ("raise SystemExit(0)", "SystemExit: 0"),
    "panic": ("raise type('PanicException', (BaseException,), {})('panicked')", "PanicException: panicked"),
}


def that_raises(raising: str, where: str) -> str:
    """The module of a sensor that raises there."""
    return {
        "on import": f"{raising}\n",
        "made": BARE.replace("    name = ", f"    def __init__(self):\n        {raising}\n\n    name = "),
        "asked": BARE.replace("return True", raising),
        "of a property": BARE.replace(
            "    name = ", f"    @property\n    def modelled(self):\n        {raising}\n\n    name = "
        ),
    }[where]


def test_each_that_would_end_the_process_is_a_line(toy: None, install: Install, llem: Callable[..., Ran]) -> None:
    # All in one list: it takes seconds, and none may keep the others from being asked.
    wheres = ("on import", "made", "asked", "of a property")
    cases = {f"{name}{i}": (name, where) for name in ENDINGS for i, where in enumerate(wheres)}
    for sensor, (name, where) in cases.items():
        module = that_raises(ENDINGS[name][0], where).replace('"bare"', f'"{sensor}"')
        install({f"llem_{sensor}": module}, {sensor: f"llem_{sensor}:BareSensor"}, f"llem-{sensor}", SENSORS)
    ran = llem("config")
    assert (ran.code, ran.err) == (0, "")
    for sensor, (name, where) in cases.items():
        assert ENDINGS[name][1] in line_of(ran, f"energy {sensor}"), (name, where)
    assert "energy rapl" in ran.out


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("at", ["start_tracking(self):", "stop_tracking(self, tracker):"])
def test_one_that_would_end_the_run_costs_the_joules_only(
    toy: None, install: Install, llem: Callable[..., Ran], folder: Path, name: str, at: str
) -> None:
    raising, said = ENDINGS[name]
    module = MODELLED.replace(f"def {at}\n", f"def {at}\n        {raising}\n")
    install({"llem_bare": module}, {"bare": "llem_bare:BareSensor"}, "llem-bare", SENSORS)
    ran = llem("run", *MODEL, *AT_ONCE, "--set", "energy.backend=bare")
    assert (ran.code, ran.err) == (0, "")
    result = measured(folder)
    assert result["total_energy_j"] is None
    assert any(said in text for text in result["measurement_warnings"])  # type: ignore[attr-defined]


def test_one_that_has_a_name_of_this_packages_is_a_line_and_never_taken(
    install: Install, toy: None, llem: Callable[..., Ran]
) -> None:
    install({"llem_rapl": BARE.replace('"bare"', '"rapl"')}, {"rapl": "llem_rapl:BareSensor"}, "llem-rapl", SENSORS)
    install({"llem_torch": "1 / 0\n"}, {"pytorch": "llem_torch:Engine"}, "llem-torch", "llenergymeasure.engines")
    ran = llem("config")
    assert (ran.code, ran.err) == (0, "")
    told = " ".join(ran.out.split())
    for line in ("energy rapl not usable: that of llem-rapl 1.0 has the name of one that comes with this package",
                 "engine pytorch not usable: that of llem-torch 1.0 has the name of one"):  # fmt: skip
        assert line in told
    assert "llem_rapl" not in sys.modules


def test_two_of_one_name_contradict_each_other(install: Install, toy: None, llem: Callable[..., Ran]) -> None:
    for name in ("llem-one", "llem-two"):
        module = name.replace("-", "_")
        install({module: BARE}, {"bare": f"{module}:BareSensor"}, name, SENSORS)
    ran = llem("run", *MODEL, "--set", "energy.backend=bare")
    assert ran.code == 2
    assert "is brought by both of them; uninstall one" in ran.err


def test_one_that_calls_itself_otherwise_is_refused(install: Install, toy: None, llem: Callable[..., Ran]) -> None:
    install({"llem_bare": BARE}, {"other": "llem_bare:BareSensor"}, "llem-bare", SENSORS)
    ran = llem("run", *MODEL, "--set", "energy.backend=other")
    assert "the sensor 'other' of llem-bare 1.0 calls itself 'bare'" in ran.err


def test_the_schema_for_editors_has_its_name(bare: None, llem: Callable[..., Ran]) -> None:
    schema = json.loads(llem("config", "--schema").out)
    [names, _] = schema["$defs"]["EnergyConfig"]["properties"]["backend"]["anyOf"]
    assert names["enum"][-2:] == ["codecarbon", "bare"]


def test_none_is_imported_before_its_name_is_asked_for(toy: None, install: Install, llem: Callable[..., Ran]) -> None:
    install({"llem_slow": BARE}, {"slow": "llem_slow:BareSensor"}, "llem-slow", SENSORS)
    llem("run", *MODEL, "--dry-run")
    assert "llem_slow" not in sys.modules


def test_what_can_be_done_about_one_that_is_not_usable_is_said(
    toy: None, install: Install, llem: Callable[..., Ran]
) -> None:
    module = BARE.replace('    name = "bare"', '    name = "bare"\n    remedy = "switch it on"').replace(
        "return True", "return False"
    )
    install({"llem_bare": module}, {"bare": "llem_bare:BareSensor"}, "llem-bare", SENSORS)
    assert line_of(llem("config"), "energy bare") == "energy bare not usable: it read no device; switch it on"
    assert "switch it on" in llem("run", *MODEL, "--set", "energy.backend=bare").err
