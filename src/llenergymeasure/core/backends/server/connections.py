"""Connections to a server, kept open from one request to the next; nothing in here waits."""

import contextlib
import errno
import os
import selectors
import socket
import ssl
from collections.abc import Sequence
from typing import Any

# Servers on uvicorn close what idled for five seconds, and one that closes as it is asked has lost the request.
MOST_IDLE_S = 3.0
# More than a record of TLS, 16 kB, so that nothing is left in one that no selector sees.
_MOST_BYTES = 1 << 18
_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN)
# What is not there yet.
_NOT_YET = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class UnreachableError(OSError):
    """Nobody answers at that place, or somebody whom nobody trusts."""


class Connection:
    """One connection, opened as soon as it is made, with what is still to be sent."""

    def __init__(self, place: tuple[int, Any], tls: ssl.SSLContext | None, host: str) -> None:
        """Begin to connect.

        Raises:
            UnreachableError: that fails at once.
        """
        family, address = place
        self._tls, self._host = tls, host
        self._is_open = self._is_safe = False
        self._out = b""
        self._wants_write = True
        self.idles_since_s = 0.0
        try:
            self.socket: socket.socket = socket.socket(family, socket.SOCK_STREAM)
            self.socket.setblocking(False)
            code = self.socket.connect_ex(address)
        except OSError as error:
            raise UnreachableError(_in_words(error)) from error
        if code and code not in _UNDER_WAY:
            self.close()
            raise UnreachableError(os.strerror(code))

    def send(self, data: bytes) -> None:
        """Send, now as much as goes and the rest in ``go_on``.

        Raises:
            OSError: the connection is no longer one.
        """
        self._out += data
        if self._is_open:
            self._send_what_goes()

    @property
    def awaits(self) -> int:
        """What of ``selectors`` there is to wait for."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._wants_write else 0)

    def go_on(self) -> bytes | None:
        """Do what can be done: what came, nothing (``b""``) where the server has closed, None where nothing is there.

        Raises:
            UnreachableError: it cannot be connected to.
            OSError: the connection is no longer one.
        """
        if not self._is_open and not self._opened():
            return None
        if self._out:
            self._send_what_goes()
        try:
            return self.socket.recv(_MOST_BYTES)
        except _NOT_YET:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def is_fresh(self, now_s: float) -> bool:
        """Whether it may be asked again: it did not idle too long, and the server has said nothing meanwhile."""
        if now_s - self.idles_since_s > MOST_IDLE_S:
            return False
        try:
            self.socket.recv(1)
        except _NOT_YET:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close it at once."""
        with contextlib.suppress(OSError):
            self.socket.close()

    def _opened(self) -> bool:
        if not self._is_safe:
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise UnreachableError(os.strerror(code))
            try:
                self.socket.getpeername()
            except OSError:
                return False
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                self.socket = self._tls.wrap_socket(
                    self.socket, server_hostname=self._host, do_handshake_on_connect=False
                )
            self._is_safe = True
        try:
            if isinstance(self.socket, ssl.SSLSocket):
                self.socket.do_handshake()
        except ssl.SSLWantReadError:
            self._wants_write = False
            return False
        except ssl.SSLWantWriteError:
            self._wants_write = True
            return False
        except (OSError, ValueError) as error:
            raise UnreachableError(f"TLS fails: {_in_words(error)}") from error
        self._is_open = True
        self._wants_write = bool(self._out)
        return True

    def _send_what_goes(self) -> None:
        with contextlib.suppress(*_NOT_YET):
            while self._out:
                self._out = self._out[self.socket.send(self._out) :]
        self._wants_write = bool(self._out)


class Pool:
    """Connections to one server: those that idle, the last used first."""

    def __init__(self, places: Sequence[tuple[int, Any]], tls: ssl.SSLContext | None, host: str) -> None:
        """Begin without any.

        Args:
            places: where the server is found; the first is asked.
            tls: None is without TLS.
            host: whom its certificate has to name.
        """
        self._place, self._tls, self._host = places[0], tls, host
        self._idle: list[Connection] = []

    def taken(self, now_s: float) -> Connection:
        """One that may be asked, a new one where none idles.

        Raises:
            UnreachableError: it cannot be connected to.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh(now_s):
                return connection
            connection.close()
        return Connection(self._place, self._tls, self._host)

    def give_back(self, connection: Connection, now_s: float) -> None:
        """One that has been asked and answered."""
        connection.idles_since_s = now_s
        self._idle.append(connection)

    def close(self) -> None:
        """Close those that idle."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()


def _in_words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return "there are no more sockets to open (ulimit -n says how many a process may have)"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error)
    return str(getattr(error, "strerror", None) or error)
