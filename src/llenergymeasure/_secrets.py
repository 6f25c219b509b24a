"""Secrets are named by variable, ``${HF_TOKEN}``, and their values are told to nobody.

A name becomes its value only where it is used, and the value its name again in all that leaves this process.
"""

import functools
import os
import re
from collections.abc import Mapping, Sequence

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORD = re.compile(
    r"passwords?|passwd|passphrase|passcode|pwd|secrets?|credentials?|auth|authorization|authentication|bearer|jwt"
    r"|cookies?|(?:api|access|private|secret)keys?|(?:hf|auth|access|api|bearer)token"
)
# What makes a key or a token one that opens something: a pad_token, or a key by itself, opens nothing.
_OF_A_KEY = re.compile(r"api|access|private|secret|signing|encryption|account|ssh|license")
_OF_A_TOKEN = re.compile(
    r"hf|hub|huggingface|access|api|refresh|session|user|github|gitlab|git|private|personal|login|oauth|id|security"
    r"|client|wandb"
)
_ADDRESS = re.compile(r"prox(?:y|ies)|urls?|uri|endpoint|server|host|https?|registry|mirror")
# Behind such a word it is no secret but where one lies, or what it is called.
_ABOUT_ONE = re.compile(r"path|file|dir|folder|name|env|var|variable|type|ids?|url|length|timeout|sock")
# Not secret whatever they look like, and more readable as they are.
_OPEN_VARIABLES = frozenset({"PWD", "OLDPWD", "HOME"})
# Tokens that say what they are: of the Hugging Face hub, OpenAI and its like, GitHub, GitLab, AWS, Slack.
_KNOWN_TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-(?:proj-|svcacct-|ant-\w{1,8}-)?[A-Za-z0-9_]{20,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_\w{20,}|glpat-[\w-]{16,}|AKIA[A-Z0-9]{16}|xox[abprs]-[\w-]{10,})"
)
# A password may have @ and / in it, where it should have %40 and %2F; the port of a host begins no password.
_USER_AND_PASSWORD = re.compile(
    r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]{0,20}://)(?P<user>[^/\s?#@:'\"\[]*)"
    r":(?!\d{1,5}[/?#\"])(?P<secret>(?:[^\s:]|:(?!//))+)@"
)
_USER_ALONE = re.compile(r"(?P<scheme>\b(?:git\+)?https?://)(?P<secret>[^/\s?#:'\"]+)@")
_WITHOUT_SCHEME = re.compile(r"[^/\s:@]+:(?P<secret>[^/\s@]+)@[\w.-]+(?::\d+)?(?:/\S*)?")
_IN_QUERY = re.compile(r"(?P<key>(?<=[?&;])[\w.~-]+)=(?P<secret>[^&;#\s'\"]+)")
_IN_QUERY_TOO = re.compile(r"(?:.*[-_])?sig(?:nature)?|key|key-pair-id|(?:aws|google)access(?:key)?id", re.IGNORECASE)
_IN_HEADER = re.compile(
    r"\bauthorization['\"]?\s{0,3}[:=,]\s{0,3}['\"]?(?:(?:bearer|basic|token)\s{1,3}|(?=[^\s'\",]{16}))"
    r"(?P<secret>[^\s'\",]+)",
    re.IGNORECASE,
)
# Behind the word alone also stands "authentication".
_BEARER = re.compile(r"\bbearer\s{1,3}(?=[\w.~+/=-]*\d)(?P<secret>[\w.~+/=-]{8,})", re.IGNORECASE)
_CREDENTIALS = (_USER_AND_PASSWORD, _USER_ALONE, _IN_QUERY, _IN_HEADER, _BEARER)
# A shorter value may be a part of any word.
_LEAST_HIDDEN = 8
# Variables that were put in place in this process.
_used: set[str] = set()


class MissingVariablesError(Exception):
    """Variables that are named and not set; ``names`` are theirs."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


@functools.lru_cache(maxsize=4096)
def looks_secret(key: str) -> bool:
    """Whether what stands under a key, or in a variable, of this name is to be kept secret."""
    words = [word.lower() for word in _WORD.findall(key)]
    if not words or _ABOUT_ONE.fullmatch(words[-1]):
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    return (
        any(_SECRET_WORD.fullmatch(word) for word in words)
        or (last == "token" and (not before or _OF_A_TOKEN.fullmatch(before) is not None))
        or (last in ("key", "keys") and _OF_A_KEY.fullmatch(before) is not None)
    )


def is_of_a_secret(place: str) -> bool:
    """The same of a place, such as ``--set section.field``, ``SECTION__FIELD`` or ``file:line``."""
    return any(map(looks_secret, re.split(r"[.\s]|__", place)))


def names_a_variable(text: str) -> bool:
    """Whether a text has the name of a variable in it."""
    return _VARIABLE.search(text) is not None


def token_in(text: str) -> bool:
    """Whether a text holds a token that says itself what it is."""
    return _KNOWN_TOKEN.search(text) is not None


def credentials_in(text: str, *, is_address: bool = False) -> bool:
    """Whether a text has a URL in it that carries a password, or a token as its user or in its query, or a header's.

    Args:
        text: any text.
        is_address: it is the address of a server, in which ``user:password@host`` is no name.
    """
    found = (match for pattern in _CREDENTIALS for match in pattern.finditer(text))
    without_scheme = _WITHOUT_SCHEME.fullmatch(text) if is_address else None
    return any(map(_is_told, found)) or (without_scheme is not None and _is_told(without_scheme))


def _is_told(match: re.Match[str]) -> bool:
    """Whether what was found opens something, and is no name of a variable."""
    key = match.groupdict().get("key")
    opens = key is None or looks_secret(key) or _IN_QUERY_TOO.fullmatch(key) is not None
    return opens and not names_a_variable(match["secret"])


def put_in_place(text: str, environ: Mapping[str, str] | None = None) -> str:
    """The text with the values of the variables that it names.

    Raises:
        MissingVariablesError: some are not set, or empty.
    """
    environ = os.environ if environ is None else environ
    names = dict.fromkeys(_VARIABLE.findall(text))
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise MissingVariablesError(missing)
    # Whatever they are called: what is named instead of written out is not to be told either.
    _used.update(names)
    return _VARIABLE.sub(lambda match: environ[match[1]], text)


def names_an_address(key: str) -> bool:
    """Whether what stands under a key is the address of a server."""
    return any(_ADDRESS.fullmatch(word.lower()) for word in _WORD.findall(key))


def hidden(text: str, values: Sequence[tuple[str, str]] | None = None) -> str:
    """A text with the names of variables for their values, where these are secret, and without other secrets.

    Args:
        text: any text.
        values: what ``values_to_hide`` gives, for whoever has many texts.
    """
    for value, name in values_to_hide() if values is None else values:
        if value in text:
            text = text.replace(value, f"${{{name}}}")
    text = _KNOWN_TOKEN.sub("***", text)
    for pattern in _CREDENTIALS:
        text = pattern.sub(_without_secret, text)
    return text


def named(text: str) -> str:
    """A text with the names of variables for their values; one that is a variable's value as a whole by that's name."""
    values = values_to_hide()
    if len(text) >= _LEAST_HIDDEN:
        values += [(value, name) for name, value in os.environ.items() if value == text]
    for value, name in values:
        text = text.replace(value, f"${{{name}}}")
    return text


def _without_secret(match: re.Match[str]) -> str:
    if not _is_told(match):
        return match[0]
    begin, end = (place - match.start() for place in match.span("secret"))
    return f"{match[0][:begin]}***{match[0][end:]}"


def values_to_hide() -> list[tuple[str, str]]:
    """Values with the names of their variables, the longest first, so that none is left in parts."""
    named = {name: value for name, value in os.environ.items() if name in _used or looks_secret(name)}
    hidden_ones = [(v, name) for name, v in named.items() if len(v) >= _LEAST_HIDDEN and name not in _OPEN_VARIABLES]
    # Of two that have one value the name that somebody gave.
    return sorted(hidden_ones, key=lambda item: (-len(item[0]), item[1] not in _used))
