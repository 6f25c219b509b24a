"""How requests arrive, and what a deployment promises those who sent them."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from llenergymeasure.config.base import ConfigModel, Flag, Integer, Number, conflict, refused

# More than any engine answers in days; what is kept of each has to be held.
MOST_REQUESTS = 2_000_000
# Of which a load has one.
LoadKind = Literal["concurrency", "rate", "trace", "max"]
LOAD_KINDS: tuple[LoadKind, ...] = get_args(LoadKind)


class LoadConfig(ConfigModel):
    """How requests arrive: one of concurrency, rate, trace and max.

    With ``rate`` and ``trace`` arrivals wait for no answer (an open loop).
    """

    concurrency: Integer | None = Field(
        default=None, ge=1, description="So many requests are always in flight: a new one as soon as one has ended."
    )
    rate: Number | None = Field(default=None, gt=0, description="Requests per second, on average.")
    trace: Path | None = Field(
        default=None,
        description="File of arrivals, .csv or .jsonl: timestamps, and lengths of prompts and answers, as the traces "
        "of Azure and Mooncake have them.",
    )
    max: Flag | None = Field(default=None, description="All requests at once: the most that the engine can do.")
    arrival: Literal["poisson", "gamma", "constant"] = Field(
        default="poisson",
        description="Times between arrivals: those of independent users, of a gamma distribution, or all alike.",
    )
    burstiness: Number = Field(
        default=1.0,
        gt=0,
        description="Shape of the gamma distribution: 1 is poisson, less comes in bursts, more is more even.",
    )
    trace_speed: Number = Field(default=1.0, gt=0, description="Play the trace so many times as fast as it came.")
    duration_s: Number | None = Field(default=None, gt=0, description="Seconds for which requests arrive.")
    n: Integer | None = Field(
        default=None,
        ge=1,
        le=MOST_REQUESTS,
        description="Requests that arrive, the prompts in turns; null with no duration_s: of a trace all, with max one "
        "for each prompt, else as many as arrive in 30 s or more, until 480 are through.",
    )
    ramp_s: Number | None = Field(
        default=None,
        ge=0,
        description="Seconds of arrivals before the window begins; null is until what is in flight has settled.",
    )
    until_cv: Number | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Let requests arrive until joules per token vary by less than this from one tenth of the window to "
        "the next, such as 0.05; duration_s is then the most. Null does not look.",
    )

    conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "rate": {"concurrency": "give one of them"},
        "trace": dict.fromkeys(("concurrency", "rate"), "give one of them"),
        "max": dict.fromkeys(("concurrency", "rate", "trace"), "give one of them"),
        "n": {"duration_s": "either ends the arrivals; remove one of them"},
        "until_cv": {"n": "that many arrive, however much they vary; remove one of them"},
    }
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "arrival": ("rate",),
        "burstiness": ("arrival=gamma",),
        "trace_speed": ("trace",),
    }

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if all(not self.is_on(name) for name in LOAD_KINDS):
            raise refused(
                "say how requests arrive: concurrency (always so many), rate (so many per second), trace (a file of "
                "arrivals) or max: true (all at once)"
            )
        if self.max and self.duration_s is not None:
            raise conflict(
                "duration_s cannot go with max: true, where all requests arrive at once; give n", "duration_s"
            )
        if self.ramp_s is not None and self.duration_s is not None and self.ramp_s >= self.duration_s:
            raise conflict(
                f"ramp_s: {self.ramp_s:g} leaves nothing of duration_s: {self.duration_s:g}; lower it, or raise "
                "duration_s",
                "ramp_s",
            )
        return self

    @property
    def draws(self) -> bool:
        """Whether times of arrival, or the prompts of a trace, are drawn."""
        return self.trace is not None or (self.rate is not None and self.arrival != "constant")

    @property
    def kind(self) -> LoadKind:
        """Which of the kinds it is."""
        return next(name for name in LOAD_KINDS if self.is_on(name))


class SLOConfig(ConfigModel):
    """What is promised to those who send requests (service-level objectives); a request that meets all of it is good.

    The 95th percentile of a run is held against each as well.
    """

    ttft_p95_s: Number | None = Field(default=None, gt=0, description="Most seconds to the first token, from when due.")
    tpot_p95_s: Number | None = Field(default=None, gt=0, description="Most seconds per output token after the first.")
    e2e_p95_s: Number | None = Field(default=None, gt=0, description="Most seconds to the end, from when due.")

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if all(value is None for value in vars(self).values()):
            raise refused("give at least one of ttft_p95_s, tpot_p95_s and e2e_p95_s")
        return self
