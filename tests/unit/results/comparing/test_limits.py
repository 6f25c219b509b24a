"""Limits of a comparison, and the exit code that follows."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.exceptions import ComparisonRefusedError, ConfigError
from llenergymeasure.results.comparing.comparison import compare
from llenergymeasure.results.comparing.groups import Group
from llenergymeasure.results.comparing.limits import Limit, exit_code, held_to
from tests.unit.results.comparing.test_comparison import latencies

MakeGroup = Callable[..., Group]


@pytest.mark.parametrize(
    ("text", "sign", "ratio"),
    [
        ("energy_per_output_token_j > +2%", ">", 1.02),
        ("energy_per_output_token_j>+2.5 %", ">", 1.025),
        (" energy_per_output_token_j < -3% ", "<", 0.97),
        ("energy_per_output_token_j > 1.1", ">", 1.1),
        ("energy_per_output_token_j < 0.9", "<", 0.9),
        ("energy_per_output_token_j > 1e1", ">", 10.0),
    ],
)
def test_a_limit_is_a_change_or_a_ratio(text: str, sign: str, ratio: float) -> None:
    limit = Limit.of(text)
    assert (limit.metric, limit.sign) == ("energy_per_output_token_j", sign)
    assert limit.ratio == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("energy_per_output_tokens_j > +2%", "did you mean 'energy_per_output_token_j'"),
        ("tokens_per_second < 2%", r"a change has a sign, \+2% or -2%"),
        ("tokens_per_second < -100%", "finite number above zero"),
        ("tokens_per_second > 0", "finite number above zero"),
        ("tokens_per_second > 1e999", "finite number above zero"),
        ("tokens_per_second > 1.2.3", "1.2.3 is no number"),
        ("tokens_per_second >= 1", "this is none; write NAME"),
        ("tokens_per_second", "this is none; write NAME"),
        ("", "this is none; write NAME"),
    ],
)
def test_what_is_no_limit_is_told(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Limit.of(text)


@given(st.text(max_size=40))
def test_no_text_ends_in_a_traceback(text: str) -> None:
    for written in (text, f"mfu > {text}"):
        try:
            Limit.of(written)
        except ConfigError:
            continue


def groups(make_group: MakeGroup, share: float, scatter: float) -> list[Group]:
    around = (1 - scatter, 1.0, 1 + scatter)
    return [make_group("A", *(80 * f for f in around)), make_group("B", *(80 * share * f for f in around))]


@pytest.mark.parametrize(
    ("share", "scatter", "limit", "state", "codes"),
    [
        (1.1, 0.001, "energy_per_output_token_j > +2%", "broken", (1, 1)),
        (1.1, 0.001, "energy_per_output_token_j > +20%", "kept", (0, 0)),
        (1.03, 0.05, "energy_per_output_token_j > +2%", "open", (0, 1)),
        (0.9, 0.001, "energy_per_output_token_j > +2%", "kept", (0, 0)),
        (0.9, 0.001, "energy_per_output_token_j < -2%", "broken", (1, 1)),
        (0.97, 0.05, "energy_per_output_token_j < 0.98", "open", (0, 1)),
        # All of these runs had the same 2 tokens/s.
        (1.0, 0.001, "tokens_per_second < -1%", "kept", (0, 0)),
        (1.0, 0.001, "mfu < -1%", "open", (0, 1)),
    ],
)
def test_the_whole_interval_has_to_lie_beyond(
    make_group: MakeGroup, share: float, scatter: float, limit: str, state: str, codes: tuple[int, int]
) -> None:
    found = held_to(compare(groups(make_group, share, scatter)), [Limit.of(limit)])
    assert [outcome.state for outcome in found] == [state]
    assert (exit_code(found), exit_code(found, strict=True)) == codes
    assert found[0].line.startswith("B ")
    assert limit in found[0].line


def test_single_runs_decide_nothing(make_group: MakeGroup) -> None:
    found = held_to(compare([make_group("A", 80), make_group("B", 800)]), [Limit.of("energy_per_output_token_j > +2%")])
    assert found[0].state == "open"
    assert "an interval takes 3 runs" in found[0].line


def test_what_repeats_do_not_take_away_is_told_with_the_limit(make_group: MakeGroup) -> None:
    open_by = {"uncertainty_j": 4.0}
    found = compare([make_group("A", 80, 80, 80, device=open_by), make_group("B", 84, 84, 84, device=open_by)])
    (outcome,) = held_to(found, [Limit.of("energy_per_output_token_j > +2%")])
    assert outcome.state == "broken"
    assert "within what the readings of each run leave open (5 % and 4.8 %)" in outcome.line


def test_every_group_is_held_to_every_limit(make_group: MakeGroup) -> None:
    a, b = groups(make_group, 1.1, 0.001)
    limits = [Limit.of("energy_per_output_token_j > +2%"), Limit.of("tokens_per_second < -1%")]
    found = held_to(compare([a, make_group("C", 80, 80, 80), b]), limits)
    assert [(o.label, o.state) for o in found] == [("C", "kept"), ("B", "broken"), ("C", "kept"), ("B", "kept")]
    assert exit_code(found) == 1
    assert exit_code([]) == 0


@pytest.mark.parametrize(
    ("doubtful", "verdict", "limit", "codes"),
    [
        ("B", "not_citable", "energy_per_output_token_j > +20%", (0, 1)),
        ("A", "not_citable", "energy_per_output_token_j > +20%", (0, 1)),
        ("A", "not_citable", "joules_per_tflop > +20%", (0, 1)),
        ("B", "not_citable", "energy_per_output_token_j > +2%", (1, 1)),
        ("B", "questionable", "energy_per_output_token_j > +20%", (0, 0)),
        # Speed is what it is, whatever the joules are.
        ("B", "not_citable", "tokens_per_second < -1%", (0, 0)),
    ],
)
def test_under_strict_no_limit_is_kept_by_energy_that_is_not_citable(
    make_group: MakeGroup, doubtful: str, verdict: str, limit: str, codes: tuple[int, int]
) -> None:
    flags = ("absurd_power",) if verdict == "not_citable" else ("gpu_throttled",)
    of = {group.label: group for group in groups(make_group, 1.1, 0.001)}
    *others, last = of[doubtful].results
    warned = last.model_copy(update={"validity": verdict, "validity_flags": flags})
    of[doubtful] = replace(of[doubtful], results=(*others, warned))
    found = held_to(compare([of["A"], of["B"]]), [Limit.of(limit)])
    assert (exit_code(found), exit_code(found, strict=True)) == codes
    expected = f"energy is not citable: {doubtful}: in 1 of 3 runs (absurd_power)"
    assert found[0].not_citable == (expected if verdict == "not_citable" and not limit.startswith("tokens") else None)


def test_a_limit_on_what_is_refused_is_refused(make_group: MakeGroup) -> None:
    both = [latencies(g, of, 3) for g, of in zip(groups(make_group, 1.0, 0.01), ("batch", "request"), strict=True)]
    with pytest.raises(ComparisonRefusedError, match="counted in different ways"):
        held_to(compare(both), [Limit.of("ttft_mean_s > +2%")])
    assert held_to(compare(both, anyway=True), [Limit.of("ttft_mean_s > +2%")])[0].state == "kept"
