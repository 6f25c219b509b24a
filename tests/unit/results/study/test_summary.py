"""What runs come to: means, intervals, ratios, and what there is no mean of."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats

from llenergymeasure.domain.study.summary import StudySummary
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.study.rows import SlotRow, StudyRows, row_of_result
from llenergymeasure.results.study.summary import Summing
from tests.fakes.studies import START, failure_of, of_batches, plan_of, result_of

Summed = Callable[..., StudySummary]
JOULES = "energy_per_output_token_j"
# ln: -0.01, 0, 0.01. Of three t(.975, 2) is 4.303: the half of the interval is 4.303 x 0.01 / sqrt(3) = 0.02484.
AROUND = (math.exp(-0.01), 1.0, math.exp(0.01))


def test_a_mean_has_its_interval_on_logarithms(summed: Summed) -> None:
    found = summed(of_batches(1), [[80 * f for f in AROUND]]).rows[0].metrics[JOULES]
    # 80 J over 4 tokens.
    assert found.n == 3
    assert found.value == pytest.approx(20)
    assert found.low == pytest.approx(20 * math.exp(-0.02484), rel=1e-5)
    assert found.high == pytest.approx(20 * math.exp(0.02484), rel=1e-5)
    # Standard deviation 0.8 J of a mean of 80.0027 J.
    assert found.cv == pytest.approx(0.01, rel=1e-3)


def test_of_two_runs_there_is_a_mean_and_no_interval(summed: Summed) -> None:
    found = summed(of_batches(1), [[80.0, 20.0]]).rows[0].metrics[JOULES]
    # sqrt(20 x 5) = 10.
    assert (found.n, found.low, found.cv) == (2, None, None)
    assert found.value == pytest.approx(10)
    assert found.why_none == "2 runs, and an interval takes 3"


def test_runs_of_one_block_are_pairs(summed: Summed) -> None:
    # Each block is worse than the one before for all of them, and that is in no ratio: d is 0.10, 0.11, 0.12.
    slower = (1.0, 1.3, 1.7)
    times = [math.exp(d) for d in (0.10, 0.11, 0.12)]
    found = summed(
        of_batches(1, 4), [[80 * f for f in slower], [80 * f * t for f, t in zip(slower, times, strict=True)]]
    )
    ratio = found.rows[1].ratios[JOULES]
    assert (ratio.method, ratio.n, ratio.verdict) == ("paired", (3, 3), "different")
    assert ratio.value == pytest.approx(math.exp(0.11))
    assert ratio.low == pytest.approx(math.exp(0.11 - 0.02484), rel=1e-5)
    assert found.rows[0].ratios == {}


@pytest.mark.parametrize("order", ["sequential", "shuffled"])
def test_runs_of_no_block_are_not_pairs(summed: Summed, order: str) -> None:
    found = summed(of_batches(1, 4), [[80 * f for f in AROUND], [88 * f for f in AROUND]], order)
    ratio = found.rows[1].ratios[JOULES]
    # Standard error 0.01 x sqrt(2 / 3) = 0.008165, t(.975, 4) = 2.776: ln 1.1 +- 0.02267.
    assert ratio.method == "welch"
    assert ratio.low == pytest.approx(1.1 * math.exp(-0.02267), rel=1e-4)
    assert any("one after the other" in caution for caution in found.cautions) == (order == "sequential")


def test_all_that_is_compared_is_one_family_by_holm(summed: Summed) -> None:
    noise = [[0.0, 0.0, 0.0], [0.02, 0.01, 0.03], [0.02, -0.01, 0.03], [0.05, 0.052, 0.049]]
    found = summed(of_batches(1, 2, 3, 4), [[80 * math.exp(d) for d in of] for of in noise])
    plain = [float(stats.ttest_1samp(of, 0).pvalue) for of in noise[1:]]
    # From the smallest: three times, twice, once, and none smaller than the one before.
    first, second, third = np.argsort(plain)
    by_hand = {first: 3 * plain[first]}
    by_hand[second] = max(by_hand[first], 2 * plain[second])
    by_hand[third] = max(by_hand[second], plain[third])
    assert [row.ratios[JOULES].p for row in found.rows[1:]] == pytest.approx([by_hand[i] for i in range(3)], rel=1e-6)
    assert by_hand[second] == pytest.approx(2 * plain[second])


def test_any_configuration_may_be_the_reference(summed: Summed) -> None:
    found = summed(of_batches(1, 4), [[80 * f for f in AROUND], [40 * f for f in AROUND]], reference=1)
    assert found.rows[0].ratios[JOULES].value == pytest.approx(2)
    assert found.rows[1].ratios == {}
    with pytest.raises(ConfigError, match="reference 2: there are 2 configurations"):
        Summing(plan_of(of_batches(1, 4)), 2)


def in_the_first(other: dict[str, Any]) -> Callable[[SlotRow], dict[str, Any]]:
    return lambda row: other if row.repeat == 0 else {}


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (
            {"circumstances": {"sensors": ("codecarbon (modelled)",)}},
            "their energy was read by different sensors: codecarbon (modelled) / nvml (counter)",
        ),
        ({"circumstances": {"scopes": ("module",)}}, "their energy covers different things: gpu / module"),
        (
            {"values": {"measurement_methodology": "windowed"}},
            "their windows are different parts of a run: total / windowed",
        ),
    ],
)
def test_what_is_not_the_same_thing_has_no_mean(summed: Summed, other: dict[str, Any], why: str) -> None:
    row = summed(of_batches(1), [[80.0, 80.0, 80.0]], behind=in_the_first(other)).rows[0]
    found = row.metrics[JOULES]
    assert (found.n, found.value, found.low, found.why_none) == (3, None, None, why)
    assert any(why in note for note in row.notes)
    of_time = row.metrics["tokens_per_second"]
    assert (of_time.value is None) == ("values" in other)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"prompts": "b" * 64}, f"their prompts are different: {'0' * 12} / {'b' * 12}"),
        ({"inputs": "b" * 64}, f"they read different tokens: {'a' * 12} / {'b' * 12}"),
        (
            {"weights": {"model_revision": "c" * 40, "weights_digest": "d" * 64}},
            f"their weights are different: model_revision {'c' * 12}, weights_digest {'d' * 12} / "
            f"model_revision {'c' * 12}, weights_digest {'e' * 12}",
        ),
        ({"engine": "fake torch 2.9"}, "their engines are different: fake 1.0 / fake torch 2.9"),
    ],
)
def test_runs_between_which_something_was_changed_have_no_mean(summed: Summed, other: dict[str, Any], why: str) -> None:
    # Half of the runs were made before the interruption, half after it; the other configuration is whole.
    usual = {"inputs": "a" * 64, "weights": {"model_revision": "c" * 40, "weights_digest": "e" * 64}}

    def behind(row: SlotRow) -> dict[str, Any]:
        changed = row.configuration == 0 and row.repeat >= 3
        return {"circumstances": {**usual, **(other if changed else {})}}

    found = summed(of_batches(1, 4), [[80.0] * 6, [40.0] * 6], behind=behind)
    first, second = found.rows
    for metric in (JOULES, "total_energy_j", "tokens_per_second"):
        assert (first.metrics[metric].n, first.metrics[metric].value, first.metrics[metric].why_none) == (6, None, why)
    assert f"no mean of any figure: {why}" in first.notes
    # No ratio over both halves either, while what is whole has its mean.
    assert (second.ratios[JOULES].value, second.ratios[JOULES].reason) == (None, why)
    assert second.metrics[JOULES].value == 10.0
    assert not any("no row is called best" in caution for caution in found.cautions)


def test_a_run_that_was_overloaded_is_never_averaged_with_ones_that_were_served(summed: Summed) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        over = row.configuration == 0 and row.repeat == 1
        return {"values": {"load_kind": "rate", "warnings": "short_measurement_duration; overloaded" if over else ""}}

    found = summed(of_batches(1, 4), [[80.0] * 3, [40.0] * 3], behind=behind)
    why = "of some more came than was served: overloaded / steady"
    assert (found.rows[0].metrics[JOULES].value, found.rows[0].metrics[JOULES].why_none) == (None, why)
    assert (found.rows[1].metrics[JOULES].value, found.rows[1].ratios[JOULES].value) == (10.0, None)


def test_other_weights_and_engines_are_what_configurations_are_compared_for(summed: Summed) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        own = f"{row.configuration}" * 64
        return {"circumstances": {"inputs": own, "weights": {"weights_digest": own}, "engine": f"fake {own}"}}

    found = summed(of_batches(1, 4), [[80.0] * 3, [40.0] * 3], behind=behind)
    assert found.rows[1].ratios[JOULES].value == pytest.approx(0.5)
    assert found.rows[1].best == (JOULES,)


def test_another_driver_is_a_caution_and_has_a_mean(summed: Summed) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        return {"circumstances": {"driver": "580.1" if row.repeat else "570.2"}, "values": {"gpus": "GPU A"}}

    found = summed(of_batches(1), [[80.0] * 3], behind=behind)
    assert found.rows[0].metrics[JOULES].value == 20.0
    assert found.cautions == ("the driver of the GPUs was not the same in all runs on GPU A: 570.2 / 580.1",)


def test_a_failure_is_counted_once_on_two_kinds_of_machine() -> None:
    plan = plan_of(of_batches(1), 3)
    done, also, failed = plan.slots
    rows = {slot.slot: row_of_result(result_of(plan, slot), plan, slot) for slot in (done, also)}
    for number, row in rows.items():
        rows[number] = replace(row, values={**row.values, "gpus": f"GPU {number}"})
    found = Summing(plan).of(StudyRows(rows=rows, failures={failed.slot: (failure_of(plan, failed), None)}))
    assert [(row.machine, row.n_failed) for row in found.rows] == [("GPU 0", 1), ("GPU 1", 0)]
    assert (sum(row.n_failed for row in found.rows), found.n_failed) == (1, 1)
    assert [any("failed" in note for note in row.notes) for row in found.rows] == [True, False]


@pytest.mark.parametrize("metric", ["perplexity", "bits_per_byte"])
def test_what_comes_out_the_same_each_time_has_a_value_and_no_interval(summed: Summed, metric: str) -> None:
    row = summed(of_batches(1), [[80.0] * 3], behind=lambda row: {"values": {metric: 12.5}}).rows[0]
    found = row.metrics[metric]
    assert (found.n, found.value, found.low, found.high, found.cv) == (3, 12.5, None, None, None)
    assert found.why_none == "the same comes out each time, so that runs are no sample"
    assert row.metrics[JOULES].low == pytest.approx(20)


def test_what_was_worked_out_by_other_definitions_has_no_mean(summed: Summed) -> None:
    def later(row: SlotRow) -> dict[str, Any]:
        known = dict(row.circumstances.definitions)
        return {"circumstances": {"definitions": {**known, JOULES: 99}}} if row.repeat == 0 else {}

    metrics = summed(of_batches(1), [[80.0, 80.0, 80.0]], behind=later).rows[0].metrics
    assert metrics[JOULES].value is None
    assert "it is worked out by different definitions" in str(metrics[JOULES].why_none)
    assert metrics["total_energy_j"].value == 80.0


def test_a_ratio_to_another_sensor_is_refused(summed: Summed) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        return {"circumstances": {"sensors": ("another",)}} if row.configuration == 1 else {}

    found = summed(of_batches(1, 4), [[80.0] * 3, [40.0] * 3], behind=behind)
    ratio = found.rows[1].ratios[JOULES]
    assert (ratio.value, ratio.verdict) == (None, "inconclusive")
    assert "different sensors" in str(ratio.reason)
    assert found.rows[1].ratios["tokens_per_second"].value == 1.0
    assert all(JOULES not in row.best for row in found.rows)
    assert any("no row is called best" in caution for caution in found.cautions)


def test_machines_of_different_kinds_are_rows_of_their_own(summed: Summed) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        return {"values": {"gpus": "GPU B" if row.repeat else "GPU A"}}

    found = summed(of_batches(1, 4), [[80.0, 40.0, 40.0], [60.0, 20.0, 20.0]], behind=behind)
    assert [(row.configuration, row.machine, row.n_finished) for row in found.rows] == [
        (0, "GPU A", 1), (0, "GPU B", 2), (1, "GPU A", 1), (1, "GPU B", 2),
    ]  # fmt: skip
    # Each is held against the reference on its own machine.
    assert [row.ratios[JOULES].value for row in found.rows[2:]] == pytest.approx([0.75, 0.5])


def test_runs_on_the_two_kinds_of_gpus_of_one_machine_are_not_mixed(summed: Summed) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        cards = "GPU B" if row.block else "GPU A"
        return {"values": {"gpus": "GPU A, GPU B"}, "circumstances": {"cards": cards}}

    found = summed(of_batches(1, 4), [[80.0, 40.0, 40.0], [60.0, 20.0, 20.0]], behind=behind)
    assert [(row.configuration, row.machine, row.n_finished) for row in found.rows] == [
        (0, "GPU A of GPU A, GPU B", 1), (0, "GPU B of GPU A, GPU B", 2),
        (1, "GPU A of GPU A, GPU B", 1), (1, "GPU B of GPU A, GPU B", 2),
    ]  # fmt: skip
    # 60 / 80 J on the one, 20 / 40 J on the other; over both it would be neither.
    assert [row.ratios[JOULES].value for row in found.rows[2:]] == pytest.approx([0.75, 0.5])


def test_joules_that_nobody_may_cite_are_never_the_best(summed: Summed) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        return (
            {"values": {"validity": "not_citable", "validity_flags": "foreign_load_high"}} if row.configuration else {}
        )

    found = summed(of_batches(1, 2, 4), [[80.0], [40.0], [60.0]], behind=behind)
    assert [row.best for row in found.rows] == [(), (), ()]
    assert found.rows[1].notes == ("the energy is not citable (foreign_load_high)",)


def test_what_changes_with_time_is_told(summed: Summed) -> None:
    # A tenth more over the session, whatever is run.
    def behind(row: SlotRow) -> dict[str, Any]:
        factor = 1 + 0.1 * row.slot / 11
        joules = float(row.values[JOULES] or 0.0) * factor
        return {"values": {JOULES: joules, "start_time": (START + timedelta(hours=row.slot)).isoformat()}}

    found = summed(of_batches(1, 4), [[80.0] * 6, [40.0] * 6], behind=behind)
    (line,) = [caution for caution in found.cautions if "whatever was run" in caution]
    # ln 1.1 is 9.5 % in logarithms, of which the straight line makes nearly as much.
    assert line.startswith(f"{JOULES} changed by +")
    assert "over 11.0 h" in line
    assert float(line.split("+")[1].split(" ")[0]) == pytest.approx(10, abs=0.3)
    assert not any("whatever" in c for c in summed(of_batches(1, 4), [[80.0] * 6, [40.0] * 6]).cautions)


def test_a_run_far_from_the_others_is_flagged_and_kept(summed: Summed) -> None:
    row = summed(of_batches(1), [[80.0, 80.1, 79.9, 80.05, 120.0]], "sequential").rows[0]
    assert row.metrics[JOULES].outliers == (4,)
    assert row.metrics[JOULES].n == 5
    assert row.notes == (f"far from the other runs, and kept: slot 4 ({JOULES})",)


def test_values_without_a_logarithm_have_no_mean_and_say_so(summed: Summed) -> None:
    behind = lambda row: {"values": {"energy_adjusted_j": -1.0}}  # noqa: E731
    found = summed(of_batches(1), [[80.0] * 3], behind=behind).rows[0].metrics["energy_adjusted_j"]
    assert found.value is None
    assert "finite numbers above zero" in str(found.why_none)


def test_what_is_summed_up_again_is_what_is_summed_up_once(summed: Summed) -> None:
    plan = plan_of(of_batches(1, 4), 3)

    all_rows = {slot.slot: row_of_result(result_of(plan, slot, 80.0 + slot.slot), plan, slot) for slot in plan.slots}
    summing = Summing(plan)
    for n in range(len(all_rows) + 1):
        some = StudyRows(rows=dict(list(all_rows.items())[:n]))
        assert summing.of(some) == Summing(plan).of(some)


# What the second configuration is above the first in each block, in logarithms.
ABOVE = (0.10, 0.11, 0.12)


def on_card(number: Callable[[SlotRow], int], **other: Any) -> Callable[[SlotRow], dict[str, Any]]:
    """The card that each run was on."""
    return lambda row: {"circumstances": {"devices": (uuid := f"GPU-{number(row)}",), "gpu_uuids": (uuid,), **other}}


@pytest.mark.parametrize("other", [{}, {"gpu_uuids": ()}, {"gpu_uuids": ("GPU-0", "GPU-1")}, {"devices": ()}])
def test_a_block_on_two_cards_is_no_pair(summed: Summed, other: dict[str, Any]) -> None:
    # Of the last block the second run was made by another worker, on a card that takes a third more.
    totals_j = [[80.0] * 4, [80 * math.exp(d) for d in (*ABOVE, 0.5)]]
    found = summed(of_batches(1, 4), totals_j, behind=on_card(lambda row: row.configuration * row.block // 3, **other))
    for metric in (JOULES, "tokens_per_second"):
        assert found.rows[1].ratios[metric].n == (3, 3)
        assert (
            "runs without a partner in their block, which are not in the ratio: 2" in found.rows[1].ratios[metric].notes
        )
    ratio = found.rows[1].ratios[JOULES]
    assert (ratio.method, ratio.verdict) == ("paired", "different")
    assert ratio.value == pytest.approx(math.exp(0.11))
    assert ratio.low == pytest.approx(math.exp(0.11 - 0.02484), rel=1e-5)


def test_where_every_block_is_on_two_cards_there_is_no_ratio(summed: Summed) -> None:
    found = summed(of_batches(1, 4), [[80.0] * 3, [88.0] * 3], behind=on_card(lambda row: row.configuration))
    assert found.rows[1].ratios[JOULES].reason == "no block has a run of both on the same card"


@pytest.mark.parametrize("second", [("GPU-0", "GPU-1"), ()])
def test_configurations_of_one_card_and_of_two_or_none_are_pairs(summed: Summed, second: tuple[str, ...]) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        uuids = second if row.configuration else ("GPU-0",)
        sensors = ("nvml (counter)",) if uuids else ("rapl (counter)",)
        return {"circumstances": {"devices": uuids or ("package-0 of a CPU",), "gpu_uuids": uuids, "sensors": sensors}}

    found = summed(of_batches(1, 4), [[80.0] * 3, [88.0] * 3], behind=behind)
    assert found.rows[1].ratios["tokens_per_second"].n == (3, 3)


def test_what_two_cards_differ_by_is_no_change_with_time(summed: Summed) -> None:
    # Each card gives the same each time, and the second, which did the second half, takes a tenth more.
    totals_j = [[80.0] * 3 + [88.0] * 3, [40.0] * 3 + [44.0] * 3]
    told = [
        any("whatever was run" in caution for caution in summed(of_batches(1, 4), totals_j, behind=behind).cautions)
        for behind in (on_card(lambda _: 0), on_card(lambda row: row.block // 3))
    ]
    assert told == [True, False]


def test_of_a_single_run_there_is_its_value_and_why_no_interval(summed: Summed) -> None:
    def behind(_: SlotRow) -> dict[str, Any]:
        return {"values": {"perplexity": 12.5, "total_energy_j": 0.0}, "circumstances": {"bounds_pct": {JOULES: 1.5}}}

    metrics = summed(of_batches(1), [[80.0]], behind=behind).rows[0].metrics
    found = metrics[JOULES]
    assert (found.n, found.value, found.low, found.high, found.cv) == (1, 20.0, None, None, None)
    assert (found.why_none, found.bound_pct, found.outliers) == ("1 run, and an interval takes 3", 1.5, ())
    assert (metrics["tokens_per_second"].value, metrics["tokens_per_second"].bound_pct) == (2.0, None)
    assert metrics["perplexity"].value == 12.5
    assert metrics["perplexity"].why_none == "the same comes out each time, so that runs are no sample"
    # A ratio to nothing is none.
    of_nothing = metrics["total_energy_j"]
    assert (of_nothing.n, of_nothing.value) == (1, None)
    assert of_nothing.why_none == "value 1 of 1 is 0; ratios take finite numbers above zero"
    assert (metrics["bits_per_byte"].n, metrics["bits_per_byte"].why_none) == (0, "no run has it")
