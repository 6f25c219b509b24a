"""What goes into an engine and what comes out of it."""

import hashlib
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from llenergymeasure._telling import told
from llenergymeasure.domain.metrics import Distribution, LatencyStatistics
from llenergymeasure.domain.warnings import MeasurementWarning

FinishReason = Literal["stop", "length", "error", "cancelled"]
# Why a request failed: it took too long; the server takes no more (429, 503); it answered with another status of HTTP;
# it closed; its answer cannot be read; it told of an error; it cannot be reached; its answer was cut without a token.
ErrorKind = Literal["timeout", "refused", "status", "closed", "unreadable", "server", "unreachable", "engine"]
# Who counted the tokens: the engine gave them one by one, a server told how many, or its text was tokenised again.
CountedBy = Literal["tokens", "usage", "retokenised"]


@dataclass(frozen=True)
class ChatMessage:
    """One turn of a conversation.

    ``content`` is empty only beside ``tool_calls``, which are the calls that an assistant made, as OpenAI writes them.
    ``more`` are names and values of the other keys that templates read: ``name`` and ``tool_call_id``.
    """

    role: str
    content: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A row of a dataset, before it is tokenised.

    ``messages`` holds at least one turn, unless ``n_random_tokens`` says how many ids of the model's vocabulary are
    to be drawn instead. ``output_tokens`` is the most tokens of the answer; None is ``max_output_tokens``. ``row`` is
    its place in its dataset, counted from 1; None where it is of none.
    """

    index: int
    row: int | None = None
    messages: tuple[ChatMessage, ...] = ()
    chat: bool = False
    n_random_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def text(self) -> str:
        """The turns as plain text, for models without a chat template."""
        return "\n\n".join(m.content for m in self.messages if m.content)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as an engine is given it.

    ``token_ids`` are what the model reads, made outside of every engine; empty for an engine that tokenises itself,
    which goes by ``messages`` or, where no template is to be applied, by ``text`` (else None).
    ``max_output_tokens`` is the most tokens of the answer. ``truncated`` says that the prompt was longer.
    ``max_input_tokens`` is what an engine that tokenises itself is to cut the prompt to: a chat keeps its end, a text
    its beginning; None where that is done.
    """

    index: int
    token_ids: tuple[int, ...] = ()
    messages: tuple[ChatMessage, ...] = ()
    text: str | None = None
    max_output_tokens: int
    max_input_tokens: int | None = None
    truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class RequestOutput:
    """What the engine did for one request.

    Tokens are the request's own, up to and including its end token, never padding; of several answers
    all are counted, and the request has ended when the last of them has.

    Times are seconds of the monotonic clock (``time.monotonic``): ``due_s`` when the load wanted the request to
    begin (None where it has no times of its own), ``sent_s`` when the engine was given it, ``first_token_s`` when its
    first token was there, ``token_times_s`` [longest answer] when each was, the same for every answer, which are
    generated step by step together, and ``end_s`` when the last one was. Engines that see chunks stamp every token
    of a chunk alike; what an engine cannot tell is None or empty.

    ``output_ids`` [answers][tokens] are the tokens. ``input_digest`` is of the token ids as the model was given them,
    after template and truncation; None where an engine does not tell. ``batch`` is the batch of its process, counted
    from 0 over the measured ones; None where there are none. ``error`` says why a request failed, and nothing else
    has one; ``error_kind`` is its kind, None where an engine has no kinds.

    ``chunk_times_s`` [chunks] are when parts of an answer came whose tokens nobody tells apart; an engine that gives
    ``token_times_s`` has none. ``cached_tokens`` of the prompt were in the engine's cache and were not computed; None
    where it does not tell. ``counted_by`` says who counted the tokens.
    """

    index: int
    input_tokens: int
    output_tokens: int
    finish_reason: FinishReason
    output_digest: str
    input_digest: str | None = None
    due_s: float | None = None
    sent_s: float | None = None
    first_token_s: float | None = None
    token_times_s: tuple[float, ...] = ()
    end_s: float | None = None
    output_ids: tuple[tuple[int, ...], ...] = ()
    batch: int | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None
    chunk_times_s: tuple[float, ...] = ()
    cached_tokens: int | None = None
    counted_by: CountedBy = "tokens"

    def __post_init__(self) -> None:
        if isinstance(self.error, str):
            # What libraries say is in it, and it is kept with results.
            object.__setattr__(self, "error", told(self.error))

    @property
    def start_s(self) -> float | None:
        """When its latency begins: when it was due, or else when it was sent."""
        return self.sent_s if self.due_s is None else self.due_s

    @property
    def ttft_s(self) -> float | None:
        """Seconds to the first token; None where nobody saw it."""
        first_s = self.first_s
        return None if first_s is None or self.start_s is None else first_s - self.start_s

    @property
    def ttft_from_sending_s(self) -> float | None:
        """Seconds from when it was sent to the first token, which leaves out what it waited for before."""
        first_s = self.first_s
        return None if first_s is None or self.sent_s is None else first_s - self.sent_s

    @property
    def first_s(self) -> float | None:
        """When its first token was there; None where nobody saw it."""
        return self.token_times_s[0] if self.token_times_s else self.first_token_s

    @property
    def e2e_s(self) -> float | None:
        """Seconds to the end."""
        return None if self.end_s is None or self.start_s is None else self.end_s - self.start_s

    @property
    def latencies_s(self) -> tuple[float, ...]:
        """[longest answer] seconds to each token."""
        return self._since_its_beginning(self.token_times_s)

    @property
    def chunk_latencies_s(self) -> tuple[float, ...]:
        """[chunks] seconds to each part of an answer whose tokens nobody tells apart."""
        return self._since_its_beginning(self.chunk_times_s)

    def _since_its_beginning(self, times_s: Sequence[float]) -> tuple[float, ...]:
        start_s = self.start_s
        return () if start_s is None else tuple(time_s - start_s for time_s in times_s)

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself."""
        return self.finish_reason in ("stop", "length")

    @property
    def answer_lengths(self) -> tuple[int, ...]:
        """Tokens of each answer; one answer where the engine did not tell them apart."""
        return tuple(map(len, self.output_ids)) or (self.output_tokens,)


@dataclass(frozen=True, kw_only=True)
class InferenceOutput:
    """The requests of a run, or of a part of it."""

    requests: tuple[RequestOutput, ...]

    @property
    def input_tokens(self) -> int:
        """Tokens read, over all requests."""
        return sum(r.input_tokens for r in self.requests)

    @property
    def output_tokens(self) -> int:
        """Tokens produced, over all requests."""
        return sum(r.output_tokens for r in self.requests)


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which weights were measured, so that others can have the same.

    ``revision`` is the commit of a hub model. Digests are ``sha256:`` and 64 hex digits over weight files; None where
    there are no such files, or with the reason in ``warnings`` where they could not be read.
    """

    revision: str | None = None
    weights_digest: str | None = None
    adapter_digest: str | None = None
    draft_digest: str | None = None
    warnings: tuple[MeasurementWarning, ...] = ()

    def __post_init__(self) -> None:
        """Make values of the texts that an engine from elsewhere may give."""
        object.__setattr__(self, "warnings", MeasurementWarning.all_of(self.warnings))


Parameter = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """The loaded model as the engine resolved it.

    ``devices`` are the UUIDs of the GPUs that hold it, empty for a CPU. ``batch_size`` is that of fixed batches.
    ``weights`` says what they are where they were not read from files, ``quantization`` the method, ``adapter`` what
    was put on it, ``chat_template`` to which prompts the template was applied, ``dense_from`` the GGUF file that dense
    weights were made from; None where there is no such thing.
    ``parameters`` are all else that the engine resolved, by its own names; of several processes one that differs is a
    list of each one's.
    """

    engine: str
    engine_version: str | None
    devices: tuple[str, ...] = ()
    n_parameters: int | None = None
    parameters: dict[str, Parameter | list[Parameter]] | None = None
    batch_size: int | None = None
    weights: str | None = None
    dense_from: str | None = None
    quantization: str | None = None
    adapter: str | None = None
    chat_template: str | None = None


def decode_period_s(requests: Sequence[RequestOutput]) -> float | None:
    """Median time from one token to the next over [n] requests; None where no engine told.

    Tokens that came together, such as drafted ones, have no time between them.
    """
    gaps_s = [gap for r in requests for a, b in pairwise(r.token_times_s) if (gap := b - a) > 0]
    return statistics.median(gaps_s) if gaps_s else None


def tokens_digest(*answers: Sequence[int]) -> str:
    """SHA-256 of the token ids of a prompt, or of one or more answers, in hex: equal tokens have equal digests."""
    return hashlib.sha256(";".join(",".join(map(str, ids)) for ids in answers).encode()).hexdigest()


def latency_statistics(processes: Sequence[Sequence[RequestOutput]]) -> LatencyStatistics | None:
    """Latency figures of the requests of [n] processes; None without requests."""
    ttft, tpot, gaps, e2e = _Observed(), _Observed(), _Observed(), _Observed()
    batches: Counter[Hashable] = Counter()
    for process, requests in enumerate(processes):
        for r in requests:
            first_s = r.first_s
            batch = None if r.batch is None else (process, r.batch)
            batches[batch] += 1
            ttft.add([r.ttft_s], batch or (process, r.start_s, first_s))
            e2e.add([r.e2e_s], batch or (process, r.start_s, r.end_s))
            tpot.add(times_per_token_s(r), batch or (process, first_s, r.end_s))
            for length in r.answer_lengths:
                for step in pairwise(r.token_times_s[:length] or r.chunk_times_s):
                    gaps.add([step[1] - step[0]], (process, *step))
    if not batches:
        return None
    together = any(batch is not None and n > 1 for batch, n in batches.items())
    return LatencyStatistics(
        ttft_s=ttft.distribution(),
        tpot_s=tpot.distribution(),
        itl_s=gaps.distribution(),
        e2e_s=e2e.distribution(),
        counted_from="batch" if together else "request",
    )


class _Observed:
    """Values, and what each was seen with: those of one batch or step are one observation."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._observations: set[Hashable] = set()

    def add(self, values: Iterable[float | None], observation: Hashable) -> None:
        known = [value for value in values if value is not None]
        self._values += known
        self._observations |= {observation} if known else set()

    def distribution(self) -> Distribution | None:
        return Distribution.of(self._values, len(self._observations))


def times_per_token_s(request: RequestOutput) -> Iterator[float]:
    """(E2E - TTFT) / (n - 1) of each answer of a request; nothing for an answer of one token."""
    if request.ttft_s is None or request.e2e_s is None:
        return
    for length in request.answer_lengths:
        if length > 1:
            last_s = request.latencies_s[length - 1] if request.token_times_s else request.e2e_s
            yield (last_s - request.ttft_s) / (length - 1)
