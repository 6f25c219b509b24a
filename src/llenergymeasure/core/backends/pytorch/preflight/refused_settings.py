"""Generation settings that transformers refuses, found by its own checks and without weights."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import generation_config, reset_own_settings, section_of
from llenergymeasure.core.backends.pytorch.loading import checkpoint_of
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.quiet import quietly
from llenergymeasure.core.checkpoint.source import describe_source
from llenergymeasure.core.checkpoint.task import runs_own_code
from llenergymeasure.core.checkpoint.tokenizer import read_generation_settings
from llenergymeasure.exceptions import BackendError, first_line

_N_TRIAL_TOKENS = 4


def refused_settings(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """A line for what ``generate`` would refuse of the model's own settings with the experiment's on top.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
    """
    own_code = runs_own_code(description, trust_remote_code=section_of(config).trust_remote_code)
    model = None if own_code else skeleton(description)
    if model is None:
        return
    try:
        model.generation_config = read_generation_settings(
            checkpoint_of(config, describe_source(config.model)), description
        )
        own = dict(model.generation_config.to_diff_dict())
    except Exception as error:  # noqa: BLE001 - values of any kind, which the library takes apart
        yield f"generation_config.json of model {config.model!r} cannot be read: {first_line(error)}"
        return
    try:
        with quietly():
            _try(model, config)
    except BackendError as error:
        yield str(error)
    except Exception as error:  # noqa: BLE001 - as above
        said = first_line(error)
        theirs = [f"{name}: {value!r:.60}" for name, value in own.items() if f"`{name}`" in said]
        whence = f"the model's generation_config.json has {', '.join(theirs)}; " if theirs else ""
        yield (
            f"generate refuses the settings of this experiment: {said.removesuffix('.')}; {whence}change them in "
            "decoder, pytorch or passthrough_kwargs, which go before the model's own"
        )


def _try(model: Any, config: ExperimentConfig) -> None:
    """Everything that ``generate`` does with settings before it runs the model, and its processors on equal scores."""
    import torch
    from transformers import LogitsProcessorList

    reset_own_settings(model, config)
    generation = generation_config(model, SimpleNamespace(pad_token_id=0, eos_token_id=None), config)
    generation, _ = model._prepare_generation_config(generation)
    generation.validate()
    generation.get_generation_mode(None)
    ids = torch.zeros(1, _N_TRIAL_TOKENS, dtype=torch.long)
    model._prepare_special_tokens(generation, True, device="cpu", batch_size=1)
    processors = model._get_logits_processor(
        generation_config=generation,
        input_ids_seq_length=_N_TRIAL_TOKENS,
        encoder_input_ids=ids,
        logits_processor=LogitsProcessorList(),
        device="cpu",
        model_kwargs={},
    )
    scores = torch.zeros(1, model.config.get_text_config().vocab_size)
    with torch.inference_mode():
        for processor in processors:
            # Guidance runs the model, which has no weights here.
            scores = scores if hasattr(processor, "model") else processor(ids, scores)
