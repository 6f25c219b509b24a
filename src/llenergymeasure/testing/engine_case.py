"""An engine that is put through checks, with what is known of its answers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.protocols import InferenceBackend

# Of an answer, where a check wants no other length.
N_TOKENS = 6


@dataclass(frozen=True, kw_only=True)
class EngineCase:
    """An engine, what it is to run, and what is known of the answers.

    ``prompts`` are token ids of at least eight prompts of different lengths. ``config`` has greedy decoding.
    ``answer_to`` gives the tokens of the greedy answer to a prompt of a given index, with its end token, at most so
    many: worked out without the engine. ``sampling`` is a configuration with sampling on, ``ending`` the place of a
    prompt whose answer ends by itself before six tokens, ``too_long`` a prompt that the model has no room for,
    ``failing`` the index of a request that fails alone; None where the engine has no such thing. ``library_threads``
    are the names of threads that a library keeps and that do nothing between runs. ``clock`` is the
    clock of the engine's times, which moves by itself or with the engine.
    """

    engine: InferenceBackend
    config: ExperimentConfig
    prompts: Sequence[Sequence[int]]
    answer_to: Callable[[Sequence[int], int, int], Sequence[int]]
    sampling: ExperimentConfig | None = None
    ending: int | None = None
    too_long: Sequence[int] | None = None
    failing: int | None = None
    clock: Callable[[], float] | None = None
    library_threads: Sequence[str] = ()

    @property
    def complete(self) -> EngineBase:
        """The engine with the defaults for what it does not write."""
        return with_defaults(self.engine, EngineBase)

    def requests(self, n: int = 8, n_tokens: int = N_TOKENS) -> list[Request]:
        """The first [n] prompts as requests, without the one that fails."""
        return [
            Request(index=i, token_ids=tuple(ids), max_output_tokens=n_tokens)
            for i, ids in enumerate(self.prompts[:n])
            if i != self.failing
        ]

    @contextmanager
    def loaded(self, config: ExperimentConfig | None = None) -> Iterator[LoadedModelBase]:
        """The engine's model, loaded."""
        with self.complete.load(ExperimentPlan.of(config or self.config)) as model:
            yield with_defaults(model, LoadedModelBase)

    def load(self) -> Load:
        """How requests arrive at this engine when nothing else is said."""
        return self.complete.load_of(self.config)


def ran(model: LoadedModelBase, requests: Sequence[Request], load: Load) -> list[RequestOutput]:
    """What requests gave, in the order in which they ended."""
    done: list[RequestOutput] = []
    model.run(requests, load, done.append)
    model.synchronize()
    return done
