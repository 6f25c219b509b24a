"""What transformers takes where a generation configuration says nothing, in two versions of it."""

from typing import Any

from llenergymeasure.core.checkpoint.own_settings import defaults_of


class OfVersion4:
    """A configuration that says nothing has the defaults."""

    def __init__(self, **told: Any) -> None:
        self.told = told

    def to_dict(self) -> dict[str, Any]:
        return {"top_k": 50, "repetition_penalty": 1.0, **self.told}


class OfVersion5(OfVersion4):
    """A configuration that says nothing has none of them; they are told by a method."""

    def _get_default_generation_params(self) -> dict[str, Any]:
        return {"top_k": 51}


def test_version_4_has_defaults_in_a_configuration_that_says_nothing() -> None:
    assert defaults_of(OfVersion4(top_k=7)) == {"top_k": 50, "repetition_penalty": 1.0}


def test_version_5_is_asked_for_them() -> None:
    assert defaults_of(OfVersion5(top_k=7)) == {"top_k": 51}
