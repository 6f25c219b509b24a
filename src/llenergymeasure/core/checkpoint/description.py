"""The JSON files beside a model's weights, looked at before a library reads them.

Libraries build tables and layers as a configuration asks for, so numbers that would take all memory or time are refused
here, where a file is only text.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llenergymeasure._files import read_regular
from llenergymeasure.core.checkpoint.weights import is_pointer, pointer
from llenergymeasure.exceptions import first_line

_CONFIG = "config.json"
_SETTINGS = "generation_config.json"
# The largest are indices of shards, with a line of 100 bytes for each of some 100,000 tensors.
_MOST_BYTES = 64_000_000
# Modules are made one by one for each of these: num_hidden_layers, n_head, encoder_layers, mamba_ngroups.
_COUNTS = re.compile(r"(^|_)n?(layers?|blocks?|heads?|stages|codebooks|groups?|branches|beams)$|^depths?$")
_MOST_COUNTED = 10_000
# Tables have an entry for each of these: num_experts, n_routed_experts, zero_expert_num, num_bpe_labels.
_MANY = re.compile(r"(^|_)(experts?(_num)?|labels)$")
_MOST_OF_MANY = 100_000
# Models have a vocabulary of up to 262,144 and positions of up to 10,485,760.
_MOST = 100_000_000
_LARGEST = 2**63 - 1
# Numbers that are no sizes.
_NO_SIZE = re.compile(r"theta|base|freq|scal|eps|version|seed|token|param|flops|bytes|factor")
# Words for them differ, but transformers knows all models by these.
_AT_LEAST_ONE = ("hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads")


def description_problems(folder: Path) -> Iterator[str]:
    """What keeps the description in a model's directory from being read, one line each.

    Args:
        folder: a directory with a config.json in it.
    """
    irregular = next(irregular_files(folder), None)
    if irregular is not None:
        yield irregular
        return
    content, problem = json_object(folder / _CONFIG)
    if problem is not None:
        yield problem
    yield from (f"{folder / _CONFIG}: {line}" for line in impossible_numbers(content))
    if (folder / _SETTINGS).is_file():
        _, problem = json_object(folder / _SETTINGS)
        if problem is not None:
            yield problem


def irregular_files(folder: Path) -> Iterator[str]:
    """Entries of a directory that are neither files nor directories, from which nothing ever ends to be read."""
    for path in sorted(folder.iterdir()):
        if path.exists() and not path.is_file() and not path.is_dir():
            yield f"{path} is no regular file; remove it"


def json_object(path: Path) -> tuple[Mapping[str, Any], str | None]:
    """The object in a JSON file, or an empty one and why there is none.

    Args:
        path: a file that is there.
    """
    try:
        if is_pointer(path):
            return {}, pointer(path)
        content = json.loads(read_regular(path, _MOST_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{path} cannot be read as JSON: {first_line(error)}; fetch it again"
    if not isinstance(content, dict):
        return {}, f"{path} holds {_kind(content)} where an object with names and values belongs; fetch it again"
    return content, None


def too_small(description: Any) -> Iterator[str]:
    """Sizes of a transformers configuration that no model can have."""
    text = description.get_text_config()
    for name in _AT_LEAST_ONE:
        value = getattr(text, name, None)
        if value is not None and not isinstance(value, list | tuple) and (not isinstance(value, int) or value < 1):
            yield f"config.json has {name}: {value!r:.60}, which has to be a whole number above zero; fetch it again"


def impossible_numbers(content: Any, name: str = "") -> Iterator[str]:
    """A line for each number in an object of settings that is beyond what any model has, wherever it stands."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from impossible_numbers(value, str(key))
    elif isinstance(content, list):
        for value in content:
            yield from impossible_numbers(value, name)
    elif isinstance(content, int) and not isinstance(content, bool) and abs(content) > (most := _most(name)):
        yield f"{name} is {_shortened(content)}, and no model has more than {most:,}; fetch it again"


def _most(name: str) -> int:
    """The largest number that a setting of this name can have."""
    if _COUNTS.search(name):
        return _MOST_COUNTED
    if _MANY.search(name):
        return _MOST_OF_MANY
    return _LARGEST if _NO_SIZE.search(name) else _MOST


def _shortened(number: int) -> str:
    return str(number) if abs(number) <= _LARGEST else f"a number of {len(str(number))} digits"


def _kind(content: Any) -> str:
    kinds = {list: "a list", str: "a text", type(None): "null", bool: "true or false"}
    return kinds.get(type(content), "a number")
