"""Commands of a configuration: a list of words, or a line that has them."""

import shlex
from typing import Any


def words_of(command: Any) -> Any:
    """The words of a line, as a shell would part them; anything else as it is.

    Raises:
        ValueError: a quotation has no end.
    """
    if not isinstance(command, str):
        return command
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ValueError(f"this line is not whole ({error}); give a list of words") from None
