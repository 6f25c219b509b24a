"""Texts from files, and what of them tokens stand for."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.core.checkpoint.source import Checkpoint, ModelSource
from llenergymeasure.core.quality.text import MOST_BYTES, read_text, text_tokens
from llenergymeasure.exceptions import ConfigError, ExperimentError

pytestmark = pytest.mark.pytorch


def test_the_built_in_sample_is_some_pages_of_english() -> None:
    sample = read_text(None)
    assert len(sample.text.split()) == 2147
    assert sample.text.isascii()
    assert sample.digest == hashlib.sha256(sample.text.encode()).hexdigest()


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    content = "Grün\r\nist\n alles ".encode()
    (tmp_path / "a.txt").write_bytes(content)
    found = read_text(tmp_path / "a.txt")
    assert found.text.encode() == content
    assert found.digest == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "this file is empty"),
        (b" \n\t\n", "this file is empty"),
        ("Grün".encode("latin-1"), "not text in UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_text_is_told(content: bytes | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"quality\.text {re.escape(str(file))}: .*{said}"):
        read_text(file)


def test_what_does_not_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    for name in ("pipe", "large.txt", "."):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_text(tmp_path / name)


def saved(folder: Path, *, with_beginning: bool = False, prefix_space: bool = False, trims: bool = False) -> Checkpoint:
    """A byte-level tokenizer whose tokens are single bytes and a few words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=262,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["ab ab ab ab", " ab ab"], trainer)
    if with_beginning:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    elif trims:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    return Checkpoint(source=ModelSource(location=str(folder)))


@pytest.mark.parametrize("trims", [False, True], ids=["blanks are the token's", "blanks lie between tokens"])
def test_bytes_are_those_of_the_scored_tokens(trims: bool, tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, trims=trims)
    whole = text_tokens("ab ab ab", checkpoint, 100, 512)
    # " ab" is a token, and so is "ab": the first is not scored, and the other two are six bytes.
    assert (len(whole.token_ids), whole.prefix, whole.n_unscored, whole.n_bytes) == (3, (), 1, 6)
    cut = text_tokens("ab ab ab ab ab", checkpoint, 2, 512)
    assert (len(cut.token_ids), cut.n_bytes) == (3, 6)


def test_the_beginning_that_a_tokenizer_puts_is_read_and_the_end_is_not(tmp_path: Path) -> None:
    found = text_tokens("ab ab", saved(tmp_path, with_beginning=True), 100, 512)
    assert (found.prefix, found.n_unscored, len(found.token_ids), found.n_bytes) == ((0,), 0, 2, 5)
    assert 1 not in found.token_ids


def test_a_character_of_several_tokens_is_scored_whole_or_not_at_all(tmp_path: Path) -> None:
    # Two bytes of an umlaut, two tokens; then "ab".
    checkpoint = saved(tmp_path)
    n_bytes = {most: text_tokens("abäöab", checkpoint, most, 512) for most in range(1, 7)}
    found = {most: (len(tokens.token_ids) - 1, tokens.n_bytes) for most, tokens in n_bytes.items()}
    assert found == {1: (0, None), 2: (2, 2), 3: (2, 2), 4: (4, 4), 5: (5, 6), 6: (5, 6)}


def test_a_tokenizer_that_tells_no_places_is_asked_for_the_text_again(tmp_path: Path) -> None:
    from llenergymeasure.core.quality.text import _with_bytes

    class Letters:
        """A slow one, of single letters."""

        is_fast = False

        def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, Any]:
            return {"input_ids": [ord(letter) for letter in text]}

        def decode(self, ids: list[int]) -> str:
            return "".join(map(chr, ids))

    class Lossy(Letters):
        def decode(self, ids: list[int]) -> str:
            return super().decode(ids).lower()

    # ä and ö are scored.
    assert _with_bytes(Letters(), "Aäöü", 3, 1) == ([65, 228, 246], 4)
    assert _with_bytes(Lossy(), "Aäöü", 3, 1) == ([65, 228, 246], None)


def test_a_folder_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"has no tokenizer\.json"):
        text_tokens("a", Checkpoint(source=ModelSource(location=str(tmp_path))), 9, 512)
