"""Several nodes in a configuration: what goes with them."""

from typing import Any

import pytest
from pydantic import ValidationError

from llenergymeasure.config.models import ExperimentConfig, measurement_config_hash


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"load": {"rate": 1.0}}, "nodes cannot go with load yet"),
        ({"measurement": {"methodology": "windowed", "window_length_s": 5}}, "nodes go with measurement"),
        ({"measurement": {"methodology": "steady_state"}}, "nodes go with measurement.methodology: total"),
        ({"measurement": {"dither_s": 0.5}}, "nodes go with measurement.methodology: total"),
        ({"quality": True}, "nodes cannot go with quality"),
        ({"device": {"power_limit_w": 200}}, "device cannot go with nodes"),
    ],
)  # fmt: skip
def test_what_runs_beside_the_window_or_on_one_node_does_not_go_with_nodes(beside: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ExperimentConfig.model_validate({"model": "any", "nodes": {"n": 2}, **beside})


def test_nodes_are_measured_and_their_absence_says_nothing() -> None:
    alone = ExperimentConfig(model="any")
    several = ExperimentConfig.model_validate({"model": "any", "nodes": {"n": 2}})
    assert "nodes" not in alone.identity()
    assert measurement_config_hash(several) != measurement_config_hash(alone)
    # A device section that sets nothing is none.
    assert ExperimentConfig.model_validate({"model": "any", "nodes": {"n": 2}, "device": {}}).nodes is not None


def test_a_command_is_a_line_or_words() -> None:
    line = ExperimentConfig.model_validate({"model": "any", "nodes": {"n": 2, "command": "ray start --block 'a b'"}})
    assert line.nodes is not None
    assert line.nodes.command == ["ray", "start", "--block", "a b"]
    with pytest.raises(ValidationError, match="this line is not whole"):
        ExperimentConfig.model_validate({"model": "any", "nodes": {"n": 2, "command": "ray 'start"}})
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        ExperimentConfig.model_validate({"model": "any", "nodes": {"n": 1}})
