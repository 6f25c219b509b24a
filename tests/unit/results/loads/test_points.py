"""Which runs make a point, and which points a curve."""

import math

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.results.loads.points import series_of
from tests.fakes.studies import of_batches, plan_of
from tests.unit.results.loads.made import at_rates, rows_of, run, series


def test_points_go_from_the_least_load_to_the_most_with_their_repeats() -> None:
    found = series((4.0, 1.0), [[run(3.9, 200.0), run(4.1, 220.0)], [run(1.0, 100.0), run(1.0, 100.0)]])
    assert (found.axis, [point.asked for point in found.points]) == ("load.rate", [1.0, 4.0])
    assert [run.power_w for run in found.points[1].runs] == [200.0, 220.0]
    power = found.points[1].mean("power_w")
    assert power is not None
    assert power.value == pytest.approx(math.sqrt(200 * 220))
    assert found.points[0].mean("goodput") is None


def test_of_three_repeats_there_is_an_interval() -> None:
    watts = [100 * math.exp(d) for d in (-0.01, 0.0, 0.01)]
    found = series((1.0, 2.0), [[run(1.0, w) for w in watts], [run(2.0, 100.0)] * 3])
    mean = found.points[0].mean("power_w")
    assert mean is not None
    # t(.975, 2) = 4.303: the half on logarithms is 4.303 x 0.01 / sqrt(3).
    assert mean.low == pytest.approx(100 * math.exp(-0.02484), rel=1e-5)


def test_overloaded_runs_are_marked_and_not_averaged_in() -> None:
    over = {"overloaded": "yes"}
    mixed = [run(4.0, 300.0, **over), run(4.0, 200.0), run(4.0, 200.0)]
    whole = [run(8.0, 400.0, **over)] * 3
    found = series((1.0, 4.0, 8.0), [[run(1.0, 100.0)] * 3, mixed, whole])
    assert [(p.n_overloaded, p.is_steady, p.slo_met) for p in found.points] == [
        (0, True, True), (1, False, False), (3, False, False),
    ]  # fmt: skip
    means = [point.mean("power_w") for point in found.points]
    assert [mean and mean.value for mean in means] == pytest.approx([100, 200, 400])


def test_promises_are_met_where_every_run_met_them() -> None:
    def of(*verdicts: str | None) -> bool | None:
        runs = [run(1.0, 100.0, slo_met=verdict) for verdict in verdicts]
        return series((1.0, 2.0), [runs, [run(2.0, 100.0)] * len(runs)]).points[0].slo_met

    assert of("yes", "yes") is True
    assert of("yes", "no") is False
    assert of("yes", None) is None
    assert of(None, None) is None


def test_what_else_varies_makes_curves_of_its_own() -> None:
    configs = [*at_rates(1, 2), *at_rates(1, 2, n=50), *at_rates(4, random_seed=7)]
    plan = plan_of(configs)
    found = series_of(plan, rows_of(plan, [[run(1.0, 100.0)]] * len(configs)))
    # A load that is alone is no curve.
    assert [(each.axis, len(each.points), each.settings["n"]) for each in found] == [
        ("load.rate", 2, 100), ("load.rate", 2, 50),
    ]  # fmt: skip


def test_concurrency_is_an_axis_and_a_study_without_loads_has_no_curve() -> None:
    configs = [ExperimentConfig.model_validate({"model": "m", "load": {"concurrency": n}}) for n in (1, 8)]
    plan = plan_of(configs)
    (found,) = series_of(plan, rows_of(plan, [[run(1.0, 100.0)], [run(3.0, 200.0)]]))
    assert (found.axis, [point.asked for point in found.points]) == ("load.concurrency", [1.0, 8.0])
    plan = plan_of(of_batches(1, 2))
    assert series_of(plan, rows_of(plan, [[{}], [{}]])) == []
