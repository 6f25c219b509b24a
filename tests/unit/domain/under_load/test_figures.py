"""A load from raw results to the result: what is said, and what follows for whoever wants to cite it."""

from dataclasses import replace

import pytest

from llenergymeasure.domain.load_record import LoadRecord
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.under_load.load_result import LoadResult
from tests.unit.domain.under_load.made import request
from tests.unit.results.golden_load import raw


def record() -> LoadRecord:
    found = raw().load
    assert found is not None
    return found


def load_in(*raws: RawProcessResult) -> LoadResult:
    found = ExperimentResult.from_processes(raws).load
    assert found is not None
    return found


def with_load(**changes: object) -> RawProcessResult:
    return raw().model_copy(update={"load": replace(record(), **changes)})  # type: ignore[arg-type]


def growing() -> RawProcessResult:
    """Four come each second and two are served, over the 20 s of the window."""
    requests = tuple(
        request(100.125 + i / 4, 100.125 + i / 4, 100.5 + i / 2, index=i, output_tokens=1) for i in range(80)
    )
    return with_load(rate_per_s=4.0).model_copy(update={"requests": requests})


def test_an_overloaded_window_is_not_citable() -> None:
    result = ExperimentResult.from_processes([growing()])
    assert result.load is not None
    assert result.load.overload is not None
    assert result.load.overload.overloaded
    # Two more wait after each second.
    assert result.load.overload.n_grown == pytest.approx(40, abs=1)
    assert (result.validity, result.validity_flags) == ("not_citable", ["overloaded"])
    assert result.measurement_warnings[0].startswith("overloaded: requests in flight grew by 40")


@pytest.mark.parametrize("kind", ["concurrency", "max"])
def test_a_closed_loop_is_never_overloaded(kind: str) -> None:
    result = ExperimentResult.from_processes(
        [growing().model_copy(update={"load": replace(record(), kind=kind, rate_per_s=None)})]  # type: ignore[arg-type]
    )
    assert result.load is not None
    assert result.load.overload is None
    assert result.validity == "citable"


def test_late_sending_is_for_the_reader_to_judge() -> None:
    found = raw()
    late = tuple(
        replace(r, sent_s=r.due_s + 0.1) if r.due_s is not None and r.error is None else r for r in found.requests
    )
    result = ExperimentResult.from_processes([found.model_copy(update={"requests": late})])
    assert (result.validity, result.validity_flags) == ("questionable", ["sending_late"])


def test_without_a_record_nothing_is_said() -> None:
    assert ExperimentResult.from_processes([raw().model_copy(update={"load": None})]).load is None


def test_of_parts_of_one_model_the_requests_count_once_and_of_copies_nothing_is_said() -> None:
    def processes(parallelism: str) -> list[RawProcessResult]:
        return [
            raw().model_copy(update={"process_index": i, "n_processes": 2, "parallelism": parallelism})
            for i in range(2)
        ]

    alone = load_in(raw())
    assert load_in(*processes("tensor")) == alone
    assert ExperimentResult.from_processes(processes("data")).load is None


def test_parts_without_joules_say_why() -> None:
    few = load_in(with_load(sub_windows_s=(100.0, 110.0, 120.0)))
    assert (few.token_energy_cv, few.why_no_cv) == (None, "the window has 2 parts, and 3 are needed")
    assert [part.output_tokens for part in few.sub_windows] == [8 + 14 + 22 + 11 + 6, 22 + 14 + 6 + 22 + 18]
    short = load_in(with_load(sub_windows_s=tuple(100.0 + i for i in range(21))))
    assert short.why_no_cv == "a part has 1 s, and 10 readings of power meter take 2 s"
    assert short.sub_windows[0].part_energy_j is None
    assert short.request_energy is None
    none = load_in(raw().model_copy(update={"energy": EnergyMeasurement(None, 20.0, 0), "energy_breakdown": None}))
    assert none.why_no_cv == "no energy was measured"
    assert none.slo is not None
    assert none.slo.joules_per_good_token is None


def test_what_the_engine_had_no_room_for_came_too() -> None:
    found = load_in(with_load(unsent_due_s=(105.0, 119.0), n_most_in_flight=8))
    assert (found.n_arrived_in_window, found.in_flight.n_at_end) == (33, 3)
