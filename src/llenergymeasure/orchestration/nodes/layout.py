"""The processes of an experiment over several nodes: the one that leads, and one for each node that attends."""

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ProcessLayout
from llenergymeasure.exceptions import ConfigError


def over_nodes(config: ExperimentConfig, here: ProcessLayout) -> ProcessLayout:
    """The processes of an experiment on all of its nodes; those of this one where there is no other.

    Args:
        config: what is run.
        here: what its engine takes on the first node.

    Raises:
        ConfigError: the engine spreads it over processes that only one node can have, or it is run in this process.
    """
    if config.nodes is None:
        return here
    if here.n_processes > 1:
        raise ConfigError(
            f"nodes.n: {config.nodes.n} cannot go with {here.in_words}, which one node starts; leave the parallelism "
            f"of {config.backend} to its own launcher"
        )
    if config.execution.launcher == "in_process":
        raise ConfigError("nodes cannot go with execution.launcher: in_process; remove one of them")
    return ProcessLayout(n_processes=config.nodes.n, parallelism="tensor")
