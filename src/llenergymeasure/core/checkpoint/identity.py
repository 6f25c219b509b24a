"""Which weights were measured: commit and digests of the files of a checkpoint, whatever engine read them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llenergymeasure.core.checkpoint.digest import weights_digest
from llenergymeasure.core.checkpoint.files import adapter_files, cached_folder, commit_of, model_files
from llenergymeasure.core.checkpoint.source import PACKAGED_MODELS, ModelSource, packaged_file
from llenergymeasure.domain.inference import ModelIdentity
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError

_Value = TypeVar("_Value")
Files = Mapping[str, Path]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """How to find the files of a model that an engine has loaded; each may raise.

    ``folder`` is that of its checkpoint, ``weights`` its files in it, None for weights that were drawn and not read.
    ``adapter`` is the folder of an adapter that lies elsewhere, ``draft`` gives the files of a draft model; None where
    there is none.
    """

    folder: Callable[[], Path]
    weights: Callable[[Path], Files] | None
    adapter: Callable[[], Path] | None = None
    draft: Callable[[], Files] | None = None


def identity_of(parts: Parts) -> ModelIdentity:
    """Commit and digests of the parts of a model; what cannot be read is None and a warning."""
    warnings: list[MeasurementWarning] = []

    def or_warning(flag: str, call: Callable[[], _Value]) -> _Value | None:
        try:
            return call()
        except (OSError, ValueError, RuntimeError, BackendError) as error:
            advice = "without it nobody can tell which weights these were"
            warnings.append(MeasurementWarning(f"{flag}_unavailable", str(error), advice))
            return None

    find_weights, find_draft = parts.weights, parts.draft
    folder = or_warning("model_revision" if find_weights is None else "weights_digest", parts.folder)
    weights = adapter = draft = None
    if folder is not None and find_weights is not None:
        weights = or_warning("weights_digest", lambda: weights_digest(find_weights(folder)))
    find_adapter = parts.adapter or _beside(folder)
    if find_adapter is not None:
        adapter = or_warning("adapter_digest", lambda: weights_digest(adapter_files(find_adapter())))
    if find_draft is not None:
        draft = or_warning("draft_digest", lambda: weights_digest(find_draft()))
    return ModelIdentity(
        revision=None if folder is None else commit_of(folder),
        weights_digest=weights,
        adapter_digest=adapter,
        draft_digest=draft,
        warnings=tuple(warnings),
    )


def _beside(folder: Path | None) -> Callable[[], Path] | None:
    """An adapter in the model's own folder, which transformers applies without being asked."""
    has_one = folder is not None and (folder / "adapter_config.json").is_file()
    return (lambda: folder) if folder is not None and has_one else None


def folder_of(
    source: ModelSource, subfolder: str | None = None, revision: str | None = None, cache_dir: str | None = None
) -> Path:
    """The folder in which a checkpoint lies: its own, or that of its commit in the hub's cache.

    Raises:
        FileNotFoundError: it is not in the cache.
    """
    location = Path(source.location)
    if location.is_dir():
        return location / (subfolder or "")
    description = f"{subfolder}/config.json" if subfolder else "config.json"
    return cached_folder(source.location, description, revision, cache_dir)


def files_of(name: str, source: ModelSource, folder: Path, **choice: Any) -> Files:
    """The weight files of a checkpoint, by name.

    Args:
        name: as the experiment names the model.
        source: where it lies.
        folder: that of its files.
        choice: which of several kinds of files are read, as ``model_files`` takes it.

    Raises:
        BackendError: a packaged model's file is gone.
        OSError: files cannot be found.
    """
    if name in PACKAGED_MODELS:
        # The file that everybody can get, not the copy of it that was converted here.
        packaged = packaged_file(name)
        if packaged is None:
            raise BackendError(f"the package of {name} is gone")
        return {packaged.name: packaged}
    if source.gguf_file is not None:
        return {source.gguf_file: folder / source.gguf_file}
    return model_files(folder, **choice)
