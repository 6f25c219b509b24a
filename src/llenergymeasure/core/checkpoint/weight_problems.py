"""Files of a stored checkpoint that are missing, are none, or do not fit; found without reading any weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.checkpoint.files import model_files
from llenergymeasure.core.checkpoint.fit import fit_of, no_weights_for
from llenergymeasure.core.checkpoint.identity import folder_of
from llenergymeasure.core.checkpoint.source import PACKAGED_MODELS, ModelSource, describe_source
from llenergymeasure.core.checkpoint.tokenizer import has_tokenizer, no_tokenizer
from llenergymeasure.core.checkpoint.weights import damage
from llenergymeasure.exceptions import first_line

ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True, kw_only=True)
class FileChoice:
    """Which of several kinds of files are read, as ``model_files`` takes it, and whether their tensors are tried."""

    variant: str | None = None
    use_safetensors: bool | None = None
    tries: bool = True

    def files(self, folder: Path, description: Any) -> dict[str, Path]:
        """The files of weights in a folder."""
        explicit = getattr(description, "transformers_weights", None)
        return model_files(folder, variant=self.variant, use_safetensors=self.use_safetensors, explicit=explicit)


def stored_file_problems(
    config: ExperimentConfig, description: Any, revision: str | None, advice: str | None
) -> Iterator[str]:
    """As ``file_problems``, for an engine that takes a checkpoint as it is stored.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
        revision: branch, tag or commit of a model of the hub; None is the main branch.
        advice: what to do where there are no weights; None where they are not read.
    """
    return problems_of(config, description, (None, revision, None), FileChoice(), advice)


def problems_of(
    config: ExperimentConfig,
    description: Any,
    place: tuple[str | None, str | None, str | None],
    choice: FileChoice,
    advice: str | None,
) -> Iterator[str]:
    """What is missing or damaged of a model, wherever its files are.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
        place: subfolder, revision and cache directory of a model of the hub.
        choice: which kinds of files are read.
        advice: what to do where there are no weights; None where they are not read.
    """
    source = describe_source(config.model)
    if config.model in PACKAGED_MODELS or source.gguf_file is not None:
        return
    folder = Path(source.location, place[0] or "")
    if not folder.is_dir():
        yield from () if advice is None else _cached_problems(source, place, description, choice)
        return
    if advice is not None:
        yield from weights_problems(folder, description, choice, advice)
    if config.dataset.random is None and not has_tokenizer(folder):
        yield no_tokenizer(folder)


def _cached_problems(
    source: ModelSource, where: tuple[str | None, str | None, str | None], description: Any, choice: FileChoice
) -> Iterator[str]:
    """Damage of a model in the hub's cache, where all of it has been fetched."""
    try:
        files = choice.files(folder_of(source, *where), description)
    except (OSError, ValueError):
        return
    if all(path.is_file() for path in files.values()):
        yield from _unusable(f"model {source.location}", files, description, choice)


def weights_problems(folder: Path, description: Any, choice: FileChoice, advice: str) -> Iterator[str]:
    """What is missing or damaged of the weights in a folder."""
    if (folder / ADAPTER_CONFIG).is_file():
        return  # transformers then takes the weights of the model that the adapter names
    try:
        files = choice.files(folder, description)
    except (OSError, ValueError) as error:
        yield f"model directory {folder} has no weights to read: {first_line(error)}{advice}"
        return
    missing = sorted(name for name, path in files.items() if not path.is_file())
    if missing:
        yield (
            f"model directory {folder} lacks {_first_of(missing)} of the {len(files)} files with weights that its "
            "index names; fetch it again"
        )
        return
    yield from _unusable(f"model directory {folder}", files, description, choice)


def _unusable(name: str, files: dict[str, Path], description: Any, choice: FileChoice) -> Iterator[str]:
    """What is wrong with files of weights that are all there."""
    damaged = [problem for file in sorted(files) if (problem := damage(files[file])) is not None]
    if damaged:
        more = f" ({len(damaged) - 1} more of the {len(files)} files are damaged, too)" if len(damaged) > 1 else ""
        yield f"no weights: {damaged[0]}{more}"
    elif choice.tries and (names := fit_of(description, files).lacking):
        yield f"{name} {no_weights_for(names)}"


def _first_of(lines: list[str]) -> str:
    return lines[0] if len(lines) == 1 else f"{lines[0]} and {len(lines) - 1} more"
