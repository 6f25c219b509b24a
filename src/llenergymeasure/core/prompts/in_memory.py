"""Prompts that were given in Python as a list, from memory or from the file that has them for other processes."""

import hashlib
import io

from llenergymeasure._files import read_regular
from llenergymeasure._paths import expanded
from llenergymeasure.config.in_memory import PromptsInMemory
from llenergymeasure.core.prompts.choice import Choice, ChosenRows, chosen_of
from llenergymeasure.core.prompts.files import jsonl_rows
from llenergymeasure.core.prompts.reading import MOST_BYTES
from llenergymeasure.exceptions import ConfigError, first_line

_WHERE = "dataset in memory"


def read_in_memory(prompts: PromptsInMemory, column: str | None, choice: Choice) -> ChosenRows:
    """The chosen ones of them, by the rules of a JSONL file.

    Args:
        prompts: these.
        column: the key that holds the prompt; None takes ``messages``, else ``prompt``, else ``conversations``.
        choice: which rows.

    Raises:
        ConfigError: they are not here any more, or others than they were, or a row is no prompt.
    """
    text = (prompts.content or _in_their_file(prompts)).decode()
    return chosen_of(lambda: jsonl_rows(io.StringIO(text), column, _WHERE, before_number=", row "), choice, _WHERE)


def _in_their_file(prompts: PromptsInMemory) -> bytes:
    """What the file has, if it is what was given.

    Raises:
        ConfigError: it is not, or there is none.
    """
    known = f"{prompts.n} prompts with the SHA-256 {prompts.sha256}"
    if prompts.file is None:
        raise ConfigError(
            f"{_WHERE}: nothing is here of {known} but that; give the list again, or as dataset.path the file "
            f"{prompts.file_name} that is kept beside what came of them"
        )
    try:
        content = read_regular(expanded(prompts.file), MOST_BYTES)
    except OSError as error:
        why = error.strerror or first_line(error)
        raise ConfigError(f"{_WHERE}: {prompts.file}: cannot be read: {why}; it has {known}, put it back") from None
    found = hashlib.sha256(content).hexdigest()
    if found != prompts.sha256:
        raise ConfigError(
            f"{_WHERE}: {prompts.file}: it was changed, its SHA-256 is {found}; put {known} back, or begin anew"
        )
    return content
