"""What a result says of its load: what was asked for, what came, what was in flight, and what was promised and kept.

Times are seconds, those within the window counted from its start. What does not apply or is not known is None.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from llenergymeasure.domain.load_record import BeganBy, EndedBy, RecordedLoadKind
from llenergymeasure.domain.metrics import FINITE, Distribution
from llenergymeasure.domain.phases import Estimate


@dataclass(frozen=True, kw_only=True)
class FlightResult:
    """Requests that had come and not ended: their mean and most over the window, and at its edges."""

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    n_mean: float
    n_max: int
    n_at_start: int
    n_at_end: int


@dataclass(frozen=True, kw_only=True)
class SendingResult:
    """How late our own sending was: from when a request was due to when the engine was given it.

    ``share_of_gap`` is the mean over the mean time between arrivals.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    late_s: Distribution
    late_max_s: float
    share_of_gap: float


@dataclass(frozen=True, kw_only=True)
class OverloadResult:
    """Whether what is in flight grows through the window: ``n_grown`` over all of it, by a straight line."""

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    overloaded: bool
    n_grown: float
    share_of_arrivals: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class SubWindow:
    """One of several equal parts of the window."""

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    start_s: float
    end_s: float
    part_energy_j: float | None
    output_tokens: int
    energy_per_output_token_j: float | None


@dataclass(frozen=True, kw_only=True)
class PromisedLatency:
    """One promise: the 95th percentile of those that ended in the window, and the most that it was to be.

    ``p95_s`` is None where more than 5 % failed, or nobody tells. ``met`` is None for less than 20 requests.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    latency: Literal["ttft", "tpot", "e2e"]
    limit_s: float
    p95_s: float | None
    met: bool | None


@dataclass(frozen=True, kw_only=True)
class PromisesResult:
    """What was promised to those who send requests, and what of it was kept."""

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    promised: tuple[PromisedLatency, ...]
    met: bool | None
    n_ended: int
    n_good: int
    good_share: float | None
    n_good_output_tokens: int
    good_requests_per_second: float
    good_tokens_per_second: float
    joules_per_good_token: float | None


@dataclass(frozen=True, kw_only=True)
class ClassEnergy:
    """Energy of a request of one class beyond idling with the model loaded; ``why_not`` where it is unresolved."""

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    name: str
    n_requests: float
    status: Literal["resolved", "unresolved"]
    per_request_j: Estimate | None
    why_not: str | None = None


@dataclass(frozen=True, kw_only=True)
class ClassesResult:
    """Requests in classes by the tokens of their answers: short ones have at most ``n_most_tokens_of_short``."""

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    n_most_tokens_of_short: float
    n_sub_windows: int
    classes: tuple[ClassEnergy, ...]


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """How requests came in the window of a measurement, and what follows from it."""

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    kind: RecordedLoadKind
    asked_requests_per_second: float | None
    n_asked_in_flight: int | None
    began_by: BeganBy
    ended_by: EndedBy
    n_arrived: int
    n_arrived_in_window: int
    arrived_requests_per_second: float
    in_flight: FlightResult
    sending: SendingResult | None
    overload: OverloadResult | None
    sub_windows: tuple[SubWindow, ...]
    token_energy_cv: float | None
    why_no_cv: str | None
    slo: PromisesResult | None
    request_energy: ClassesResult | None
    failures: dict[str, int]
    counted_by: dict[str, int] | None
    n_cached_input_tokens: int | None
    n_tokens_per_chunk: float | None
    ttft_from_sending_s: Distribution | None
    generator_cpu_s: float | None
    arrivals_digest: str | None = None
