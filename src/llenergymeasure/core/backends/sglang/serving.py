"""Requests as ``StreamedRun`` gives them to SGLang, and what it tells of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

from llenergymeasure.core.backends.sglang.core import Core
from llenergymeasure.core.backends.streamed import Piece
from llenergymeasure.domain.inference import Request


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Implements ``StreamingEngine``: ``sampling`` gives a request's parameters, ``ends`` are tokens that end one."""

    core: Core
    sampling: Callable[[Request], dict[str, Any]]
    ends: Set[int]
    name: str = "SGLang"
    room: str = "sglang.context_length or sglang.mem_fraction_static"

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The one that the engine was made with."""
        return self.core.loop

    async def stream(self, request_name: str, request: Request) -> AsyncIterator[Iterable[Piece]]:
        """New tokens of each time that SGLang tells all of them."""
        n_told = 0
        async for told in self.core.answers(request_name, request.token_ids, self.sampling(request)):
            about = told["meta_info"]
            # A list that goes on growing.
            new = list(told["output_ids"][n_told:])
            n_told += len(new)
            yield [
                Piece(tokens=new, reason=self._reason(about, n_told), n_cached=int(about.get("cached_tokens") or 0)),
            ]

    async def abort(self, request_names: Sequence[str]) -> None:
        """Have requests ended."""
        self.core.abort(request_names)

    def must_live(self) -> None:
        """Look whether the engine is alive.

        Raises:
            ExperimentError: it has died.
        """
        self.core.must_live()

    def _reason(self, about: dict[str, Any], n_told: int) -> str | None:
        """Why an answer ended, where it has, in a word that is no other than ``stop`` or ``length`` unless at fault."""
        why = about.get("finish_reason")
        if why is None:
            return None
        kind, n_counted = str(why.get("type")), about.get("completion_tokens")
        if kind not in ("stop", "length"):
            message = why.get("message")
            return f"{kind}: {message}" if message else kind
        if n_counted != n_told:
            return f"{n_counted} tokens were counted, and {n_told} told"
        if kind == "stop" and why.get("matched") not in self.ends:
            return f"stopped at {why.get('matched')!r}, which ends no answer"
        return kind
