"""What is there of the answer to one request, and what it was once it has ended."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llenergymeasure.core.backends.outputs import failed
from llenergymeasure.core.backends.server.parts import (
    FailedError,
    Usage,
    choices_in,
    digest_of_text,
    said_in,
    text_of,
)
from llenergymeasure.domain.inference import (
    CountedBy,
    ErrorKind,
    FinishReason,
    Request,
    RequestOutput,
    tokens_digest,
)

_DONE = b"[DONE]"
# Why answers end, in the words of servers.
_STOP = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence", "tool_calls", "function_call"})
_LENGTH = frozenset({"length", "max_tokens"})


@dataclass
class Counts:
    """What was seen of requests that ended since the last seed.

    ``n_cached`` tokens of prompts were not computed. Of ``n_retokenised`` requests the server told no counts; of
    ``n_contradicting`` they do not go with its chunks; of ``n_other_prompts`` it read another number of tokens than it
    was sent. ``n_tokens`` came in ``n_chunks`` of those whose tokens have no times of their own.
    """

    n_requests: int = 0
    n_cached: int = 0
    n_retokenised: int = 0
    n_contradicting: int = 0
    n_other_prompts: int = 0
    n_tokens: int = 0
    n_chunks: int = 0


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What answers are held against; ``count_text`` counts the tokens of a text, or says None."""

    counts: Counts
    count_text: Callable[[str], int | None]


@dataclass
class Answer:
    """An answer that is coming in."""

    request: Request
    sent_s: float
    due_s: float | None = None
    is_done: bool = False
    _id: str | None = None
    _reason: str | None = None
    _texts: list[str] = field(default_factory=list)
    _ids: list[int] = field(default_factory=list)
    # Of each chunk with something in it: when it came, and how many tokens there were by then.
    _chunks_s: list[float] = field(default_factory=list)
    _by_then: list[int | None] = field(default_factory=list)
    _usage: Usage = field(default_factory=Usage)

    def take(self, data: bytes, now_s: float) -> None:
        """Note an event.

        Raises:
            FailedError: it says that the answer is none, or cannot be read.
        """
        if data.strip() == _DONE:
            self.is_done = True
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise FailedError("unreadable", f"a part of the answer is no JSON: {type(error).__name__}") from error
        if not isinstance(event, dict):
            raise FailedError("unreadable", f"a part of the answer is no object: {data[:60]!r}")
        if event.get("error") is not None:
            raise FailedError("server", f"the server gave up: {said_in(event) or 'it does not say why'}")
        self._belongs(event)
        before, has_tokens = self._known(), False
        choices = choices_in(event)
        for choice in choices:
            has_tokens |= self._choice(choice)
        told = event.get("usage")
        if isinstance(told, dict):
            self._usage.take(told)
        timings = event.get("timings")
        if isinstance(timings, dict):
            self._timings(timings)
        known = self._known()
        # A token may have no text, such as the one that ends an answer.
        if has_tokens or (choices and before is not None and known is not None and known > before):
            self._chunks_s.append(now_s)
            self._by_then.append(known)

    def failed(self, kind: ErrorKind, why: str, end_s: float) -> RequestOutput:
        """The request without an answer."""
        return failed(self.request, why, sent_s=self.sent_s, due_s=self.due_s, end_s=end_s, kind=kind)

    def cancelled(self, judge: Judge, end_s: float) -> RequestOutput:
        """The request with what was there of its answer when nobody wanted more."""
        n_said, counted_by = self._known(), self._counted_by()
        if n_said is None:
            # What it had told was not to be the last word.
            n_said, counted_by = judge.count_text("".join(self._texts)) or len(self._chunks_s), "retokenised"
        n_read = self._usage.n_read or len(self.request.token_ids)
        return self._output("cancelled", n_said, counted_by, end_s, n_read)

    def ended(self, judge: Judge, end_s: float) -> RequestOutput:
        """The request once its answer is whole; counted.

        Raises:
            FailedError: the answer does not count.
        """
        reason = self._finish()
        n_said, counted_by = self._counted(judge)
        most = self.request.max_output_tokens
        if n_said > most:
            raise FailedError("unreadable", f"the server counted {n_said} tokens, and at most {most} were asked for")
        if reason == "length" and n_said < most and counted_by != "retokenised":
            raise FailedError("server", f"there was no room for more after {n_said} of {most} tokens; give the server "
                              "a longer context")  # fmt: skip
        output = self._output(reason, n_said, counted_by, end_s, self._read(judge))
        self._note(judge.counts, output)
        return output

    def _belongs(self, event: Mapping[str, Any]) -> None:
        found = event.get("id")
        if not isinstance(found, str) or not found:
            return
        if self._id is None:
            self._id = found
        elif found != self._id:
            raise FailedError("unreadable", f"a part of another answer is in this one (ids {self._id!r:.80} and "
                              f"{found!r:.80})")  # fmt: skip

    def _choice(self, choice: Any) -> bool:
        """Note what is new of an answer; whether there is something."""
        if not isinstance(choice, dict):
            raise FailedError("unreadable", "a part of the answer has a choice that is no object")
        if choice.get("index", 0) != 0:
            raise FailedError("unreadable", "the server sends several answers, and one was asked for")
        text, ids = text_of(choice), choice.get("token_ids")
        new = [each for each in ids if isinstance(each, int)] if isinstance(ids, list) else []
        self._texts += [text] if text else []
        self._ids += new
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self._reason = reason
        return bool(text or new)

    def _timings(self, timings: Mapping[str, Any]) -> None:
        """What llama.cpp tells: tokens so far, and those that it took from its cache."""
        n_said, n_cached = timings.get("predicted_n"), timings.get("cache_n")
        if isinstance(n_said, int) and n_said >= (self._usage.n_said or 0):
            self._usage.n_said = n_said
        if isinstance(n_cached, int) and n_cached >= 0:
            self._usage.n_cached = n_cached

    def _known(self) -> int | None:
        """Tokens so far, where somebody tells."""
        return len(self._ids) or self._usage.n_said

    def _finish(self) -> FinishReason:
        if self._reason is None:
            raise FailedError("unreadable", "the answer ended without a reason (finish_reason)")
        if self._reason in _STOP:
            return "stop"
        if self._reason in _LENGTH:
            return "length"
        raise FailedError("server", f"the server gave it up ({self._reason:.80})")

    def _counted(self, judge: Judge) -> tuple[int, CountedBy]:
        """Tokens of the answer, and who counted them.

        Raises:
            FailedError: nobody can.
        """
        n_told = len(self._ids) or None if self._usage.n_said is None else self._usage.n_said
        if n_told is not None:
            return n_told, self._counted_by()
        n_found = judge.count_text("".join(self._texts))
        if n_found is None:
            raise FailedError("unreadable", "the server tells no usage, and without the tokenizer of `model` nobody "
                              "can count the tokens")  # fmt: skip
        return n_found, "retokenised"

    def _read(self, judge: Judge) -> int:
        """Tokens of the prompt: as the server counted them, as they were sent, or as many as its text has."""
        if self._usage.n_read is not None or self.request.token_ids:
            return len(self.request.token_ids) if self._usage.n_read is None else self._usage.n_read
        request = self.request
        text = "\n".join(each.content for each in request.messages) if request.text is None else request.text
        return judge.count_text(text) or 0

    def _counted_by(self) -> CountedBy:
        n_ids, n_said = len(self._ids), self._usage.n_said
        return "tokens" if n_ids and n_said in (None, n_ids) else "usage"

    def _output(
        self, reason: FinishReason, n_said: int, counted_by: CountedBy, end_s: float, n_read: int
    ) -> RequestOutput:
        request, usage = self.request, self._usage
        ids = (tuple(self._ids),) if len(self._ids) == n_said and n_said else ()
        times_s, n_given = self._token_times_s(n_said), len(request.token_ids)
        return RequestOutput(
            index=request.index,
            input_tokens=n_read,
            output_tokens=n_said,
            finish_reason=reason,
            output_digest=tokens_digest(*ids) if ids else digest_of_text("".join(self._texts)),
            input_digest=tokens_digest(request.token_ids) if request.token_ids and n_read == n_given else None,
            due_s=self.due_s,
            sent_s=self.sent_s,
            first_token_s=self._chunks_s[0] if self._chunks_s else None,
            token_times_s=times_s,
            chunk_times_s=() if times_s else tuple(self._chunks_s),
            # Its last token is what ends it; that all were counted is told a moment later.
            end_s=self._chunks_s[-1] if self._chunks_s and reason != "cancelled" else end_s,
            output_ids=ids,
            cached_tokens=usage.n_cached,
            counted_by=counted_by,
        )

    def _token_times_s(self, n_said: int) -> tuple[float, ...]:
        """When each token came; empty where it is not known how many a chunk has."""
        times_s: list[float] = []
        for at_s, by_then in zip(self._chunks_s, self._by_then, strict=True):
            if by_then is None:
                return ()
            times_s += [at_s] * (by_then - len(times_s))
        return tuple(times_s) if len(times_s) == n_said else ()

    def _note(self, counts: Counts, output: RequestOutput) -> None:
        counts.n_requests += 1
        counts.n_cached += output.cached_tokens or 0
        counts.n_retokenised += output.counted_by == "retokenised"
        apart = bool(self._ids) and len(self._ids) != output.output_tokens
        counts.n_contradicting += output.output_tokens < len(self._chunks_s) or apart
        n_given = len(self.request.token_ids)
        counts.n_other_prompts += bool(n_given) and output.input_tokens != n_given
        if not output.token_times_s:
            counts.n_tokens += output.output_tokens
            counts.n_chunks += len(self._chunks_s)
