"""The sensors of NVIDIA GPUs pass the suite for sensors, on a driver whose true power is known.

All checks run side by side, started when the first of them is asked for: they wait more than they work.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from importlib import util
from itertools import product
from pathlib import Path

import pytest

import nvmlsim
from llenergymeasure.testing.sensor_conformance import SENSOR_CHECKS
from nvmlsim import Gpu, Scenario, Trace
from tests.simulated.conftest import Crew, Server

CHECKS = [check.__name__ for check in SENSOR_CHECKS]
SENSORS = ["nvml", *(["zeus"] if util.find_spec("zeus") else [])]
Answers = dict[tuple[str, str], "Future[dict[str, str]]"]


def put_through(sensor: str, check: str) -> Callable[[Server], dict[str, str]]:
    def ask(server: Server) -> dict[str, str]:
        Scenario(gpus=(Gpu(power_w=Trace.constant(250.0), sensors=nvmlsim.H100),)).write(server.path)
        return server.ask({"sensor": sensor, "check": check, "scenario": str(server.path)})

    return ask


@pytest.fixture(scope="module")
def answers(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    crew = Crew(
        lambda folder: Server(library, folder, "conformance_server.py"), tmp_path_factory.mktemp("conformance"), n=4
    )
    yield {case: crew.submit(put_through(*case)) for case in product(SENSORS, CHECKS)}
    crew.close()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("sensor", SENSORS)
def test_it_conforms(sensor: str, check: str, answers: Answers) -> None:
    answer = answers[sensor, check].result()
    assert answer["outcome"] == "passed", answer["why"]
