"""A server that is ready: asked for answers, counted, described."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import LoadedModelBase
from llenergymeasure.core.backends.server.answer import Counts, Judge
from llenergymeasure.core.backends.server.body import Bodies, section_of
from llenergymeasure.core.backends.server.connections import Pool
from llenergymeasure.core.backends.server.counting import TokenCounter
from llenergymeasure.core.backends.server.dialects import Dialect
from llenergymeasure.core.backends.server.questions import Questions, headers_of
from llenergymeasure.core.backends.server.scheduling import Asking, Run
from llenergymeasure.core.backends.server.started_server import StartedServer
from llenergymeasure.core.backends.server.words import warnings_of
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.identity import Parts, files_of, identity_of
from llenergymeasure.core.checkpoint.source import Checkpoint, is_here
from llenergymeasure.core.checkpoint.tokenizer import read_description
from llenergymeasure.core.flops import described_flops
from llenergymeasure.domain.inference import InferenceOutput, ModelDescription, ModelIdentity, Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.metrics import FlopsResult, NumberFormat
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError

_FORMATS: dict[str, NumberFormat] = {"fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A server that answers: what it is, what it is asked for, and the GPUs that it is on.

    ``own`` are its processes, where it was started here; ``checkpoint`` the files of the experiment's model, None where
    that is a name which only the server knows.
    """

    questions: Questions
    dialect: Dialect
    served_model: str
    version: str | None
    n_context: int | None
    devices: tuple[str, ...]
    own: StartedServer | None = None
    checkpoint: Checkpoint | None = None


class ServerModel(LoadedModelBase):
    """Implements ``LoadedModel`` over HTTP."""

    computes_here = False

    def __init__(self, config: ExperimentConfig, ready: Ready, pool: Pool, head: bytes) -> None:
        """Prepare to ask.

        Args:
            config: the experiment.
            ready: the server.
            pool: connections to it.
            head: what begins each request, up to its length.
        """
        section = section_of(config)
        self._config, self._section, self._ready, self._pool = config, section, ready, pool
        self._bodies = Bodies(config, ready.dialect, ready.served_model)
        self._asking = Asking(
            pool=pool,
            head=head,
            body_of=self._body,
            timeout_s=section.timeout_s,
            silence_timeout_s=section.silence_timeout_s,
            must_live=_nobody if ready.own is None else ready.own.must_live,
        )
        checkpoint = ready.checkpoint
        self._count_text = TokenCounter(None if checkpoint is None else lambda: checkpoint)
        self._random_seed, self._counts = config.random_seed, Counts()
        self._counts_peak = ready.own is not None and ready.own.count_peaks()

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Send requests as the load says, and tell each when its answer has ended."""
        self._asking.must_live()
        Run(self._asking, Judge(counts=self._counts, count_text=self._count_text)).serve(requests, load, on_done)

    def seed(self, random_seed: int) -> None:
        """Each request draws from a seed of its own; a server that was started here forgets what warm-up asked."""
        self._random_seed, self._counts = random_seed, Counts()
        if self._ready.own is not None:
            self._ready.questions.forget(self._ready.dialect)

    def warnings(self) -> list[MeasurementWarning]:
        """What was seen of answers since ``seed``."""
        return warnings_of(self._counts, self._ready.dialect)

    def flops(self, output: InferenceOutput) -> FlopsResult:
        """2 N per token by the shape of the checkpoint that ``model`` names.

        Raises:
            BackendError: it names none, or none of a known shape.
        """
        checkpoint = self._ready.checkpoint
        if checkpoint is None:
            raise BackendError(f"model {self._config.model!r} is no checkpoint here, so its shape is not known")
        architecture = skeleton(read_description(checkpoint))
        if architecture is None:
            raise BackendError(f"the shape of model {self._config.model!r} is not known")
        sequences = [(r.input_tokens, r.output_tokens) for r in output.requests if r.succeeded]
        result = described_flops(architecture, sequences, _FORMATS.get(self._config.precision))
        if not self._counts.n_cached:
            return result
        left_out = "tokens from the prompt cache counted as if they were computed"
        return replace(result, method=f"{result.method}; {left_out}", confidence="low", prefill=None, decode=None)

    def peak_memory_mb(self) -> float | None:
        """The largest resident sets of a server that was started here and runs on the CPU."""
        own = self._ready.own
        return own.peak_mb() if own is not None and self._counts_peak and not self._ready.devices else None

    def describe(self) -> ModelDescription:
        """The server as it tells of itself."""
        ready, section = self._ready, self._section
        return ModelDescription(
            engine="server",
            engine_version=ready.version,
            devices=ready.devices,
            parameters={
                "server": ready.dialect.name,
                "served_model": ready.served_model,
                "api": section.api,
                "send": "text" if section.sends_text else "token_ids",
                "n_context": ready.n_context,
                "started_here": ready.own is not None,
                "do_sample": self._config.decoder.do_sample,
                "max_new_tokens": self._config.max_output_tokens,
            },
            chat_template="applied by the server" if section.api == "chat" else None,
        )

    def identity(self) -> ModelIdentity:
        """Commit and digest of the checkpoint, where the command names it; else nobody knows what the server read."""
        checkpoint, model = self._ready.checkpoint, self._config.model
        command = self._section.command or []
        named = self._ready.own is not None and any(model in word for word in command)
        if checkpoint is None or not named or not is_here(model):
            why = "which weights the server has read is known to nobody here"
            advice = "start it with server.command, which names the folder of `model`"
            return ModelIdentity(warnings=(MeasurementWarning("weights_digest_unavailable", why, advice),))
        folder = Path(checkpoint.source.location)
        return identity_of(Parts(folder=lambda: folder, weights=lambda at: files_of(model, checkpoint.source, at)))

    def _body(self, request: Request) -> dict[str, Any]:
        return self._bodies.of(request, self._random_seed)


def _nobody() -> None:
    """There is no server of ours to die."""


def head_of(place: str, named: str, config: ExperimentConfig) -> bytes:
    """What begins each request, up to its length.

    Raises:
        BackendError: a header, or the key, has characters that no header has.
    """
    headers = {
        "Host": named,
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        **headers_of(section_of(config)),
    }
    wrong = [name for name, value in headers.items() if not (value.isprintable() and value.isascii())]
    if wrong:
        raise BackendError(
            f"server: what is to be sent as {wrong[0]} has characters that no header has, as a line break"
        )
    lines = [f"POST {place} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in lines).encode()
