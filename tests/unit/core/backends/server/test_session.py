"""A whole session on a fake server: what is measured where the server is here, and what where it is elsewhere."""

from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.server import ServerBackend
from llenergymeasure.core.session import measure_here
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.warnings import validity_of
from llenergymeasure.orchestration.preflight.check import energy_line
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.testing.fake_server import FakeServer, FakeSettings
from tests.unit.core.backends.server.conftest import config_of

N, N_TOKENS = 8, 6


class Elsewhere(ServerBackend):
    """As if the fake server were on another machine."""

    def elsewhere(self, config: ExperimentConfig) -> str | None:
        return "the server is on another machine"


def measured(engine: ServerBackend, folder: str, url: str, tmp_path: Path, **fields: object) -> RawProcessResult:
    (tmp_path / "prompts.txt").write_text("".join(f"w{n} w{n + 1} w{n + 2}\n" for n in range(5, 5 + N)))
    config = config_of(
        url, model=folder, dataset=str(tmp_path / "prompts.txt"), n=N, max_output_tokens=N_TOKENS,
        warmup={"n_warmup": 1}, decoder={"ignore_eos": True}, **fields,
    )  # fmt: skip
    return measure_here(config, engine)


def test_it_is_counted_timed_and_told(tiny_tokenizer_folder: str, tmp_path: Path) -> None:
    with FakeServer() as server:
        raw = measured(ServerBackend(), tiny_tokenizer_folder, server.url, tmp_path, energy={"backend": None})
    assert [r.output_tokens for r in raw.requests] == [N_TOKENS] * N
    # A word is a token.
    assert {r.input_tokens for r in raw.requests} == {3}
    flags = [warning.flag for warning in raw.measurement_warnings]
    assert "server_not_ours" in flags
    assert validity_of(["server_not_ours"]).verdict == "questionable"
    # 2 N a token: N of 2 layers of 4 x 16 x 16 for attention, 3 x 16 x 32 for the rest, 2 x 16 of norms, and 16.
    n_parameters = 2 * (4 * 16 * 16 + 3 * 16 * 32 + 2 * 16) + 16
    assert raw.flops_result is not None
    assert raw.flops_result.value == 2 * n_parameters * N * (3 + N_TOKENS)
    assert raw.model.engine == "server"


def test_elsewhere_there_is_no_energy_and_everything_else(tiny_tokenizer_folder: str, tmp_path: Path) -> None:
    with FakeServer() as server:
        raw = measured(Elsewhere(), tiny_tokenizer_folder, server.url, tmp_path)
    assert raw.energy is None
    told = {warning.flag: warning.text for warning in raw.measurement_warnings}
    assert told["energy_unavailable"] == "the server is on another machine"
    assert len(raw.requests) == N
    line = energy_line(config_of(server.url), ExaminedExperiment(elsewhere="it is on another machine"))
    assert line == "energy: null, because it is on another machine"


@pytest.mark.parametrize("load", [{"rate": 200.0, "n": 80}, {"concurrency": 4, "n": 80}, {"max": True}])
def test_a_load_is_served(tiny_tokenizer_folder: str, tmp_path: Path, load: dict[str, object]) -> None:
    with FakeServer(FakeSettings(n_slots=4, ttft_s=0.002)) as server:
        raw = measured(
            ServerBackend(), tiny_tokenizer_folder, server.url, tmp_path, energy={"backend": None}, load=load
        )
    assert raw.load is not None
    assert all(r.error is None for r in raw.requests)
    assert raw.load.generator_cpu_s is not None
    assert raw.load.generator_cpu_s > 0
