"""Runs under a load: joules against the closed form, of a card that draws so much for each request in flight."""

import os
import subprocess
import time
from pathlib import Path

import pytest

import nvmlsim
from llenergymeasure.domain.result import ExperimentResult
from nvmlsim import Counter, Gpu, Scenario, Trace
from tests.fakes.distributions import TOY
from tests.fakes.effort import PATIENCE_S
from tests.fakes.faulty import LLEM, environment

LOADED_W, EACH_W = 90.0, 20.0
# So long that no request ends when another comes, at any of the rates.
N_TOKENS, TOKEN_S = 25, 0.0204
TAKES_S = N_TOKENS * TOKEN_S
RATES = (2.0, 4.0, 8.0, 16.0, 32.0)

UUID = "GPU-00000000-0000-4000-8000-000000000000"

# However many come, each takes as long. It writes what it draws into the scenario a little ahead of its time.
LIVE = (
    TOY.replace('yield ToyModel(plan.config.section_of("toy").n_tokens)', "yield LiveModel(25)").replace(
        "    tokenises_itself = True\n",
        "    tokenises_itself = True\n    loads = frozenset({'all_at_once', 'concurrency', 'due_times'})\n",
    )
    + f'''
import os
from collections import deque
from pathlib import Path

import nvmlsim
from llenergymeasure.core.backends.arrivals import Arrivals

PATH = Path(os.environ["NVMLSIM_SCENARIO"])
AHEAD_S = 0.005


class LiveModel(ToyModel):
    last = 0.0

    def run(self, requests, load, on_done):
        waiting, open_, drawn = Arrivals(requests, load), deque(), 0
        while (waiting or open_) and not load.cancelled():
            now = time.monotonic()
            while (due := waiting.due(len(open_))) is not None:
                open_.append((*due, time.monotonic(), now + AHEAD_S))
                drawn += 1
                self.draw(drawn, now + AHEAD_S)
            ends = [start + {TAKES_S} for _, _, _, start in open_]
            for end in ends[:sum(e <= now + AHEAD_S for e in ends) - (len(open_) - drawn)]:
                drawn -= 1
                self.draw(drawn, end)
            while open_ and open_[0][3] + {TAKES_S} <= time.monotonic():
                self.tell(*open_.popleft(), on_done)
            time.sleep(0.001)

    def draw(self, n, at):
        # One after the other, however late it is looked.
        self.last = max(self.last, at)
        nvmlsim.append_step(PATH, 0, "power_w", {LOADED_W} + n * {EACH_W}, at_monotonic_s=self.last)

    def tell(self, request, due, sent, start, on_done):
        times = tuple(start + (k + 1) * {TOKEN_S} for k in range({N_TOKENS}))
        ids = (7,) * {N_TOKENS}
        on_done(RequestOutput(
            index=request.index, input_tokens=3, output_tokens={N_TOKENS}, finish_reason="length",
            output_digest=tokens_digest(ids), due_s=due, sent_s=sent, first_token_s=times[0], token_times_s=times,
            end_s=times[-1], output_ids=(ids,),
        ))

    def describe(self):
        return ModelDescription(engine="toy", engine_version="1.0", devices=("{UUID}",))
'''
)


def measured(library: Path, folder: Path, rate: float) -> ExperimentResult:
    """A run at a steady rate, with the real executable; sensors are chosen by itself."""
    path = folder / "scenario.txt"
    card = Gpu(
        power_w=Trace.constant(LOADED_W), sensors=nvmlsim.RTX40, counter=Counter(), name="NVIDIA GeForce RTX 4090"
    )
    Scenario(gpus=(card,), epoch_s=time.monotonic()).write(path)
    own = environment(folder, LIVE)
    own["PYTHONPATH"] = os.pathsep.join([own["PYTHONPATH"], str(Path(nvmlsim.__file__).parent.parent)])
    settings = (
        f"max_output_tokens={N_TOKENS}", "warmup.n_warmup=1", "warmup.thermal_floor_seconds=30",
        "baseline.enabled=false", f"load.rate={rate}", "load.arrival=constant", "load.duration_s=15", "load.ramp_s=3",
    )  # fmt: skip
    ran = subprocess.run(
        [*LLEM, "run", "--backend", "toy", "--model", "any", "-o", str(folder / "out"), "-q",
         *(word for setting in settings for word in ("--set", setting))],
        env={**own, **nvmlsim.environment(library, path)},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (file,) = (folder / "out").glob("*/result.json")
    return ExperimentResult.from_json(file)


@pytest.mark.parametrize(
    "rate", [pytest.param(rate, marks=[] if rate == 8.0 else [pytest.mark.slow]) for rate in RATES]
)
def test_joules_per_token_follow_from_the_rate(library: Path, tmp_path: Path, rate: float) -> None:
    result = measured(library, tmp_path, rate)
    # Little's law: as many are in flight as come in the time that one takes.
    true_w = LOADED_W + EACH_W * rate * TAKES_S
    true_j = true_w * result.duration_sec
    assert result.total_energy_j is not None
    low_j, high_j = result.energy_interval_j or (0.0, 0.0)
    # An edge of the window may fall anywhere between two arrivals: half of a request's share more or less at each.
    edges_j = EACH_W * TAKES_S
    assert low_j - edges_j <= true_j <= high_j + edges_j
    assert result.energy_per_output_token_j is not None
    true_per_token_j = true_w / (rate * N_TOKENS)
    # A token more or less for each request in flight at an edge, in that many of the window.
    tokens = rate * N_TOKENS * result.duration_sec
    bound = (result.energy_uncertainty_j or 0.0) / true_j + N_TOKENS / tokens + edges_j / true_j
    assert result.energy_per_output_token_j == pytest.approx(true_per_token_j, rel=bound)
    assert bound < 0.12
    assert 11.0 < result.duration_sec < 13.0
