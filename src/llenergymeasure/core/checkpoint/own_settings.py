"""How a checkpoint itself wants to be decoded, for engines that do not read generation_config.json themselves."""

from dataclasses import dataclass, replace
from typing import Any

from llenergymeasure.config.decoder import DecoderConfig
from llenergymeasure.core.checkpoint.source import Checkpoint
from llenergymeasure.core.checkpoint.tokenizer import load_tokenizer, read_generation_settings
from llenergymeasure.domain.warnings import MeasurementWarning

# Set by fields that always have a value, or concerning how transformers computes, or what it returns.
_NO_MATTER = (
    "max_length", "max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "use_cache", "cache_implementation",
    "num_return_sequences", "renormalize_logits", "trust_remote_code", "return_dict_in_generate",
)  # fmt: skip
_OF_SAMPLING = ("min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")


@dataclass(frozen=True, kw_only=True)
class OwnSettings:
    """What tokens end an answer, how the model samples, and which other settings it brings, as "name: value".

    ``top_k`` is 0 and ``top_p`` 1.0 where nothing is left out.
    """

    end_token_ids: frozenset[int]
    temperature: float
    top_k: int
    top_p: float
    others: tuple[str, ...] = ()

    def under(self, decoder: DecoderConfig) -> "OwnSettings":
        """The settings in effect: what the experiment does not say is the model's own."""
        return replace(
            self,
            end_token_ids=frozenset() if decoder.ignore_eos else self.end_token_ids,
            temperature=self.temperature if decoder.temperature is None else decoder.temperature,
            top_k=self.top_k if decoder.top_k is None else decoder.top_k,
            top_p=self.top_p if decoder.top_p is None else decoder.top_p,
        )

    def warnings(self) -> list[MeasurementWarning]:
        """That settings of the model's own were not followed."""
        if not self.others:
            return []
        return [
            MeasurementWarning(
                "generation_config_overridden",
                f"the model's generation_config.json has {', '.join(self.others)}, which was not followed",
                "what has a field of its own can be set there",
            )
        ]


def read_own_settings(checkpoint: Checkpoint, description: Any, *, do_sample: bool) -> OwnSettings:
    """The settings of a checkpoint, with transformers' defaults where it has none.

    Args:
        checkpoint: its files.
        description: its transformers configuration.
        do_sample: whether tokens are drawn; without that settings of sampling change nothing.
    """
    settings = read_generation_settings(checkpoint, description)
    defaults = defaults_of(settings)
    ends = settings.eos_token_id
    if ends is None:
        ends = load_tokenizer(checkpoint).eos_token_id

    def of(name: str) -> Any:
        value = getattr(settings, name, None)
        return defaults.get(name) if value is None else value

    return OwnSettings(
        end_token_ids=frozenset(ends if isinstance(ends, list | tuple) else [] if ends is None else [ends]),
        temperature=float(of("temperature") or 1.0),
        top_k=int(of("top_k") or 0),
        top_p=float(of("top_p") or 1.0),
        others=tuple(
            f"{name}: {value}"
            for name, value in settings.to_diff_dict().items()
            if _matters(name, value, defaults.get(name), do_sample=do_sample)
        ),
    )


def defaults_of(settings: Any) -> dict[str, Any]:
    """What transformers takes where a generation configuration says nothing.

    Version 4, which TensorRT-LLM 1.2 wants, has it in a configuration that says nothing.
    """
    told: dict[str, Any] = getattr(settings, "_get_default_generation_params", type(settings)().to_dict)()
    return told


def _matters(name: str, value: object, default: object, *, do_sample: bool) -> bool:
    if name in _NO_MATTER or (name in _OF_SAMPLING and not do_sample):
        return False
    if name.endswith("_token_id") or name.startswith(("_", "transformers_")):
        return False
    return value not in (None, False, default)
