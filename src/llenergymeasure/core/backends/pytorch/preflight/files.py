"""Files of a local model that are missing, are none, or do not fit; found without reading any weights."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.core.checkpoint.fit import Fit, fit_of
from llenergymeasure.core.checkpoint.identity import folder_of
from llenergymeasure.core.checkpoint.source import PACKAGED_MODELS, describe_source
from llenergymeasure.core.checkpoint.task import runs_own_code
from llenergymeasure.core.checkpoint.weight_problems import (
    ADAPTER_CONFIG,
    FileChoice,
    problems_of,
    weights_problems,
)
from llenergymeasure.core.checkpoint.weights import damage
from llenergymeasure.domain.warnings import MeasurementWarning


def file_problems(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """What the directory of the model lacks, and files of it that are damaged.

    Of a model of the hub only what is in the local cache is looked at; the rest is fetched. A packaged model is
    converted here, and its copy is looked after where that is done.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
    """
    advice = None if section_of(config).random_weights else "; add them, or set pytorch.random_weights: true"
    yield from problems_of(config, description, _place_of(config), _choice_of(config, description), advice)


def draft_file_problems(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """As ``file_problems``, of the draft model, which reads no text."""
    draft = str(section_of(config).assistant_model)
    source = describe_source(draft)
    folder = Path(source.location)
    if draft not in PACKAGED_MODELS and source.gguf_file is None and folder.is_dir():
        yield from weights_problems(folder, description, FileChoice(), "; add them")


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
        if choice.tries and not (folder / ADAPTER_CONFIG).is_file() and not any(map(damage, files.values())):
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


def _choice_of(config: ExperimentConfig, description: Any) -> FileChoice:
    section = section_of(config)
    return FileChoice(
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
