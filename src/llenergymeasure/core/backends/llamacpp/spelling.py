"""Tokens that llama.cpp does not tell, found by the text that they spell.

While an answer ends inside of a character, llama.cpp's server streams nothing (``process_token`` of b11549, and later):
the piece that completes the character comes with its own id alone, and ids before it are never told. How many there
were is told, and so is the text; mostly only one row of tokens spells it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

from llenergymeasure.core.backends.llamacpp.file import Vocabulary

# llama.cpp's types of tokens (llama_token_type): control tokens have no text, bytes are written <0xE2>.
_CONTROL, _USER_DEFINED, _BYTE = 3, 4, 6
_ASCII = 0x80
# Of UTF-8: the longest character, and what it takes by its first byte.
_LENGTHS = ((0xF0, 4), (0xE0, 3), (0xC0, 2))
_ENOUGH = 2


class Speller:
    """Finds the tokens of a piece of text whose last ones are known."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def lost_tokens(self, text: str, n_lost: int, told: Sequence[int]) -> tuple[int, ...] | None:
        """The tokens before those that were told; None where none, or more than one row of tokens, spell the text.

        Args:
            text: what all of them spell.
            n_lost: how many were not told.
            told: the ids that were.
        """
        last = [self._piece(token) for token in told]
        whole = text.encode(errors="replace")
        known = b"".join(piece for piece in last if piece is not None)
        if None in last or not whole.endswith(known) or len(whole) == len(known):
            return None
        found = self._rows(whole[: len(whole) - len(known)], n_lost)
        rows = [row for row, _ in zip(found, range(_ENOUGH), strict=False)]
        return rows[0] if len(rows) == 1 else None

    def _rows(self, rest: bytes, n_tokens: int, before: bytes = b"") -> Iterator[tuple[int, ...]]:
        """Rows of so many tokens that spell ``rest``, each of which leaves a character open."""
        if n_tokens == 0:
            if not rest:
                yield ()
            return
        for end in range(1, len(rest) + 1):
            piece = rest[:end]
            for token in self._open_pieces.get(piece, ()):
                if _is_open(before + piece):
                    yield from ((token, *row) for row in self._rows(rest[end:], n_tokens - 1, before + piece))

    @cached_property
    def _open_pieces(self) -> dict[bytes, list[int]]:
        """Tokens by what they spell, of those that can end inside of a character."""
        found: dict[bytes, list[int]] = defaultdict(list)
        for token in range(len(self._vocabulary.texts)):
            piece = self._piece(token)
            if piece and piece[-1] >= _ASCII:
                found[piece].append(token)
        return dict(found)

    def _piece(self, token: int) -> bytes | None:
        """The bytes of a token; None of one that has no text, or of a vocabulary of a kind that is not known here."""
        words = self._vocabulary
        if not 0 <= token < len(words.texts):
            return None
        kind = words.type_index[token] if token < len(words.type_index) else 1
        text = words.texts[token]
        if kind == _CONTROL:
            return None
        if kind == _USER_DEFINED:
            return text.encode()
        if words.kind == "gpt2":
            return bytes(map(self._bytes_of_letters.get, text)) if set(text) <= set(self._bytes_of_letters) else None  # type: ignore[arg-type]
        if words.kind == "llama":
            return bytes([int(text[3:5], 16)]) if kind == _BYTE else text.replace("\u2581", " ").encode()
        return None

    @cached_property
    def _bytes_of_letters(self) -> dict[str, int]:
        """GPT-2's way to write bytes as letters, backwards."""
        from transformers.convert_slow_tokenizer import bytes_to_unicode

        return {letter: byte for byte, letter in bytes_to_unicode().items()}


def _is_open(text: bytes) -> bool:
    """Whether bytes end inside of a character, as llama.cpp's ``validate_utf8`` sees it."""
    for back in range(1, min(len(text), 4) + 1):
        byte = text[-back]
        for first, length in _LENGTHS:
            if byte >= first:
                return back < length
    return False
