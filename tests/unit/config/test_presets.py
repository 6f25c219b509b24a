"""Decoder presets: named values that any given field wins over."""

from pathlib import Path

import pytest

from llenergymeasure.config.loader import load_experiment_config
from llenergymeasure.config.models import DecoderConfig, ExperimentConfig, measurement_config_hash


@pytest.mark.parametrize(
    ("preset", "do_sample", "temperature"),
    [("deterministic", False, None), ("factual", True, 0.3), ("standard", True, 0.7), ("creative", True, 1.1)],
)
def test_a_preset_fills_in_its_fields(preset: str, do_sample: bool, temperature: float | None) -> None:
    decoder = DecoderConfig.model_validate({"preset": preset})
    assert (decoder.do_sample, decoder.temperature) == (do_sample, temperature)


def test_a_field_that_is_given_wins_over_the_preset() -> None:
    decoder = DecoderConfig.model_validate({"preset": "creative", "temperature": 0.5, "top_p": None})
    assert (decoder.do_sample, decoder.temperature, decoder.top_p, decoder.top_k) == (True, 0.5, None, 0)


def test_a_preset_and_its_fields_written_out_are_one_measurement() -> None:
    def digest(decoder: dict[str, object]) -> str:
        return measurement_config_hash(ExperimentConfig.model_validate({"model": "m", "decoder": decoder}))

    spelled_out: dict[str, object] = {"do_sample": True, "temperature": 0.3, "top_p": 0.9, "top_k": 40}
    assert digest({"preset": "factual"}) == digest(spelled_out)
    assert digest({"preset": "factual"}) != digest({"preset": "factual", "top_k": 41})
    assert digest({"preset": "deterministic"}) == digest({})


def test_a_configuration_with_a_preset_survives_being_written_and_read() -> None:
    config = ExperimentConfig.model_validate({"model": "m", "decoder": {"preset": "creative", "top_k": 7}})
    assert ExperimentConfig.model_validate(config.model_dump(mode="json")) == config
    assert ExperimentConfig.model_validate(config.model_dump(exclude_unset=True)) == config


def test_a_preset_given_later_replaces_the_one_below_and_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("model: m\ndecoder: {preset: creative, top_k: 7}\n")
    over = load_experiment_config(path, {"decoder": {"preset": "deterministic"}})
    assert over.decoder == DecoderConfig.model_validate({"preset": "deterministic"})
    field = load_experiment_config(path, {"decoder": {"top_k": 9}})
    assert (field.decoder.temperature, field.decoder.top_k) == (1.1, 9)


def test_an_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="'deterministic', 'factual', 'standard' or 'creative'"):
        DecoderConfig.model_validate({"preset": "wild"})
