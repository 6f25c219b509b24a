"""The text whose tokens are scored: read, and made into the tokens of the model's own tokenizer."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from llenergymeasure._files import read_regular
from llenergymeasure.core.checkpoint.source import Checkpoint
from llenergymeasure.core.checkpoint.tokenizer import NoTokenizer, load_tokenizer
from llenergymeasure.core.prompts.fitting import Room, room_of
from llenergymeasure.exceptions import ConfigError, ExperimentError, first_line

BUILT_IN = "built-in sample"
_BUILT_IN_FILE = "quality_sample.txt"
# Far more than is ever scored; 64 MiB.
MOST_BYTES = 2**26
# More of a text than its first tokens have, runs of blanks included, is not worth tokenising.
_MOST_CHARACTERS_OF_A_TOKEN = 64


@dataclass(frozen=True)
class Text:
    """A text, and SHA-256 of its bytes in hex."""

    text: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class TextTokens:
    """[n] tokens of the beginning of a text, without those that a tokenizer puts around it.

    ``prefix`` are those that it puts before: the model reads them first, and they are not scored. Where there are none,
    neither is the first token of the text, which nothing comes before. ``n_bytes`` are those of the text, in UTF-8,
    that the scored tokens stand for; None where the tokenizer does not tell. ``room`` is that of the model.
    """

    token_ids: tuple[int, ...]
    prefix: tuple[int, ...] = ()
    n_bytes: int | None = None
    room: Room = field(default_factory=Room)

    @property
    def n_unscored(self) -> int:
        """How many tokens at the beginning have nothing before them."""
        return 0 if self.prefix else 1


# A text, the files of the model, most tokens that are scored, and of those that are read at a time.
TokeniseText = Callable[[str, Checkpoint, int, int], TextTokens]


def read_text(path: Path | None) -> Text:
    """The text in a file, None being the built-in sample.

    Raises:
        ConfigError: it is not there, too large, empty, or no text in UTF-8.
    """
    if path is None:
        content = resources.files("llenergymeasure").joinpath("data", _BUILT_IN_FILE).read_bytes()
    else:
        try:
            content = read_regular(path, MOST_BYTES)
        except OSError as error:
            raise ConfigError(f"quality.text {path}: cannot be read: {error.strerror or first_line(error)}") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(
            f"quality.text {path}: this is not text in UTF-8; convert it, such as with iconv -f LATIN1 -t UTF-8"
        ) from None
    if not text.strip():
        raise ConfigError(f"quality.text {path}: this file is empty; give some pages of text")
    return Text(text, hashlib.sha256(content).hexdigest())


def text_tokens(text: str, checkpoint: Checkpoint, most_scored: int, most_at_a_time: int) -> TextTokens:
    """The tokens of the beginning of a text by the checkpoint's own tokenizer, without a chat template.

    Raises:
        LLEMError: there is no tokenizer, or it cannot be read.
    """
    tokenizer = load_tokenizer(checkpoint)
    if isinstance(tokenizer, NoTokenizer):
        raise ExperimentError(f"{checkpoint.folder} has no tokenizer.json (or other tokenizer files)")
    prefix = _put_before(tokenizer)
    n_unscored = 0 if prefix else 1
    part = text[: _MOST_CHARACTERS_OF_A_TOKEN * (most_scored + n_unscored)]
    ids, n_bytes = _with_bytes(tokenizer, part, most_scored + n_unscored, n_unscored)
    return TextTokens(token_ids=tuple(ids), prefix=prefix, n_bytes=n_bytes, room=room_of(checkpoint, most_at_a_time))


def _put_before(tokenizer: Any) -> tuple[int, ...]:
    """The ids that a tokenizer puts before any text, such as that of the beginning."""
    bare, whole = (list(tokenizer("a", add_special_tokens=special)["input_ids"]) for special in (False, True))
    for begin in range(len(whole) - len(bare) + 1):
        if bare and whole[begin : begin + len(bare)] == bare:
            return tuple(whole[:begin])
    return ()


def _with_bytes(tokenizer: Any, text: str, most: int, n_unscored: int) -> tuple[list[int], int | None]:
    """Its first tokens, at most so many, and the bytes of those that are scored."""
    if not getattr(tokenizer, "is_fast", False):
        ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])[:most]
        return ids, _bytes_by_decoding(tokenizer, text, ids, n_unscored)
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, places = list(found["input_ids"]), list(found["offset_mapping"])
    n = min(most, len(ids))
    # A character may be several tokens, which stand for its bytes together.
    while 0 < n < len(ids) and places[n][0] < places[n - 1][1]:
        n -= 1
    if n <= n_unscored:
        return ids[:n], None
    # What lies between two tokens, such as a blank, is the later one's.
    begin = places[n_unscored - 1][1] if n_unscored else 0
    return ids[:n], len(text[begin : places[n - 1][1]].encode())


def _bytes_by_decoding(tokenizer: Any, text: str, ids: Sequence[int], n_unscored: int) -> int | None:
    """Bytes of a text behind tokens of which nobody tells the place; None where they do not give the text again."""
    whole, unscored = tokenizer.decode(ids), tokenizer.decode(ids[:n_unscored])
    if not (text.startswith(whole) and whole.startswith(unscored)):
        return None
    return len(whole.encode()) - len(unscored.encode())
