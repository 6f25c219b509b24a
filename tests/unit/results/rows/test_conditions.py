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
        ("passthrough_kwargs.n=eight", 8, False),
        ("passthrough_kwargs.n!=eight", 8, True),
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
        ("decoder.do_sample=false", None, False),
        ("decoder.do_sample!=false", None, True),
        ("passthrough_kwargs.x=1", True, False),
        ("passthrough_kwargs.x=1", 1, True),
        ("passthrough_kwargs.x>0", True, False),
        ("pytorch.batch_size>=4", 4, True),
        ("pytorch.batch_size>=4", None, False),
        ("pytorch.batch_size!=4", None, True),
        ("pytorch.batch_size=null", None, True),
        ("batch_size=8", 8, True),
        ("stop=[1, 2]", [1, 2], True),
        ("stop=[1,2]", [1, 2], True),
        ("stop=[1", [1, 2], False),
        # One beyond 2^53, which no float is.
        ("seed=9007199254740993", 9007199254740993, True),
        ("seed=9007199254740993", 9007199254740992, False),
        # float() takes these.
        ("passthrough_kwargs.n=1_00", 100, False),
        ("passthrough_kwargs.n!=1_00", 100, True),
        ("passthrough_kwargs.n=\u0661", 1, False),
        ("n=1.", 1, True),
        ("n=+.5E1", 5, True),
        ("total_energy_j=", None, True),
        ("total_energy_j!=null", 8.0, True),
        # 02:30 in a zone an hour ahead is 01:30Z, and a time without a zone is of UTC.
        ("start_time>2026-01-01 02:30:00+01:00", "2026-01-01T01:00:00+00:00", False),
        ("start_time>2026-01-01 02:30:00+01:00", "2026-01-01T02:00:00+00:00", True),
        ("start_time<=2026-01-01T01:00", "2026-01-01T02:00:00+01:00", True),
        ("start_time<2026-01-01T01:00Z", "2026-01-01T01:00:00", False),
        ("start_time=2026-01-01T01:00Z", "2026-01-01T02:00:00+01:00", True),
        ("start_time!=2026-01-01T01:00Z", "2026-01-01T02:00:00+01:00", False),
        ("start_time=20260101", "2026-01-01T00:00:00+00:00", True),
        ("start_time>2026-01-01", "2026-01-01T00:00:00+00:00", False),
        ("start_time>0001-01-01T00:00+14:00", "0001-01-01T00:00:00+00:00", True),
        ("start_time=null", "2026-01-01T00:00:00+00:00", False),
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


@pytest.mark.parametrize("text", ["many", "nan", "inf", "1_00", "1e999", "0x10", "\u0661", "--1", "1e", ".", "1 0"])
def test_a_number_is_not_more_than_a_text(text: str) -> None:
    with pytest.raises(ConfigError, match=r"n is a number, and .* is no finite one; give such as"):
        Condition.of(f"n>{text}").holds(3)


@pytest.mark.parametrize("sign", ["=", "!=", "<", ">="])
@pytest.mark.parametrize("text", ["many", "nan", "-inf", "1_00", "1e999"])
def test_a_column_of_numbers_takes_no_text_whatever_its_rows_have(sign: str, text: str) -> None:
    for name in ("total_energy_j", "n_requests"):
        with pytest.raises(ConfigError, match=f"{name} is a number, and '{text}' is no finite one; give such as"):
            Condition.of(f"{name}{sign}{text}")


@pytest.mark.parametrize("sign", ["=", "!=", "<", ">="])
@pytest.mark.parametrize("text", ["yesterday", "2026", "2026-02-30", "1767225600", "02:30"])
def test_a_column_of_times_takes_times_alone(sign: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"'{text}' is no time; give one of ISO 8601, such as 2026-01-31"):
        Condition.of(f"start_time{sign}{text}")


@pytest.mark.parametrize(
    "given", ["n=eight", "pytorch.batch_size!=four", "pytorch.batch_size>=true", "warmup.cv_threshold=x"]
)
def test_a_setting_of_numbers_takes_no_text_whether_or_not_a_row_has_it(given: str) -> None:
    with pytest.raises(ConfigError, match=r"is a number, and '\w+' is no finite one"):
        Condition.of(given)


@pytest.mark.parametrize("given", ["decoder.do_sample=1", "decoder.do_sample>0", "warmup.enabled=yes"])
def test_a_setting_that_is_true_or_false_takes_nothing_else(given: str) -> None:
    with pytest.raises(ConfigError, match=r"is true or false, or null; give \S+=true"):
        Condition.of(given)


@pytest.mark.parametrize("given", ["pytorch=8", "lora>1", "passthrough_kwargs=x", "dataset.random=1"])
def test_a_section_is_set_or_not_and_no_more(given: str) -> None:
    with pytest.raises(ConfigError, match=r"has settings inside; name one of them"):
        Condition.of(given)


@pytest.mark.parametrize("given", ["start_time>null", "total_energy_j<", "n_requests>=null"])
def test_nothing_is_more_or_less_than_what_is_not_set(given: str) -> None:
    with pytest.raises(ConfigError, match=r"is no (time|finite one)"):
        Condition.of(given)
