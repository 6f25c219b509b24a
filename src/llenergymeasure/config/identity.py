"""What makes two configurations the same one."""

import hashlib

from llenergymeasure.config.base import canonical
from llenergymeasure.config.experiment import ExperimentConfig
from llenergymeasure.exceptions import ConfigError


def measurement_config_hash(config: ExperimentConfig) -> str:
    """First 16 hex digits of SHA-256 over the resolved configuration.

    Defaults written out or left out, the order of keys, and 1 or 1.0 where a field is a float make no
    difference; neither do names and places of results.

    Raises:
        ConfigError: engine or precision is ``auto``: the machine chooses first.
    """
    if not config.is_settled:
        raise ConfigError(
            f"backend: {config.backend}, precision: {config.precision}: there is no hash before the machine has chosen "
            "what auto is; llem run --dry-run shows it"
        )
    return hashlib.sha256(canonical(config.identity()).encode()).hexdigest()[:16]
