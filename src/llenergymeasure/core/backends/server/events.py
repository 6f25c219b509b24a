"""A stream of events as servers send it, however it is cut (the HTML standard, 9.2 server-sent events)."""

_COMMENT, _DATA = b":", b"data"
# Ids of a prompt of a million tokens, which some servers tell again, have room in it.
MOST_LINE_BYTES = 10 * 2**20


class TooLongError(ValueError):
    """A line that nobody will hold in memory."""


class EventStream:
    """Takes the bytes of a stream and gives the data of its events; comments, which keep connections open, are nothing.

    Nothing is held but the line that is not whole, and the data of the event that is not.
    """

    def __init__(self, most_line_bytes: int = MOST_LINE_BYTES) -> None:
        self._most = most_line_bytes
        self._rest = bytearray()
        self._data: list[bytes] = []

    def feed(self, new: bytes) -> list[bytes]:
        """The data of the events that these bytes complete.

        Raises:
            TooLongError: a line has more bytes than may be.
        """
        self._rest += new
        if b"\n" not in new:
            if len(self._rest) > self._most:
                raise TooLongError(f"a line of more than {self._most} bytes")
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        events: list[bytes] = []
        for line in lines:
            self._take(line.removesuffix(b"\r"), events)
        if len(rest) > self._most:
            raise TooLongError(f"a line of more than {self._most} bytes")
        return events

    def end(self) -> list[bytes]:
        """What is left when nothing more comes: an event whose last line has no end."""
        events: list[bytes] = []
        for line in (bytes(self._rest).removesuffix(b"\r"), b""):
            self._take(line, events)
        self._rest.clear()
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if len(line) > self._most:
            raise TooLongError(f"a line of more than {self._most} bytes")
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data = []
            return
        if line.startswith(_COMMENT):
            return
        name, _, value = line.partition(b":")
        if name == _DATA:
            self._data.append(value.removeprefix(b" "))
