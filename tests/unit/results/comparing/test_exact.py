"""What comes out the same each time: no interval, a verdict by the ratio alone, and only of the same text."""

import math
from dataclasses import replace

import pytest

from llenergymeasure.cli.render_comparison import comparison as as_text
from llenergymeasure.domain.quality import QualityResult
from llenergymeasure.results.comparing.comparison import Against, Comparison, compare
from llenergymeasure.results.comparing.groups import Group
from llenergymeasure.results.comparing.limits import Limit, exit_code, held_to
from llenergymeasure.results.comparing.written import as_written
from tests.unit.results.comparing.conftest import MakeGroup
from tests.unit.results.comparing.test_comparison import against, with_fields


def quality(perplexity: float, **fields: object) -> QualityResult:
    """Of 1,000 tokens of 4,000 bytes."""
    found = QualityResult(
        text="built-in sample", text_digest="a" * 64, tokens_digest="b" * 64, n_scored_tokens=1000, n_bytes=4000,
        nll_nats=1000 * math.log(perplexity), n_context_tokens=512, n_stride_tokens=256,
    )  # fmt: skip
    return replace(found, **fields).worked_out()  # type: ignore[arg-type]


def with_perplexities(group: Group, *perplexities: float) -> Group:
    results = [
        result.model_copy(update={"quality": quality(p)}) for result, p in zip(group.results, perplexities, strict=True)
    ]
    return Group(label=group.label, results=tuple(results), runs=group.runs)


def compared(make_group: MakeGroup, ours: list[float], theirs: list[float]) -> Comparison:
    a, b = make_group("A", *[80.0] * len(ours)), make_group("B", *[80.0] * len(theirs))
    return compare([with_perplexities(a, *ours), with_perplexities(b, *theirs)])


def perplexity_of(found: Comparison) -> Against:
    return against(found, "perplexity")


@pytest.mark.parametrize("n", [1, 2, 3, 30])
@pytest.mark.parametrize(
    ("theirs", "verdict"), [(20.1, "equivalent"), (20.0, "equivalent"), (21.0, "different"), (19.0, "different")]
)
def test_any_number_of_equal_runs_says_the_same(make_group: MakeGroup, n: int, theirs: float, verdict: str) -> None:
    found = perplexity_of(compared(make_group, [20.0] * n, [theirs] * n))
    assert found.ratio is not None
    assert (found.ratio.value, found.ratio.low, found.ratio.high) == pytest.approx((theirs / 20,) * 3)
    assert (found.judgement.verdict, found.judgement.p, found.judgement.n_needed) == (verdict, None, None)
    # Neither the figures of a group have one.
    row = compared(make_group, [20.0] * n, [theirs] * n).row("perplexity")
    assert row is not None
    assert [(v.summary and (v.summary.low, v.summary.high)) for v in row.values] == [(None, None)] * 2
    assert [v.summary and v.summary.why_no_interval for v in row.values] == [
        "the same comes out each time, so that runs are no sample"
    ] * 2


def test_runs_that_did_not_come_out_the_same_widen_the_ends(make_group: MakeGroup) -> None:
    # 20.1 to 20.5 over 20: 0.5 to 2.5 %, and a percent lies between.
    found = perplexity_of(compared(make_group, [20.0, 20.0, 20.0], [20.1, 20.5, 20.3]))
    assert found.ratio is not None
    assert (found.ratio.low, found.ratio.high) == pytest.approx((1.005, 1.025))
    assert found.judgement.verdict == "inconclusive"
    assert "did not come out the same, and 1 % lies between them" in (found.judgement.reason or "")
    # Rounding of the last digits decides nothing, and is no outlier.
    close = compared(make_group, [20.0, 20.0, 20.0000001], [20.0, 20.0, 20.0])
    assert perplexity_of(close).judgement.verdict == "equivalent"
    row = close.row("perplexity")
    assert row is not None
    assert row.values[0].outliers == ()


def test_a_run_that_is_in_both_says_nothing(make_group: MakeGroup) -> None:
    group = with_perplexities(make_group("A", 80.0), 20.0)
    found = perplexity_of(compare([group, Group(label="B", results=group.results, runs=("b",))]))
    assert (found.judgement.verdict, found.judgement.reason) == ("inconclusive", "a run is in both")


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"text_digest": "c" * 64}, {"perplexity", "bits_per_byte"}),
        # Another tokenizer: fewer tokens for the same bytes, which bits per byte may be compared over.
        ({"tokens_digest": "c" * 64, "n_scored_tokens": 800}, {"perplexity"}),
        ({"tokens_digest": "c" * 64, "n_bytes": 3000}, {"perplexity", "bits_per_byte"}),
        ({"n_context_tokens": 1024}, {"perplexity", "bits_per_byte"}),
    ],
)
def test_only_what_is_of_the_same_text_is_compared(
    make_group: MakeGroup, fields: dict[str, object], refused: set[str]
) -> None:
    ours = with_fields(make_group("A", 80.0), quality=quality(20.0))
    theirs = with_fields(make_group("B", 80.0), quality=quality(20.0, **fields))
    found = compare([ours, theirs])
    assert {name for name in ("perplexity", "bits_per_byte") if against(found, name).refused is not None} == refused


def test_a_limit_is_held_by_the_ratio(make_group: MakeGroup) -> None:
    found = compared(make_group, [20.0], [20.5])
    limits = [Limit.of("perplexity > +2%"), Limit.of("perplexity > +3%")]
    outcomes = held_to(found, limits)
    assert [outcome.state for outcome in outcomes] == ["broken", "kept"]
    assert exit_code(outcomes) == 1


def test_groups_without_it_have_no_row_and_one_with_it_says_so(make_group: MakeGroup) -> None:
    plain = [make_group("A", 80.0), make_group("B", 80.0)]
    assert compare(plain).row("perplexity") is None
    found = perplexity_of(compare([plain[0], with_perplexities(plain[1], 20.0)]))
    assert (found.ratio, found.judgement.reason) == (None, "A: no run has it")


def test_it_is_shown_without_an_interval_and_with_what_it_says_nothing_of(make_group: MakeGroup) -> None:
    found = compared(make_group, [20.0] * 3, [21.0] * 3)
    text = as_text(found)
    (row,) = [line.split() for line in text.splitlines() if line.startswith("perplexity")]
    assert row == ["perplexity", "20.0", "21.0", "1.050", "different"]
    flat = " ".join(text.split())
    assert "so that the verdict is by the ratio alone; of another text it says nothing [perplexity, bits/byte]" in flat
    (written,) = [row for row in as_written(found)["metrics"] if row["metric"] == "perplexity"]
    (told,) = written["against_first"]
    assert (told["method"], told["verdict"], told["p_holm"]) == ("exact", "different", None)
