"""A curve over load as people read it."""

from llenergymeasure.results.loads.curve import curve_of
from llenergymeasure.results.loads.shown import curves_of, text
from tests.fakes.studies import plan_of
from tests.unit.results.loads.made import at_rates, rows_of, run, series

# Ten seconds at 100, 150, 200, 250 and 300 W: 50 W for each request per second, and 50 W at no load.
RATES = (1.0, 2.0, 3.0, 4.0, 5.0)
FIGURES = [
    run(
        rate, 50 + 50 * rate, energy_per_output_token_j=joules, e2e_p50_s=e2e, ttft_p50_s=0.25,
        tokens_per_second=10 * rate,
        goodput=rate, joules_per_good_token=joules, in_flight_mean=rate * e2e, idle_loaded_power_w=60.0, **more,
    )
    for rate, joules, e2e, more in (
        (1.0, 10.0, 1.0, {}),
        (2.0, 7.5, 1.0, {}),
        (3.0, 6.67, 1.25, {}),
        (4.0, 6.25, 4.0, {"slo_met": "no"}),
        (5.0, 6.0, 20.0, {"slo_met": "no", "overloaded": "yes"}),
    )
]  # fmt: skip
SHOWN = """\
over load.rate
rate  came    W  J/out tok  J/good tok  E2E p50 s  good req/s  SLO      notes
----  ----  ---  ---------  ----------  ---------  ----------  -------  -----
   1  1.00  100       10.0        10.0       1.00        1.00  met
   2  2.00  150       7.50        7.50       1.00        2.00  met
   3  3.00  200       6.67        6.67       1.25        3.00  met
   4  4.00  250       6.25        6.25       4.00        4.00  NOT met
   5  5.00  300       6.00        6.00       20.0        5.00  NOT met  OVER
OVER: overloaded, more came than was served; it is in nothing below
highest load within the SLO: 3; 4 was beyond it
knee of latency: 3: beyond it E2E rises faster than the load
knee of energy: 2: beyond it J/out tok falls little
one more request/s: 50.0 (50.0 to 50.0) W, by a line through all runs
idle: 60.0 W with the model loaded, measured; 50.0 (50.0 to 50.0) W where that
        line meets no load"""


def test_a_curve_has_its_points_and_what_follows_from_them() -> None:
    assert text([curve_of(series(RATES, [[each] for each in FIGURES]))]) == SHOWN


def test_several_curves_say_which_is_which() -> None:
    plan = plan_of([*at_rates(1, 2), *at_rates(1, 2, n=50)])
    found = text(curves_of(plan, rows_of(plan, [[run(1.0, 100.0)]] * 4)))
    assert [line for line in found.splitlines() if line.startswith("over ")] == [
        "over load.rate (n 100)", "over load.rate (n 50)",
    ]  # fmt: skip
    assert "one more request/s: not known: 2 steady points with a power, and a line takes 3" in found


def test_without_loads_there_is_nothing() -> None:
    assert text([]) == ""
