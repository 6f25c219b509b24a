"""Groups of repeated runs beside each other."""

import math
from collections.abc import Callable

import pytest

from llenergymeasure.domain.meaning.fields import FORMULAS
from llenergymeasure.domain.metrics import Distribution, LatencyStatistics
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import ComparisonRefusedError, ConfigError
from llenergymeasure.results.comparing.comparison import Against, Comparison, compare
from llenergymeasure.results.comparing.groups import Group, by_configuration
from llenergymeasure.results.comparing.metrics import METRICS
from llenergymeasure.results.persistence import load_result
from tests.unit.results.recorded import GOLDEN

MakeGroup = Callable[..., Group]
MakeRun = Callable[..., ExperimentResult]
PRIMARY = "energy_per_output_token_j"


def against(found: Comparison, name: str = PRIMARY, number: int = 0) -> Against:
    row = found.row(name)
    assert row is not None
    return row.against[number]


def with_fields(group: Group, **fields: object) -> Group:
    results = tuple(result.model_copy(update=fields) for result in group.results)
    return Group(label=group.label, results=results, runs=group.runs)


def test_both_values_their_ratio_and_the_verdict_by_hand(make_group: MakeGroup) -> None:
    # 4 output tokens each. ln: A -0.01, 0, 0.01 around 80 J, B the same around 88 J. Standard error of the difference
    # 0.01 x sqrt(2 / 3) = 0.008165, t(.975, 4) = 2.776: ln 1.1 +- 0.02267.
    around = (math.exp(-0.01), 1.0, math.exp(0.01))
    found = compare([make_group("A", *(80 * f for f in around)), make_group("B", *(88 * f for f in around))])
    row = found.row(PRIMARY)
    assert row is not None
    a, b = (value.summary for value in row.values)
    assert a is not None
    assert b is not None
    assert (a.value, b.value) == pytest.approx((20, 22))
    # Of each alone t(.975, 2) = 4.303: 0.01 x 4.303 / sqrt(3) = 0.02484.
    assert (a.low, a.high) == pytest.approx((20 * math.exp(-0.02484), 20 * math.exp(0.02484)), rel=1e-4)
    ratio = against(found).ratio
    assert ratio is not None
    assert ratio.value == pytest.approx(1.1)
    assert (ratio.low, ratio.high) == pytest.approx((1.1 * math.exp(-0.02267), 1.1 * math.exp(0.02267)), rel=1e-4)
    assert against(found).judgement.verdict == "different"
    assert against(found, "tokens_per_second").judgement.verdict == "equivalent"


def test_what_the_sensor_is_off_by_stands_beside_the_interval(make_group: MakeGroup) -> None:
    tight = {"uncertainty_j": 0.8}
    found = compare([make_group("A", 80, 80, 80, device=tight), make_group("B", 81.2, 81.2, 81.2, device=tight)])
    row = found.row(PRIMARY)
    assert row is not None
    value = row.values[0]
    # 0.8 of 80 J, and the published 5 % of on-board sensors; the interval has neither.
    assert value.accuracy_pct == 5.0
    assert value.bound_pct == pytest.approx(1.0)
    assert value.summary is not None
    assert (value.summary.low, value.summary.high) == pytest.approx((20, 20))
    # 1.5 % is less than 1 % and 0.985 % together, whatever the scatter says.
    assert against(found).judgement.verdict == "different"
    assert against(found).notes == (
        "the difference is within what the readings of each run leave open (1 % and 0.99 %)",
    )


def test_other_cards_may_differ_by_their_sensors(make_group: MakeGroup) -> None:
    found = compare([make_group("A", 80, 80, 80), make_group("B", 84, 84, 84, device={"device": "GPU-1"})])
    assert "energy was read on different devices" in found.cautions[0]
    assert against(found).notes == (
        "the difference is within what the sensors of different devices may be off by (10 %)",
        "the same configuration on different cards: the ratio is of these cards, with all else that differs",
    )
    far = compare([make_group("A", 80, 80, 80), make_group("B", 120, 120, 120, device={"device": "GPU-1"})])
    assert [note.split(":")[0] for note in against(far).notes] == ["the same configuration on different cards"]


def test_with_one_run_each_there_is_a_ratio_and_nothing_is_claimed(make_group: MakeGroup) -> None:
    found = against(compare([make_group("A", 80), make_group("B", 160)]))
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(2)
    assert (found.ratio.low, found.ratio.high) == (None, None)
    assert found.judgement.verdict == "inconclusive"
    assert found.judgement.reason == "1 run and 1 run; an interval takes 3 runs of each"


def test_an_inconclusive_one_says_how_many_runs_would_decide(make_group: MakeGroup) -> None:
    around = [math.exp(x) for x in (-0.05, 0.0, 0.05)]
    found = against(compare([make_group("A", *around), make_group("B", *(f * math.exp(0.05) for f in around))]))
    # One standard deviation apart: 17 of each (Cohen 1988).
    assert (found.judgement.verdict, found.judgement.n_needed) == ("inconclusive", 17)


def test_several_are_each_against_the_first_and_one_family(make_group: MakeGroup) -> None:
    around = [math.exp(x) for x in (-0.02, 0.0, 0.02)]
    # t = 3 with 4 degrees of freedom: p is 0.04, alone below 0.05 and of three not.
    far = [f * math.exp(3 * 0.02 * math.sqrt(2 / 3)) for f in around]
    a, b, c, d = (make_group(name, *js) for name, js in zip("ABCD", (around, far, around, around), strict=True))
    assert against(compare([a, b])).judgement.verdict == "different"
    together = compare([a, b, c, d])
    said = against(together).judgement
    assert said.verdict == "inconclusive"
    assert said.p == pytest.approx(3 * 0.0399, abs=0.001)
    last = against(together, number=2).ratio
    assert last is not None
    assert last.value == pytest.approx(1)


def test_runs_of_a_block_are_compared_with_each_other(make_group: MakeGroup) -> None:
    # Blocks drift by a factor of ten; within each B takes 2 % more, give or take 0.1 %.
    drifting = (10.0, 100.0, 1000.0)
    a = make_group("A", *drifting)
    b = make_group("B", *(f * math.exp(0.02 + e) for f, e in zip(drifting, (-0.001, 0, 0.001), strict=True)))
    blocks = {result.experiment_id: i for g in (a, b) for i, result in enumerate(g.results)}
    paired = against(compare([a, b], block_of=lambda result: blocks[result.experiment_id]))
    assert paired.ratio is not None
    assert (paired.ratio.method, paired.judgement.verdict) == ("paired", "different")
    assert against(compare([a, b])).judgement.verdict == "inconclusive"


def test_runs_without_a_partner_are_told_and_blocks_have_one_of_each(make_group: MakeGroup) -> None:
    a, b = make_group("A", 80, 81, 82, 83), make_group("B", 80, 81, 82, 99)
    blocks = {r.experiment_id: i for i, r in enumerate(a.results)}
    blocks |= {r.experiment_id: i + 1 for i, r in enumerate(b.results)}
    found = against(compare([a, b], block_of=lambda result: blocks[result.experiment_id]))
    assert found.ratio is not None
    assert found.ratio.n == (3, 3)
    assert [note for note in found.notes if "partner" in note] == [
        f"1 of {label} without a partner in their block are not in the ratio" for label in "AB"
    ]
    none = against(compare([a, b], block_of=lambda result: result.experiment_id))
    assert (none.ratio, none.judgement.reason) == (None, "no block has a run of both")
    with pytest.raises(ConfigError, match="A: two of its runs are of block 7"):
        compare([a, b], block_of=lambda _: 7)


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ({"source": "integrated"}, "read by different sensors: nvml (counter) / nvml (integrated)"),
        ({"sensor": "zeus"}, "read by different sensors: nvml (counter) / zeus (counter)"),
        ({"field": "average"}, "read by different sensors: nvml (counter of average) / nvml (counter)"),
        ({"scope": "module"}, "covers different things: gpu / module"),
    ],
)
def test_what_was_read_otherwise_is_refused_unless_asked_for(
    make_group: MakeGroup, device: dict[str, str], why: str
) -> None:
    groups = [make_group("A", 80, 81, 82), make_group("B", 80, 81, 82, device=device)]
    with pytest.raises(ComparisonRefusedError) as caught:
        compare(groups)
    assert why in str(caught.value)
    assert caught.value.exit_code == 2
    found = compare(groups, anyway=True)
    assert why in found.cautions[0]
    assert against(found).ratio is not None


def test_other_parts_of_a_run_are_refused(make_group: MakeGroup) -> None:
    a, b = make_group("A", 80), with_fields(make_group("B", 80), measurement_methodology="steady_state")
    with pytest.raises(ComparisonRefusedError, match="different parts of a run: steady_state / total"):
        compare([a, b])


def test_a_run_without_energy_is_no_other_sensor(make_group: MakeGroup) -> None:
    found = compare([make_group("A", 80, 81, 82), make_group("B", None, None, None)])
    said = against(found)
    assert (said.ratio, said.judgement.reason) == (None, "B: no run has it")
    assert against(found, "tokens_per_second").ratio is not None


def latencies(group: Group, counted_from: str, n_independent: int) -> Group:
    found = Distribution.of([1.0, 2.0, 3.0], n_independent)
    stats = LatencyStatistics(ttft_s=found, tpot_s=found, itl_s=None, e2e_s=None, counted_from=counted_from)  # type: ignore[arg-type]
    return with_fields(group, latency_stats=stats)


def test_latencies_that_count_from_elsewhere_are_refused_alone(make_group: MakeGroup) -> None:
    groups = [
        latencies(make_group("A", 80, 81, 82), "batch", 1),
        latencies(make_group("B", 80, 81, 82), "request", 3),
    ]
    found = compare(groups)
    refused = against(found, "ttft_mean_s")
    why = "it is counted in different ways: from the beginning of the batch / from the beginning of the request"
    assert (refused.ratio, refused.refused, refused.judgement.reason) == (None, why, why)
    assert against(found, "tpot_mean_s").ratio is not None
    assert against(found).ratio is not None
    assert against(compare(groups, anyway=True), "ttft_mean_s").ratio is not None


@pytest.mark.parametrize(
    ("revision", "per_token_j"), [(1, 1.1189108242060997), (2, 0.11148157742331209), (3, 2.3360311412502597)]
)
def test_figures_of_other_definitions_are_refused_alone(revision: int, per_token_j: float) -> None:
    # Since revision 5 a reading of power counts at the moments that it is of; J per token read off the files by eye.
    groups = [
        Group(label=label, results=(load_result(GOLDEN / f"revision-{of}" / "quickstart"),))
        for label, of in (("A", revision), ("B", 5))
    ]
    why = "it is worked out by different definitions: energy_devices.energy_j 1 / 2"
    found = compare(groups)
    refused = against(found)
    assert (refused.ratio, refused.refused, refused.judgement.reason) == (None, why, why)
    of_flops = against(found, "joules_per_tflop").refused or ""
    assert of_flops.endswith("energy_devices.energy_j 1 / 2, flops_result.decode 1 / 2, flops_result.prefill 1 / 2")
    for alike in ("tokens_per_second", "duration_sec", "ttft_mean_s"):
        assert "definitions" not in (against(found, alike).refused or "")
    assert against(found, "tokens_per_second").ratio is not None
    anyway = against(compare(groups, anyway=True))
    assert anyway.ratio is not None
    assert anyway.ratio.value == pytest.approx(33.995768553942575 / per_token_j)
    assert (anyway.refused, anyway.notes[0]) == (why, f"compared all the same: {why}")


def test_definitions_that_a_file_does_not_name_are_no_definitions(make_group: MakeGroup) -> None:
    groups = [make_group("A", 80, 81, 82), with_fields(make_group("B", 80, 81, 82), definitions={})]
    assert against(compare(groups), "duration_sec").refused == (
        "it is worked out by different definitions: duration_sec 1 / not known"
    )


def mixed(group: Group, **definitions: int) -> Group:
    """A group whose first run has another version of these definitions."""
    first, *others = group.results
    other = first.model_copy(update={"definitions": {**first.definitions, **definitions}})
    return Group(label=group.label, results=(other, *others), runs=group.runs)


@pytest.mark.parametrize("place", [0, 1])
def test_runs_of_a_group_that_were_worked_out_otherwise_have_no_mean(make_group: MakeGroup, place: int) -> None:
    groups = [make_group("A", 80, 80, 80), make_group("B", 80, 80, 80), make_group("C", 160, 160, 160)]
    groups[place] = mixed(groups[place], duration_sec=7)
    why = "it is worked out by different definitions: duration_sec 7 / 1"
    label = "AB"[place]
    found = compare(groups)
    row = found.row("duration_sec")
    assert row is not None
    value = row.values[place]
    assert (value.summary, value.why_none, value.n_without) == (None, f"of its own runs, {why}", 0)
    # The others have theirs: 2 s each.
    assert [v.summary.value for v in row.values if v.summary is not None] == pytest.approx([2.0, 2.0])
    refused = against(found, "duration_sec")
    assert (refused.ratio, refused.refused) == (None, f"{label}: of its own runs, {why}")
    # What has no seconds in it stands: 160 J over 80 J of the same tokens. The first is held against all.
    assert against(found, number=1).ratio is not None
    assert (against(found, "duration_sec", 1).ratio is None) == (place == 0)
    anyway = compare(groups, anyway=True)
    row = anyway.row("duration_sec")
    assert row is not None
    assert row.values[place].summary is not None
    assert against(anyway, "duration_sec").notes[0] == f"compared all the same: {label}: of its own runs, {why}"


def test_latencies_of_a_group_that_count_from_elsewhere_have_no_mean(make_group: MakeGroup) -> None:
    batch, request = (latencies(make_group("A", 80, 81), of, 1).results for of in ("batch", "request"))
    groups = [Group(label="A", results=(batch[0], request[1])), latencies(make_group("B", 80, 81), "request", 1)]
    row = compare(groups).row("ttft_mean_s")
    assert row is not None
    assert row.values[0].summary is None
    assert (row.values[0].why_none or "").startswith("of its own runs, it is counted in different ways: from the begin")
    assert row.values[1].summary is not None


def test_another_definition_is_no_drift(make_group: MakeGroup) -> None:
    # As what drifts below, with energy that the first run worked out otherwise.
    groups = [
        make_group("A", 80, 82, 84, 86, hours=(0, 2, 4, 6)),
        make_group("B", 40, 41, 42, 43, hours=(1, 3, 5, 7)),
    ]
    assert any("changed by" in line for line in compare(groups).cautions)
    groups = [mixed(group, **{"energy_devices.energy_j": 7}) for group in groups]
    assert not any("changed by" in line for line in compare(groups).cautions)


def test_every_metric_has_a_definition() -> None:
    assert {metric.place for metric in METRICS.values()} <= set(FORMULAS)


@pytest.mark.parametrize(("n_independent", "is_there"), [(99, False), (100, True)])
def test_a_p99_takes_a_hundred_independent_values(make_group: MakeGroup, n_independent: int, is_there: bool) -> None:
    groups = [latencies(make_group(name, 80, 81, 82), "request", n_independent) for name in "AB"]
    assert (compare(groups).row("ttft_p99_s") is not None) == is_there


def test_a_run_that_lacks_a_figure_is_counted_out_and_told(make_group: MakeGroup) -> None:
    row = compare([make_group("A", 80, None, 80, 80), make_group("B", 80, 80, 80)]).row(PRIMARY)
    assert row is not None
    assert row.values[0].summary is not None
    assert (row.values[0].summary.n, row.values[0].n_without) == (3, 1)
    # Of a run without energy nobody knows what the sensor would be off by.
    assert row.values[0].accuracy_pct is None


@pytest.mark.parametrize("total_j", [0.0, -5.0])
def test_what_has_no_logarithm_has_a_reason_and_no_number(make_group: MakeGroup, total_j: float) -> None:
    b = with_fields(make_group("B", 80, 80, 80), energy_adjusted_j=total_j)
    found = against(compare([with_fields(make_group("A", 80, 80, 80), energy_adjusted_j=5.0), b]), "energy_adjusted_j")
    assert found.ratio is None
    assert found.judgement.reason == f"B: value 1 of 3 is {total_j:g}; ratios take finite numbers above zero"


def test_an_outlier_is_named_and_stays_in_the_figures(make_group: MakeGroup) -> None:
    usual = (80.0, 80.1, 79.9, 80.05, 79.95)
    row = compare([make_group("A", *usual, 100.0), make_group("B", *usual)]).row(PRIMARY)
    assert row is not None
    assert [value.outliers for value in row.values] == [("A5",), ()]
    assert row.values[0].summary is not None
    assert row.values[0].summary.n == 6


def test_a_run_is_not_compared_with_itself(make_group: MakeGroup) -> None:
    a = make_group("A", 80, 81, 82)
    b = Group(label="B", results=(*make_group("B", 90, 91).results, a.results[0]))
    found = against(compare([a, b]))
    assert (found.judgement.verdict, found.judgement.reason) == ("inconclusive", "a run is in both")


def test_a_drift_is_a_caution(make_group: MakeGroup) -> None:
    # 2 % over five hours, in turns.
    hours = (0.0, 2.0, 4.0), (1.0, 3.0, 5.0)
    a, b = (
        make_group(name, *(80 * math.exp(0.004 * h + e) for h, e in zip(of, (0, 1e-4, 0), strict=True)), hours=of)
        for name, of in zip("AB", hours, strict=True)
    )
    (said,) = compare([a, b]).cautions
    assert said.startswith("energy_per_output_token_j changed by +2.02 % over 5 h, whatever was run")


def test_a_drift_beyond_all_sense_has_three_digits(make_group: MakeGroup) -> None:
    # From 1 to 1e50 in five hours, so by 1e52 %.
    a = make_group("A", 1.0, 1e20, 1e40, hours=(0.0, 2.0, 4.0))
    b = make_group("B", 1e10, 1e30, 1e50, hours=(1.0, 3.0, 5.0))
    lines = [line for line in compare([a, b]).cautions if "changed by" in line]
    assert lines[0].startswith("energy_per_output_token_j changed by +1e+52 % over 5 h, whatever")


def test_groups_that_came_one_after_the_other_are_a_caution(make_group: MakeGroup) -> None:
    a = make_group("A", 80, 81, 80, hours=(0.0, 1.0, 2.0))
    b = make_group("B", 80, 81, 80, hours=(3.0, 4.0, 5.0))
    for groups in ([a, b], [b, a]):
        assert "came one after the other" in compare(groups).cautions[0]
    mixed = make_group("B", 80, 81, 80, hours=(0.5, 4.0, 5.0))
    assert compare([a, mixed]).cautions == ()


def test_what_else_differs_is_told_with_the_values_of_each(make_group: MakeGroup) -> None:
    a, b = make_group("A", 80, 80), with_fields(make_group("B", 80, n=7), outputs_digest="1" * 64)
    found = {(fact.kind, fact.name): fact.values for fact in compare([a, b]).differences}
    assert found.pop(("tokens", "outputs_digest")) == ((a.results[0].outputs_digest,), ("1" * 64,))
    assert found == {("settings", "n"): ((100,), (7,))}


def test_repeats_that_differ_are_told_too(make_group: MakeGroup) -> None:
    a = make_group("A", 80, 80)
    one, other = a.results
    heated = other.model_copy(update={"validity": "questionable", "validity_flags": ["gpu_throttled"]})
    mixed = Group(label="A", results=(one, heated))
    (fact,) = compare([mixed, make_group("B", 80)]).differences
    assert (fact.kind, fact.values) == ("validity", (("citable", "questionable (gpu_throttled)"), ("citable",)))


def test_energy_that_is_not_citable_is_a_caution_where_there_is_some(make_group: MakeGroup) -> None:
    a = make_group("A", 80, 80, None)
    assert compare([a, make_group("B", None, None, None)]).cautions == ()
    one, other, without = a.results
    hot = other.model_copy(update={"validity": "questionable", "validity_flags": ["gpu_throttled"]})
    found = compare([Group(label="A", results=(one, hot, without)), make_group("B", 80)])
    assert found.cautions == ("A: energy is questionable in 1 of 2 runs (gpu_throttled)",)


def test_what_did_not_read_the_same_is_a_caution(make_group: MakeGroup) -> None:
    other = with_fields(make_group("B", 80), inputs_digest="2" * 64)
    assert "did not all read the same tokens" in compare([make_group("A", 80), other]).cautions[0]


def test_a_group_is_repeats_of_one_configuration(make_run: MakeRun) -> None:
    one, other = make_run(80), make_run(80, n=7)
    with pytest.raises(ConfigError, match="G: there are 2 configurations in it"):
        Group(label="G", results=(one, other))
    with pytest.raises(ConfigError, match="G: run x is in it twice"):
        Group(label="G", results=(one, one), runs=("x", "x"))
    with pytest.raises(ConfigError, match="no results"):
        Group(label="G", results=())


def test_results_are_parted_by_their_configurations(make_run: MakeRun) -> None:
    runs = [("r0", make_run(80)), ("r1", make_run(80, n=7)), ("r2", make_run(81))]
    first, second = by_configuration("S", runs)
    assert (first.runs, second.runs) == (("r0", "r2"), ("r1",))
    # Both are called alike, so their hashes tell them apart.
    assert first.label != second.label
    assert first.results[0].measurement_config_hash in first.label
    assert by_configuration("S", runs[:1])[0].label == "S"


def test_what_is_no_comparison_is_an_error(make_group: MakeGroup) -> None:
    a, b = make_group("A", 80), make_group("B", 80)
    with pytest.raises(ConfigError, match="takes two groups"):
        compare([a])
    for margin in (0.0, 1.0, math.nan):
        with pytest.raises(ConfigError, match="no fraction between 0 and 1"):
            compare([a, b], margin=margin)


def test_every_metric_has_a_unit_and_the_name_of_the_csv(make_group: MakeGroup) -> None:
    assert all(name == metric.name for name, metric in METRICS.items())
    assert [name for name, metric in METRICS.items() if not metric.unit] == ["perplexity"]
    found = compare([make_group("A", 80), make_group("B", 80)])
    assert [row.metric.name for row in found.rows][:2] == [PRIMARY, "avg_energy_per_token_j"]
