"""Results with chosen figures, as repeats of chosen configurations."""

from collections.abc import Callable

import pytest

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.comparing.groups import Group
from tests.fakes.repeats import group, run

MakeRun = Callable[..., ExperimentResult]
MakeGroup = Callable[..., Group]


@pytest.fixture
def make_run() -> MakeRun:
    """Makes a run."""
    return run


@pytest.fixture
def make_group() -> MakeGroup:
    """Makes repeats."""
    return group
