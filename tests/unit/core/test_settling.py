"""What is left to the machine is chosen before there is a hash."""

import pytest
from pydantic import TypeAdapter, ValidationError

from llenergymeasure.config.models import ExperimentConfig, measurement_config_hash
from llenergymeasure.core.settling import AskedHere, settled
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError, ConfigError, PreFlightError
from llenergymeasure.testing import FakeClock, FakeEngine, FakeModel
from tests.fakes.distributions import TOY
from tests.unit.conftest import Install

RAISING = TOY.replace('return "fp16"', 'raise OSError("no device")')
ABSENT = TOY.replace("section = ToySection", 'section = ToySection\n    packages = ("a_library_that_is_not_there",)')


def config(**fields: object) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "m", **fields})


def test_what_leaves_nothing_open_is_itself() -> None:
    given = config()
    found = settled(given)
    assert found.config is given
    assert found.as_given == {}


def test_a_precision_is_what_the_engine_says_and_has_its_hash(toy: None) -> None:
    found = settled(config(backend="toy", precision="auto", toy={"n_tokens": 2}))
    written = config(backend="toy", precision="fp16", toy={"n_tokens": 2})
    assert found.config == written
    assert found.as_given == {"precision": "auto"}
    assert measurement_config_hash(found.config) == measurement_config_hash(written)
    assert found.config.display_name == "m-toy-fp16"


def test_without_a_word_of_the_engine_it_is_its_default() -> None:
    assert settled(config(precision="auto"), FakeEngine(FakeModel(FakeClock()))).config.precision == "bf16"


def test_an_engine_is_asked_about_values_and_the_configuration_keeps_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Looking(FakeEngine):
        def native_precision(self, config: ExperimentConfig) -> str:
            return "fp16" if config.model == "/data/models/m" else "fp32"

    monkeypatch.setenv("MODELS_HERE", "/data/models")
    found = settled(config(model="${MODELS_HERE}/m", precision="auto"), Looking(FakeModel(FakeClock())))
    assert (found.config.model, found.config.precision) == ("${MODELS_HERE}/m", "fp16")


def test_an_engine_that_is_not_installed_is_not_asked(install: Install) -> None:
    install({"llem_toy": ABSENT}, {"toy": "llem_toy:ToyEngine"})
    assert settled(config(backend="toy", precision="auto")).config.precision == "fp32"


def test_one_that_fails_when_it_is_asked_is_named(install: Install) -> None:
    install({"llem_toy": RAISING}, {"toy": "llem_toy:ToyEngine"})
    with pytest.raises(BackendError, match=r"the engine 'toy' of llem-toy 1\.0 failed when it was asked: OSError: no"):
        settled(config(backend="toy", precision="auto"))


def test_an_engine_is_chosen_among_those_with_a_section(toy: None) -> None:
    found = settled(config(backend="auto", precision="auto", toy={"n_tokens": 2}))
    assert found.config == config(backend="toy", precision="fp16", toy={"n_tokens": 2})
    assert found.as_given == {"backend": "auto", "precision": "auto"}


def test_sections_of_others_are_left_out(toy: None) -> None:
    # What tensorrt runs with is nowhere where this is tested.
    found = settled(config(backend="auto", toy={"n_tokens": 2}, tensorrt={"max_batch_size": 3}))
    assert found.config == config(backend="toy", toy={"n_tokens": 2})


def test_where_none_is_installed_each_says_why(install: Install) -> None:
    install({"llem_toy": ABSENT}, {"toy": "llem_toy:ToyEngine"})
    with pytest.raises(
        PreFlightError, match=r"no engine with a section \(toy\) can be run here: the toy engine needs a_"
    ):
        settled(config(backend="auto", toy={}))
    with pytest.raises(
        PreFlightError, match=r"no engine with a section \(tensorrt\) can be run here: the tensorrt engine needs tensor"
    ):
        settled(config(backend="auto", tensorrt={}))


def test_what_does_not_go_with_the_choice_is_an_error(toy: None) -> None:
    with pytest.raises(ValidationError, match="precision bf16 cannot go with backend: toy"):
        settled(config(backend="auto", precision="bf16", toy={}))


@pytest.mark.parametrize("field", ["backend", "precision"])
def test_nothing_open_has_a_hash_or_a_plan(field: str) -> None:
    with pytest.raises(ConfigError, match="there is no hash before the machine has chosen what auto is"):
        ExperimentPlan.of(config(**{field: "auto"}))


def test_how_it_was_given_is_handed_over() -> None:
    plan = ExperimentPlan.of(config(), as_given={"precision": "auto"})
    kind = TypeAdapter(ExperimentPlan)
    assert kind.validate_json(kind.dump_json(plan)) == plan


class Asked(AskedHere):
    """Engines of which some are installed, and what they compute natively."""

    def __init__(self, *installed: str, native: str = "bf16") -> None:
        super().__init__()
        self._installed, self._native = installed, native

    def installation_problem(self, name: str) -> str | None:
        return None if name in self._installed else f"{name} is not there"

    def native_precision(self, config: ExperimentConfig) -> str:
        return self._native


@pytest.mark.parametrize(
    ("model", "installed", "chosen", "why"),
    [
        ("./model.gguf", ("pytorch", "llamacpp"), "llamacpp", "the model is a GGUF file"),
        ("./model.gguf", ("pytorch",), "pytorch", "it is the first installed"),
        ("a/model", ("pytorch", "llamacpp"), "pytorch", "it is the first installed"),
        ("a/model", ("llamacpp",), "llamacpp", "it is the first installed"),
    ],
)
def test_a_file_of_llama_cpp_is_its_own_and_all_else_the_first_installed(
    model: str, installed: tuple[str, ...], chosen: str, why: str
) -> None:
    found = settled(config(model=model, backend="auto"), answers=Asked(*installed))
    assert (found.config.backend, found.why_engine) == (chosen, why)
    assert f"backend: auto is {chosen} here, because {why}" in found.in_words


def test_a_section_says_more_than_the_kind_of_file() -> None:
    given = config(model="./model.gguf", backend="auto", pytorch={"batch_size": 2})
    found = settled(given, answers=Asked("pytorch", "llamacpp"))
    assert (found.config.backend, found.why_engine) == ("pytorch", "it is the only one with a section")


def test_an_engine_may_leave_open_what_was_not_written() -> None:
    # llama.cpp converts nothing, so that the file says it.
    for given in (config(backend="llamacpp"), config(model="m.gguf", backend="auto")):
        found = settled(given, answers=Asked("llamacpp", native="fp16"))
        assert found.config.precision == "fp16"
        assert found.config.is_settled
        assert found.as_given["precision"] == "auto"


def test_a_file_that_a_variable_names_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    given, answers = config(model="${THE_MODEL}", backend="auto"), Asked("pytorch", "llamacpp")
    monkeypatch.setenv("THE_MODEL", "/models/m.gguf")
    found = settled(given, answers=answers)
    assert (found.config.backend, found.config.model) == ("llamacpp", "${THE_MODEL}")
    # Of one that is not set preflight tells, as under any engine.
    monkeypatch.delenv("THE_MODEL")
    assert settled(given, answers=answers).config.backend == "pytorch"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"lora": {"path": "adapter"}}, "llamacpp takes no lora"),
        (
            {"precision": "bf16"},
            "llamacpp converts nothing and the file holds fp32, not bf16",
        ),
        (
            {"decoder": {"num_beams": 2}},
            "llamacpp does not go with the rest (num_beams cannot go with backend: llamacpp, which has nothing like "
            "it; remove it, or change the backend)",
        ),
    ],
)
def test_llama_cpp_is_not_chosen_for_what_it_would_refuse(fields: dict[str, object], why: str) -> None:
    given = config(model="./model.gguf", backend="auto", **fields)
    found = settled(given, answers=Asked("pytorch", "llamacpp", native="fp32"))
    assert (found.config.backend, found.why_engine) == ("pytorch", f"{why}, and it is the first installed")


@pytest.mark.parametrize("fields", [{"precision": "fp32"}, {"precision": "auto"}, {}])
def test_it_is_chosen_where_its_precision_is_the_files_or_was_left_to_it(fields: dict[str, object]) -> None:
    given = config(model="./model.gguf", backend="auto", **fields)
    found = settled(given, answers=Asked("pytorch", "llamacpp", native="fp32"))
    assert (found.config.backend, found.config.precision) == ("llamacpp", "fp32")


def test_where_there_is_no_other_it_is_chosen_and_refuses_itself() -> None:
    given = config(model="./model.gguf", backend="auto", precision="bf16")
    found = settled(given, answers=Asked("llamacpp", native="fp32"))
    assert (found.config.backend, found.why_engine) == ("llamacpp", "it is the first installed")


def test_a_server_is_asked_only_where_it_was_named() -> None:
    answers = Asked("server", native="as_served")
    with pytest.raises(PreFlightError, match="no engine can be run here"):
        settled(config(backend="auto"), answers=answers)
    found = settled(config(backend="auto", server={"url": "http://localhost:8000"}), answers=answers)
    assert (found.config.backend, found.why_engine) == ("server", "it is the only one with a section")
