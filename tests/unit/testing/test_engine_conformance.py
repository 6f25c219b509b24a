"""The simulated engine passes the suite for engines, and what is wrong with an engine fails it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.testing import FakeClock
from llenergymeasure.testing import engine_conformance as suite
from llenergymeasure.testing.engine_conformance import ENGINE_CHECKS, EngineCase, NotApplicable
from llenergymeasure.testing.simulated import SimulatedEngine, SimulatedModel

PROMPTS = [tuple(range(1, 3 + i)) for i in range(10)]
Check = Callable[[EngineCase], None]


def answer(ids: Sequence[int], index: int, limit: int) -> list[int]:
    """By hand: the third request ends after four tokens."""
    length = min(limit, 4 if index == 3 else limit)
    tokens = [1 + (sum(ids) + 31 * index + 7 * k) % 997 for k in range(length)]
    return [*tokens[:-1], 0] if index == 3 and length == 4 else tokens


def case_of(kind: type[SimulatedModel] = SimulatedModel, load: Load | None = None, **fields: Any) -> EngineCase:
    clock = FakeClock()
    model = kind(clock, ends_after={3: 4}, failing=frozenset({5}), max_input_tokens=50, samples=True, **fields)
    model.samples = False

    class Engine(SimulatedEngine):
        def load(self, plan: Any) -> Any:
            self.model.samples = plan.config.decoder.do_sample
            return super().load(plan)

    config = ExperimentConfig(model="simulated")
    return EngineCase(
        engine=Engine(model, load),
        config=config,
        prompts=PROMPTS,
        answer_to=answer,
        sampling=ExperimentConfig.model_validate({"model": "simulated", "decoder": {"do_sample": True}}),
        ending=3,
        too_long=tuple(range(51)),
        failing=5,
        clock=clock,
    )


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("load", [None, Load.at_most(2)], ids=["all at once", "at most two"])
def test_the_simulated_engine_conforms(check: Check, load: Load | None) -> None:
    check(case_of(load=load))


class Padding(SimulatedModel):
    """Counts a token too many."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        super().run(requests, load, lambda o: on_done(replace(o, output_tokens=o.output_tokens + 1)))


class Twice(SimulatedModel):
    """Tells the first request twice."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        def tell(output: RequestOutput) -> None:
            on_done(output)
            if output.index == 0:
                on_done(output)

        super().run(requests, load, tell)


class Backwards(SimulatedModel):
    """Its first token comes after the last."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        super().run(requests, load, lambda o: on_done(replace(o, token_times_s=o.token_times_s[::-1])))


class OneLength(SimulatedModel):
    """Gives everybody the first one's length."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        same = [replace(r, max_output_tokens=requests[-1].max_output_tokens) for r in requests]
        super().run(same, load, on_done)


class Stopless(SimulatedModel):
    """Says of every answer that it was cut off."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        super().run(requests, load, lambda o: on_done(replace(o, finish_reason="length")))


class Seedless(SimulatedModel):
    """Takes no seed."""

    def seed(self, random_seed: int) -> None:
        """Nothing."""


class Forgiving(SimulatedModel):
    """Says nothing of errors."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        super().run(requests, load, lambda o: on_done(replace(o, error=None, finish_reason="stop")))


class Deaf(SimulatedModel):
    """Cannot be cancelled."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        super().run(requests, replace(load, cancelled=lambda: False), on_done)


class Greedy(SimulatedModel):
    """Heeds no limit on what runs at a time."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        load = Load.all_at_once() if load.kind == "concurrency" else load
        super().run(requests, load, on_done)


class Shifted(SimulatedModel):
    """Gives the probability of each token where that of the one before belongs."""

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float]:
        found = super().token_log_probs(token_ids)
        return [*found[1:], found[0]]


class Whole(SimulatedModel):
    """Gives one for the first token, too."""

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float]:
        return [-1.0, *super().token_log_probs(token_ids)]


class Bits(SimulatedModel):
    """Gives how many bits a token takes, which is of the other sign."""

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float]:
        return [-log_prob / math.log(2) for log_prob in super().token_log_probs(token_ids)]


class Certain(SimulatedModel):
    """Is sure of each of them."""

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float]:
        return [0.0] * (len(token_ids) - 1)


class Silent(SimulatedModel):
    """Knows no probabilities."""

    def token_log_probs(self, token_ids: Sequence[int]) -> None:  # type: ignore[override]
        return None


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Padding, suite.tokens_are_exact),
        (Twice, suite.every_request_is_told_once),
        (Backwards, suite.times_are_in_order),
        (OneLength, suite.lengths_are_each_requests_own),
        (Stopless, suite.an_answer_that_ends_by_itself_says_so),
        (Seedless, suite.the_same_seed_gives_the_same_answers),
        (Forgiving, suite.a_prompt_that_is_too_long_is_told),
        (Forgiving, suite.a_request_that_fails_alone_is_a_row),
        (Deaf, suite.a_cancelled_load_ends),
        (Greedy, suite.every_load_it_names_is_served),
        *((kind, suite.log_probs_are_the_models_own) for kind in (Shifted, Whole, Bits, Certain)),
    ],
)
def test_an_engine_that_is_wrong_does_not(kind: type[SimulatedModel], check: Check) -> None:
    with pytest.raises(AssertionError):
        check(case_of(kind))


def test_an_engine_without_a_capacity_of_its_own_is_not_warmed_up_with_everything() -> None:
    class Endless(SimulatedModel):
        def capacity(self) -> None:  # type: ignore[override]
            return None

    suite.warm_up_takes_units_and_not_everything(case_of(Endless))


def test_what_a_case_says_nothing_of_is_not_checked() -> None:
    bare = replace(case_of(), ending=None, sampling=None, too_long=None, failing=None, clock=None)
    with pytest.raises(NotApplicable):
        suite.log_probs_are_the_models_own(case_of(Silent))
    for check in (
        suite.an_answer_that_ends_by_itself_says_so,
        suite.the_same_seed_gives_the_same_answers,
        suite.a_prompt_that_is_too_long_is_told,
        suite.a_request_that_fails_alone_is_a_row,
        suite.times_are_in_order,
    ):
        with pytest.raises(NotApplicable):
            check(bare)
