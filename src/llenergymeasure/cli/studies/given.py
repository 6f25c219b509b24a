"""What is to be run, as commands are told: a file, and options over it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from llenergymeasure.cli import DEFAULT_OUTPUT
from llenergymeasure.cli.arguments import Integers, Texts, UserPath
from llenergymeasure.config.loader import Overrides, load_config
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.reading.merging import merged
from llenergymeasure.config.reading.settings import parse_settings, with_axes
from llenergymeasure.config.reading.sources import environment_source
from llenergymeasure.exceptions import ConfigError

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_NOTHING_TO_RUN = """nothing to run: give a CONFIG file, or at least --model
  llem run --model smollm2-135m           measures a packaged model
  llem run --model M --batch-size 1,4,16  a study, five runs of each
  llem run --dry-run experiment.yaml      checks a file and runs nothing
  llem run --help                         has every option"""

# Options that are fields of an engine's section, and those that say how to carry out, with the field of each.
_OF_ENGINES = ("batch_size",)
_OF_EXECUTION = {
    "timeout": "timeout_s",
    **{name: name for name in ("cycles", "order", "seed", "reference", "workers")},
}
_WHAT: tuple[_Decorator, ...] = (
    click.argument("config", required=False, type=UserPath()),
    click.option("--model", type=Texts(), help="Hub id, model directory, GGUF file, or a packaged model's short name."),
    click.option("--backend", type=Texts(), help="Inference engine, or auto: the first that is installed."),
    click.option(
        "--dataset", type=Texts(), help="Built-in set ('mixed'), a file's path, or 'random' for random tokens."
    ),
    click.option("-n", "n", type=Integers(), help="Prompts to run."),
    click.option("--batch-size", type=Integers(), help="Requests generated together, for engines that have it."),
    click.option("--precision", type=Texts(), help="fp32, fp16, bf16, or auto: what the device computes natively."),
    click.option(
        "--cycles", type=int, help="Runs of each configuration of a study.  [default: 5 where something varies]"
    ),
    click.option("--order", help="Order of a study's runs: blocks, sequential or shuffled."),
    click.option("--seed", type=int, help="Seed of that order."),
    click.option(
        "--reference",
        metavar="FIELD=VALUE,...",
        help="The configuration of a study that the others are compared with, by settings that only it has, such as "
        "precision=fp32,pytorch.batch_size=1.  [default: the first]",
    ),
)
where_to: _Decorator = click.option(
    "-o",
    "--output",
    type=UserPath(),
    help=f"Folder for results.  [default: ./{DEFAULT_OUTPUT}]",
)
_FURTHER: tuple[_Decorator, ...] = (
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Set any field, such as warmup.n_warmup=3; values as in YAML; wins over other options. Repeat for more.",
    ),
    click.option("--timeout", type=float, help="End an experiment that takes longer than this many seconds."),
)


def what_to_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and the options that say what is run."""
    return _with(_WHAT, command)


def set_further(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that set any field, and end what takes too long."""
    return _with(_FURTHER, command)


def _with(options: Sequence[_Decorator], command: Callable[..., Any]) -> Callable[..., Any]:
    for each in reversed(options):
        command = each(command)
    return command


def loaded(
    path: Path | None,
    flags: Mapping[str, Any],
    settings: Sequence[str],
    output: Path | None,
    cluster: Mapping[str, Any] | None = None,
) -> ExperimentConfig | StudyConfig:
    """What a file and the command line say together.

    Args:
        path: the file, if one was given.
        flags: options that were given, by their names.
        settings: those of ``--set``.
        output: the folder for results, if one was given.
        cluster: options of the cluster section, where it is to be submitted: that makes it a study.

    Raises:
        ConfigError: nothing says what to run, or something is wrong.
        ValidationError: keys are right, values are not.
    """
    single, axes_set = with_axes(settings)
    fields_set = parse_settings(single)
    given = {name: value for name, value in flags.items() if name not in _OF_EXECUTION}
    # A dot before the name: the field of whichever engine is in use.
    named = {f".{name}" if name in _OF_ENGINES else name: value for name, value in given.items()}
    axes = {name: each for name, each in named.items() if isinstance(each, tuple) and name not in fields_set}
    fields = {name: each for name, each in given.items() if not isinstance(each, tuple) and name not in _OF_ENGINES}
    execution = {field: flags[name] for name, field in _OF_EXECUTION.items() if name in flags}
    if execution:
        fields["execution"] = execution
    if cluster is not None:
        fields["cluster"] = cluster
    if output is not None:
        fields["output_dir"] = output
    if path is None and "model" not in {**environment_source().values, **fields, **axes, **fields_set, **axes_set}:
        raise ConfigError(_NOTHING_TO_RUN)
    return load_config(
        path,
        Overrides(
            fields=merged(fields, fields_set),
            engine_fields={name: given[name] for name in _OF_ENGINES if name in given and f".{name}" not in axes},
            axes={**axes, **axes_set},
            fallbacks={"output_dir": DEFAULT_OUTPUT},
            origin="command line",
        ),
    )
