"""Carbon and cost, checked by hand: 3.6 MJ are a kWh."""

import json
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llenergymeasure.config.reading.user_file import FootprintConfig
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.footprint import (
    Footprint,
    FootprintTerms,
    Intensity,
    Price,
    energy_together_j,
    national_average,
)
from tests.unit.results.sharing.kinds import counted, modelled, packages, unmeasured

GIVEN = Intensity(g_per_kwh=380.0, source="as given")
EUROS = Price(amount_per_kwh=0.30, currency="EUR")


def test_a_kilowatt_hour_is_what_its_terms_say() -> None:
    of = Footprint.of(3.6e6, FootprintTerms(intensity=GIVEN, pue=1.2, price=EUROS))
    # 1 kWh x 1.2 = 1.2 kWh; x 380 g = 456 g; x 0.30 EUR = 0.36 EUR.
    assert (of.site_kwh, of.carbon_g, of.cost) == pytest.approx((1.2, 456.0, 0.36))


def test_joules_of_a_short_run() -> None:
    # 1800 J are 0.0005 kWh: 0.19 g and 0.00015 EUR without a PUE.
    of = Footprint.of(1800.0, FootprintTerms(intensity=GIVEN, price=EUROS))
    assert (of.energy_j, of.site_kwh, of.carbon_g, of.cost) == pytest.approx((1800.0, 5e-4, 0.19, 1.5e-4))


def test_what_was_not_stated_is_not_worked_out() -> None:
    assert Footprint.of(1.0, FootprintTerms(price=EUROS)).carbon_g is None
    assert Footprint.of(1.0, FootprintTerms(intensity=GIVEN)).cost is None


@pytest.mark.parametrize(("text", "amount", "currency"), [("0.30EUR", 0.3, "EUR"), ("12 JPY", 12.0, "JPY")])
def test_a_price_has_its_currency(text: str, amount: float, currency: str) -> None:
    terms = FootprintTerms.of(FootprintConfig(price_per_kwh=text))
    assert terms == FootprintTerms(price=Price(amount_per_kwh=amount, currency=currency))


@pytest.mark.parametrize(
    "values",
    [
        {"price_per_kwh": "0.30"},
        {"price_per_kwh": "EUR"},
        {"price_per_kwh": "-1EUR"},
        {"price_per_kwh": "0.3eur"},
        {"price_per_kwh": "0.3EUR\n"},
        {"price_per_kwh": 0.3},
        {"pue": 0.9},
        {"pue": float("nan")},
        {"pue": float("inf")},
        {"intensity_g_per_kwh": -1.0},
        # Kilograms.
        {"intensity_g_per_kwh": 0.38},
        {"intensity_g_per_kwh": float("inf")},
        {"country": "DE"},
        {"country": "deu"},
        {"country": "DEU", "intensity_g_per_kwh": 380.0},
    ],
)
def test_terms_that_cannot_be_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FootprintConfig.model_validate(values)


def test_a_country_has_the_average_of_a_year_with_its_source() -> None:
    terms = FootprintTerms.of(FootprintConfig(country="XYZ"), lambda name: Intensity(g_per_kwh=7.0, source=name))
    assert terms == FootprintTerms(intensity=Intensity(g_per_kwh=7.0, source="XYZ"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.json"
    rows = {
        "AAA": {"carbon_intensity": 123.5, "year": 2019, "country_name": "Aland"},
        "BBB": {"carbon_intensity": 0.0, "year": 2019, "country_name": "Beland"},
        "CCC": {"carbon_intensity": None, "year": 2019, "country_name": "Celand"},
        "DDD": {"carbon_intensity": 10.0, "country_name": "Deland"},
        "EEE": [],
    }
    path.write_text(json.dumps(rows))
    return path


def test_an_average_says_of_which_year_and_by_whom(table: Path) -> None:
    found = national_average("AAA", table)
    assert found.g_per_kwh == 123.5
    assert found.source.startswith("average of Aland in 2019 (Our World in Data")


@pytest.mark.parametrize("country", ["BBB", "CCC", "DDD", "EEE"])
def test_a_country_without_a_figure_has_none(table: Path, country: str) -> None:
    with pytest.raises(ConfigError, match="no figure for it; give --intensity"):
        national_average(country, table)


def test_a_country_that_is_not_there_is_told_with_the_nearest(table: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'AAA'"):
        national_average("AAB", table)


@pytest.mark.parametrize("content", [None, "{", "[]", "1"])
def test_a_table_that_cannot_be_read_is_said(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "t.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        national_average("AAA", path)


@pytest.mark.skipif(util.find_spec("codecarbon") is None, reason="needs the codecarbon extra")
def test_the_installed_table_has_countries_by_year() -> None:
    # Both by Our World in Data: coal and gas beside water and nuclear power.
    poland, norway = national_average("POL"), national_average("NOR")
    assert 400 < poland.g_per_kwh < 1000
    assert 5 < norway.g_per_kwh < 60
    assert "as in codecarbon " in poland.source
    assert " in 20" in poland.source


def test_energies_of_one_kind_are_added_up() -> None:
    # 80 + 80 J.
    assert energy_together_j([counted(), counted()]) == 160.0
    assert energy_together_j([counted(), packages()]) is None
    assert energy_together_j([packages(), modelled()]) is None
    assert energy_together_j([counted(), unmeasured()]) is None
