"""Files of a local model that are missing, are none, or do not fit; found without reading any weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.fit import unlike_the_files
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.core.backends.pytorch.loading import no_weights_for
from llenergymeasure.core.checkpoint.files import model_files
from llenergymeasure.core.checkpoint.source import describe_source
from llenergymeasure.core.checkpoint.tokenizer import has_tokenizer, no_tokenizer
from llenergymeasure.core.checkpoint.weights import damage
from llenergymeasure.exceptions import first_line

_ADAPTER_CONFIG = "adapter_config.json"


def file_problems(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """What the directory of the model lacks, and files of it that are damaged; nothing of models that are none here.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
    """
    section = section_of(config)
    folder = _directory_of(config.model, section.subfolder)
    if folder is None:
        return
    if not section.random_weights:
        choice = {"variant": section.variant, "use_safetensors": section.use_safetensors}
        # Names in the files are others then.
        tries = "key_mapping" not in config.passthrough_kwargs
        yield from _weights_problems(
            folder, description, "; add them, or set pytorch.random_weights: true", tries=tries, **choice
        )
    if config.dataset.random is None and not has_tokenizer(folder):
        yield no_tokenizer(folder)


def draft_file_problems(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """As ``file_problems``, of the draft model, which reads no text."""
    folder = _directory_of(str(section_of(config).assistant_model), None)
    if folder is not None:
        yield from _weights_problems(folder, description, "; add them", tries=True)


def _directory_of(model: str, subfolder: str | None) -> Path | None:
    source = describe_source(model)
    folder = Path(source.location, subfolder or "")
    return folder if source.gguf_file is None and folder.is_dir() else None


def _weights_problems(folder: Path, description: Any, advice: str, *, tries: bool, **choice: Any) -> Iterator[str]:
    if (folder / _ADAPTER_CONFIG).is_file():
        return  # transformers then takes the weights of the model that the adapter names
    try:
        files = model_files(folder, explicit=getattr(description, "transformers_weights", None), **choice)
    except (OSError, ValueError, RecursionError) as error:
        yield f"model directory {folder} has no weights to read: {first_line(error)}{advice}"
        return
    missing = sorted(name for name, path in files.items() if not path.is_file())
    if missing:
        yield (
            f"model directory {folder} lacks {_first_of(missing)} of the {len(files)} files with weights that its "
            "index names; fetch it again"
        )
        return
    damaged = [problem for name in sorted(files) if (problem := damage(files[name])) is not None]
    if damaged:
        more = f" ({len(damaged) - 1} more of the {len(files)} files are damaged, too)" if len(damaged) > 1 else ""
        yield f"no weights: {damaged[0]}{more}"
    elif tries and (names := unlike_the_files(description, files)):
        yield f"model directory {folder} {no_weights_for(names)}"


def _first_of(lines: list[str]) -> str:
    return lines[0] if len(lines) == 1 else f"{lines[0]} and {len(lines) - 1} more"
