"""Everything that is wrong is found at once, and nothing is made by looking."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.backends.pytorch.precision import precision_cautions
from llenergymeasure.core.checkpoint.source import Checkpoint
from llenergymeasure.core.energy_backends import SensorContext
from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.core.prompts.selection import PromptSelection, too_few
from llenergymeasure.core.prompts.tokenise import PreparedRequests
from llenergymeasure.domain.inference import ChatMessage, Prompt
from llenergymeasure.domain.plan import ProcessLayout
from llenergymeasure.exceptions import ConfigError, PreFlightError
from llenergymeasure.orchestration.preflight import check as checking
from llenergymeasure.orchestration.preflight import engine as asked_engine
from llenergymeasure.orchestration.preflight import prompt_check
from llenergymeasure.orchestration.preflight import sensors as asked_sensors
from llenergymeasure.orchestration.preflight.check import check, energy_line, examine
from llenergymeasure.testing.fakes import words_as_tokens
from tests.fakes.model import write_description

pytestmark = pytest.mark.pytorch


def here(**fields: Any) -> ExperimentConfig:
    """An experiment that is examined in this process, where the fakes are."""
    return ExperimentConfig.model_validate({"execution": {"launcher": "in_process"}, **fields})


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A directory that looks like a model."""
    return str(write_description(tmp_path / "model"))


def problems_of(*experiments: ExperimentConfig, output_dir: Path | None = None) -> tuple[type[Exception], list[str]]:
    """The error's type and its lines."""
    with pytest.raises((ConfigError, PreFlightError)) as caught:
        check(experiments, output_dir)
    return caught.type, str(caught.value).splitlines()


def test_nothing_wrong_says_nothing_and_makes_no_folder(model: str, tmp_path: Path) -> None:
    check([here(model=model)], tmp_path / "deep" / "er")
    check([here(model=model)], None)
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dataset": "./no-such.jsonl"}, ["no-such.jsonl", "cannot be read"]),
        ({"quality": "./no-such.txt"}, ["quality.text no-such.txt", "cannot be read"]),
        ({"dataset": "./prompts.xml"}, ["'.xml'", "use .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .txt"]),
        ({"dataset": {"hub": "./no-such-folder"}}, ["./no-such-folder", "neither a folder nor the id"]),
    ],
)
def test_a_wrong_configuration_is_a_config_error(model: str, fields: dict[str, Any], said: list[str]) -> None:
    kind, lines = problems_of(here(model=model, **fields))
    assert kind is ConfigError
    assert len(lines) == 1
    assert all(words in lines[0] for words in said)


def test_a_machine_that_lacks_the_library_of_a_dataset_is_a_preflight_error(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    kind, (line,) = problems_of(here(model=model, dataset=DatasetConfig(hub="owner/name")))
    assert kind is PreFlightError
    assert "pip install 'llenergymeasure[datasets]'" in line


@pytest.mark.parametrize("methodology", ["windowed", "steady_state"])
@pytest.mark.parametrize(
    ("section", "processes"),
    [
        ({"data_parallel_size": 2}, "2 processes (data parallel)"),
        ({"tp_plan": "auto", "tp_size": 2}, "2 processes (tensor parallel)"),
    ],
)
def test_several_processes_measure_the_whole_run(
    model: str, section: dict[str, Any], processes: str, methodology: str
) -> None:
    fields = {"model": model, "pytorch": section, "measurement": {"methodology": methodology}}
    _, lines = problems_of(here(**fields))
    (error,) = [line for line in lines if line.startswith("measurement.methodology: ")]
    assert f"{methodology} cannot go with {processes}" in error
    assert error.endswith("use total")


def test_random_prompts_need_no_file(model: str) -> None:
    check([here(**{"model": model, "dataset": "random"})], None)


def test_a_machine_that_lacks_the_model_is_a_preflight_error() -> None:
    kind, lines = problems_of(here(model="./no-such-model"))
    assert kind is PreFlightError
    assert len(lines) == 1
    assert "./no-such-model" in lines[0]


def test_all_that_is_wrong_with_one_experiment_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    dataset = DatasetConfig(path=tmp_path / "no-such.txt")
    experiment = here(model="./no-such-model", dataset=dataset)
    kind, lines = problems_of(experiment, output_dir=tmp_path / "file" / "below")
    assert kind is PreFlightError
    text = "\n".join(lines)
    assert "no-such.txt" in text
    assert "is a file, not a folder" in text
    assert "no-such-model" in text


def test_an_error_in_one_experiment_does_not_hide_what_the_next_one_lacks(model: str) -> None:
    kind, lines = problems_of(
        here(model="./first-missing"),
        here(model=model, dataset="./no-such.jsonl"),
        here(model="./second-missing"),
    )
    assert kind is PreFlightError
    text = "\n".join(lines)
    assert all(words in text for words in ("first-missing", "no-such.jsonl", "second-missing"))


def test_the_same_problem_is_said_once() -> None:
    _, lines = problems_of(*[here(model="./no-such-model", n=n) for n in (1, 2, 3)])
    assert len(lines) == 1


def test_an_output_below_a_file_is_refused(model: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        kind, lines = problems_of(here(model=model), output_dir=output)
        assert kind is PreFlightError
        assert len(lines) == 1
        assert str(output) in lines[0]
        assert "--output" in lines[0]


def test_an_output_that_is_a_dangling_link_is_refused(model: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    problems_of(here(model=model), output_dir=tmp_path / "link")


@pytest.mark.parametrize("name", ["x" * 300, "nul\0byte"])
def test_an_output_no_file_system_can_name_is_said_and_never_a_traceback(model: str, tmp_path: Path, name: str) -> None:
    problems_of(here(model=model), output_dir=tmp_path / name)


def test_a_description_that_cannot_be_read_is_told_before_loading(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    kind, lines = problems_of(here(model=str(tmp_path)))
    assert kind is PreFlightError
    assert len(lines) == 1
    assert "config.json cannot be read" in lines[0]


def test_a_model_that_cannot_fit_is_refused_beside_whatever_else_is_wrong(model: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    # Key and value, 2 layers, 2 heads of 16, 2 bytes: 256 bytes per token, 10^7 tokens, 10^6 sequences.
    huge = here(
        **{
            "model": model,
            "n": 10**6,
            "max_output_tokens": 10**7,
            "pytorch": {"batch_size": 10**6},
            "dataset": "./gone.txt",
        }
    )
    kind, lines = problems_of(huge, output_dir=tmp_path / "file")
    assert kind is PreFlightError
    assert len(lines) == 3
    assert "gone.txt" in lines[0]
    assert "not enough memory" in lines[1]
    assert "KV cache 2,560," in lines[1]
    assert "is a file" in lines[2]


def test_a_problem_of_some_experiments_is_named_by_them(model: str) -> None:
    _, lines = problems_of(
        here(model=model),
        here(model="./gone", name="second"),
        here(model="./lost", n=1),
        here(model="./lost", n=2),
    )
    assert lines[0].startswith("experiment 2 of 4 (second): model './gone'")
    assert lines[1].startswith("experiments 3, 4 of 4: model './lost'")
    assert len(lines) == 2


def test_an_energy_source_that_does_not_answer_is_told_beside_the_rest() -> None:
    experiment = here(**{"model": "./gone", "energy": {"backend": "zeus"}})
    _, lines = problems_of(experiment)
    assert [("'zeus'" in line, "./gone" in line) for line in lines] == [(True, False), (False, True)]


SENSOR, MODEL = SimpleNamespace(name="s", modelled=False), SimpleNamespace(name="m", modelled=True)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ((SENSOR, None), None),
        ((MODEL, None), "m is a model, of which idle power says nothing"),
        ((None, "no sensor of energy answered (a: is not there)"), "no sensor of energy answered (a: is not there)"),
    ],
    ids=["sensed", "modelled", "none"],
)
def test_an_idle_baseline_that_must_be_had_needs_a_sensor(
    model: str, monkeypatch: pytest.MonkeyPatch, chosen: tuple[Any, str | None], said: str | None
) -> None:
    monkeypatch.setattr(checking, "visible_gpus", VisibleGpus)
    monkeypatch.setattr(asked_sensors, "choose_sensor", lambda *_: chosen)
    required = here(**{"model": model, "baseline": {"required": True}})
    if said is None:
        check([required], None)
        return
    kind, (line,) = problems_of(required)
    assert kind is PreFlightError
    assert line.startswith("baseline.required: ")
    assert said in line
    check([here(model=model)], None)


def test_where_gpus_cannot_be_told_apart_no_idle_baseline_can_be_had(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "visible_gpus", lambda: VisibleGpus(problem="a MIG slice"))
    _, (line,) = problems_of(here(**{"model": model, "baseline": {"required": True}}))
    assert "a MIG slice" in line


def test_caution_is_logged_and_keeps_nothing_from_running(model: str, caplog: pytest.LogCaptureFixture) -> None:
    gpus_or_new_cpu = precision_cautions(here(model=model, precision="fp16"), []) == []
    if gpus_or_new_cpu:
        pytest.skip("this processor has fp16 arithmetic")
    check([here(model=model, precision=precision) for precision in ("fp16", "fp32")], None)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "experiment 1 of 2" in caplog.text
    assert "slow_precision" in caplog.text


class Counting(EngineBase):
    """Keeps count of what it is asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def installation_problem(self) -> str | None:
        self.asked["installation"] += 1
        return None

    def processes(self, config: ExperimentConfig) -> ProcessLayout:
        self.asked["processes"] += 1
        return ProcessLayout.of(2, "data")

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:
        self.asked["devices"] += 1
        return ("GPU-a", "GPU-b")


def test_each_fact_is_asked_for_once_and_found_in_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, sensors, read, tokenised = Counting(), list[SensorContext](), list[int](), list[int]()

    def choose(name: str, context: SensorContext) -> tuple[Any, str | None]:
        sensors.append(context)
        return SENSOR, None

    def select(config: ExperimentConfig) -> PromptSelection:
        read.append(config.n)
        prompts = tuple(Prompt(index=i, messages=(ChatMessage("user", "a b"),)) for i in range(2))
        return PromptSelection(prompts, too_few(config.n, 2))

    def tokenise(config: ExperimentConfig, prompts: Sequence[Prompt], checkpoint: Checkpoint) -> PreparedRequests:
        tokenised.append(config.max_output_tokens)
        return words_as_tokens(config, prompts, checkpoint)

    monkeypatch.setattr(asked_engine, "get_backend", lambda _: engine)
    monkeypatch.setattr(checking, "visible_gpus", VisibleGpus)
    monkeypatch.setattr(asked_sensors, "choose_sensor", choose)
    monkeypatch.setattr(prompt_check, "get_backend", lambda _: engine)
    monkeypatch.setattr(prompt_check, "select_prompts", select)
    monkeypatch.setattr(prompt_check, "tokenised", tokenise)
    experiments = [here(**{"model": "m", "name": name, "n": 3}) for name in "ab"]
    found = examine(experiments, None, ask_every_sensor=True)
    assert engine.asked == {"installation": 2, "processes": 2, "devices": 2}
    assert [context.devices for context in sensors] == [("GPU-a", "GPU-b")]
    assert (read, tokenised) == ([3], [128])
    assert {each.layout for each in found} == {ProcessLayout.of(2, "data")}
    assert {each.devices for each in found} == {("GPU-a", "GPU-b")}
    assert [each.prompts.in_words for each in found if each.prompts] == [
        "prompts: 2, with 4 input tokens (least 2, mean 2.0, most 2)"
    ] * 2
    assert all("3 prompts are asked for, there are 2" in each.cautions[-1] for each in found)
    assert [energy_line(config, each) for config, each in zip(experiments, found, strict=True)] == [
        "energy: s, sensed"
    ] * 2
    examine(experiments, None)
    assert len(sensors) == 1, "nothing depends on it before the run"
