"""A YAML file with the line of every value, read so that no file can hang or crash the program."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from llenergymeasure.exceptions import ConfigError

# A configuration is written by hand; what is larger is another kind of file.
_MAX_FILE_BYTES = 256 * 1024
# Anchors count each time they are used, so that a file cannot unfold into more than this.
_MAX_VALUES = 20_000
_MERGE_TAG = "tag:yaml.org,2002:merge"
_TEXT_TAG = "tag:yaml.org,2002:str"

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class ConfigFile:
    """A parsed file: its values, and the line of each of them."""

    path: Path
    values: dict[str, Any]
    lines: Mapping[Location, int]

    @property
    def is_study(self) -> bool:
        """Whether the file lists experiments."""
        return "experiments" in self.values

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
    path = Path(path)
    text = _read_text(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = {} if root is None else _lines(root, path)
        values = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: this is not valid YAML: {error.problem or error.context}") from None
    except RecursionError:
        raise ConfigError(f"{path}:1: this is not valid YAML for a configuration: it is nested too deeply") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}:1: this is not valid YAML: {str(error).splitlines()[0]}") from None
    if values is None and may_be_empty:
        values = {}
    if not isinstance(values, dict):
        found = "empty" if values is None else f"a {type(values).__name__}"
        raise ConfigError(f"{path}:1: a configuration is a mapping of fields, this file is {found}")
    return ConfigFile(path, values, lines)


class _Loader(yaml.SafeLoader):
    """A safe loader that knows the line of every scalar it cannot build."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError, OverflowError) as error:
            problem = f"this value cannot be read ({error})"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise ConfigError(f"{path}: too large for a configuration (over {_MAX_FILE_BYTES // 1024} KiB)")
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}:1: this is not a text file in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a path with a NUL byte
        raise ConfigError(f"{str(path)!r}: cannot be read: {error}") from None


def _lines(root: yaml.Node, path: Path) -> dict[Location, int]:
    """The line of every value; done before any value is built, so that nothing unfolds unseen."""
    lines: dict[Location, int] = {}
    problems: list[str] = []
    for location, node, line in _walk(root, (), frozenset()):
        if len(lines) >= _MAX_VALUES:
            raise ConfigError(f"{path}:1: too many values (over {_MAX_VALUES}; an anchor counts wherever it is used)")
        lines[location] = line
        if isinstance(node, yaml.MappingNode):
            problems += _key_problems(node, path)
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


def _key_problems(node: yaml.MappingNode, path: Path) -> Iterator[str]:
    seen: set[str] = set()
    for key, _ in node.value:
        place = f"{path}:{key.start_mark.line + 1}"
        if key.tag == _MERGE_TAG:
            continue
        if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT_TAG:
            yield f"{place}: {printable(str(key.value))}: a key must be text; put it in quotes if it is meant as one"
        elif key.value in seen:
            yield f"{place}: {printable(key.value)}: this key is there twice; keep one of them"
        seen.add(str(key.value))


def printable(text: str) -> str:
    """The text on one line, and not too long."""
    escaped = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:80])
    return escaped if len(text) <= 80 else f"{escaped}..."  # noqa: PLR2004 - as above
