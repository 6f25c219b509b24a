"""What the fake server says, and the ways in which it can fail: all of it follows from the request and a script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

N_VOCABULARY = 300
# Tokens below are nobody's answer.
_FIRST_TOKEN = 5
# Prompts whose ids add up to a multiple of it are answered with an answer that ends by itself, with the last token.
_ENDS_EVERY, _ENDS_AFTER = 7, 3
END_TOKEN = 2

FaultKind = Literal[
    "close", "hang", "half_chunk", "usage", "no_usage", "status", "error_inside", "keep_alives", "foreign_id",
    "out_of_order", "long_line", "garbage", "redirect", "two_choices", "no_reason", "no_done", "endless_head",
    "deep_json", "whole_body", "open_end", "empty",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with the answer to one request.

    ``close`` closes the connection and ``hang`` says nothing more after ``n_chunks_before`` chunks, before the head of
    the answer where that is None; ``half_chunk`` closes in the middle of one. ``usage`` tells ``usage`` in place of the
    truth, ``no_usage`` none. ``status`` answers with this ``status``, ``retry_after`` and ``body``. ``error_inside`` is
    a status of 200 with an error in the stream. ``keep_alives`` sends ``n`` comments before each chunk, ``long_line`` a
    line of ``n`` bytes. ``foreign_id`` has a chunk of another answer, ``out_of_order`` counts that fall. ``garbage`` is
    no HTTP, ``endless_head`` headers without an end, ``deep_json`` brackets in brackets. ``redirect`` sends to
    ``location``. ``whole_body`` answers with one JSON object, and not as a stream; ``two_choices`` twice in each chunk,
    ``no_reason`` without why it ended, ``no_done`` without the last word, ``open_end`` without the end of the body
    behind it; ``empty`` is a status of 200 and no answer.
    """

    kind: FaultKind
    n_chunks_before: int | None = None
    status: int = 503
    retry_after: str | None = None
    body: str = '{"error": {"message": "the fake server was told to refuse this"}}'
    usage: Mapping[str, Any] = field(default_factory=dict)
    n: int = 3
    location: str = "/elsewhere"


@dataclass(frozen=True, kw_only=True)
class FakeSettings:
    """How it answers.

    ``ttft_s`` is from when a request has a slot to its first token, ``gap_s`` from chunk to chunk, each of
    ``n_tokens_per_chunk`` tokens; at most ``n_slots`` requests are at work, the others queue. ``owned_by`` is what it
    tells that it is, ``model_ids`` the models that it lists. It ``tells_ids`` and ``tells_counts`` of chunks where it
    is asked to. ``faults`` are by the number of the request, counted from 0, or ``*``. ``n_cached`` tokens of each
    prompt are told as cached; None tells nothing of it. ``ready_after_s`` seconds it answers ``/health`` with 503, and
    without ``has_health`` always with 404. ``n_context`` is the most tokens of a prompt with its answer.
    """

    ttft_s: float = 0.005
    gap_s: float = 0.001
    n_tokens_per_chunk: int = 1
    n_slots: int = 8
    owned_by: str = "vllm"
    model_ids: tuple[str, ...] = ("fake",)
    tells_ids: bool = True
    tells_counts: bool = True
    faults: Mapping[str, Fault] = field(default_factory=dict)
    n_cached: int | None = None
    ready_after_s: float = 0.0
    has_health: bool = True
    n_context: int = 4096


def answer_to(prompt: Sequence[int], limit: int, *, seed: int = 0, ignore_eos: bool = False) -> tuple[list[int], bool]:
    """The tokens of an answer, and whether it ended by itself.

    Args:
        prompt: token ids; of a text its bytes.
        limit: most tokens of the answer.
        seed: that of sampling; 0 is greedy.
        ignore_eos: go on to the limit.
    """
    total, n = sum(prompt), len(prompt)
    ends = total % _ENDS_EVERY == 0 and not ignore_eos
    length = min(limit, _ENDS_AFTER) if ends else limit
    span = N_VOCABULARY - _FIRST_TOKEN
    tokens = [_FIRST_TOKEN + (3 * total + 11 * n + 17 * place + 7919 * seed) % span for place in range(length)]
    if ends and length == _ENDS_AFTER:
        return [*tokens[:-1], END_TOKEN], True
    return tokens, False


def words_of(tokens: Sequence[int]) -> str:
    """The text of tokens: a word for each."""
    return "".join(f" w{token}" for token in tokens)


def fault_of(script: Mapping[str, Any]) -> dict[str, Fault]:
    """Faults by the number of the request, counted from 0, or ``*`` for all others, from plain values.

    Raises:
        TypeError: a fault has a field that there is none of.
    """
    return {str(number): Fault(**given) for number, given in script.items()}
