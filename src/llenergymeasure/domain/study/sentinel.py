"""Which results are runs of a sentinel: repeats of none, though one may have the configuration of the reference."""

from llenergymeasure.config.execution import SENTINEL
from llenergymeasure.domain.result import ExperimentResult


def is_of_a_sentinel(result: ExperimentResult) -> bool:
    """Whether it is a run of the sentinel of its study, of which nothing but the result needs to be there.

    A study of blocks gives no other run this name (``StudyConfig``), and a single experiment has no place in one.
    """
    key = result.run_key
    return key is not None and key.order == "blocks" and result.name == SENTINEL
