"""What other engines are held against, for this one."""

from tests.integration.engines.conftest import ending_llama

__all__ = ["ending_llama"]
