"""Comparisons within cards, and those that no card allows."""

import math

import pytest

from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.comparing.comparison import Against, Comparison, compare
from llenergymeasure.results.comparing.groups import Group
from llenergymeasure.results.comparing.written import as_written
from tests.fakes.repeats import START, run

JOULES = "total_energy_j"


def group(label: str, n: int = 100, **of_card: list[float]) -> Group:
    """Repeats of a configuration of so many prompts, by cards, as logarithms of what they are above 80 J."""
    results = [run(80 * math.exp(y), device={"device": f"GPU-{card}"}, n=n) for card, ys in of_card.items() for y in ys]
    return Group(label=label, results=tuple(results))


def against(found: Comparison, metric: str = JOULES) -> Against:
    row = found.row(metric)
    assert row is not None
    return row.against[0]


def test_groups_on_the_same_cards_are_compared_within_them() -> None:
    up, more = math.log(1.08), math.log(1.03)
    first = group("A", a=[0.0, 0.001, -0.001], b=[up])
    other = group("B", n=99, a=[more], b=[more + up, more + up + 0.001, more + up - 0.001])
    found = against(compare([first, other]))
    assert found.ratio is not None
    assert (found.ratio.method, found.judgement.verdict) == ("stratified", "different")
    assert found.ratio.value == pytest.approx(1.03, abs=1e-6)
    assert "within each of 2 cards" in found.notes
    (written,) = (each for each in as_written(compare([first, other]))["metrics"] if each["metric"] == JOULES)
    assert written["against_first"][0]["method"] == "stratified"


def test_the_only_run_on_another_card_is_no_outlier() -> None:
    first, other = group("A", a=[0.0, 0.001, -0.001], b=[0.5]), group("B", n=99, a=[0, 0.001, -0.001, 0.0, 0.5])
    row = compare([first, other]).row(JOULES)
    assert row is not None
    assert [len(value.outliers) for value in row.values] == [0, 1]


def test_groups_on_a_card_each_have_a_ratio_and_no_verdict() -> None:
    first, other = group("A", a=[0.0, 0.001, -0.001]), group("B", n=99, b=[0.5, 0.501, 0.499])
    found = against(compare([first, other]))
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(math.exp(0.5))
    assert (found.ratio.low, found.judgement.verdict, found.judgement.p) == (None, "inconclusive", None)
    assert str(found.judgement.reason).startswith("confounded with the card")
    # Who knows that the cards are alike may say so.
    anyway = against(compare([first, other], anyway=True))
    assert anyway.judgement.verdict == "different"
    assert any(note.startswith("compared all the same: confounded") for note in anyway.notes)


def test_of_one_configuration_cards_are_what_is_compared() -> None:
    found = against(compare([group("A", a=[0.0, 0.001, -0.001]), group("B", b=[0.5, 0.501, 0.499])]))
    assert found.judgement.verdict == "different"
    assert any(note.startswith("the same configuration on different cards") for note in found.notes)


def of_kinds(label: str, *names: str) -> Group:
    results = []
    for place, name in enumerate(names):
        result = run(80.0 + place, device={"device": f"GPU-{place}"})
        gpu = GpuInfo(index=0, uuid=f"GPU-{place}", name=name)
        about = result.environment_snapshot.__class__(**{**vars(result.environment_snapshot), "gpus": (gpu,)})
        results.append(result.model_copy(update={"environment_snapshot": about}))
    return Group(label=label, results=tuple(results))


def test_runs_on_different_kinds_of_device_have_no_mean() -> None:
    mixed, other = of_kinds("A", "H100", "H100", "A100"), group("B", n=99, a=[0.0, 0.1, 0.2])
    row = compare([mixed, other]).row(JOULES)
    assert row is not None
    assert row.values[0].summary is None
    assert row.values[0].why_none == "of its own runs, they were on different kinds of device: H100 / A100"
    assert row.against[0].refused is not None
    shown = compare([mixed, other], anyway=True).row(JOULES)
    assert shown is not None
    assert shown.values[0].summary is not None


def test_cards_that_differ_by_more_than_is_claimed_are_a_caution() -> None:
    up, more = math.log(1.08), math.log(1.03)
    first = group("A", a=[0.0, 0.001, -0.001], b=[up, up + 0.001, up - 0.001])
    other = group("B", n=99, a=[more, more + 0.001, more - 0.001], b=[more + up, more + up + 0.001, more + up - 0.001])
    (said,) = (each for each in compare([first, other]).cautions if each.startswith("cards differ"))
    assert said == (
        "cards differ by 8.0 % in energy_per_output_token_j (x1.079 to x1.081 of 2 cards), more than B from A"
    )
    far = group("B", n=99, a=[0.5, 0.501, 0.499], b=[0.5 + up, 0.501 + up, 0.499 + up])
    (said,) = (each for each in compare([first, far]).cautions if each.startswith("cards differ"))
    assert said == "cards differ by 8.0 % in energy_per_output_token_j (x1.079 to x1.081 of 2 cards)"


def by_host(result: ExperimentResult, host: str, hour: int) -> ExperimentResult:
    about = result.environment_snapshot.__class__(
        **{**vars(result.environment_snapshot), "host": host, "boot_id": f"boot-of-{host}"}
    )
    return result.model_copy(update={"environment_snapshot": about, "start_time": START.replace(hour=hour)})


def test_times_of_two_hosts_have_no_order() -> None:
    ours, theirs = group("A", a=[0.0, 0.1, 0.2]).results, group("B", n=99, a=[0.0, 0.1, 0.2]).results

    def said(host: str) -> bool:
        first = Group(label="A", results=tuple(by_host(each, "n1", 1) for each in ours))
        other = Group(label="B", results=tuple(by_host(each, host, 2) for each in theirs))
        return any("one after the other" in caution for caution in compare([first, other]).cautions)

    assert said("n1")
    assert not said("n2")
