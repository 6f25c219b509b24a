"""What tests of the grammar share."""

from tests.unit.config.conftest import write_config

__all__ = ["write_config"]
