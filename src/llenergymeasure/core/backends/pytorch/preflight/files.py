"""Files of a local model that are missing, are none, or do not fit; found without reading any weights."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.core.backends.pytorch.loading import no_weights_for
from llenergymeasure.core.backends.pytorch.preflight.fit import Fit, fit_of
from llenergymeasure.core.checkpoint.files import model_files
from llenergymeasure.core.checkpoint.identity import folder_of
from llenergymeasure.core.checkpoint.source import PACKAGED_MODELS, ModelSource, describe_source
from llenergymeasure.core.checkpoint.task import runs_own_code
from llenergymeasure.core.checkpoint.tokenizer import has_tokenizer, no_tokenizer
from llenergymeasure.core.checkpoint.weights import damage
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import first_line

_ADAPTER_CONFIG = "adapter_config.json"


def file_problems(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """What the directory of the model lacks, and files of it that are damaged.

    Of a model of the hub only what is in the local cache is looked at; the rest is fetched. A packaged model is
    converted here, and its copy is looked after where that is done.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
    """
    advice = None if section_of(config).random_weights else "; add them, or set pytorch.random_weights: true"
    yield from _problems_of(config, description, _place_of(config), _choice_of(config, description), advice)


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
    return _problems_of(config, description, (None, revision, None), _Choice(), advice)


def draft_file_problems(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """As ``file_problems``, of the draft model, which reads no text."""
    draft = str(section_of(config).assistant_model)
    source = describe_source(draft)
    folder = Path(source.location)
    if draft not in PACKAGED_MODELS and source.gguf_file is None and folder.is_dir():
        yield from _weights_problems(folder, description, _Choice(), "; add them")


def left_out_cautions(config: ExperimentConfig, description: Any) -> list[MeasurementWarning]:
    """A warning where the files of the model have tensors that the model of its description has no place for.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
    """
    source, choice = describe_source(config.model), _choice_of(config, description)
    if config.model in PACKAGED_MODELS or source.gguf_file is not None or section_of(config).random_weights:
        return []
    folder = Path(source.location, section_of(config).subfolder or "")
    fit = Fit()
    with contextlib.suppress(OSError, ValueError):  # files that are not here, which is told as a problem
        folder = folder if folder.is_dir() else folder_of(source, *_place_of(config))
        files = choice.files(folder, description)
        if choice.tries and not (folder / _ADAPTER_CONFIG).is_file() and not any(map(damage, files.values())):
            fit = fit_of(description, files)
    if not fit.left_out:
        return []
    names = fit.layers_left_out or fit.left_out
    of_them = f"among them all of {_few(names)}" if fit.layers_left_out else _few(names)
    return [
        MeasurementWarning(
            "weights_left_out",
            f"the model of config.json has no place for {len(fit.left_out)} of the tensors in its files ({of_them})",
            "compare config.json with the files; another model than theirs may be measured",
        )
    ]


def _few(names: tuple[str, ...]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - as many as are listed
    return ", ".join(names[:3]) + more


def _problems_of(
    config: ExperimentConfig,
    description: Any,
    place: tuple[str | None, str | None, str | None],
    choice: "_Choice",
    advice: str | None,
) -> Iterator[str]:
    source = describe_source(config.model)
    if config.model in PACKAGED_MODELS or source.gguf_file is not None:
        return
    folder = Path(source.location, place[0] or "")
    if not folder.is_dir():
        yield from () if advice is None else _cached_problems(source, place, description, choice)
        return
    if advice is not None:
        yield from _weights_problems(folder, description, choice, advice)
    if config.dataset.random is None and not has_tokenizer(folder):
        yield no_tokenizer(folder)


def _choice_of(config: ExperimentConfig, description: Any) -> "_Choice":
    section = section_of(config)
    return _Choice(
        variant=section.variant,
        use_safetensors=section.use_safetensors,
        # Names in the files are others than the model's then.
        tries="key_mapping" not in config.passthrough_kwargs
        and not runs_own_code(description, trust_remote_code=section.trust_remote_code),
    )


def _place_of(config: ExperimentConfig) -> tuple[str | None, str | None, str | None]:
    """Subfolder, revision and cache directory of a model of the hub."""
    section, cache_dir = section_of(config), config.passthrough_kwargs.get("cache_dir")
    return section.subfolder, section.revision, None if cache_dir is None else str(cache_dir)


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """Which of several kinds of files are read, as ``model_files`` takes it, and whether their tensors are tried."""

    variant: str | None = None
    use_safetensors: bool | None = None
    tries: bool = True

    def files(self, folder: Path, description: Any) -> dict[str, Path]:
        """The files of weights in a folder."""
        explicit = getattr(description, "transformers_weights", None)
        return model_files(folder, variant=self.variant, use_safetensors=self.use_safetensors, explicit=explicit)


def _cached_problems(
    source: ModelSource, where: tuple[str | None, str | None, str | None], description: Any, choice: _Choice
) -> Iterator[str]:
    """Damage of a model in the hub's cache, where all of it has been fetched."""
    try:
        files = choice.files(folder_of(source, *where), description)
    except (OSError, ValueError):
        return
    if all(path.is_file() for path in files.values()):
        yield from _unusable(f"model {source.location}", files, description, choice)


def _weights_problems(folder: Path, description: Any, choice: _Choice, advice: str) -> Iterator[str]:
    if (folder / _ADAPTER_CONFIG).is_file():
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


def _unusable(name: str, files: dict[str, Path], description: Any, choice: _Choice) -> Iterator[str]:
    """What is wrong with files of weights that are all there."""
    damaged = [problem for file in sorted(files) if (problem := damage(files[file])) is not None]
    if damaged:
        more = f" ({len(damaged) - 1} more of the {len(files)} files are damaged, too)" if len(damaged) > 1 else ""
        yield f"no weights: {damaged[0]}{more}"
    elif choice.tries and (names := fit_of(description, files).lacking):
        yield f"{name} {no_weights_for(names)}"


def _first_of(lines: list[str]) -> str:
    return lines[0] if len(lines) == 1 else f"{lines[0]} and {len(lines) - 1} more"
