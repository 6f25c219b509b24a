"""Ports for servers that are told theirs."""

import random
import socket

# Below those that systems give to connections and to servers that ask for any (ip_local_port_range of Linux begins at
# 32768): between the look and the server's start nobody else gets it by chance.
_FIRST, _LAST = 20_000, 32_000


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens."""
    while True:
        port = random.SystemRandom().randint(_FIRST, _LAST)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
