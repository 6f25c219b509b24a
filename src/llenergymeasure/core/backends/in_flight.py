"""A request that an engine is at work on, for engines that tell tokens as they come."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from llenergymeasure.core.backends.outputs import answered, failed
from llenergymeasure.domain.inference import FinishReason, Request, RequestOutput


@dataclass
class Counts:
    """What was seen of requests that ended since the last seed; ``n_cached`` tokens of prompts were not computed."""

    n_requests: int = 0
    n_cached: int = 0


@dataclass
class InFlight:
    """What is there of a request: tokens, times and reasons of its answers, each by the place of the answer."""

    request: Request
    sent_s: float
    due_s: float | None = None
    ids: dict[int, list[int]] = field(default_factory=dict)
    times_s: dict[int, list[float]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    n_cached: int = 0

    def take(self, new: Sequence[int], now_s: float, *, place: int = 0, reason: str | None = None) -> None:
        """Note what came of an answer.

        Args:
            new: tokens that are new.
            now_s: when they were there, in monotonic seconds.
            place: which of the answers, from 0.
            reason: why it has ended, in the engine's word; None where it has not.
        """
        self.ids.setdefault(place, []).extend(new)
        self.times_s.setdefault(place, []).extend([now_s] * len(new))
        if reason is not None:
            self.reasons[place] = reason

    def told(self, finish_reason: FinishReason, end_s: float | None = None) -> RequestOutput:
        """All of it; it ended with its last token, where nothing else is said."""
        places = sorted(self.ids)
        return answered(
            self.request,
            [self.ids[place] for place in places],
            [self.times_s[place] for place in places],
            finish_reason,
            sent_s=self.sent_s,
            due_s=self.due_s,
            end_s=end_s,
        )

    def failed(self, why: str) -> RequestOutput:
        """The request without an answer."""
        return failed(self.request, why, sent_s=self.sent_s, due_s=self.due_s)

    def ended(self, counts: Counts, engine: str, room: str) -> RequestOutput:
        """The request once its answers have ended, each with ``stop``, ``length`` or a reason that is a fault.

        Args:
            counts: a request with an answer is added to them.
            engine: its name, for messages.
            room: the setting that gives answers more room.
        """
        reasons = set(self.reasons.values())
        if not reasons <= {"stop", "length"}:
            return self.failed(f"{engine} gave it up ({', '.join(sorted(reasons - {'stop', 'length'}))})")
        most = self.request.max_output_tokens
        short = [
            len(self.ids[place])
            for place, reason in self.reasons.items()
            if reason == "length" and len(self.ids[place]) < most
        ]
        if short:
            return self.failed(f"there was no room for more after {short[0]} of {most} tokens; raise {room}")
        counts.n_requests += 1
        counts.n_cached += self.n_cached
        return self.told("stop" if reasons == {"stop"} else "length")
