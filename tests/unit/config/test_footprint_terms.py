"""Where the terms of carbon and cost come from: command line, variables, the user's file."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from llenergymeasure.config.loader import load_experiment_config
from llenergymeasure.config.reading.sources import environment_source, footprint_terms, user_file_path
from llenergymeasure.exceptions import ConfigError


@pytest.fixture
def user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = user_file_path()
    assert tmp_path in path.parents
    path.parent.mkdir(parents=True)
    return path


def test_who_wins_is_the_command_line_then_variables_then_the_users_file(user_file: Path) -> None:
    user_file.write_text("footprint: {pue: 1.1, country: DEU, price_per_kwh: 0.30EUR}\n")
    found = footprint_terms({}, {})
    assert (found.pue, found.country, found.price_per_kwh) == (1.1, "DEU", "0.30EUR")
    found = footprint_terms({"pue": 1.3}, {"LLEM_FOOTPRINT__PUE": "1.2", "LLEM_FOOTPRINT__PRICE_PER_KWH": "1USD"})
    assert (found.pue, found.country, found.price_per_kwh) == (1.3, "DEU", "1USD")


def test_an_intensity_takes_the_place_of_a_country_below_it_and_the_other_way_round(user_file: Path) -> None:
    user_file.write_text("footprint: {country: DEU}\n")
    found = footprint_terms({"intensity_g_per_kwh": 50.0}, {})
    assert (found.intensity_g_per_kwh, found.country) == (50.0, None)
    found = footprint_terms({"country": "FRA"}, {"LLEM_FOOTPRINT__INTENSITY_G_PER_KWH": "50"})
    assert (found.intensity_g_per_kwh, found.country) == (None, "FRA")
    with pytest.raises(ValidationError):
        footprint_terms({"country": "FRA", "intensity_g_per_kwh": 50.0}, {})


def test_without_any_nothing_is_asked_for(user_file: Path) -> None:
    assert not footprint_terms({}, {}).asks_for_something
    user_file.write_text("footprint:\n")
    assert not footprint_terms({"pue": 1.2}, {}).asks_for_something
    assert footprint_terms({"price_per_kwh": "0.30EUR"}, {}).asks_for_something


def test_what_is_wrong_is_told_with_its_place(user_file: Path) -> None:
    user_file.write_text("footprint:\n  pue: 0.5\n")
    with pytest.raises(ValidationError) as caught:
        footprint_terms({}, {})
    assert f"{user_file}:2: footprint.pue: " in "\n".join(caught.value.__notes__)
    user_file.write_text("footprint: {puee: 1.5}\n")
    with pytest.raises(
        ConfigError, match=r"config\.yaml:1: footprint\.puee: unknown key; did you mean 'footprint.pue'"
    ):
        footprint_terms({}, {})
    user_file.write_text("")
    with pytest.raises(ConfigError, match="LLEM_FOOTPRINT: footprint: this is a section"):
        footprint_terms({}, {"LLEM_FOOTPRINT": "1.2"})


def test_an_experiment_has_nothing_of_it_and_its_mistakes_are_told_all_the_same(
    user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_experiment_config(None, {"model": "m"})
    user_file.write_text("footprint: {pue: 1.1}\n")
    monkeypatch.setenv("LLEM_FOOTPRINT__COUNTRY", "DEU")
    assert load_experiment_config(None, {"model": "m"}) == before
    with pytest.raises(ConfigError, match="LLEM_FOOTPRINT__PUEE: puee: unknown key"):
        environment_source({"LLEM_FOOTPRINT__PUEE": "1"})
