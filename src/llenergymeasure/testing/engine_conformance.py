"""What every engine must do, as checks that anybody's engine can be put through.

Make an ``EngineCase`` for your engine and run each of ``ENGINE_CHECKS`` on it, for example with pytest::

    @pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
    def test_my_engine_conforms(check):
        try:
            check(case())
        except NotApplicable as reason:
            pytest.skip(str(reason))

A check raises ``AssertionError`` where the engine does not conform, and ``NotApplicable`` where the case has nothing to
check it by.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.core.background import at_once
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.prompts.tokenise import PreparedRequests
from llenergymeasure.core.session import run_session
from llenergymeasure.domain.inference import Request, RequestOutput, tokens_digest
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import LLEMError
from llenergymeasure.testing.conformance import NotApplicable
from llenergymeasure.testing.engine_case import N_TOKENS, EngineCase, ran
from llenergymeasure.testing.fakes import FakeSampler, fake_environment

__all__ = ["ENGINE_CHECKS", "EngineCase", "NotApplicable"]

ENDED = ("stop", "length")
# What rounding of half-precision weights, in another order, makes of a logarithm.
_SAME_LOG_PROB = 0.05
_N_OTHERS = 12
# For a thread that was told to end.
_GRACE_S = 1.0


def tokens_are_exact(case: EngineCase) -> None:
    """Each answer is the model's own: the right tokens, counted without padding, whatever runs beside it."""
    requests = case.requests()
    with case.loaded() as model:
        found = {output.index: output for output in ran(model, requests, case.load())}
    for request in requests:
        expected = tuple(case.answer_to(request.token_ids, request.index, request.max_output_tokens))
        output = found[request.index]
        assert output.output_tokens == len(expected), f"request {request.index}: {output.output_tokens} tokens"
        assert output.input_tokens == len(request.token_ids)
        assert output.output_ids in ((), (expected,)), f"request {request.index}: {output.output_ids}"
        if output.output_ids:
            assert output.output_digest == tokens_digest(expected)
        assert output.input_digest in (None, tokens_digest(request.token_ids))


def every_request_is_told_once(case: EngineCase) -> None:
    """In whatever order they end; batches in theirs."""
    requests = case.requests()
    with case.loaded() as model:
        indices = [output.index for output in ran(model, requests, case.load())]
    assert sorted(indices) == [request.index for request in requests]
    if case.load().kind == "batches":
        batches = case.load().units_of([request.index for request in requests])
        seen = [index for batch in batches for index in sorted(batch)]
        ended = [index for batch in case.load().units_of(indices) for index in sorted(batch)]
        assert ended == seen


def times_are_in_order(case: EngineCase) -> None:
    """Due, sent, first token, each token, end: monotonic, on one clock, within the run."""
    clock = case.clock
    if clock is None:
        raise NotApplicable("the case names no clock")
    with case.loaded() as model:
        began_s = clock()
        outputs = ran(model, case.requests(), case.load())
        ended_s = clock()
    for output in outputs:
        known = [output.sent_s, output.first_token_s, *output.token_times_s, output.end_s]
        times_s = [time_s for time_s in known if time_s is not None]
        assert output.end_s is not None, "an engine knows when a request has ended"
        assert times_s == sorted(times_s), f"request {output.index}: {times_s}"
        assert began_s <= times_s[0]
        assert times_s[-1] <= ended_s
        assert len(output.token_times_s) in (0, max(output.answer_lengths))


def lengths_are_each_requests_own(case: EngineCase) -> None:
    """A limit on the answer holds for its request and no other."""
    requests = [replace(r, max_output_tokens=1 + r.index % 4) for r in case.requests()]
    with case.loaded() as model:
        outputs = ran(model, requests, case.load())
    limits = {request.index: request.max_output_tokens for request in requests}
    for output in outputs:
        assert 1 <= output.output_tokens <= limits[output.index]
        if output.finish_reason == "length":
            assert output.output_tokens == limits[output.index]


def an_answer_that_ends_by_itself_says_so(case: EngineCase) -> None:
    """Its end token counts, what follows does not."""
    if case.ending is None:
        raise NotApplicable("no prompt of the case ends by itself")
    with case.loaded() as model:
        outputs = {output.index: output for output in ran(model, case.requests(), case.load())}
    output = outputs[case.ending]
    expected = case.answer_to(case.prompts[case.ending], case.ending, N_TOKENS)
    assert len(expected) < N_TOKENS, "the case is wrong: this answer is as long as it may be"
    assert (output.finish_reason, output.output_tokens) == ("stop", len(expected))


def the_same_seed_gives_the_same_answers(case: EngineCase) -> None:
    """And another seed others, where sampling is on."""
    if case.sampling is None:
        raise NotApplicable("the case has no sampling")
    digests = []
    with case.loaded(case.sampling) as model:
        for seed in (1, 1, 2):
            model.seed(seed)
            outputs = ran(model, case.requests(), case.load())
            digests.append(sorted((output.index, output.output_digest) for output in outputs))
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def a_prompt_that_is_too_long_is_told(case: EngineCase) -> None:
    """As that request's error, or as an error of ours: never as a crash, a hang or a shorter prompt."""
    if case.too_long is None:
        raise NotApplicable("the model has room for every prompt")
    long = Request(index=99, token_ids=tuple(case.too_long), max_output_tokens=N_TOKENS)
    with case.loaded() as model:
        try:
            outputs = ran(model, [*case.requests(2), long], case.load())
        except LLEMError:
            return
    (told,) = [output for output in outputs if output.index == long.index]
    assert told.finish_reason == "error"
    assert told.error


def a_request_that_fails_alone_is_a_row(case: EngineCase) -> None:
    """The others are served."""
    if case.failing is None:
        raise NotApplicable("no request of the case fails alone")
    failing = Request(index=case.failing, token_ids=tuple(case.prompts[case.failing]), max_output_tokens=N_TOKENS)
    requests = sorted([*case.requests(), failing], key=lambda request: request.index)
    with case.loaded() as model:
        outputs = {output.index: output for output in ran(model, requests, case.load())}
    assert outputs[case.failing].finish_reason == "error"
    assert outputs[case.failing].error
    assert {o.finish_reason for i, o in outputs.items() if i != case.failing} <= set(ENDED)


def a_cancelled_load_ends(case: EngineCase) -> None:
    """Nothing more is begun; what was in flight is told, once, as cancelled or as what it had become."""
    requests = case.requests(n_tokens=2)
    done: list[RequestOutput] = []
    # Of a load that has them all at once all may be in flight, and may end.
    kinds: dict[str, Load] = {"batches": Load.in_batches(2), "concurrency": Load.at_most(2)}
    load = next((few for kind, few in kinds.items() if kind in case.complete.loads), None)
    with case.loaded() as model:
        model.run(requests, replace(load or case.load(), cancelled=lambda: bool(done)), done.append)
        assert done, "a request that was begun before the load was cancelled is told of"
        assert load is None or len(done) < len(requests), "requests were begun after the load was cancelled"
        assert len({output.index for output in done}) == len(done)
        again = ran(model, requests, case.load())
    assert len(again) == len(requests), "the model can be used after a cancelled run"


def a_closed_load_ends(case: EngineCase) -> None:
    """Nothing more is begun once no more requests are to arrive; what is in flight goes on to its own end."""
    if "concurrency" not in case.complete.loads:
        raise NotApplicable("the engine does not take requests one by one")
    requests, done = case.requests(n_tokens=2), list[RequestOutput]()
    with case.loaded() as model:
        model.run(requests, replace(Load.at_most(2), closed=lambda: bool(done)), done.append)
    assert 0 < len(done) < len(requests), "requests were begun after the load was closed"
    assert {output.finish_reason for output in done} <= set(ENDED), "what was in flight went on to its end"


def nothing_stays_behind(case: EngineCase) -> None:
    """No thread, and the engine loads again."""
    before = set(threading.enumerate())
    for _ in range(2):
        with case.loaded() as model:
            assert ran(model, case.requests(1), case.load())
    for thread in set(threading.enumerate()) - before:
        thread.join(_GRACE_S)
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.name not in case.library_threads]
    assert left == [], f"threads stay behind: {left}"


def every_load_it_names_is_served(case: EngineCase) -> None:
    """All at once, at most so many, at due times: each request once, none before it is due."""
    engine = case.complete
    loads = {
        "batches": Load.in_batches(3),
        "all_at_once": Load.all_at_once(),
        "concurrency": Load.at_most(2),
        "due_times": Load.at_due_times([0.01 * i for i in range(len(case.requests()))]),
    }
    assert case.load().kind in engine.loads, "the engine's own default load is one that it serves"
    with case.loaded() as model:
        for kind in sorted(engine.loads):
            outputs = ran(model, case.requests(), loads[kind])
            assert len(outputs) == len(case.requests()), kind
            if kind == "due_times":
                assert all(o.due_s is not None and (o.sent_s or 0.0) >= o.due_s - 1e-9 for o in outputs)
            if kind == "concurrency":
                assert _most_at_once(outputs) in (None, 1, 2)


def _most_at_once(outputs: Sequence[RequestOutput]) -> int | None:
    spans = [(o.sent_s, o.end_s) for o in outputs if o.sent_s is not None and o.end_s is not None]
    if len(spans) < len(outputs):
        return None
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


def warm_up_takes_units_and_not_everything(case: EngineCase) -> None:
    """Twice a unit of the load, and not twice all requests."""
    begun: list[int] = []

    class Counting(LoadedModelBase):
        def __init__(self, model: LoadedModelBase) -> None:
            self.model = model

        def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
            begun.append(len(requests))
            self.model.run(requests, load, on_done)

    def wrapped(model: LoadedModelBase) -> LoadedModelBase:
        counting = Counting(model)
        for name in ("describe", "capacity", "synchronize", "seed", "flops", "warnings", "peak_memory_mb", "identity"):
            setattr(counting, name, getattr(model, name))
        return counting

    raw = _measured(case, {"warmup": {"n_warmup": 2}}, wrapped)
    n_requests = len(case.requests())
    assert raw.warmup_result.iterations_completed == 2  # noqa: PLR2004 - as many as were asked for
    assert begun[-1] == n_requests
    with case.loaded() as model:
        unit = len(case.load().units_of(case.requests(), model.capacity())[0])
    assert all(n_begun <= unit for n_begun in begun[:2]), f"a unit is {unit} requests, warm-up ran {begun[:2]}"


def a_window_in_the_middle_has_its_own_tokens(case: EngineCase) -> None:
    """Tokens of the window are those whose times lie in it, also where requests are in flight at its edges."""
    whole = _measured(case, {})
    part = {"methodology": "windowed", "window_start_s": whole.duration_sec * 0.3}
    raw = _measured(case, {"measurement": part})
    counts = raw.counts
    assert 0 < counts.output_tokens <= whole.counts.output_tokens
    assert counts.n_requests <= whole.counts.n_requests
    timed = [time_s for r in raw.requests for n in r.answer_lengths for time_s in r.token_times_s[:n]]
    if raw.in_flight is not None and timed:
        inside = sum(raw.window_start_s < time_s <= raw.window_end_s for time_s in timed)
        assert counts.output_tokens == inside


def _measured(
    case: EngineCase,
    fields: dict[str, object],
    wrapped: Callable[[LoadedModelBase], LoadedModelBase] = lambda model: model,
) -> RawProcessResult:
    """A session on the engine, without sensors."""
    requests = case.requests()
    given = {**case.config.model_dump(exclude_unset=True), "n": len(requests), **fields}
    config = ExperimentConfig.model_validate({**given, "energy": {"backend": None}})

    class Session(EngineBase):
        name = case.engine.name
        loads = case.complete.loads

        def load_of(self, config: ExperimentConfig) -> Load:
            return case.complete.load_of(config)

        @contextmanager
        def load(self, plan: ExperimentPlan) -> Iterator[LoadedModelBase]:
            with case.complete.load(plan) as model:
                yield wrapped(with_defaults(model, LoadedModelBase))

    instruments = Instruments(
        energy=None,
        sampler=FakeSampler(),
        snapshot=fake_environment,
        sleep=lambda _: None,
        tokenise=lambda *_: PreparedRequests(requests=tuple(requests)),
    )
    if case.clock is not None:
        instruments = replace(instruments, clock=case.clock, aside=at_once)
    return run_session(ExperimentPlan.of(config), Session(), instruments)


def log_probs_are_the_models_own(case: EngineCase) -> None:
    """Of a text as it stands, each by what comes before it; nothing is more probable than the greedy answer."""
    with case.loaded() as model:
        ids = max(map(list, case.prompts), key=len)
        found = model.token_log_probs(ids)
        if found is None:
            raise NotApplicable("the engine cannot tell how probable tokens are")
        _are_log_probs(found, len(ids) - 1)
        before = model.token_log_probs(ids[:-1])
        assert before is not None
        _are_log_probs(before, len(ids) - 2)
        apart = max(abs(a - b) for a, b in zip(before, found, strict=False))
        assert apart <= _SAME_LOG_PROB, f"a token that comes later changes what was before it by {apart:g}"
        prompt = list(case.prompts[0])
        (greedy,) = case.answer_to(prompt, 0, 1)
        others = sorted({token for other in case.prompts for token in other} - {greedy})[:_N_OTHERS]
        last = {token: (model.token_log_probs([*prompt, token]) or [math.nan])[-1] for token in [greedy, *others]}
    best = max(last.values())
    assert last[greedy] >= best - _SAME_LOG_PROB, f"token {greedy} is the greedy answer, and {best:g} is above it"
    assert last[greedy] > min(last.values()), f"token {greedy} is the greedy answer, and no other one is less probable"
    total = sum(map(math.exp, last.values()))
    assert total <= 1 + _SAME_LOG_PROB, f"probabilities of different tokens come to {total:g}"


def _are_log_probs(values: Sequence[float], n: int) -> None:
    assert len(values) == n, f"{len(values)} values of {n + 1} tokens; the first has nothing before it"
    assert all(math.isfinite(value) and value <= 0 for value in values), f"no logarithms of probabilities: {values}"


ENGINE_CHECKS: tuple[Callable[[EngineCase], None], ...] = (
    tokens_are_exact,
    every_request_is_told_once,
    times_are_in_order,
    lengths_are_each_requests_own,
    an_answer_that_ends_by_itself_says_so,
    the_same_seed_gives_the_same_answers,
    a_prompt_that_is_too_long_is_told,
    a_request_that_fails_alone_is_a_row,
    a_cancelled_load_ends,
    a_closed_load_ends,
    nothing_stays_behind,
    every_load_it_names_is_served,
    warm_up_takes_units_and_not_everything,
    a_window_in_the_middle_has_its_own_tokens,
    log_probs_are_the_models_own,
)
