"""A study with everything that a table has to tell apart, and the tables that are recorded of it.

``python -m tests.unit.results.study.mixed`` records them anew. That is for when a table is to look otherwise.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llenergymeasure.config.execution import Order
from llenergymeasure.config.models import StudyConfig
from llenergymeasure.domain.study.plan import Slot
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.rows import leave_row, row_file
from llenergymeasure.results.study.writer import SummaryWriter
from tests.fakes.studies import Study, of_batches, plan_of
from tests.unit.results.recorded import GOLDEN

CONFIGS = [
    *of_batches(1, 2, 4), *of_batches(1, precision="bf16"), *of_batches(1, n=3), *of_batches(8),
    *of_batches(16, name="never run"), *of_batches(32), *of_batches(64), *of_batches(2, n=3),
    *of_batches(4, precision="bf16", name="once"),
]  # fmt: skip
(SENTINEL,) = of_batches(1, n=7, name="sentinel")
N_CYCLES = 5
# Of the scatter of five runs; the last is far off.
_SCATTER = (1.0, 1.01, 0.99, 1.004, 1.3)
_FAR_OFF, _TWO_MACHINES, _ALL_FAIL, _NEVER, _NO_ENERGY, _CHANGED, _OTHER_SENSOR, _ONCE = 1, 4, 5, 6, 7, 8, 9, 10


def mixed(path: Path, order: Order) -> Study:
    """The study with all its runs, and the sentinel where it has blocks."""
    plan = plan_of(CONFIGS, N_CYCLES, order, sentinel=SENTINEL if order == "blocks" else None)
    path.mkdir(parents=True)
    study = Study(StudyDirectory(path), plan)
    study.directory.write(plan, StudyConfig(name="a study", experiments=CONFIGS))
    for slot in plan.slots:
        finish(study, slot)
    return study


def finish(study: Study, slot: Slot) -> None:
    """Make the run of a slot, or its failure, or nothing of it."""
    place, repeat = slot.configuration, slot.repeat
    if place == _NEVER or (place == _ONCE and repeat):
        return
    if place == _ALL_FAIL or (place, repeat) == (2, 3):
        study.fail(slot, "=cmd() of 2 | no room")
        return
    # The second is as the third, but for what is far off.
    joules = 80.0 / max(1, min(place, 2)) * _SCATTER[repeat % (5 if place == _FAR_OFF else 4)]
    study.finish(slot, None if place == _NO_ENERGY else joules, ttft_s=0.5 + place / 100)
    leave_row(study.directory, study.plan, slot)
    file = row_file(study.directory, slot)
    row = json.loads(file.read_text(encoding="utf-8"))
    other = _behind(slot)
    row["values"] |= other.get("values", {})
    row["circumstances"] |= other.get("circumstances", {})
    file.write_text(json.dumps(row), encoding="utf-8")


def _behind(slot: Slot) -> Mapping[str, Mapping[str, Any]]:
    """What is otherwise in the row of a slot."""
    place, repeat = slot.configuration, slot.repeat
    if place == 0:
        of_it = {"validity": "questionable", "validity_flags": "a_flag; another", "warnings": "a_flag; another"}
        bounds_pct = {"total_energy_j": 1.5 + repeat, "energy_per_output_token_j": 0.5}
        return {
            "values": {"perplexity": 12.5, **(of_it if repeat else {})},
            "circumstances": {"bounds_pct": bounds_pct},
        }
    if place == _TWO_MACHINES:
        return {"values": {"gpus": "GPU A" if repeat < 3 else "GPU B"}}
    if place == _CHANGED:
        return {"circumstances": {"weights": {"weights_digest": f"{repeat // 3}" * 64}}}
    if place == _OTHER_SENSOR:
        return {"values": {"outputs_digest": "b" * 64}, "circumstances": {"sensors": ["rapl (counter)"]}}
    return {}


def recorded(order: Order, name: str) -> Path:
    """Where a file of the summary is recorded."""
    return GOLDEN / f"mixed-study-in-{order}" / name


def told(study: Study, name: str) -> str:
    """A file of the summary, with places for the hashes of configurations: those change with each new setting."""
    text = (study.directory.path / name).read_text(encoding="utf-8")
    for place, each in enumerate(study.plan.configurations):
        text = text.replace(each.config_hash, f"hash-of-{place}")
    return text


def main() -> None:
    """Record what is written now."""
    for order in ("blocks", "sequential"):
        with tempfile.TemporaryDirectory() as folder:
            study = mixed(Path(folder) / "s", order)
            SummaryWriter(study.directory, study.plan).finish()
            for name in ("summary.csv", "summary.md"):
                recorded(order, name).parent.mkdir(exist_ok=True)
                recorded(order, name).write_text(told(study, name), encoding="utf-8", newline="")


if __name__ == "__main__":
    main()
