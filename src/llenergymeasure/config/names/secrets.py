"""Secrets written out in a configuration, which would be stored with every result of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from llenergymeasure._secrets import credentials_in, looks_secret, names_a_variable, names_an_address, token_in
from llenergymeasure.config.names.paths import MOST_LEVELS

# A PIN has four digits; 0, 1 and true say whether, or how many.
_LEAST_NUMBER = 1000
_HOW = "name it by a variable, such as ${HF_TOKEN}, which is put in place only where it is used; it is not shown here"


def literal_secrets(
    value: Any, location: tuple[str | int, ...] = (), below_one: bool = False
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where secrets stand as they are, each with what is wrong, which does not repeat them.

    Args:
        value: fields as a file or a caller gives them.
        location: where they stand.
        below_one: they stand under a key that looks secret.
    """
    if len(location) > MOST_LEVELS:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            below = below_one or (isinstance(key, str) and looks_secret(key))
            yield from literal_secrets(inner, (*location, key), below)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from literal_secrets(inner, (*location, index), below_one)
    elif isinstance(value, str):
        wrong = _wrong_with(value, below_one, any(names_an_address(key) for key in location if isinstance(key, str)))
        if wrong:
            yield location, f"{wrong}; {_HOW}"
    elif below_one and isinstance(value, int | float) and abs(value) >= _LEAST_NUMBER:
        yield location, f"this looks like a secret that is written out; {_HOW}"


def _wrong_with(text: str, below_one: bool, is_address: bool) -> str | None:
    if credentials_in(text, is_address=is_address):
        return "this URL carries a password or a token"
    if token_in(text):
        return "this is a token that is written out"
    if below_one and text and not names_a_variable(text):
        return "this looks like a secret that is written out"
    return None
