"""A YAML file with the line of every value, read so that no file can hang or crash the program."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from llenergymeasure._files import open_regular
from llenergymeasure._paths import HALF_A_CHARACTER, expanded, is_whole
from llenergymeasure._secrets import is_of_a_secret, looks_secret
from llenergymeasure.exceptions import ConfigError, first_line

# A configuration is written by hand; what is larger is another kind of file.
_MAX_FILE_BYTES = 256 * 1024
# Anchors count each time they are used, so that a file cannot unfold into more than this.
_MAX_VALUES = 20_000
# A key and a value each, and room for what opens and closes.
_MAX_EVENTS = 3 * _MAX_VALUES
_MAX_DEPTH = 50
_MAX_DIGITS = 400
_MAX_BITS = 256
_PIPE_PATIENCE_S = 1.0
_PIPE_POLL_S = 0.01
_MERGE_TAG = "tag:yaml.org,2002:merge"
_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_TEXT_TAG = "tag:yaml.org,2002:str"

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class ConfigFile:
    """A parsed file: its values, and the line of each of them."""

    path: Path
    values: dict[str, Any]
    lines: Mapping[Location, int]

    def line_of(self, location: Sequence[str | int]) -> int:
        """The line of a field, or of the nearest thing around it that the file has."""
        for length in range(len(location), -1, -1):
            line = self.lines.get(tuple(location[:length]))
            if line is not None:
                return line
        return 1


def read_config_file(path: str | Path, *, may_be_empty: bool = False) -> ConfigFile:
    """Parse a YAML file with the line of every value.

    Raises:
        ConfigError: missing, unreadable, too large, not YAML, with keys that are twice there or no text, or not
            a mapping; one line for each thing that is wrong.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"a configuration is given as the path of a YAML file, or as a model; this is {path!r:.80}")
    path = expanded(path)
    values, lines = _parse(_read_text(path), str(path))
    if values is None and may_be_empty:
        values = {}
    if not isinstance(values, dict):
        found = "empty" if values is None else f"a {type(values).__name__}"
        raise ConfigError(f"{path}:1: a configuration is a mapping of fields, this file is {found}")
    return ConfigFile(path, values, lines)


def parse_value(text: str, called: str) -> Any:
    """A single value written as YAML, with the defences of a file.

    Raises:
        ConfigError: it cannot be read; the message starts with ``called``.
    """
    if len(text) > _MAX_FILE_BYTES:
        raise ConfigError(f"{called}: this value is too long")
    if not is_whole(text):
        raise ConfigError(f"{called}: this value cannot be read: {HALF_A_CHARACTER}")
    try:
        return _parse(text, called)[0]
    except ConfigError as error:
        reason = first_line(error).partition(": ")[2]
        raise ConfigError(f"{called}: this value cannot be read ({reason}); put text in quotes") from None


def _parse(text: str, name: str) -> tuple[Any, dict[Location, int]]:
    loader = _Loader(text)
    try:
        _check_size(text, name)
        root = loader.get_single_node()
        if root is None:
            return None, {}
        lines = _lines(root, name)
        return loader.construct_document(root), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines_of_text = text.splitlines() or [""]
        # libyaml puts what is missing at the end of the text on a line after the last.
        line = min(mark.line if mark else 0, len(lines_of_text) - 1)
        there = _quoted(name, lines_of_text[line].strip(" "))
        problem = error.problem or error.context
        raise ConfigError(f"{name}:{line + 1}: this is not valid YAML: {problem}, in '{there}'") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}:1: this is not valid YAML: {first_line(error)}") from None
    finally:
        loader.dispose()


def _quoted(name: str, line: str) -> str:
    """A line for a message, in which a value that looks secret is left out."""
    key = line.partition(":")[0]
    return "..." if is_of_a_secret(name) else f"{printable(key)}: ..." if looks_secret(key) else printable(line)


def _check_size(text: str, name: str) -> None:
    """Refuse deep nesting and endless lists before anything that recurses or builds sees them."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Parser)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH or number > _MAX_EVENTS:
            line = event.start_mark.line + 1 if event.start_mark else 1
            problem = "it is nested too deeply" if depth > _MAX_DEPTH else f"too many values (over {_MAX_VALUES})"
            raise ConfigError(f"{name}:{line}: this is not valid YAML for a configuration: {problem}")


# libyaml's parser, some ten times as fast, where PyYAML was built with it.
_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Parser):  # type: ignore[misc]
    """A safe loader that knows the line of every scalar it cannot build, and builds none that no file can hold."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag in _NUMBER_TAGS and len(str(node.value)) > _MAX_DIGITS:
            raise self._unreadable(node, "a number of too many digits")
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError, OverflowError) as error:
            raise self._unreadable(node, str(error)) from None
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            raise self._unreadable(node, "a number of too many digits")
        if isinstance(value, str) and not is_whole(value):
            raise self._unreadable(node, "it holds half a character, a lone surrogate")
        return value

    @staticmethod
    def _unreadable(node: yaml.Node, why: str) -> yaml.constructor.ConstructorError:
        return yaml.constructor.ConstructorError(None, None, f"this value cannot be read ({why})", node.start_mark)


def _read_text(path: Path) -> str:
    try:
        content = _read_pipe(path) if path.is_fifo() else _read_file(path)
        if len(content) > _MAX_FILE_BYTES:
            raise ConfigError(f"{path}: too large for a configuration (over {_MAX_FILE_BYTES // 1024} KiB)")
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}:1: this is not a text file in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a path with a NUL byte
        raise ConfigError(f"{str(path)!r}: cannot be read: {error}") from None


def _read_file(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(_MAX_FILE_BYTES + 1)


def _read_pipe(path: Path) -> bytes:
    """What is written into a named pipe; a pipe that nobody opens for writing is given up soon."""
    deadline = time.monotonic() + _PIPE_PATIENCE_S
    content = b""
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while len(content) <= _MAX_FILE_BYTES:
            try:
                chunk = os.read(pipe, _MAX_FILE_BYTES)
            except BlockingIOError:  # somebody has it open and is still at work
                deadline = time.monotonic() + _PIPE_PATIENCE_S
                time.sleep(_PIPE_POLL_S)
                continue
            content += chunk
            if not chunk and (content or time.monotonic() > deadline):
                break
            if not chunk:
                time.sleep(_PIPE_POLL_S)
    finally:
        os.close(pipe)
    if not content:
        raise ConfigError(f"{path}: cannot be read: nobody writes into this pipe")
    return content


def _lines(root: yaml.Node, name: str) -> dict[Location, int]:
    """The line of every value; done before any value is built, so that nothing unfolds unseen."""
    lines: dict[Location, int] = {}
    problems: list[str] = []
    for location, node, line in _walk(root, (), frozenset()):
        if len(lines) >= _MAX_VALUES:
            raise ConfigError(f"{name}:1: too many values (over {_MAX_VALUES}; an anchor counts wherever it is used)")
        lines[location] = line
        if isinstance(node, yaml.MappingNode):
            problems += _key_problems(node, name)
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return lines


def _walk(node: yaml.Node, location: Location, above: frozenset[int]) -> Iterator[tuple[Location, yaml.Node, int]]:
    """Every node below ``node``, with the line of its key where it has one."""
    yield location, node, node.start_mark.line + 1
    if id(node) in above:  # an anchor that contains itself
        return
    below = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = _walk(value, (*location, str(key.value)), below)
            where, first, _ = next(inner)
            yield where, first, key.start_mark.line + 1
            yield from inner
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(value, (*location, index), below)


def _key_problems(node: yaml.MappingNode, name: str) -> Iterator[str]:
    seen: set[str] = set()
    for key, _ in node.value:
        place = f"{name}:{key.start_mark.line + 1}"
        if key.tag == _MERGE_TAG:
            continue
        if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT_TAG:
            yield f"{place}: {printable(str(key.value))}: a key must be text; put it in quotes if it is meant as one"
        elif not is_whole(key.value):
            yield f"{place}: {printable(key.value)}: this key holds half a character, a lone surrogate"
        elif key.value in seen:
            yield f"{place}: {printable(key.value)}: this key is there twice; keep one of them"
        seen.add(str(key.value))


def printable(text: str, most: int = 80) -> str:
    """The text on one line, and not too long."""
    escaped = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:most])
    return escaped if len(text) <= most else f"{escaped}..."
