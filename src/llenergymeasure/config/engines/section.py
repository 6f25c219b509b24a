"""What all engine sections have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar

from llenergymeasure.config.base import ConfigModel, in_words
from llenergymeasure.config.decoder import DecoderConfig


class EngineSection(ConfigModel):
    """What only one engine understands; in a section ``None`` leaves the choice to the engine's own default.

    Beside its fields a section says what its engine can do:

    - ``precisions``: the values of ``precision`` that it has, and ``default_precision``, where none was written,
      of which ``auto`` leaves it to the engine's ``native_precision``;
    - ``lacks_decoder_fields``: fields of ``decoder`` that it has no equivalent of;
    - ``library_names``: ``{name in the engine's own interface: field here that sets it}``, so that
      ``passthrough_kwargs`` cannot set one thing twice; its own fields need not be listed;
    - ``refused_names``: ``{name in the engine's own interface: why it may not be passed through}``;
    - ``of_adapters``: fields that change nothing without ``lora``;
    - ``seeded``: fields that draw from ``random_seed`` when they are on;
    - ``decoder_conflicts`` and ``decoder_needs``: as ``conflicts`` and ``needs``, with fields of ``decoder``
      on the other side;
    - ``alters_answers``: fields, or values of them, with which a greedy answer in fp32 need not be that of other
      engines: they change scores, stretch positions, or keep something in fewer bits;
    - ``only_by_name``: whether ``backend: auto`` passes it over where its section is not given.
    """

    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "bf16")
    default_precision: ClassVar[str] = "bf16"
    lacks_decoder_fields: ClassVar[frozenset[str]] = frozenset()
    library_names: ClassVar[Mapping[str, str]] = {}
    refused_names: ClassVar[Mapping[str, str]] = {}
    of_adapters: ClassVar[frozenset[str]] = frozenset()
    seeded: ClassVar[frozenset[str]] = frozenset()
    decoder_conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    decoder_needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    alters_answers: ClassVar[tuple[str, ...]] = ()
    only_by_name: ClassVar[bool] = False

    @property
    def n_shares(self) -> int:
        """Processes that prompts are dealt out to from outside of the engine; each needs at least one."""
        return 1

    def clashes_with(self, decoder: DecoderConfig) -> list[tuple[str, str]]:
        """The fields that cannot go with this decoder, each with what to say of it."""
        return [
            (name.partition("=")[0], f"{in_words(name)} cannot go with decoder.{in_words(condition)}; {way_out}")
            for name, others in self.decoder_conflicts.items()
            if self.is_on(name)
            for condition, way_out in others.items()
            if decoder.is_on(condition)
        ]

    @classmethod
    def altering(cls, values: Mapping[str, Any]) -> list[str]:
        """Those of ``alters_answers`` that are on in a section of plain values, with the value where that decides."""
        known = [(condition, condition.partition("=")[0]) for condition in cls.alters_answers]
        return [f"{name} {values[name]}" if "=" in condition else name
                for condition, name in known if cls._is_on(condition, values.get(name))]  # fmt: skip

    def asleep_under(self, decoder: DecoderConfig) -> dict[str, str]:
        """Fields that were set but change nothing under this decoder, each with what it would need."""
        return {
            name: f"it needs {' or '.join(f'decoder.{in_words(waker)}' for waker in wakers)}"
            for name, wakers in self.decoder_needs.items()
            if self.is_on(name) and not any(decoder.is_on(waker) for waker in wakers)
        }
