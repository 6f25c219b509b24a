"""The hash by which a measurement's configuration is cited."""

import hashlib
import json

from llenergymeasure.config.models import ExperimentConfig

# Where a result goes and what it is called change nothing about the measurement.
NOT_MEASURED = frozenset({"name", "output_dir"})


def measurement_config_hash(config: ExperimentConfig) -> str:
    """First 16 hex digits of SHA-256 over the resolved configuration.

    Defaults written out or left out, and the order of keys, make no difference.
    """
    # A preset is only another way to write the fields that it fills in.
    decoder = config.decoder.model_dump(mode="json", exclude={"preset"})
    resolved = {key: value for key, value in config.resolved().items() if key not in NOT_MEASURED} | {
        "decoder": decoder
    }
    canonical = json.dumps(resolved, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
