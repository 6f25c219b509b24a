"""Prompts from the Hugging Face hub, or from a local folder that its ``datasets`` library reads."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from llenergymeasure._paths import expanded
from llenergymeasure.config.models import DatasetConfig
from llenergymeasure.core.prompts.choice import Choice, ChosenRows
from llenergymeasure.core.prompts.rows import column_among, prompts_of
from llenergymeasure.exceptions import ConfigError, PreFlightError

_log = logging.getLogger(__name__)

# What save_to_disk leaves in a folder: of one set, and of several splits.
_SAVED = ("state.json", "dataset_dict.json")
_BATCH_ROWS = 1000


def read_hub(dataset: DatasetConfig, choice: Choice | None = None) -> ChosenRows:
    """The chosen prompts of a split; no other rows are looked at.

    A folder is one that ``save_to_disk`` has left, or one of data files; nothing of it is kept in the library's cache.

    Raises:
        ConfigError: there is no such dataset, split or column, a row is no prompt, or the folder has a pipe or a device
            in it.
        PreFlightError: the library is not installed, or the hub cannot be reached.
    """
    where = f"dataset {dataset.hub}"
    folder = expanded(str(dataset.hub))
    local = folder.is_dir()
    if not local and (folder.exists() or len(folder.parts) > 2 or dataset.hub != str(folder)):  # noqa: PLR2004 - owner/name
        raise ConfigError(
            f"{where}: this is neither a folder nor the id of a dataset of the hub, such as owner/name; "
            "a file is given as dataset: {path: ...}"
        )
    if local:
        _check_regular(folder, where)
    # Of a folder nothing may stay behind: the next may have the same name and other content.
    with tempfile.TemporaryDirectory() if local else nullcontext() as cache, _as_config_error(where):
        found = _load(dataset, folder if local else None, cache)
        if not found.num_rows:
            raise ConfigError(f"{where}: there are no prompts in split {dataset.split!r}")
        name = column_among(found.column_names, dataset.column, where)
        places = (choice or Choice()).places(found.num_rows, where)
        tables = found.select_columns([name]).select(places).with_format("arrow").iter(batch_size=_BATCH_ROWS)
        values = (value for t in tables for value in t.column(name).to_pylist())
        numbered = ((place + 1, value) for place, value in zip(places, values, strict=True))
        return ChosenRows(list(prompts_of(numbered, name, where)), places, found.num_rows)


def _check_regular(folder: Path, where: str) -> None:
    """Refuse a folder with a file that may never end: the library opens what it finds."""
    odd = next((path for path in folder.rglob("*") if path.exists() and not (path.is_file() or path.is_dir())), None)
    if odd is not None:
        raise ConfigError(f"{where}: {odd.relative_to(folder)} in it is no regular file (a pipe, a device or a socket)")


@contextmanager
def _as_config_error(where: str) -> Iterator[None]:
    """What the library has against a dataset, as an error of ours in one line."""
    try:
        yield
    except (ConfigError, PreFlightError):
        raise
    except (ConnectionError, TimeoutError) as error:
        raise PreFlightError(
            f"{where}: the hub cannot be reached ({_one_line(error)}); without a network give a local folder or file"
        ) from None
    except Exception as error:  # noqa: BLE001 - every reader that the library goes through raises errors of its own
        raise ConfigError(
            f"{where}: cannot be loaded: {_one_line(error)}; which part to read is said by dataset.split, "
            "dataset.subset and dataset.revision"
        ) from None


def _load(dataset: DatasetConfig, folder: Path | None, cache: str | None) -> Any:
    """The split as the library has it."""
    try:
        import datasets
    except ImportError as error:
        if not (isinstance(error, ModuleNotFoundError) and error.name == "datasets"):
            raise PreFlightError(
                f"dataset {dataset.hub}: the datasets library is installed and cannot be imported: {_one_line(error)}"
            ) from None
        raise PreFlightError(
            f"dataset {dataset.hub}: the datasets library is not installed; "
            "install it with pip install 'llenergymeasure[datasets]'"
        ) from None
    with _without_bars(datasets):
        if folder is not None and any((folder / name).is_file() for name in _SAVED):
            return _split_of(datasets.load_from_disk(str(folder)), dataset)
        _log.info("loading %s, split %s", dataset.hub, dataset.split)
        return datasets.load_dataset(
            str(folder or dataset.hub),
            dataset.subset,
            split=dataset.split,
            revision=dataset.revision,
            cache_dir=cache,
            trust_remote_code=False,
        )


def _split_of(saved: Any, dataset: DatasetConfig) -> Any:
    """The split of what ``save_to_disk`` left: several by name, or a single one, which need not have a name."""
    where = f"dataset {dataset.hub}"
    if dataset.subset is not None or dataset.revision is not None:
        raise ConfigError(f"{where}: a saved dataset has neither subsets nor revisions; remove them")
    if isinstance(saved, dict):
        if dataset.split in saved:
            return saved[dataset.split]
        raise ConfigError(f"{where}: there is no split {dataset.split!r}; set dataset.split to one of {sorted(saved)}")
    # The default asks for nothing in particular.
    if dataset.split not in (DatasetConfig.model_fields["split"].default, str(saved.split)):
        raise ConfigError(f"{where}: this was saved as a single set without {dataset.split!r}; remove dataset.split")
    return saved


@contextmanager
def _without_bars(datasets: Any) -> Iterator[None]:
    """Without the library's own progress bars, which show on a terminal and in a log file alike."""
    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no reason given"
    said = f"{type(error).__name__}: {text[:300]}"
    # "An error occurred while generating the dataset" says nothing; what it came from does.
    return said if error.__cause__ is None else f"{said} from {_one_line(error.__cause__)}"
