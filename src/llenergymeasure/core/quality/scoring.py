"""A loaded model's perplexity of a text, when everything else of the experiment is measured."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llenergymeasure.config.quality import QualityConfig
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.peers import POLL_BESIDE_S
from llenergymeasure.core.quality.text import BUILT_IN, TextTokens, read_text
from llenergymeasure.core.quality.windows import stride_of, windows
from llenergymeasure.domain.inference import tokens_digest
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.quality import QualityResult
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ExperimentError, contained, in_one_line

_log = logging.getLogger(__name__)

# What rounding may put a probability above one by, in its logarithm.
_ABOVE_ZERO = 1e-6


@dataclass(frozen=True)
class Scorer:
    """What a text is scored with."""

    plan: ExperimentPlan
    engine: EngineBase
    model: LoadedModelBase
    instruments: Instruments

    def added_to(self, raw: RawProcessResult) -> RawProcessResult:
        """What a process measured, with the quality of the output where it is asked for.

        All processes are past their last look at sensors then. Of those that have the whole model each, the first one
        scores. What was measured is left before, and whatever goes wrong here is null, a reason and a warning.
        """
        asked, layout = self.plan.config.quality, self.plan.layout
        if asked is None:
            return raw
        self.instruments.peers.wait("quality", POLL_BESIDE_S)
        if layout.parallelism == "data" and self.plan.process_index > 0:
            return raw
        of_text = QualityResult(text=raw.effective_config["quality"]["text"] or BUILT_IN)
        if self.instruments.on_measured is not None:
            self.instruments.on_measured(_with(raw, replace(of_text, why_not="the process ended before it was known")))
        _log.info("scoring the tokens of a text: %s", of_text.text)
        try:
            with contained(), self.instruments.progress.phase("scoring a text"):
                return _with(raw, self._scored(asked, of_text))
        except Exception as error:  # noqa: BLE001 - engines and tokenizers raise whatever their libraries raise
            return _with(raw, replace(of_text, why_not=in_one_line(error)))

    def _scored(self, asked: QualityConfig, of_text: QualityResult) -> QualityResult:
        text = read_text(asked.text)
        checkpoint = self.engine.checkpoint(self.plan.config)
        tokens = self.instruments.tokenise_text(text.text, checkpoint, asked.n_scored_tokens, asked.n_context_tokens)
        _check(tokens)
        context = min(asked.n_context_tokens, tokens.room.n_positions or asked.n_context_tokens)
        width = context - len(tokens.prefix)
        return replace(
            of_text,
            text_digest=text.digest,
            tokens_digest=tokens_digest(tokens.token_ids),
            nll_nats=nll_nats(self.model, tokens, width),
            n_scored_tokens=len(tokens.token_ids) - tokens.n_unscored,
            n_bytes=tokens.n_bytes,
            n_context_tokens=context,
            n_stride_tokens=stride_of(width),
        ).worked_out()


def nll_nats(model: LoadedModelBase, tokens: TextTokens, width: int) -> float:
    """Minus the sum of the logarithms of the probabilities of a text's tokens, each scored once.

    Args:
        model: gives them.
        tokens: of the text.
        width: tokens of it that the model reads at a time, what it reads before them not counted.

    Raises:
        ExperimentError: the engine cannot tell, or what it tells are no probabilities.
        ValueError: the width is none.
    """
    n_before, found = len(tokens.prefix), list[float]()
    for window in windows(len(tokens.token_ids), width, tokens.n_unscored):
        ids = [*tokens.prefix, *tokens.token_ids[window.begin : window.end]]
        told = model.token_log_probs(ids)
        if told is None:
            raise ExperimentError("the engine does not tell how probable tokens are")
        _check_told(told, len(ids) - 1)
        # The first value is of the second id.
        found += told[n_before + window.first - window.begin - 1 :]
    return -math.fsum(found)


def _check(tokens: TextTokens) -> None:
    if len(tokens.token_ids) <= tokens.n_unscored:
        raise ExperimentError("the text has too few tokens to score any")
    highest, n_ids = max((*tokens.prefix, *tokens.token_ids)), tokens.room.n_ids
    if n_ids is not None and highest >= n_ids:
        # On a GPU it would end the process.
        raise ExperimentError(f"the tokenizer gives token id {highest}, and the model has ids up to {n_ids - 1}")


def _check_told(values: Sequence[float], n: int) -> None:
    if len(values) != n:
        raise ExperimentError(f"the engine gave {len(values)} probabilities of {n} tokens")
    wrong = next((value for value in values if not (math.isfinite(value) and value <= _ABOVE_ZERO)), None)
    if wrong is not None:
        raise ExperimentError(f"the engine gave {wrong:g} for the logarithm of a probability")


def _with(raw: RawProcessResult, found: QualityResult) -> RawProcessResult:
    warnings = raw.measurement_warnings
    if found.why_not is not None:
        told = MeasurementWarning("quality_unavailable", found.why_not, "no other figure depends on it")
        warnings = (*warnings, told)
    return raw.model_copy(update={"quality": found, "measurement_warnings": warnings})
