"""Errors become text and an exit code."""

import signal

import pytest
from pydantic import ValidationError

from llenergymeasure import cli
from llenergymeasure.cli.errors import describe
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.exceptions import (
    BackendError,
    ConfigError,
    ExperimentError,
    LLEMError,
    PreFlightError,
    StudyError,
)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(ConfigError, 2), (BackendError, 1), (PreFlightError, 1), (ExperimentError, 1), (StudyError, 1), (LLEMError, 1)],
)
def test_an_error_of_ours_is_its_message_and_its_code(kind: type[LLEMError], code: int) -> None:
    assert describe(kind("one\ntwo")) == ("one\ntwo", code)


def test_what_an_error_was_given_to_say_of_what_was_kept_is_told() -> None:
    error = ExperimentError("it took longer than 3 s")
    error.add_note("nothing was kept but its log, results/a/log.txt")
    assert describe(error) == ("it took longer than 3 s; nothing was kept but its log, results/a/log.txt", 1)


def test_pydantics_error_is_a_line_per_field_and_code_2() -> None:
    with pytest.raises(ValidationError) as caught:
        ExperimentConfig.model_validate({"model": "m", "n": 0, "precison": "x"})
    text, code = describe(caught.value)
    assert code == 2
    assert [line.split(":")[0] for line in text.splitlines()] == ["n", "precison"]
    assert "did you mean 'precision'?" in text


def test_the_lines_that_came_with_pydantics_error_are_used() -> None:
    with pytest.raises(ValidationError) as caught:
        ExperimentConfig.model_validate({"model": "m", "n": 0})
    caught.value.add_note("file.yaml:3: n: too small")
    assert describe(caught.value) == ("file.yaml:3: n: too small", 2)


def test_anything_unforeseen_is_code_1_with_its_type() -> None:
    text, code = describe(ZeroDivisionError("by zero"))
    assert code == 1
    assert "ZeroDivisionError: by zero" in text
    assert "--verbose" in text


def test_an_interruption_that_a_library_made_an_error_of_is_one_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGHUP)
        except SystemExit as end:
            raise ValueError("Error building a validator: SystemExit: 129") from end

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(cli.cli, "main", interrupted)
    try:
        with pytest.raises(SystemExit) as caught:
            cli.main([])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert (caught.value.code, capsys.readouterr().err) == (129, "llem: ended by SIGHUP\n")
