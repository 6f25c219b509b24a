"""CodeCarbon's tracker, made with our settings and none of a user's.

CodeCarbon reads ``~/.codecarbon.config``, ``.codecarbon.config`` in the working directory and variables
``CODECARBON_*`` for whatever its constructor is not given. They are written for CodeCarbon's own reports: some multiply
its joules (``pue``), some replace them (``force_cpu_power``), some send or write them somewhere.
"""

import contextlib
import inspect
import os
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from llenergymeasure.core.energy_backends.base import quiet_import

# Every setting that CodeCarbon 3 has, at its built-in value, but for what keeps it from writing and sending. A setting
# that is not handed over would be asked of the user's files.
SETTINGS: dict[str, Any] = {
    "allow_multiple_runs": True,
    "api_call_interval": -1,
    "api_endpoint": None,
    "api_key": None,
    "cloud_provider": None,
    "cloud_region": None,
    "country_2letter_iso_code": None,
    # The country decides the emissions factor only, which is not used here.
    "country_iso_code": "USA",
    "electricitymaps_api_token": None,
    "emissions_endpoint": None,
    "experiment_id": None,
    "experiment_name": "llenergymeasure",
    "force_carbon_intensity_g_co2e_kwh": None,
    "force_cpu_power": None,
    "force_mode_cpu_load": False,
    "force_ram_power": None,
    # GPUs are no part of its figures here.
    "gpu_ids": [],
    "log_level": "error",
    "logger_preamble": "",
    "logging_logger": None,
    "measure_power_secs": 15.0,
    "metadata": None,
    "on_csv_write": "append",
    "output_file": "emissions.csv",
    "output_handlers": [],
    "output_methods": [],
    "project_name": "llenergymeasure",
    "prometheus_url": None,
    "pue": 1.0,
    "rapl_include_dram": False,
    "rapl_prefer_psys": False,
    "region": None,
    "tracking_mode": "machine",
    "wue": 0.0,
}
# Not handed over, for giving one is warned about: ``output_methods`` has taken their place, or
# ``electricitymaps_api_token``.
REPLACED = (
    "save_to_file",
    "save_to_api",
    "save_to_logger",
    "save_to_prometheus",
    "save_to_logfire",
    "co2_signal_api_token",
)
# Construction reads a name of CodeCarbon's module, which is another one meanwhile.
_making = threading.Lock()


def offline_tracker() -> Any:
    """A new tracker. Its joules are those of CodeCarbon's built-in settings, whatever a user's files and variables say.

    Raises:
        RuntimeError: CodeCarbon gave up without raising.
    """
    with quiet_import("codecarbon"):
        from codecarbon import OfflineEmissionsTracker, emissions_tracker

        known = _parameters(OfflineEmissionsTracker)
        given = {name: value for name, value in SETTINGS.items() if name in known}
        with _making, _without_files(emissions_tracker):
            tracker = OfflineEmissionsTracker(**given, output_dir=tempfile.gettempdir())
    # Its constructor keeps its errors to itself and its log.
    if not hasattr(tracker, "run_id"):
        raise RuntimeError("its tracker was not made whole; OfflineEmissionsTracker() in Python shows why in its log")
    return tracker


def settings_followed(tracker: Any) -> list[str]:
    """Names of a user's settings that this tracker has read and that nothing of ours overrules."""
    read = getattr(tracker, "_external_conf", None)
    return sorted(set(read) - {*SETTINGS, *REPLACED, "output_dir"}) if isinstance(read, dict) else []


def tick_s() -> float:
    """How often Linux counts processor time, from which CodeCarbon has its load."""
    return 1 / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _without_files(module: Any) -> Iterator[None]:
    """Let CodeCarbon find no settings, so that a file that cannot be parsed costs nothing either."""
    name = "get_hierarchical_config"
    reader = getattr(module, name, None)
    if reader is None:
        yield
        return
    setattr(module, name, dict)
    try:
        yield
    finally:
        setattr(module, name, reader)


def _parameters(tracker: type) -> set[str]:
    """What the constructors of a class and its bases take."""
    constructors = [vars(base)["__init__"] for base in tracker.__mro__ if "__init__" in vars(base)]
    return {name for constructor in constructors for name in inspect.signature(constructor).parameters}
