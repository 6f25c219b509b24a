"""What was joined to a result after it was measured."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from llenergymeasure.domain.metrics import FINITE


@dataclass(frozen=True, kw_only=True)
class AttachedLog:
    """A meter's log whose energy over the window is the row of ``device`` in ``energy_devices``.

    ``offset_s`` is how far the meter's clock was ahead of the machine's, as whoever attached it said, and ``time_zone``
    that of times without one of their own.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    device: str
    file: str
    sha256: str
    offset_s: float
    time_zone: str
    n_readings: int
