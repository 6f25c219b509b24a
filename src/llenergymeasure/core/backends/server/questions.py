"""What a server is asked beside inference, one question at a time: whether it is ready, what it is, what it serves."""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llenergymeasure.config.engines import ServerConfig
from llenergymeasure.config.engines.server import ServerKind
from llenergymeasure.core.backends.server.address import Address, tls_of
from llenergymeasure.core.backends.server.dialects import DIALECTS, Dialect, kind_of
from llenergymeasure.exceptions import BackendError, first_line

_OK, _NOT_FOUND, _UNAUTHORISED = 200, 404, (401, 403)
_MOST_BYTES = 1 << 22
_PATIENCE_S = 10.0
_MODELS = "/v1/models"


def headers_of(section: ServerConfig) -> dict[str, str]:
    """The headers of each request, with the key in its place."""
    key = {} if section.api_key is None else {"Authorization": f"Bearer {section.api_key}"}
    return {**key, **section.headers}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a server says of itself; ``owner`` and ``listed`` are of its models, empty where it does not list them."""

    listed: tuple[str, ...] = ()
    owner: Any = None
    n_context: int | None = None


class Questions:
    """Asks a server, by requests that go straight to it; proxies of the environment are not asked."""

    def __init__(self, section: ServerConfig) -> None:
        """Prepare to ask.

        Raises:
            BackendError: the certificates to trust cannot be read.
        """
        self._section, self._address = section, Address.of(section.url)
        self._tls = tls_of(section)

    def answers(self) -> bool:
        """Whether somebody listens there."""
        with contextlib.suppress(OSError):
            socket.create_connection((self._address.host, self._address.port), timeout=_PATIENCE_S).close()
            return True
        return False

    def problem(self) -> str | None:
        """Why the server is not ready; None where it is."""
        try:
            status, _ = self._asked("GET", self._section.health)
            if status == _NOT_FOUND:
                status, _ = self._asked("GET", _MODELS)
                # One that answers, and lists no models, has nothing else to say.
                status = _OK if status == _NOT_FOUND else status
        except ssl.SSLCertVerificationError as error:
            return f"its certificate is not trusted ({error.verify_message})"
        except (OSError, http.client.HTTPException) as error:
            return first_line(error)
        if status in _UNAUTHORISED:
            return f"it asks for a key (status {status}); give server.api_key"
        return None if status == _OK else f"it answers with status {status}"

    def facts(self) -> Facts:
        """What it lists; nothing where it lists nothing."""
        told = self._json("GET", _MODELS)
        data = told.get("data") if isinstance(told, dict) else None
        models = [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []
        first: Mapping[str, Any] = models[0] if models else {}
        n_context = first.get("max_model_len")
        return Facts(
            listed=tuple(str(each["id"]) for each in models if each.get("id")),
            owner=first.get("owned_by"),
            n_context=n_context if isinstance(n_context, int) else None,
        )

    def version(self, dialect: Dialect) -> str | None:
        """Its version; None where it does not tell."""
        if dialect.version is None:
            return None
        place, key = dialect.version
        told = self._json("GET", place)
        return str(told[key])[:100] if isinstance(told, dict) and told.get(key) else None

    def forget(self, dialect: Dialect) -> None:
        """Have it forget the prompts that it has kept, where it can."""
        if dialect.forgets is not None:
            self._json("POST", dialect.forgets)

    def _json(self, method: str, place: str) -> Any:
        try:
            status, body = self._asked(method, place)
            return json.loads(body) if status == _OK else None
        except (OSError, http.client.HTTPException, ValueError, RecursionError):
            return None

    def _asked(self, method: str, place: str) -> tuple[int, bytes]:
        """Status and body.

        Raises:
            OSError, http.client.HTTPException: nobody answers, or not in HTTP.
        """
        address = self._address
        if self._tls is None:
            connection = http.client.HTTPConnection(address.host, address.port, timeout=_PATIENCE_S)
        else:
            connection = http.client.HTTPSConnection(address.host, address.port, timeout=_PATIENCE_S, context=self._tls)
        try:
            connection.request(method, f"{address.base}{place}", headers=headers_of(self._section))
            with connection.getresponse() as answer:
                return answer.status, answer.read(_MOST_BYTES)
        finally:
            connection.close()


def kind_told(section: ServerConfig, facts: Facts) -> ServerKind:
    """What kind of server it is: as it was given, or as it tells."""
    return section.kind or kind_of(facts.owner)


def model_to_ask_for(section: ServerConfig, facts: Facts, model: str) -> str:
    """The name of the model in requests.

    Raises:
        BackendError: the server lists several models, and none of them is the experiment's.
    """
    if section.served_model is not None or not facts.listed:
        return section.served_model or model
    if model in facts.listed or len(facts.listed) == 1:
        return model if model in facts.listed else facts.listed[0]
    some = ", ".join(facts.listed[:5])
    raise BackendError(f"the server has {len(facts.listed)} models ({some}); name one with server.served_model")


def dialect_told(section: ServerConfig, facts: Facts) -> Dialect:
    """What the server takes."""
    return DIALECTS[kind_told(section, facts)]
