"""In which order a node attends: what of the engine runs on it is started when it was seen idling, and not before."""

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.nodes.attending import attend
from llenergymeasure.core.peers import Alone
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.testing import FakeClock, FakeEnergy, FakeSampler, fake_environment


class Points(Alone):
    """Notes the points that are reached."""

    def __init__(self, log: list[str]) -> None:
        self._log = log

    def wait(self, point: str, poll_s: float = 0.0) -> None:
        self._log.append(point)


def test_the_engine_is_started_between_both_idlings_and_measured_around_the_window() -> None:
    clock, log = FakeClock(), list[str]()
    config = ExperimentConfig.model_validate({"model": "any", "nodes": {"n": 2}, "baseline": {"duration_seconds": 2}})
    plan = ExperimentPlan.of(config, layout=ProcessLayout(n_processes=2, parallelism="tensor"), devices=("GPU-0",))
    instruments = Instruments(
        energy=FakeEnergy(clock, 80.0, "GPU-0", log),
        sampler=FakeSampler((), log),
        snapshot=fake_environment,
        clock=clock,
        sleep=clock.sleep,
        now=clock.now,
        peers=Points(log),
    )
    raw = attend(plan, instruments, lambda: log.append("engine"))
    seen = [each for each in log if each in ("idle", "load", "engine", "floor", "settled", "start", "end")]
    assert seen == ["idle", "load", "engine", "floor", "settled", "start", "end"]
    # 80 W whenever it is looked, so that is what it idles with, known for each device.
    assert raw.idle_by_device_w["GPU-0"][0] == 80.0
    assert raw.energy_breakdown is not None
    assert raw.energy_breakdown.baseline_power_w == 80.0
    # The window is opened before the point at which the first one's may begin.
    at = log.index("start")
    assert log[at - 1] == "energy on"
    assert log[at : at + 3] == ["start", "end", "energy off"]
    assert raw.requests == ()
