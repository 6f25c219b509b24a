"""As much of vLLM's Python API as its engine here uses (names of 0.32), with a model that counts up from a prompt.

Each step gives each request one token. Two tokens of a prompt are in the cache from its second time on, where that is
asked for.
"""

import queue
from types import SimpleNamespace
from typing import Any


class FakeVllm:
    """Stands for the module ``vllm``.

    ``room`` are the most tokens of a request, ``apart`` says whether the engine is in a process of its own, ``fails``
    what loading raises.
    """

    lora = SimpleNamespace(request=SimpleNamespace(LoRARequest=lambda name, number, path: (name, number, path)))
    sampling_params = SimpleNamespace(RequestOutputKind=SimpleNamespace(DELTA="delta"))

    def __init__(self, room: int = 64, *, apart: bool = False, fails: Exception | None = None) -> None:
        self.room, self.apart, self.fails = room, apart, fails
        self.engine: FakeEngine | None = None
        self.LLMEngine = SimpleNamespace(from_engine_args=self._made)

    EngineArgs = SimpleNamespace
    SamplingParams = SimpleNamespace
    TokensPrompt = SimpleNamespace

    def _made(self, arguments: Any) -> "FakeEngine":
        if self.fails is not None:
            raise self.fails
        self.engine = FakeEngine(arguments, self)
        return self.engine


class FakeEngine:
    """An ``LLMEngine``; ``log`` has what it was asked for."""

    def __init__(self, arguments: Any, library: FakeVllm) -> None:
        self.arguments, self.room = arguments, library.room
        self.log: list[str] = []
        self.requests: dict[str, Any] = {}
        self.seen: set[tuple[int, ...]] = set()
        self.vllm_config = SimpleNamespace(
            cache_config=SimpleNamespace(enable_prefix_caching=getattr(arguments, "enable_prefix_caching", False)),
            scheduler_config=SimpleNamespace(max_num_seqs=4),
            model_config=SimpleNamespace(quantization=None, max_model_len=library.room),
            parallel_config=SimpleNamespace(world_size=1, data_parallel_size=1),
            device_config=SimpleNamespace(device_type="cpu"),
            speculative_config=None,
        )
        self.engine_core = SimpleNamespace(shutdown=lambda: self.log.append("shutdown"))
        if library.apart:
            self.engine_core.outputs_queue = queue.Queue()
            self.engine_core.resources = SimpleNamespace(engine_dead=False)

    def die(self) -> None:
        """As when its process is killed: nothing comes any more."""
        self.engine_core.resources.engine_dead = True

    def add_lora(self, request: tuple[str, int, str]) -> bool:
        if request[2].endswith("broken"):
            raise ValueError("vLLM does not yet support DoRA.")
        self.log.append(f"adapter {request[2]}")
        return True

    def add_request(self, name: str, prompt: Any, params: Any, lora_request: Any = None) -> None:
        if len(prompt.prompt_token_ids) >= self.room:
            raise ValueError(f"the prompt has {len(prompt.prompt_token_ids)} tokens, and the most is {self.room}")
        on_top = "" if lora_request is None else f" with {lora_request[0]}"
        self.log.append(f"add {name.partition('-')[2]}{on_top}")
        self.requests[name] = SimpleNamespace(ids=list(prompt.prompt_token_ids), params=params, n_said=0)

    def has_unfinished_requests(self) -> bool:
        return bool(self.requests)

    def reset_prefix_cache(self) -> None:
        self.log.append("forget")
        self.seen.clear()

    def abort_request(self, names: list[str]) -> None:
        self.log.append(f"abort {len(names)}")
        for name in names:
            self.requests.pop(name, None)

    def step(self) -> list[Any]:
        given = []
        for name, each in list(self.requests.items()):
            n_cached = 2 if self.vllm_config.cache_config.enable_prefix_caching and tuple(each.ids) in self.seen else 0
            each.n_said += 1
            token = each.ids[-1] + each.n_said
            reason = "stop" if token in getattr(each.params, "stop_token_ids", ()) else None
            if each.n_said == each.params.max_tokens or len(each.ids) + each.n_said == self.room:
                reason = reason or "length"
            if reason is not None:
                del self.requests[name]
                self.seen.add(tuple(each.ids))
            answers = [
                SimpleNamespace(index=place, token_ids=[token + place], finish_reason=reason)
                for place in range(getattr(each.params, "n", 1))
            ]
            scores = None
            if getattr(each.params, "prompt_logprobs", None) is not None:
                scores = [None, *({token: SimpleNamespace(logprob=-token / 10)} for token in each.ids[1:])]
            given.append(
                SimpleNamespace(
                    request_id=name,
                    outputs=answers,
                    finished=reason is not None,
                    num_cached_tokens=n_cached,
                    prompt_logprobs=scores,
                )
            )
        return given
