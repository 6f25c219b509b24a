"""A SLURM for all tests of this folder."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import Slurm, cluster, why_not
from tests.fakes.cluster_studies import Site


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """Two virtual nodes, with a GPU each as far as jobs can tell."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    # Its sockets take a short path.
    root = Path(tempfile.mkdtemp(prefix="llem-slurm-"))
    try:
        with cluster(root) as found:
            yield found
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def site(slurm: Slurm, tmp_path: Path) -> Iterator[Site]:
    """A folder that all nodes see, and a cluster on which nothing runs before or after."""
    yield Site.made(tmp_path, slurm.environ)
    slurm.quiet()
