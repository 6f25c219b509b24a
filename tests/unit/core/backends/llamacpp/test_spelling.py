"""Tokens that were not told, by what they spell: a grinning face is F0 9F 98 80 in UTF-8."""

import pytest

from llenergymeasure.core.backends.llamacpp.file import Vocabulary
from llenergymeasure.core.backends.llamacpp.spelling import Speller

GRIN = "\U0001f600"
# Types of llama.cpp: 1 normal, 3 control, 6 a byte.
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def speller(*more: str) -> Speller:
    """A vocabulary with a begin (0), an end (1), all bytes (2 to 257) and these pieces (258 on)."""
    texts = ("<s>", "</s>", *BYTES, *more)
    return Speller(Vocabulary(kind="llama", texts=texts, type_index=(3, 3, *[6] * 256, *[1] * len(more))))


def byte(value: int) -> int:
    return 2 + value


def test_bytes_that_were_not_told_are_found() -> None:
    assert speller().lost_tokens(GRIN, 3, [byte(0x80)]) == (byte(0xF0), byte(0x9F), byte(0x98))


def test_a_letter_before_the_character_may_be_in_its_token() -> None:
    # Not as the text stands: the letter would have come with a token of its own, before.
    assert speller().lost_tokens("a" + GRIN, 3, [byte(0x80)]) is None


def test_a_word_before_the_character_does_not_open_it() -> None:
    assert speller("\u2581a").lost_tokens(" a" + GRIN, 4, [byte(0x80)]) is None


def test_of_two_ways_to_spell_it_neither_is_taken() -> None:
    assert gpt2("\xf0\x9f", "\x98", "\xf0", "\x9f\x98", "\x80").lost_tokens(GRIN, 2, [4]) is None


def test_the_one_way_of_a_byte_level_vocabulary() -> None:
    assert gpt2("\xf0\x9f", "\x98", "\x80").lost_tokens(GRIN, 2, [2]) == (0, 1)


def test_a_space_and_a_half_of_a_character_can_be_one_token() -> None:
    assert gpt2(" \xf0\x9f\x98", "\x80").lost_tokens(" " + GRIN, 1, [1]) == (0,)


@pytest.mark.parametrize(
    ("text", "n_lost", "told"),
    [
        (GRIN, 2, [byte(0x80)]),  # two tokens cannot be three bytes
        (GRIN, 3, [byte(0x81)]),  # it ends otherwise
        ("?", 1, [byte(0x3F)]),  # nothing is left to be spelled
        (GRIN, 3, [1]),  # an end has no text
        (GRIN, 3, [9999]),  # no such token
    ],
)
def test_what_does_not_fit_is_not_known(text: str, n_lost: int, told: list[int]) -> None:
    assert speller().lost_tokens(text, n_lost, told) is None


def test_a_vocabulary_of_another_kind_is_not_read() -> None:
    assert Speller(Vocabulary(kind="bert", texts=("a",), type_index=(1,))).lost_tokens("aa", 1, [0]) is None


def gpt2(*pieces: str) -> Speller:
    """A byte-level vocabulary of these pieces, given as Latin-1 for bytes."""
    letters = pytest.importorskip("transformers.convert_slow_tokenizer").bytes_to_unicode()
    texts = tuple("".join(letters[b] for b in piece.encode("latin-1")) for piece in pieces)
    return Speller(Vocabulary(kind="gpt2", texts=texts, type_index=(1,) * len(texts)))
