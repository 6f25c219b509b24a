"""What a loaded model was made of, and how others can know the same weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.core.checkpoint.digest import weights_digest
from llenergymeasure.core.checkpoint.files import adapter_files, adapter_folder, cached_folder, commit_of, model_files
from llenergymeasure.core.checkpoint.source import PACKAGED_MODELS, ModelSource, packaged_file, resolve_model
from llenergymeasure.domain.inference import ModelIdentity
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError

_Value = TypeVar("_Value")

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
        section = section_of(self.config)
        warnings: list[MeasurementWarning] = []

        def or_warning(flag: str, call: Callable[[], _Value]) -> _Value | None:
            try:
                return call()
            except (OSError, ValueError, RuntimeError, BackendError) as error:
                warnings.append(
                    MeasurementWarning(
                        f"{flag}_unavailable", str(error), "without it nobody can tell which weights these were"
                    )
                )
                return None

        folder = or_warning("model_revision" if section.random_weights else "weights_digest", self._folder)
        weights = adapter = draft = None
        if folder is not None and not section.random_weights:
            weights = or_warning("weights_digest", lambda: weights_digest(self._files(folder, model_config)))
        adapted = self._adapter_folder(folder)
        if adapted is not None:
            adapter = or_warning("adapter_digest", lambda: weights_digest(adapter_files(adapted())))
        if section.assistant_model is not None:
            draft = or_warning("draft_digest", self._draft_digest)
        return ModelIdentity(
            revision=None if folder is None else commit_of(folder),
            weights_digest=weights,
            adapter_digest=adapter,
            draft_digest=draft,
            warnings=tuple(warnings),
        )

    def _folder(self) -> Path:
        section = section_of(self.config)
        return _folder_of(self.source, section.subfolder, section.revision, self._cache_dir)

    def _files(self, folder: Path, model_config: Any) -> dict[str, Path]:
        section = section_of(self.config)
        files = _files_of(
            self.config.model,
            self.source,
            folder,
            variant=section.variant,
            use_safetensors=section.use_safetensors,
            explicit=getattr(model_config, "transformers_weights", None),
        )
        # A few architectures keep a part of themselves in files of their own.
        more = {name: folder / name for name in getattr(type(model_config), "extra_files", ())}
        return files | {name: path for name, path in more.items() if path.is_file()}

    def _adapter_folder(self, folder: Path | None) -> Callable[[], Path] | None:
        """How to find the adapter's folder; None where there is none."""
        if self.config.lora is not None:
            location = self.config.lora.path
            return lambda: adapter_folder(location)
        # transformers applies an adapter that lies beside the model without being asked.
        if folder is not None and (folder / "adapter_config.json").is_file():
            return lambda: folder
        return None

    def _draft_digest(self) -> str:
        section = section_of(self.config)
        name = str(section.assistant_model)
        source = resolve_model(name)
        folder = _folder_of(source, None, section.assistant_revision, self._cache_dir)
        return weights_digest(_files_of(name, source, folder))

    @property
    def _cache_dir(self) -> str | None:
        passed = self.config.passthrough_kwargs.get("cache_dir")
        return None if passed is None else str(passed)


def _folder_of(source: ModelSource, subfolder: str | None, revision: str | None, cache_dir: str | None) -> Path:
    location = Path(source.location)
    if location.is_dir():
        return location / (subfolder or "")
    description = f"{subfolder}/config.json" if subfolder else "config.json"
    return cached_folder(source.location, description, revision, cache_dir)


def _files_of(name: str, source: ModelSource, folder: Path, **choice: Any) -> dict[str, Path]:
    if name in PACKAGED_MODELS:
        # The file that everybody can get, not the copy of it that was converted here.
        packaged = packaged_file(name)
        if packaged is None:
            raise BackendError(f"the package of {name} is gone")
        return {packaged.name: packaged}
    if source.gguf_file is not None:
        return {source.gguf_file: folder / source.gguf_file}
    return model_files(folder, **choice)
