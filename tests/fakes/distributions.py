"""Distributions that bring engines and sensors, laid down in a folder as an installer would."""

from collections.abc import Mapping
from pathlib import Path

# A whole engine of another distribution. It answers each request with as many equal tokens as its section says.
TOY = '''
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from pydantic import Field

from llenergymeasure.config.base import Integer
from llenergymeasure.config.engines.section import EngineSection
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.domain.inference import ModelDescription, RequestOutput, tokens_digest


class ToySection(EngineSection):
    """Settings of the toy."""

    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16")
    default_precision: ClassVar[str] = "fp32"

    n_tokens: Integer = Field(default=4, ge=1, le=64, description="Tokens of each answer.")
    label: str | None = Field(default=None, description="Anything.")


class ToyModel(LoadedModelBase):
    def __init__(self, n_tokens):
        self.n_tokens = n_tokens

    def run(self, requests, load, on_done):
        for request in requests:
            sent = time.monotonic()
            ids = (7,) * min(self.n_tokens, request.max_output_tokens)
            times = tuple(sent + 0.001 * (i + 1) for i in range(len(ids)))
            time.sleep(0.001 * len(ids))
            on_done(RequestOutput(
                index=request.index, input_tokens=3, output_tokens=len(ids), finish_reason="length",
                output_digest=tokens_digest(ids), sent_s=sent, first_token_s=times[0], token_times_s=times,
                end_s=times[-1], output_ids=(ids,),
            ))

    def describe(self):
        return ModelDescription(engine="toy", engine_version="1.0")


class ToyEngine(EngineBase):
    name = "toy"
    section = ToySection
    tokenises_itself = True
    loggers = ("toy.library",)

    @contextmanager
    def load(self, plan):
        yield ToyModel(plan.config.section_of("toy").n_tokens)

    def native_precision(self, config):
        return "fp16"

    def environment(self):
        return {"toy build": "plain"}
'''


# A sensor of another distribution with the four names of the seam and no more: 50 W of a board.
BARE = """
import time

from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement


class BareSensor:
    name = "bare"

    def is_available(self):
        return True

    def start_tracking(self):
        return time.monotonic()

    def stop_tracking(self, tracker):
        seconds = time.monotonic() - tracker
        row = DeviceEnergy(device="board", kind="cpu", energy_j=50.0 * seconds, source="integrated")
        return EnergyMeasurement(row.energy_j, seconds, 2, devices=(row,))
"""

ENGINES, SENSORS = "llenergymeasure.engines", "llenergymeasure.sensors"


def lay_down(
    folder: Path,
    modules: Mapping[str, str],
    entry_points: Mapping[str, str],
    name: str = "llem-toy",
    group: str = ENGINES,
) -> Path:
    """Write a distribution of these modules, by name, and entry points of a group; the folder belongs on the path."""
    folder.mkdir(parents=True, exist_ok=True)
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"{point} = {value}" for point, value in entry_points.items()]
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return folder
