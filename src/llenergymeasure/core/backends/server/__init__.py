"""The engine that asks a server over HTTP."""

from llenergymeasure.core.backends.server.engine import ServerBackend

__all__ = ["ServerBackend"]
