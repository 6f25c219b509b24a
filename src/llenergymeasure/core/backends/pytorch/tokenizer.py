"""The model's tokenizer, or what stands in for one where prompts are random token ids."""

import fnmatch
from pathlib import Path
from typing import Any, NoReturn

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.core.backends.pytorch.loading import source_arguments
from llenergymeasure.core.checkpoint.source import ModelSource
from llenergymeasure.exceptions import ExperimentError

# Every kind of tokenizer that transformers reads has at least one file of these names.
_FILES = ("tokenizer*", "vocab*", "merges*", "spiece*", "sentencepiece*", "*.model", "*.tiktoken", "tekken*", "*bpe*")


class NoTokenizer:
    """Stands in for the tokenizer of a directory that has none: there is something to pad with, and no text."""

    pad_token_id = 0
    bos_token_id = None
    eos_token_id = None
    all_special_ids: tuple[int, ...] = ()
    chat_template = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, text: str) -> NoReturn:  # noqa: ARG002 - a tokenizer's signature
        """Refuse.

        Raises:
            ExperimentError: always.
        """
        raise ExperimentError(no_tokenizer(self._folder))


def no_tokenizer(folder: Path) -> str:
    """What there is to say of a directory without a tokenizer where prompts are text."""
    return (
        f"the prompts are text, and {folder} has no tokenizer files (tokenizer.json or the like); add them, "
        "or set dataset.random, whose prompts are random token ids"
    )


def load_tokenizer(config: ExperimentConfig, source: ModelSource) -> Any:
    """The model's tokenizer, with something to pad with; a ``NoTokenizer`` where the directory has no files of one."""
    from transformers import AutoTokenizer

    folder = Path(source.location, section_of(config).subfolder or "")
    if folder.is_dir() and source.gguf_file is None and not has_tokenizer(folder):
        # transformers would make an empty one of the model's kind.
        return NoTokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(source.location, **source_arguments(config, source))
    if tokenizer.pad_token_id is None:
        # Padding is masked out and never counted, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def has_tokenizer(folder: Path) -> bool:
    """Whether a directory has files that transformers could make a tokenizer of."""
    names = [path.name.lower() for path in folder.iterdir()]
    return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in _FILES)
