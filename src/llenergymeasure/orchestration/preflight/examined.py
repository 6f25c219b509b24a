"""What there is to know of an experiment before it is run."""

from dataclasses import dataclass, field

from pydantic import TypeAdapter

from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.domain.plan import ProcessLayout
from llenergymeasure.orchestration.preflight.memory_fit import MemoryFit
from llenergymeasure.orchestration.preflight.prompt_check import CheckedPrompts


@dataclass(frozen=True, kw_only=True)
class ChosenSensor:
    """The sensor that an experiment would be measured with, or why there is none.

    ``name`` is None where there is none, ``modelled`` whether it is a model. ``config_error`` is wrong with the
    configuration, which names a sensor that does not answer; ``lacking`` is what this machine has not.
    """

    name: str | None = None
    modelled: bool = False
    config_error: str | None = None
    lacking: str = ""


@dataclass(frozen=True, kw_only=True)
class ExaminedExperiment:
    """What there is to know of an experiment before it is run.

    ``config_errors`` are wrong anywhere, ``lacking`` is wrong with this machine, ``cautions`` keep nothing from
    running. ``layout`` and ``devices``, the UUIDs of GPUs, go into its plan. ``prompts`` is None where they cannot be
    read, ``devices`` and ``memory`` where the engine cannot be asked, ``chosen`` where no sensor was asked.
    ``elsewhere`` says why joules of this machine are not those of the work; None where they are.
    """

    config_errors: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    layout: ProcessLayout = field(default_factory=ProcessLayout)
    devices: tuple[str, ...] | None = None
    prompts: CheckedPrompts | None = None
    memory: MemoryFit | None = None
    chosen: ChosenSensor | None = None
    elsewhere: str | None = None


EXAMINED = TypeAdapter(ExaminedExperiment)
VISIBLE = TypeAdapter(VisibleGpus)
