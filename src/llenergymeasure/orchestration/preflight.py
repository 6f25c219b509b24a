"""Everything that would keep a plan from running, found at once and before a GPU is touched."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.core.backends import engine_names, get_backend
from llenergymeasure.core.energy_backends import SensorContext, create_source
from llenergymeasure.core.gpu_info import visible_gpus
from llenergymeasure.core.prompts import read_dataset
from llenergymeasure.exceptions import ConfigError, PreFlightError


def check(experiments: Sequence[ExperimentConfig], output_dir: Path | None) -> None:
    """Check [n] experiments and the place for their results.

    Raises:
        ConfigError: everything that is wrong is wrong in the configuration.
        PreFlightError: the machine lacks something; one line for each thing that is wrong.
    """
    config_errors: list[str] = []
    lacking: list[str] = []
    # Each dataset is read once, however many experiments share it.
    datasets = {dataset: _dataset_errors(dataset) for dataset in {experiment.dataset for experiment in experiments}}
    for experiment in experiments:
        wrong, missing = datasets[experiment.dataset]
        config_errors += [*_config_errors(experiment), *wrong]
        lacking += missing
        if experiment.backend in engine_names():
            lacking += get_backend(experiment.backend).problems(experiment)
    if not lacking and not config_errors:
        config_errors += _energy_errors(experiments)
    lacking += _output_problems(output_dir)
    problems = list(dict.fromkeys(config_errors + lacking))
    if not problems:
        return
    raise (PreFlightError if lacking else ConfigError)("\n".join(problems))


def _config_errors(config: ExperimentConfig) -> list[str]:
    try:
        get_backend(config.backend)
    except ConfigError as error:
        return [str(error)]
    layout = get_backend(config.backend).processes(config)
    if layout.parallelism == "tensor" and config.measurement.methodology != "total":
        return [
            f"measurement.methodology: {config.measurement.methodology} cannot go with {layout.in_words}, which "
            "must run the same batches and would each choose others; use total"
        ]
    return []


def _dataset_errors(dataset: DatasetConfig) -> tuple[list[str], list[str]]:
    """What is wrong with a dataset, and what this machine lacks to read it."""
    try:
        read_dataset(dataset)
    except ConfigError as error:
        return [str(error)], []
    except PreFlightError as error:
        return [], [str(error)]
    return [], []


def _energy_errors(experiments: Sequence[ExperimentConfig]) -> list[str]:
    """Named sources that do not answer; each is asked once, for the devices its experiments will use."""
    visible = visible_gpus()
    wanted = {
        (e.energy.backend, get_backend(e.backend).select_devices(e, visible.uuids))
        for e in experiments
        if e.energy.backend not in (None, "auto") and visible.problem is None
    }
    found = []
    for name, devices in sorted(wanted, key=str):
        try:
            create_source(str(name), SensorContext(devices=devices))
        except ConfigError as error:
            found.append(str(error))
    return found


def _output_problems(output_dir: Path | None) -> list[str]:
    if output_dir is None:
        return []
    advice = "choose another with --output"
    try:
        str(output_dir).encode()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            output_dir.lstat()  # refuses what no file system can name
        existing = output_dir.absolute()
        while not os.path.lexists(existing) and existing != existing.parent:
            existing = existing.parent
        is_folder = existing.is_dir()
    except (OSError, ValueError) as error:
        return [f"output {str(output_dir)[:80]!r} cannot be the name of a folder ({error}); {advice}"]
    if not is_folder:
        return [f"output {output_dir}: {existing} is a file, not a folder; {advice}"]
    if not os.access(existing, os.W_OK | os.X_OK):
        return [f"output {output_dir}: {existing} may not be written to; {advice}"]
    return []
