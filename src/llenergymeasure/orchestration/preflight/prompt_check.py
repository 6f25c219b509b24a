"""The prompts of a plan as they will be run: read, written by the template and tokenised before anything is measured.

That takes a second or two once for each model and set of prompts, and the process that measures does it again. Without
it a template that refuses a row, or a prompt that the model has no place for, would be told after loading the weights.
"""

import statistics
from collections.abc import Hashable
from dataclasses import dataclass, replace

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.prompts.selection import PromptSelection, select_prompts
from llenergymeasure.core.prompts.tokenise import PreparedRequests, tokenised
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ConfigError, LLEMError, contained, in_one_line


@dataclass(frozen=True, kw_only=True)
class CheckedPrompts:
    """The prompts of an experiment, or why there are none.

    ``n`` is None where they cannot be read; ``input_tokens`` [n] is empty where they were not tokenised, since
    something else is missing or the engine does it itself. ``n_truncated`` were cut to ``max_input_tokens``.
    """

    n: int | None = None
    input_tokens: tuple[int, ...] = ()
    n_truncated: int = 0
    config_errors: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    cautions: tuple[MeasurementWarning, ...] = ()

    @property
    def in_words(self) -> str:
        """How many there are, their tokens, and how many are cut."""
        if not self.input_tokens:
            return f"prompts: {self.n}"
        tokens = self.input_tokens
        cut = f"; {self.n_truncated} are cut to max_input_tokens" if self.n_truncated else ""
        return (
            f"prompts: {self.n}, with {sum(tokens):,} input tokens (least {min(tokens)}, "
            f"mean {statistics.fmean(tokens):.1f}, most {max(tokens)}){cut}"
        )


class PromptChecks:
    """Checks the prompts of experiments, each set of them once."""

    def __init__(self) -> None:
        self._selected: dict[Hashable, PromptSelection | LLEMError] = {}
        self._prepared: dict[Hashable, PreparedRequests | Exception] = {}

    def check(self, config: ExperimentConfig, *, tokenise: bool) -> CheckedPrompts:
        """What there is to know of the prompts of an experiment.

        Args:
            config: the experiment.
            tokenise: whether they are tokenised, which needs the files of the model.
        """
        selection = self._selection(config)
        if isinstance(selection, LLEMError):
            return _failed(config, selection)
        found = CheckedPrompts(n=len(selection.prompts), cautions=selection.warnings)
        if not tokenise:
            return found
        try:
            # Code of an engine, a tokenizer and, where it is trusted, of the model.
            with contained():
                prepared = self._requests(config, selection)
        except Exception as error:  # noqa: BLE001 - and they raise what they will
            told = _failed(config, error)
            return replace(found, config_errors=told.config_errors, lacking=told.lacking)
        if prepared is None:
            return found
        return replace(
            found,
            input_tokens=tuple(len(request.token_ids) for request in prepared.requests),
            n_truncated=prepared.n_truncated,
            cautions=(*found.cautions, *prepared.warnings, *prepared.cautions),
        )

    def _selection(self, config: ExperimentConfig) -> PromptSelection | LLEMError:
        key = _selection_key(config)
        if key not in self._selected:
            try:
                self._selected[key] = select_prompts(config)
            except LLEMError as error:
                self._selected[key] = error
        return self._selected[key]

    def _requests(self, config: ExperimentConfig, selection: PromptSelection) -> PreparedRequests | None:
        """The requests as they will be run; None where the engine makes them itself."""
        engine = get_backend(config.backend)
        if engine.takes_text(config):
            return None
        checkpoint = engine.checkpoint(config)
        key = (repr(checkpoint), _selection_key(config), config.max_input_tokens, config.max_output_tokens)
        if key not in self._prepared:
            try:
                with contained():
                    self._prepared[key] = tokenised(config, selection.prompts, checkpoint)
            except Exception as error:  # noqa: BLE001 - kept for the experiments that share it
                self._prepared[key] = error
        prepared = self._prepared[key]
        if isinstance(prepared, Exception):
            raise prepared
        return prepared


def _selection_key(config: ExperimentConfig) -> Hashable:
    trace = None if config.load is None or config.load.trace is None else config.load
    is_drawn = config.dataset.random is not None or trace is not None
    drawn = (config.max_input_tokens, config.max_output_tokens) if is_drawn else ()
    return (config.dataset, config.n, config.random_seed, drawn, trace, config.decoder.ignore_eos)


def _failed(config: ExperimentConfig, error: Exception) -> CheckedPrompts:
    """Prompts that cannot be run, and whether the configuration or the machine is to blame."""
    if isinstance(error, ConfigError):
        return CheckedPrompts(config_errors=(str(error),))
    if isinstance(error, LLEMError):
        return CheckedPrompts(lacking=(str(error),))
    return CheckedPrompts(
        lacking=(
            f"model {config.model!r}: its tokenizer cannot make tokens of the prompts: {in_one_line(error)}; are its "
            "tokenizer files whole?",
        )
    )
