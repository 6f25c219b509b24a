"""A process with the simulated driver that measures as it is told, in lines of JSON on stdin and stdout.

A request has ``backend``, ``batch_s``, ``n_batches``, ``output_dir``, ``scenario`` (the file, to which ``in_window``
is appended at the first measured batch, ``{now}`` in it being scenario time) and ``visible`` (CUDA_VISIBLE_DEVICES),
and may have ``device``, the knobs of the GPUs.
The answer is the raw result. The engine is a fake that takes its time; everything else is the package's own, but for
waits: idle baseline and thermal floor take ``WAIT_S``, and so does each slice of the look after the window.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.core.instruments import build_instruments
from llenergymeasure.core.session import run_session
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.testing import FakeClock, FakeEngine, FakeModel, words_as_tokens

WAIT_S = 0.35


@dataclass
class SlowModel(FakeModel):
    """A fake that really takes its time, and changes the scenario when the measured window has begun."""

    scenario: Path = Path()
    in_window: str = ""
    seeded: bool = False

    def seed(self, random_seed: int) -> None:
        """The window is about to begin."""
        super().seed(random_seed)
        self.seeded = True

    def generate(self, requests: Sequence[Request]) -> list[RequestOutput]:
        """Sleep as long as the batch takes."""
        if self.seeded and self.in_window:
            text = self.scenario.read_text()
            epoch_s = next(float(line.split()[1]) for line in text.splitlines() if line.startswith("epoch_s"))
            now = repr(time.monotonic() - epoch_s)
            with self.scenario.open("a") as file:
                file.write(self.in_window.replace("{now}", now) + "\n")
            self.in_window = ""
        time.sleep(self.batch_s)
        # Its own clock makes the times of the requests: the same as the session's.
        self.clock.time_s = time.monotonic() - self.batch_s
        return super().generate(requests)


def measured(request: dict[str, Any]) -> str:
    """The raw result of one experiment, or what it raised."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if request["visible"] is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = request["visible"]
    visible = visible_gpus()
    n_batches = request["n_batches"]
    model = SlowModel(
        clock=FakeClock(),
        batch_size=1,
        batch_s=request["batch_s"],
        devices=visible.uuids[: request["n_gpus"]],
        scenario=Path(request["scenario"]),
        in_window=request["in_window"],
    )
    config = ExperimentConfig.model_validate(
        {
            "model": "fake",
            "n": n_batches,
            "warmup": {"n_warmup": 1},
            "baseline": {"duration_seconds": 1.0, "cache_ttl_sec": 0},
            "energy": {"backend": request["backend"]},
            "device": request.get("device"),
        }
    )
    # A copy is not validated: users wait for half a minute at least.
    floor = config.warmup.model_copy(update={"thermal_floor_seconds": WAIT_S})
    idle = config.baseline.model_copy(update={"duration_seconds": WAIT_S})
    config = config.model_copy(update={"warmup": floor, "baseline": idle})
    engine = FakeEngine(model)
    output_dir = None if request["output_dir"] is None else Path(request["output_dir"])
    plan = ExperimentPlan.of(config, output_dir=output_dir, devices=model.devices)
    instruments = build_instruments(plan, visible=visible)
    instruments = replace(instruments, sleep=lambda s: time.sleep(min(s, WAIT_S)), tokenise=words_as_tokens)
    return run_session(plan, engine, instruments).model_dump_json()


for line in sys.stdin:
    asked = json.loads(line)
    began_s = time.monotonic()
    try:
        reply = json.loads(measured(asked))
    except Exception as error:  # noqa: BLE001 - the test says which errors are expected: none
        reply = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps({**reply, "took_s": time.monotonic() - began_s}) + "\n")
    sys.stdout.flush()
