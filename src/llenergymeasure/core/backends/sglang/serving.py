"""Requests as ``StreamedRun`` gives them to SGLang, and what it tells of them."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence, Set
from typing import Any

from llenergymeasure.core.backends.sglang.core import Core
from llenergymeasure.core.backends.streamed import Piece
from llenergymeasure.domain.inference import Request


class Serving:
    """Implements ``StreamingEngine`` over SGLang."""

    name = "SGLang"
    room = "sglang.context_length or sglang.mem_fraction_static"

    def __init__(self, core: Core, sampling: Callable[[Request], dict[str, Any]], ends: Set[int]) -> None:
        """Serve requests.

        Args:
            core: SGLang.
            sampling: a request's sampling parameters.
            ends: tokens that end an answer.
        """
        self._core, self._sampling, self._ends = core, sampling, ends
        self.loop = core.loop

    async def stream(self, request_name: str, request: Request) -> AsyncIterator[Iterable[Piece]]:
        """New tokens of each time that SGLang tells all of them."""
        n_told = 0
        async for told in self._core.answers(request_name, request.token_ids, self._sampling(request)):
            about = told["meta_info"]
            # A list that goes on growing; what is new is copied.
            ids = told["output_ids"]
            new, n_told = list(ids[n_told:]), len(ids)
            yield [
                Piece(tokens=new, reason=self._reason(about, ids), n_cached=int(about.get("cached_tokens") or 0)),
            ]

    async def abort(self, request_names: Sequence[str]) -> None:
        """Have requests ended."""
        self._core.abort(request_names)

    def must_live(self) -> None:
        """Look whether the engine is alive.

        Raises:
            ExperimentError: it has died.
        """
        self._core.must_live()

    def _reason(self, about: dict[str, Any], ids: Sequence[int]) -> str | None:
        """Why an answer ended, where it has, in a word that is no other than ``stop`` or ``length`` unless at fault."""
        why = about.get("finish_reason")
        if why is None:
            return None
        kind, n_counted = str(why.get("type")), about.get("completion_tokens")
        if kind not in ("stop", "length"):
            message = why.get("message")
            return f"{kind}: {message}" if message else kind
        if n_counted != len(ids):
            return f"{n_counted} tokens were counted, and {len(ids)} told"
        if kind == "stop" and self._ends.isdisjoint(ids[-1:]):
            return f"stopped at {why.get('matched')!r}, which ends no answer"
        return kind
