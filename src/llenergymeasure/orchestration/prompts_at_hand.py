"""Prompts that were given as a list, in a file for the processes that run them and for whoever reads the result."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from llenergymeasure._files import written_atomically
from llenergymeasure._folders import working_folder
from llenergymeasure.config.models import ExperimentConfig


@contextlib.contextmanager
def at_hand(experiments: Sequence[ExperimentConfig]) -> Iterator[list[ExperimentConfig]]:
    """The experiments, whose prompts from memory lie in a temporary folder meanwhile.

    Raises:
        OSError: there is no place for them.
    """
    if all(_content_of(each) is None for each in experiments):
        yield list(experiments)
        return
    with working_folder(Path(tempfile.gettempdir()), "llenergymeasure") as folder:
        # It lies where all users of a machine look.
        folder.chmod(0o700)
        keep_prompts(experiments, folder, durable=False)
        yield [each if _content_of(each) is None else lying_in(each, folder) for each in experiments]


def keep_prompts(experiments: Sequence[ExperimentConfig], folder: Path, *, durable: bool = True) -> None:
    """Write the prompts that are in memory into a folder, each list of them once.

    Args:
        experiments: whose prompts.
        folder: there is one.
        durable: wait until the disk has them.

    Raises:
        OSError: they cannot be written.
    """
    lists = {each.dataset.in_memory: content for each in experiments if (content := _content_of(each)) is not None}
    for prompts, content in lists.items():
        assert prompts is not None
        with written_atomically(folder / prompts.file_name, durable=durable) as aside:
            aside.write_bytes(content)


def lying_in(config: ExperimentConfig, folder: Path) -> ExperimentConfig:
    """The same experiment, whose prompts from memory, if it has any, are read in a folder."""
    prompts = config.dataset.in_memory
    if prompts is None:
        return config
    # An engine may change the working directory of its process.
    found = prompts.lying_at(folder.absolute() / prompts.file_name)
    return config.model_copy(update={"dataset": config.dataset.model_copy(update={"in_memory": found})})


def _content_of(config: ExperimentConfig) -> bytes | None:
    return None if config.dataset.in_memory is None else config.dataset.in_memory.content
