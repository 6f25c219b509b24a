"""Secrets written out in a configuration, which would be stored with every result of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llenergymeasure._secrets import credentials_in, looks_secret, named, names_a_variable, names_an_address, token_in
from llenergymeasure.config.names.paths import MOST_LEVELS

# A PIN has four digits; 0, 1 and true say whether, or how many.
_LEAST_NUMBER = 1000
_LOOKS_SO = "this looks like a secret that is written out"
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class WrittenOut:
    """A secret that stands as it is, of which nothing here repeats anything."""

    wrong: str
    by_name: str | None = None  # the same with the names of variables, where the environment has such values

    def told(self, refusal: str = "") -> str:
        """What is wrong and what to do.

        Args:
            refusal: why the field takes no such thing by name either; then that is what to go by.
        """
        if refusal:
            return f"{self.wrong}, which is not shown here; {refusal}"
        name = "a variable, such as ${HF_TOKEN}" if self.by_name is None else f"its variable, {self.by_name}"
        return f"{self.wrong}; name it by {name}, which is put in place only where it is used; it is not shown here"

    @property
    def in_its_place(self) -> str:
        """A text of the same field that has no secret in it."""
        return self.by_name or "${SECRET}"


def literal_secrets(value: Any, location: Place = (), below_one: bool = False) -> Iterator[tuple[Place, WrittenOut]]:
    """Where secrets stand as they are.

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
        is_address = any(names_an_address(key) for key in location if isinstance(key, str))
        wrong = _wrong_with(value, below_one, is_address)
        if wrong:
            by_name = named(value)
            is_named = names_a_variable(by_name) and _wrong_with(by_name, below_one, is_address) is None
            yield location, WrittenOut(wrong, by_name if is_named else None)
    elif below_one and isinstance(value, int | float) and abs(value) >= _LEAST_NUMBER:
        yield location, WrittenOut(_LOOKS_SO)


def without(value: Any, secrets: Mapping[Place, WrittenOut], location: Place = ()) -> Any:
    """The same fields with the name of a variable for each secret."""
    if location in secrets:
        return secrets[location].in_its_place
    if isinstance(value, Mapping):
        return {key: without(inner, secrets, (*location, key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without(inner, secrets, (*location, index)) for index, inner in enumerate(value)]
    return value


def _wrong_with(text: str, below_one: bool, is_address: bool) -> str | None:
    if credentials_in(text, is_address=is_address):
        return "this URL carries a password or a token"
    if token_in(text):
        return "this is a token that is written out"
    if below_one and text and not names_a_variable(text):
        return _LOOKS_SO
    return None
