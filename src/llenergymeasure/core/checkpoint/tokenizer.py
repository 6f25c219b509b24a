"""The checkpoint's own tokenizer, or what stands in for one, and the token ids that mean something beside text."""

import contextlib
import fnmatch
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from llenergymeasure.core.checkpoint.description import description_problems, json_object
from llenergymeasure.core.checkpoint.hub import asked_if_it_answers
from llenergymeasure.core.checkpoint.identity import folder_of
from llenergymeasure.core.checkpoint.source import Checkpoint, ModelSource, gguf_description
from llenergymeasure.core.checkpoint.weights import damage, is_pointer, pointer
from llenergymeasure.exceptions import BackendError, ExperimentError, PreFlightError, contained, in_one_line

_CONFIG = "config.json"
# Every kind of tokenizer that transformers reads has at least one file of these names, or needs settings alone.
_FILES = ("tokenizer*", "vocab*", "merges*", "spiece*", "sentencepiece*", "*.model", "*.tiktoken", "tekken*", "*bpe*")
_SETTINGS = "tokenizer_config.json"
# Their tokens are bytes or characters, or come from code in the folder.
_OF_SETTINGS_ALONE = ("ByT5Tokenizer", "CanineTokenizer", "DiaTokenizer", "PerceiverTokenizer")


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
        f"the prompts are text, and {folder} has no tokenizer.json (or other tokenizer files); add them, "
        "or set dataset.random, whose prompts are random token ids"
    )


def tokenising_lacks(source: ModelSource) -> str | None:
    """What is not installed of what the prompts of a checkpoint are tokenised with; None where nothing is missing.

    jinja2 renders chat templates, and transformers reads GGUF files with torch.
    """
    needed = ["transformers", "jinja2", *(["torch", "gguf"] if source.gguf_file is not None else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    extra = "pytorch" if {"torch", "gguf"} & set(missing) else "tokenizer"
    return (
        f"tokenising prompts of {source.location} needs {', '.join(missing)}; install with "
        f"pip install 'llenergymeasure[{extra}]'"
    )


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The model's tokenizer, with something to pad with; a ``NoTokenizer`` where the directory has no files of one.

    Raises:
        PreFlightError: what reads it is not installed, or its files are damaged.
        BackendError: the description beside it is.
    """
    lacks = tokenising_lacks(checkpoint.source)
    if lacks is not None:
        raise PreFlightError(lacks)
    from transformers import AutoTokenizer

    folder = checkpoint.folder
    if folder.is_dir() and checkpoint.source.gguf_file is None and not has_tokenizer(folder):
        # transformers would make an empty one of the model's kind.
        return NoTokenizer(folder)
    _check_description(checkpoint)
    try:
        with contained(), asked_if_it_answers(checkpoint.source.location):
            tokenizer = AutoTokenizer.from_pretrained(checkpoint.source.location, **checkpoint.arguments())
    except Exception as error:
        raise PreFlightError(_unreadable(folder, error)) from error
    if tokenizer.pad_token_id is None:
        # Padding is masked out and never counted, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def _unreadable(folder: Path, error: Exception) -> str:
    """Why a tokenizer cannot be made of the files in a folder."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_file() and is_pointer(path) and any(fnmatch.fnmatch(path.name.lower(), name) for name in _FILES):
            return pointer(path)
    return f"the tokenizer of {folder} cannot be read: {in_one_line(error)}; fetch its files again"


def has_own_way(tokenizer: Any) -> bool:
    """Whether a tokenizer writes conversations by code of its own, as Mistral's does, and not with its template."""
    from transformers import PreTrainedTokenizerBase

    return getattr(type(tokenizer), "apply_chat_template", None) is not PreTrainedTokenizerBase.apply_chat_template


def read_description(checkpoint: Checkpoint) -> Any:
    """The model's transformers configuration, read without its weights.

    Raises:
        BackendError: its file is damaged, or asks for what no model has.
    """
    if checkpoint.source.gguf_file is not None:
        file = checkpoint.folder / checkpoint.source.gguf_file
        if (problem := damage(file)) is not None:
            raise BackendError(f"no weights: {problem}")
        # It has no code of its own, and no revision.
        return gguf_description(file)
    _check_description(checkpoint)
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(checkpoint.source.location, **checkpoint.arguments())


def _check_description(checkpoint: Checkpoint) -> None:
    """Refuse a description that would take all memory to read; transformers reads it for a tokenizer, too.

    Raises:
        BackendError: it is damaged, or asks for what no model has.
    """
    folder = None if checkpoint.source.gguf_file is not None else _described_in(checkpoint)
    if folder is None:
        return
    problems = list(description_problems(folder))
    if problems:
        raise BackendError("\n".join(problems))


def _described_in(checkpoint: Checkpoint) -> Path | None:
    """The folder with the config.json that transformers would read, fetched where it is not here; None without one."""
    if checkpoint.folder.is_dir():
        return checkpoint.folder if (checkpoint.folder / _CONFIG).exists() else None
    cache_dir = dict(checkpoint.fetching).get("cache_dir")
    with contextlib.suppress(OSError, ValueError):  # no hub id, which transformers tells
        return folder_of(checkpoint.source, checkpoint.subfolder, checkpoint.revision, cache_dir)
    from transformers.utils.hub import cached_file

    arguments = checkpoint.arguments()
    del arguments["trust_remote_code"]
    with contextlib.suppress(OSError, ValueError):
        found = cached_file(checkpoint.source.location, _CONFIG, **arguments)
        return None if found is None else Path(found).parent
    return None


def read_generation_settings(checkpoint: Checkpoint, description: Any) -> Any:
    """The model's own generation settings: its generation_config.json, else what its configuration says."""
    from transformers import GenerationConfig

    arguments = checkpoint.arguments()
    # A file of settings has no code of its own.
    del arguments["trust_remote_code"]
    if checkpoint.source.gguf_file is None:
        with contextlib.suppress(OSError):
            return GenerationConfig.from_pretrained(checkpoint.source.location, **arguments)
    return GenerationConfig.from_model_config(description)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Token ids of a checkpoint.

    ``n_ids`` is how many there are that were trained, ``special_token_ids`` those that mean something beside text and
    are not to be drawn, ``first_token_id`` the one that a model is given where a prompt has none.
    """

    n_ids: int
    special_token_ids: frozenset[int]
    first_token_id: int


def read_vocabulary(checkpoint: Checkpoint, tokenizer: Any) -> Vocabulary:
    """The vocabulary of a checkpoint, from its configuration and its tokenizer.

    Embeddings are often padded to a round number; the ids beyond the tokenizer's were never trained.

    Args:
        checkpoint: whose configuration says size, beginning and end.
        tokenizer: its own, or the ``NoTokenizer`` in its place.
    """
    description = read_description(checkpoint)
    settings = read_generation_settings(checkpoint, description)
    text = description.get_text_config()
    n_ids, pad = int(text.vocab_size), tokenizer.pad_token_id
    special = {settings.bos_token_id, pad, tokenizer.eos_token_id}
    for ends in (settings.eos_token_id, getattr(text, "eos_token_id", None)):
        special |= set(ends) if isinstance(ends, list | tuple) else {ends}
    if not isinstance(tokenizer, NoTokenizer):
        n_ids = min(n_ids, len(tokenizer))
        special |= set(tokenizer.all_special_ids)
        special |= _special_of(tokenizer.added_tokens_decoder.items())
    first = pad if settings.bos_token_id is None else settings.bos_token_id
    return Vocabulary(n_ids=n_ids, special_token_ids=frozenset(special - {None}), first_token_id=int(first))


def _special_of(added: Iterable[tuple[int, Any]]) -> set[int]:
    return {token_id for token_id, token in added if token.special}


def has_tokenizer(folder: Path) -> bool:
    """Whether a directory has files that transformers could make a tokenizer of."""
    names = {path.name.lower() for path in folder.iterdir()} - {_SETTINGS}
    if any(fnmatch.fnmatch(name, pattern) for name in names for pattern in _FILES):
        return True
    return (folder / _SETTINGS).exists() and _needs_no_files(folder / _SETTINGS)


def _needs_no_files(path: Path) -> bool:
    """Whether settings alone make a tokenizer; also where they cannot be read, which is told when it is made."""
    settings, problem = json_object(path)
    return problem is not None or "auto_map" in settings or settings.get("tokenizer_class") in _OF_SETTINGS_ALONE
