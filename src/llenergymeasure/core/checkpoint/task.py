"""What a model is made for, by its transformers configuration: only causal language models are measured."""

from typing import Any

# Heads of models that write no text from left to right, by transformers' names for its tables of classes.
_OTHER_TASKS = {
    "MASKED_LM": "a masked language model",
    "SEQUENCE_CLASSIFICATION": "a classifier",
    "TOKEN_CLASSIFICATION": "a classifier of tokens",
    "QUESTION_ANSWERING": "a model that marks answers in a text",
    "MULTIPLE_CHOICE": "a model that chooses between answers",
    "NEXT_SENTENCE_PREDICTION": "a model that compares sentences",
    "SEQ_TO_SEQ_CAUSAL_LM": "an encoder-decoder",
}
_ADVICE = "only causal language models are measured; give one"


def not_causal(description: Any, *, trust_remote_code: bool = False) -> str | None:
    """Why a model is no causal language model, with what to do; None if it is one, or nobody can tell.

    transformers makes a causal model of many others all the same: of the half of an encoder-decoder that decodes, or
    of a masked one whose attention looks both ways. Figures of such a thing are of no model that anybody runs.

    Args:
        description: the model's transformers configuration.
        trust_remote_code: whether the model's own code decides what it is.
    """
    named = _names(getattr(description, "architectures", None))
    kind = getattr(description, "model_type", type(description).__name__)
    if runs_own_code(description, trust_remote_code=trust_remote_code):
        return None
    own_class = _causal_class(description)
    if own_class is None:
        return f"transformers has no causal language model of type {kind!r}; {_ADVICE}"
    if own_class in named:
        return _looks_both_ways(description, kind)
    if getattr(description, "is_encoder_decoder", False) is True:
        return encoder_decoder(description)
    for name in named:
        if (task := _task_of(name)) is not None:
            return f"it is {task} ({name}); {_ADVICE}"
    return _looks_both_ways(description, kind)


def runs_own_code(description: Any, *, trust_remote_code: bool) -> bool:
    """Whether a model is made by code of its own folder, of which nothing is known here."""
    names = getattr(description, "auto_map", None)
    return trust_remote_code and isinstance(names, dict) and "AutoModelForCausalLM" in names


def encoder_decoder(description: Any) -> str:
    """Why an encoder-decoder is not measured."""
    name = next(iter(_names(getattr(description, "architectures", None))), getattr(description, "model_type", "?"))
    return f"it is an encoder-decoder ({name}), of which only a half would run; {_ADVICE}"


def _names(architectures: Any) -> list[str]:
    return [name for name in architectures if isinstance(name, str)] if isinstance(architectures, list | tuple) else []


def _causal_class(description: Any) -> str | None:
    """The name of the class that transformers makes of a configuration; None where it has none."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    # Looked up by its configuration's class, as AutoModelForCausalLM does.
    if type(description) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return None
    found: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(description)]
    return str((found[0] if isinstance(found, tuple) else found).__name__)


def _task_of(architecture: str) -> str | None:
    from transformers.models.auto import modeling_auto

    for table, words in _OTHER_TASKS.items():
        if architecture in getattr(modeling_auto, f"MODEL_FOR_{table}_MAPPING_NAMES").values():
            return words
    return None


def _looks_both_ways(description: Any, kind: str) -> str | None:
    """Of a kind that is made as a masked model: its attention is causal only where ``is_decoder`` says so."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    masked = MODEL_FOR_MASKED_LM_MAPPING_NAMES.get(kind, "")
    # The decoder of an encoder-decoder sets it by itself.
    if not masked.endswith("ForMaskedLM") or getattr(description, "is_decoder", None) is not False:
        return None
    return (
        f"its attention looks both ways: config.json of a {kind} model that writes from left to right has is_decoder: "
        f"true; {_ADVICE}"
    )
