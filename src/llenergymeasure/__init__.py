"""Measure the energy, throughput, latency and compute of LLM inference.

The flow, which is also the folder tree:

    config         what to run, validated            -> ExperimentConfig
    orchestration  plan it, check it, launch it      -> ExperimentPlan
    core           measure it in one process         -> RawProcessResult
    domain         the words: frozen data, arithmetic -> ExperimentResult
    results        keep it, read it, aggregate it    -> result.json and sidecars
    cli            say it                            -> llem
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llenergymeasure._api import run_experiment, run_study
    from llenergymeasure._version import __version__
    from llenergymeasure.config.models import ExperimentConfig, StudyConfig
    from llenergymeasure.domain.experiment import ExperimentResult
    from llenergymeasure.domain.study.result import StudyResult

__all__ = [
    "ExperimentConfig",
    "ExperimentResult",
    "StudyConfig",
    "StudyResult",
    "__version__",
    "run_experiment",
    "run_study",
]

_HOME = {
    "ExperimentConfig": "config.models",
    "ExperimentResult": "domain.experiment",
    "StudyConfig": "config.models",
    "StudyResult": "domain.study.result",
    "__version__": "_version",
    "run_experiment": "_api",
    "run_study": "_api",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that importing the package stays cheap."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
