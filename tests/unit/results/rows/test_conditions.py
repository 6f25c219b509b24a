"""Conditions on rows, as they are typed."""

import pytest

from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.rows.conditions import Condition


@pytest.mark.parametrize(
    ("given", "value", "holds"),
    [
        ("backend=vllm", "vllm", True),
        ("backend==vllm", "vllm", True),
        ("backend = vllm", "vllm", True),
        ("backend=vllm", "vLLM", False),
        ("backend!=vllm", "pytorch", True),
        ("backend!=vllm", "vllm", False),
        ("n=8", 8, True),
        ("n=8.0", 8, True),
        ("n=08", 8, True),
        ("n=eight", 8, False),
        ("n!=eight", 8, True),
        ("n<8", 8, False),
        ("n<=8", 8, True),
        ("n>1e1", 11, True),
        ("n>=12", 11, False),
        ("total_energy_j>-1.5", -1.0, True),
        # Nothing is neither more nor less than anything.
        ("total_energy_j>0", None, False),
        ("total_energy_j<=0", None, False),
        ("lora=null", None, True),
        ("lora=", None, True),
        ("lora!=null", None, False),
        ("lora!=null", "a", True),
        ("decoder.do_sample=true", True, True),
        ("decoder.do_sample=True", True, True),
        ("decoder.do_sample=1", True, False),
        ("decoder.do_sample=1", 1, True),
        ("decoder.do_sample>0", True, False),
        ("stop=[1, 2]", [1, 2], True),
        ("start_time>2026-01-01", "2026-01-01T00:00:00+00:00", True),
        ("start_time<2026-01-01", "2026-01-01T00:00:00+00:00", False),
        ("name=a=b", "a=b", True),
        ("name=", "", True),
    ],
)
def test_a_condition_holds_or_not(given: str, value: object, holds: bool) -> None:
    assert Condition.of(given).holds(value) is holds


@pytest.mark.parametrize("given", ["", "backend", "=vllm", ">3", "a b=3"])
def test_what_is_no_condition_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="give NAME=VALUE"):
        Condition.of(given)


def test_a_number_is_not_more_than_a_text() -> None:
    with pytest.raises(ConfigError, match="n is a number"):
        Condition.of("n>many").holds(3)
