"""Carbon and money that joules stand for, under terms that somebody states. Nothing of it is kept in a result.

1 kWh is 3.6e6 J. Energy of the site = energy x PUE; carbon = energy of the site in kWh x intensity; cost likewise.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from llenergymeasure._files import read_regular
from llenergymeasure.config.base import nearest
from llenergymeasure.config.reading.user_file import FootprintConfig
from llenergymeasure.domain.metrics import EnergyScope, counted_devices
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import config_error

_JOULES_PER_KWH = 3.6e6
_PACKAGE = "codecarbon"
# Its table of the whole world: of each country the last year that was published when it was made.
_TABLE = "codecarbon/data/private_infra/global_energy_mix.json"
_MOST_BYTES = 16 * 2**20
# As CodeCarbon's notebook that makes the table says.
_ORIGIN = "Our World in Data, carbon intensity of electricity generation, from Ember and Energy Institute"
_PRICE = re.compile(r"([0-9.]+) ?([A-Z]{3})")


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """Grams of CO2 equivalent per kWh, and where that comes from."""

    g_per_kwh: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Price:
    """Of a kWh, in a currency by its three letters."""

    amount_per_kwh: float
    currency: str


@dataclass(frozen=True, kw_only=True)
class FootprintTerms:
    """What is worked out with; None is not stated, and then left out."""

    intensity: Intensity | None = None
    pue: float | None = None
    price: Price | None = None

    @classmethod
    def of(cls, config: FootprintConfig, average: Callable[[str], Intensity] | None = None) -> "FootprintTerms":
        """The terms that a configuration stands for.

        Args:
            config: what was asked for.
            average: the yearly average of a country by its three letters; default CodeCarbon's table.

        Raises:
            ConfigError: no table has the country.
        """
        intensity = None
        if config.country is not None:
            intensity = (average or national_average)(config.country)
        elif config.intensity_g_per_kwh is not None:
            intensity = Intensity(g_per_kwh=config.intensity_g_per_kwh, source="as given")
        found = None if config.price_per_kwh is None else _PRICE.fullmatch(config.price_per_kwh)
        price = None if found is None else Price(amount_per_kwh=float(found[1]), currency=found[2])
        return cls(intensity=intensity, pue=config.pue, price=price)


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What an energy stands for; None where a term was not stated."""

    energy_j: float
    site_kwh: float
    carbon_g: float | None
    cost: float | None

    @classmethod
    def of(cls, energy_j: float, terms: FootprintTerms) -> "Footprint":
        """Joules under terms."""
        site_kwh = energy_j / _JOULES_PER_KWH * (1.0 if terms.pue is None else terms.pue)
        return cls(
            energy_j=energy_j,
            site_kwh=site_kwh,
            carbon_g=None if terms.intensity is None else site_kwh * terms.intensity.g_per_kwh,
            cost=None if terms.price is None else site_kwh * terms.price.amount_per_kwh,
        )


def energy_together_j(results: Sequence[ExperimentResult]) -> float | None:
    """The energy of several results; None where one has none, or they are not of one kind.

    What is modelled is not added to what is sensed, nor energies that cover different things.
    """
    kinds = {_kind(result) for result in results}
    energies_j = [result.total_energy_j for result in results if result.total_energy_j is not None]
    if len(kinds) != 1 or None in kinds or len(energies_j) != len(results):
        return None
    return sum(energies_j)


def _kind(result: ExperimentResult) -> tuple[bool, frozenset[EnergyScope]] | None:
    rows = counted_devices(result.energy_devices)
    if not rows:
        return None
    return any(row.source == "modelled" for row in rows), frozenset(row.covers for row in rows)


def national_average(country: str, table: Path | None = None) -> Intensity:
    """The yearly average of a country, from the table that CodeCarbon brings along. Nothing is asked of any network.

    Args:
        country: three letters of ISO 3166-1.
        table: a file like CodeCarbon's; default that of the installed package, which is not imported.

    Raises:
        ConfigError: there is no table, or no figure of the country in it.
    """
    version, path = _packed_table() if table is None else ("", table)
    try:
        rows = json.loads(read_regular(path, _MOST_BYTES))
        row = rows.get(country)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise config_error(f"--country {country}: {path} cannot be read ({error}); give --intensity") from None
    if row is None:
        raise config_error(f"--country {country}: CodeCarbon's table does not have it; {nearest(country, list(rows))}")
    grams, year, name = (
        row.get(key) if isinstance(row, dict) else None for key in ("carbon_intensity", "year", "country_name")
    )
    # Of one country the table has 0, which is no figure.
    if not isinstance(grams, int | float) or isinstance(grams, bool) or not grams > 0 or not isinstance(year, int):
        raise config_error(f"--country {country}: CodeCarbon's table has no figure for it; give --intensity")
    packed = f"{_PACKAGE} {version}".strip()
    return Intensity(
        g_per_kwh=float(grams), source=f"average of {name or country} in {year} ({_ORIGIN}, as in {packed})"
    )


def _packed_table() -> tuple[str, Path]:
    """The version of CodeCarbon and its table."""
    try:
        found = metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError:
        raise config_error(
            "--country: yearly averages come from CodeCarbon's table, and it is not installed; give --intensity, or "
            "install with pip install 'llenergymeasure[codecarbon]'"
        ) from None
    return found.version, Path(str(found.locate_file(_TABLE)))
