"""A whole run with an engine of another distribution whose load is known: every joule against the closed form."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import nvmlsim
from llenergymeasure.domain.phases import Estimate
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.verification.verify import verify
from nvmlsim import Counter, Gpu, Scenario, Trace
from tests.fakes.damages import sums_written
from tests.fakes.distributions import TOY
from tests.fakes.effort import PATIENCE_S
from tests.fakes.faulty import LLEM, environment

EMPTY_W, LOADED_W, PREFILL_W, DECODE_W = 60.0, 90.0, 380.0, 250.0
PREFILL_S, TOKEN_S = 0.2, 0.02
N_REQUESTS, N_TOKENS = 8, 21
# What requests take beyond an idle card with a model, in one window.
PREFILL_J = N_REQUESTS * PREFILL_S * (PREFILL_W - LOADED_W)
DECODE_J = N_REQUESTS * (N_TOKENS - 1) * TOKEN_S * (DECODE_W - LOADED_W)

UUID = "GPU-00000000-0000-4000-8000-000000000000"

# It writes what it draws into the scenario, a little ahead of its time, and waits for that to pass.
LIVE = (
    TOY.replace('yield ToyModel(plan.config.section_of("toy").n_tokens)', "yield LiveModel(21)")
    + f'''
import os
from pathlib import Path

import nvmlsim

PATH = Path(os.environ["NVMLSIM_SCENARIO"])


class LiveModel(ToyModel):
    def __init__(self, n_tokens):
        super().__init__(n_tokens)
        nvmlsim.append_step(PATH, 0, "power_w", {LOADED_W})

    def run(self, requests, load, on_done):
        for request in requests:
            n = min(self.n_tokens, request.max_output_tokens)
            start = time.monotonic() + 0.003
            times = [start + {PREFILL_S} + k * {TOKEN_S} for k in range(n)]
            steps = [(start, {PREFILL_W}), (times[0], {DECODE_W} if n > 1 else {LOADED_W}), (times[-1], {LOADED_W})]
            for at, watts in steps:
                nvmlsim.append_step(PATH, 0, "power_w", watts, at_monotonic_s=at)
            time.sleep(max(0.0, times[-1] - time.monotonic()))
            ids = (7,) * n
            on_done(RequestOutput(
                index=request.index, input_tokens=3, output_tokens=n, finish_reason="length",
                output_digest=tokens_digest(ids), sent_s=start, first_token_s=times[0], token_times_s=tuple(times),
                end_s=times[-1], output_ids=(ids,),
            ))

    def describe(self):
        return ModelDescription(engine="toy", engine_version="1.0", devices=("{UUID}",))
'''
)


@pytest.fixture(scope="module")
def left(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a run with the real executable left, sensors chosen by itself."""
    folder = tmp_path_factory.mktemp("live")
    path = folder / "scenario.txt"
    card = Gpu(
        power_w=Trace.constant(EMPTY_W), sensors=nvmlsim.RTX40, counter=Counter(), name="NVIDIA GeForce RTX 4090"
    )
    Scenario(gpus=(card,), epoch_s=time.monotonic()).write(path)
    own = environment(folder, LIVE)
    own["PYTHONPATH"] = os.pathsep.join([own["PYTHONPATH"], str(Path(nvmlsim.__file__).parent.parent)])
    settings = (
        "max_output_tokens=21", "warmup.n_warmup=1", "warmup.thermal_floor_seconds=30", "baseline.duration_seconds=5",
        "phases.enabled=true", "phases.n_pairs=3",
    )  # fmt: skip
    ran = subprocess.run(
        [*LLEM, "run", "--backend", "toy", "--model", "any", "-n", str(N_REQUESTS), "-o", str(folder / "out"), "-q",
         *(word for setting in settings for word in ("--set", setting))],
        env={**own, **nvmlsim.environment(library, path)},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (file,) = (folder / "out").glob("*/result.json")
    return file.parent


@pytest.fixture(scope="module")
def result(left: Path) -> ExperimentResult:
    """Its result."""
    return ExperimentResult.from_json(left)


def known(value: float | None) -> float:
    assert value is not None
    return value


def test_the_total_is_what_was_drawn(result: ExperimentResult) -> None:
    # Between requests, and where the machine was late, the card idles with the model.
    true_j = PREFILL_J + DECODE_J + LOADED_W * result.duration_sec
    low_j, high_j = result.energy_interval_j or (0.0, 0.0)
    assert low_j <= true_j <= high_j
    assert result.total_energy_j == pytest.approx(true_j, rel=0.01)
    assert (result.input_tokens, result.output_tokens) == (3 * N_REQUESTS, N_TOKENS * N_REQUESTS)


def test_adjusted_and_net_are_without_the_empty_and_the_loaded_card(result: ExperimentResult) -> None:
    breakdown = result.energy_breakdown
    assert breakdown is not None
    assert result.baseline_power_w == pytest.approx(EMPTY_W, abs=known(breakdown.baseline_power_uncertainty_w))
    assert result.idle_loaded_power_w == pytest.approx(LOADED_W, abs=known(result.idle_loaded_power_uncertainty_w))
    adjusted_j = PREFILL_J + DECODE_J + (LOADED_W - EMPTY_W) * result.duration_sec
    assert result.energy_adjusted_j == pytest.approx(adjusted_j, abs=known(breakdown.adjusted_uncertainty_j))
    assert result.energy_adjusted_j == pytest.approx(adjusted_j, rel=0.02)
    net_j = PREFILL_J + DECODE_J
    assert result.energy_net_of_loaded_idle_j == pytest.approx(
        net_j, abs=known(result.energy_net_of_loaded_idle_uncertainty_j)
    )
    assert result.energy_net_of_loaded_idle_j == pytest.approx(net_j, rel=0.02)


def test_phases_are_what_reading_and_writing_drew(result: ExperimentResult) -> None:
    phases = result.phases
    assert phases is not None
    for phase, own_j in ((phases.prefill, PREFILL_J), (phases.decode, DECODE_J)):
        energy: Estimate | None = phase.energy_j
        assert energy is not None
        true_j = own_j + LOADED_W * phase.duration_sec.value
        assert known(energy.low) <= true_j <= known(energy.high)
        assert energy.value == pytest.approx(true_j, rel=0.03)


def test_all_of_it_is_worked_out_again_from_the_files(left: Path, tmp_path: Path) -> None:
    shutil.copytree(left, tmp_path / "copy")
    sums_written(tmp_path / "copy")
    report = verify(tmp_path / "copy")
    assert [str(finding) for finding in report.findings if finding.kind != "not verifiable"] == []
    assert not {name for name in (f.name for f in report.findings) if name.startswith(("energy", "phases", "latency"))}


def test_nothing_disturbed_it(result: ExperimentResult) -> None:
    flags = {str(w).split(":")[0] for w in result.measurement_warnings}
    assert not flags & {
        "idle_unsteady",
        "idle_changed",
        "counter_disagreement",
        "energy_counter_refused",
        "zeus_refused",
    }
