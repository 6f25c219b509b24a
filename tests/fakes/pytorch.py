"""Shortcuts around a loaded PyTorch model, for tests that look at it without a session."""

from collections.abc import Sequence

from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch.model import PyTorchModel
from llenergymeasure.core.prompts.tokenise import PreparedRequests, tokenised
from llenergymeasure.domain.inference import InferenceOutput, Prompt, Request, RequestOutput
from llenergymeasure.domain.load import Load


def requests_of(loaded: PyTorchModel, prompts: Sequence[Prompt]) -> PreparedRequests:
    """The prompts as the session would hand them to this model."""
    config = loaded._config
    return tokenised(config, prompts, PyTorchBackend().checkpoint(config))


def prepared(loaded: PyTorchModel, prompts: Sequence[Prompt]) -> list[tuple[Request, ...]]:
    """The same in the batches in which the model would run them."""
    return PyTorchBackend().load_of(loaded._config).units_of(requests_of(loaded, prompts).requests)


def generated(loaded: PyTorchModel, batch: Sequence[Request]) -> InferenceOutput:
    """What one batch gives."""
    done: list[RequestOutput] = []
    loaded.run(batch, Load.in_batches(len(batch)), done.append)
    return InferenceOutput(requests=tuple(done))
