"""What a loaded model was made of, and how others can know the same weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.core.checkpoint.files import adapter_folder
from llenergymeasure.core.checkpoint.identity import Files, Parts, files_of, folder_of, identity_of
from llenergymeasure.core.checkpoint.source import ModelSource, dense_from, resolve_model
from llenergymeasure.domain.inference import ModelIdentity
from llenergymeasure.domain.warnings import MeasurementWarning

_RANDOM_WEIGHTS = MeasurementWarning(
    "random_weights",
    "the weights were drawn and not read, so tokens are noise: answers end by chance (set "
    "decoder.ignore_eos, or use dataset.random), experts are chosen at random, and a GPU's power "
    "depends on the values it multiplies",
    "say so wherever the figures are cited",
)


@dataclass(frozen=True, kw_only=True)
class LoadedFrom:
    """Where a model's weights come from, and what was changed on the way.

    ``adapter`` describes the adapter on top of it; ``overridden`` are settings of the model's own that were reset, as
    "name: value".
    """

    config: ExperimentConfig
    source: ModelSource
    adapter: str | None = None
    overridden: Sequence[str] = ()

    @property
    def weights(self) -> str | None:
        """What the weights are that were not read; None for those of files."""
        return f"random, seed {self.config.random_seed}" if section_of(self.config).random_weights else None

    @property
    def dense_from(self) -> str | None:
        """The GGUF file that the weights were made from, which may hold fewer bits than the precision has."""
        return None if section_of(self.config).random_weights else dense_from(self.config.model, self.source)

    def warnings(self) -> list[MeasurementWarning]:
        """What a reader has to know of it."""
        found = [_RANDOM_WEIGHTS] if section_of(self.config).random_weights else []
        if self.overridden:
            found.append(
                MeasurementWarning(
                    "generation_config_overridden",
                    f"the model's generation_config.json has {', '.join(self.overridden)}, which was not followed",
                    "what has a field of its own can be set there",
                )
            )
        return found

    def identity(self, model_config: Any) -> ModelIdentity:
        """Commit and digests; what cannot be read is None and a warning.

        Args:
            model_config: the transformers configuration of the loaded model.
        """
        section, lora = section_of(self.config), self.config.lora
        return identity_of(
            Parts(
                folder=lambda: folder_of(self.source, section.subfolder, section.revision, self._cache_dir),
                weights=None if section.random_weights else lambda folder: self._files(folder, model_config),
                adapter=None if lora is None else lambda: adapter_folder(lora.path),
                draft=None if section.assistant_model is None else self._draft_files,
            )
        )

    def _files(self, folder: Path, model_config: Any) -> Files:
        section = section_of(self.config)
        files = files_of(
            self.config.model,
            self.source,
            folder,
            variant=section.variant,
            use_safetensors=section.use_safetensors,
            explicit=getattr(model_config, "transformers_weights", None),
        )
        # A few architectures keep a part of themselves in files of their own.
        more = {name: folder / name for name in getattr(type(model_config), "extra_files", ())}
        return {**files, **{name: path for name, path in more.items() if path.is_file()}}

    def _draft_files(self) -> Files:
        section = section_of(self.config)
        name = str(section.assistant_model)
        source = resolve_model(name)
        return files_of(name, source, folder_of(source, None, section.assistant_revision, self._cache_dir))

    @property
    def _cache_dir(self) -> str | None:
        passed = self.config.passthrough_kwargs.get("cache_dir")
        return None if passed is None else str(passed)
