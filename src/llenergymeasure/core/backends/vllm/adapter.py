"""What vLLM does with a LoRA adapter: it runs it beside the weights, and not every one."""

from collections.abc import Iterator, Mapping
from typing import Any

from llenergymeasure.config.engines.vllm import LORA_RANKS
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm.parameters import section_of
from llenergymeasure.core.checkpoint import adapter as generic
from llenergymeasure.core.checkpoint.files import adapter_folder

# Of adapter_config.json: what vLLM 0.32 refuses when it loads one (``PEFTHelper.validate_legal``), wherever it is on.
_LACKS = (
    "modules_to_save", "use_dora", "lora_bias", "alora_invocation_tokens", "layer_replication", "use_bdlora",
    "use_qalora",
)  # fmt: skip
# Ways in which the matrices began that leave the model's own weights as they are.
_HARMLESS_BEGINNINGS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
_NEEDS = ("r", "lora_alpha", "target_modules")
_WAY_OUT = "merge it into the model and give that, or use backend: pytorch"


def adapter_problems(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """What keeps an adapter from being measured on this model, one line each.

    vLLM takes tensors of layers that the model has not, and leaves them out without a word; that is found here.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
    """
    lora, section = config.lora, section_of(config)
    if lora is None:
        return
    if lora.merge:
        yield (
            "lora.merge: vLLM runs an adapter beside the weights and cannot fold it into them; set lora.merge: false, "
            "or merge it into the model and give that"
        )
    place = generic.place_problem(lora)
    adapter = None if place is not None else _here(lora.path)
    lacking = [] if adapter is None else [*_lacking(adapter.settings)]
    if place is not None:
        yield place
    elif lacking:
        yield f"lora.path: {lora.path} has {', '.join(lacking)}, which vLLM does not run; {_WAY_OUT}"
    else:
        yield from generic.adapter_problems(lora, description, trust_remote_code=section.trust_remote_code)
        yield from _too_large(lora.path, 0 if adapter is None else adapter.rank, section.max_lora_rank)


def _here(path: str) -> generic.Adapter | None:
    """An adapter that is here and can be read; None where it is still to be fetched, or is none."""
    try:
        return generic.read_adapter(adapter_folder(path))
    except Exception:  # noqa: BLE001 - libraries raise what they will of a damaged file, which is told in its place
        return None


def _too_large(path: str, rank: int, written: int | None) -> Iterator[str]:
    """A rank beyond the one that was written, or beyond all of vLLM's."""
    most = LORA_RANKS[-1]
    if written is not None and rank > written:
        yield f"lora.path: {path} has rank {rank}, and vllm.max_lora_rank is {written}; raise it, up to {most}"
    elif rank > most:
        yield f"lora.path: {path} has rank {rank}, and vLLM's most is {most}; {_WAY_OUT}"


def _lacking(settings: Mapping[str, Any]) -> Iterator[str]:
    """Settings of an adapter that vLLM has not, or misses."""
    yield from (f"no {name}" for name in _NEEDS if not settings.get(name))
    yield from (f"{name}: {settings[name]!r:.40}" for name in _LACKS if settings.get(name))
    if settings.get("bias", "none") != "none":
        yield f"bias: {settings['bias']!r:.40}"
    begun = settings.get("init_lora_weights", True)
    if isinstance(begun, str) and begun.lower() not in _HARMLESS_BEGINNINGS:
        yield f"init_lora_weights: {begun!r:.40}"
