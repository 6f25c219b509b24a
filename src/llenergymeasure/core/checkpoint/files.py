"""Which files hold the weights of a model or an adapter, and of which commit they are."""

import re
from collections.abc import Mapping
from pathlib import Path

from llenergymeasure.core.checkpoint.description import json_object

_ADAPTER_NAMES = ("adapter_model.safetensors", "adapter_model.bin")
_DISTRIBUTED = f"shard-{'[0-9]' * 5}-model-{'[0-9]' * 5}-of-{'[0-9]' * 5}.safetensors"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def model_files(
    folder: Path, *, variant: str | None = None, use_safetensors: bool | None = None, explicit: str | None = None
) -> dict[str, Path]:
    """The weight files that transformers reads from a folder, looked for in its order.

    Args:
        folder: directory with the model's ``config.json``.
        variant: as ``from_pretrained`` takes it.
        use_safetensors: as ``from_pretrained`` takes it.
        explicit: the file that the model's own ``config.json`` names (``transformers_weights``).

    Returns:
        The files by their names relative to the folder, an index of shards not among them.

    Raises:
        FileNotFoundError: there is none of a kind that is known here.
        ValueError: an index of shards is not one, or the name of the explicit file is none.
    """
    if explicit is not None and not isinstance(explicit, str):
        raise ValueError(f"transformers_weights in config.json is {explicit!r:.60}, which is no name of a file")
    distributed = sorted(folder.glob(_DISTRIBUTED)) if explicit is None else []
    if distributed:
        return {path.name: path for path in distributed}
    safe = () if use_safetensors is False else ("model.safetensors", "model.safetensors.index.json")
    pickled = () if use_safetensors else ("pytorch_model.bin", "pytorch_model.bin.index.json")
    names = [_with_variant(name, variant) for name in (*safe, *pickled)] if explicit is None else [explicit]
    for name in names:
        if (folder / name).is_file():
            return _shards(folder, name) if ".index." in name else {name: folder / name}
    raise FileNotFoundError(f"none of {', '.join(names)} is in {folder}")


def adapter_folder(location: str) -> Path:
    """Where an adapter lies that is a directory, or a repository that the hub's library has loaded.

    Raises:
        FileNotFoundError: it is not there.
    """
    path = Path(location)
    return path if path.is_dir() else cached_folder(location, "adapter_config.json")


def adapter_files(folder: Path) -> dict[str, Path]:
    """The weight file of an adapter by its name.

    Raises:
        FileNotFoundError: there is none.
    """
    for name in _ADAPTER_NAMES:
        if (folder / name).is_file():
            return {name: folder / name}
    raise FileNotFoundError(f"none of {', '.join(_ADAPTER_NAMES)} is in {folder}")


def cached_folder(repository: str, description: str, revision: str | None = None, cache_dir: str | None = None) -> Path:
    """Where the hub's library has put a repository that was loaded, found without asking the hub.

    Args:
        repository: hub id.
        description: a file that every such repository has, as ``config.json``, with its subfolder if it lies in one.
        revision: branch, tag or commit; None is the main branch.
        cache_dir: the hub's cache; None is the library's own.

    Raises:
        FileNotFoundError: it is not there.
    """
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, description, cache_dir=cache_dir, revision=revision)
    if not isinstance(found, str):
        raise FileNotFoundError(f"{description} of {repository} at {revision or 'main'} is not in the hub's cache")
    return Path(found).parent


def commit_of(folder: Path) -> str | None:
    """The commit that a folder in the hub's cache is a snapshot of, the folder itself or one inside; else None."""
    for inner, outer in zip((folder, *folder.parents), folder.parents, strict=False):
        if outer.name == "snapshots" and _COMMIT.fullmatch(inner.name):
            return inner.name
    return None


def _with_variant(name: str, variant: str | None) -> str:
    """``model.safetensors.index.json`` as ``model.safetensors.index.fp16.json``."""
    if variant is None:
        return name
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}"


def _shards(folder: Path, index: str) -> dict[str, Path]:
    content, problem = json_object(folder / index)
    if problem is not None:
        raise ValueError(problem)
    shards = content.get("weight_map")
    if not isinstance(shards, Mapping) or not shards:
        raise ValueError(f"{folder / index} lists no files")
    return {str(name): folder / str(name) for name in set(shards.values())}
