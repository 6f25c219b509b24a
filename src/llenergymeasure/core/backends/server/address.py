"""Where a server is: its address, whether that is this machine, and how it is reached."""

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import psutil

from llenergymeasure.config.engines import ServerConfig
from llenergymeasure.exceptions import BackendError, first_line

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Address:
    """The parts of a server's address; ``base`` is the path before ``/v1``, empty or beginning with a slash."""

    host: str
    port: int
    base: str
    is_tls: bool

    @classmethod
    def of(cls, url: str) -> Self:
        """The address that a configuration names, which was looked at when it was read."""
        parts = urlsplit(url)
        base = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
        return cls(
            host=parts.hostname or "",
            port=parts.port or _PORTS[parts.scheme],
            base=base,
            is_tls=parts.scheme == "https",
        )

    @property
    def named(self) -> str:
        """Host and port as a header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.is_tls else "http"] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address without the path."""
        return f"{'https' if self.is_tls else 'http'}://{self.named}"

    def found(self) -> list[tuple[int, Any]]:
        """Families and addresses of sockets at which it may be reached.

        Raises:
            BackendError: its name is not known.
        """
        try:
            answers = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise BackendError(f"server.url: the host {self.host} is not known: {first_line(error)}") from error
        return [(family, place) for family, _, _, _, place in answers]

    def is_here(self) -> bool:
        """Whether all that its name stands for are addresses of this machine; a name that is not known is not."""
        try:
            places = {str(place[0]).partition("%")[0] for _, place in self.found()}
        except BackendError:
            return False
        own = {each.address.partition("%")[0] for of_one in psutil.net_if_addrs().values() for each in of_one}
        return bool(places) and all(place in own or _is_loopback(place) for place in places)


def _is_loopback(place: str) -> bool:
    try:
        return ipaddress.ip_address(place).is_loopback
    except ValueError:
        return False


def tls_of(section: ServerConfig) -> ssl.SSLContext | None:
    """How the server proves what it is; None where it is asked without TLS.

    Raises:
        BackendError: the certificates to trust cannot be read.
    """
    if not Address.of(section.url).is_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=None if section.ca_file is None else str(section.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise BackendError(f"server.ca_file: {section.ca_file} cannot be read: {first_line(error)}") from error
    if not section.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
