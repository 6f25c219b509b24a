"""What was found of the cards of this machine, kept in the user's cache: a file for each card."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import platformdirs
from pydantic import TypeAdapter, ValidationError

from llenergymeasure._files import read_regular, write_atomically
from llenergymeasure.domain.energy.calibration import Calibration

_log = logging.getLogger(__name__)

CALIBRATION = TypeAdapter(Calibration)
_MOST_BYTES = 100_000


def calibrations_dir() -> Path:
    """The folder they are kept in."""
    return platformdirs.user_cache_path("llenergymeasure") / "calibrations"


def keep(calibration: Calibration) -> Path:
    """Keep what was found of a card in the place of what was known of it.

    Raises:
        OSError: it cannot be written.
    """
    path = _path_of(calibration.device)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(calibration), indent=1) + "\n")
    return path


def known(device: str, driver_version: str | None) -> Calibration | None:
    """What was found of a card with the driver that is there now; None where nothing was, or it cannot be read."""
    path = _path_of(device)
    try:
        found = CALIBRATION.validate_json(read_regular(path, _MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
        _log.warning("the calibration in %s cannot be read and does not count: %s", path, why)
        return None
    if not found.is_possible:
        _log.warning("the calibration in %s has times that no card has, and does not count", path)
        return None
    if found.device != device:
        _log.warning("the calibration in %s is of %s and does not count", path, found.device)
        return None
    if found.driver_version != driver_version:
        _log.info("the calibration of %s was made with driver %s and does not count", device, found.driver_version)
        return None
    return found


def _path_of(device: str) -> Path:
    # A UUID as its driver gives it; whatever else stands in one does not name a file.
    return calibrations_dir() / f"{''.join(c if c.isalnum() or c in '-_' else '_' for c in device)}.json"
