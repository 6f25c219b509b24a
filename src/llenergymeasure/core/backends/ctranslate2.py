"""The CTranslate2 engine: transformers checkpoints in CTranslate2's own format, on a CPU or a GPU."""

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from llenergymeasure.config.engines.ctranslate2 import CTranslate2Config
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.converted import Answer, ConvertedEngine, ConvertedModel
from llenergymeasure.core.backends.from_checkpoint import Origin
from llenergymeasure.core.checkpoint.conversions import kept_conversion, versions_of
from llenergymeasure.core.checkpoint.identity import Files
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.domain.inference import ModelDescription
from llenergymeasure.domain.metrics import NumberFormat
from llenergymeasure.exceptions import BackendError

_COMPUTE_TYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_FORMATS: dict[str, NumberFormat] = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
# What activations are beside quantised weights.
_PRECISION_BESIDE = {"int8_float32": "fp32", "int8_float16": "fp16", "int8_bfloat16": "bf16", "int16": "fp32"}
_WEIGHTS, _VOCABULARY = "model.bin", "vocabulary.json"
_UNSEEDED = 2**32 - 1  # this seed is CTranslate2's word for none
_GREEDY, _ALL = 1, 0  # sampling_topk of 1 takes the likeliest token, of 0 leaves none out


def _library() -> Any:
    import ctranslate2

    return ctranslate2


class CTranslate2Backend(ConvertedEngine):
    """Runs what CTranslate2 converts, on the first visible GPU where there is one, else on the CPU."""

    name = "ctranslate2"
    section = CTranslate2Config
    packages = ("ctranslate2", "torch", "transformers")
    extra = "ctranslate2"
    loggers = ("ctranslate2", "transformers", "huggingface_hub", "torch")
    variables: ClassVar[Mapping[str, str]] = {"TRANSFORMERS_VERBOSITY": "error"}
    needed_files = (_WEIGHTS, _VOCABULARY)
    weights_pattern = _WEIGHTS

    def __init__(self, library: Callable[[], Any] = _library) -> None:
        self._library = library

    def own_problems(self, config: ExperimentConfig) -> Iterator[str]:
        """A device that is not there, and number formats that it does not compute."""
        section, library = self.settings(config), self._library()
        n_gpus = library.get_cuda_device_count()
        if section.device == "cuda" and n_gpus == 0:
            yield "ctranslate2.device: cuda: CTranslate2 sees no GPU; remove it"
            return
        if (section.device_index or 0) >= max(n_gpus, 1):
            yield f"ctranslate2.device_index: {section.device_index}: CTranslate2 sees {n_gpus} GPUs, counted from 0"
            return
        if config.decoder.do_sample and (section.inter_threads or 1) > 1:
            yield (
                f"ctranslate2.inter_threads: {section.inter_threads}: each of its threads draws the same from "
                "random_seed, and which has which part of a batch is chance; set it to 1, or decoder.do_sample: false"
            )
        beside = _PRECISION_BESIDE.get(section.compute_type or "", config.precision)
        if beside != config.precision:
            yield (
                f"ctranslate2.compute_type: {section.compute_type} computes in {beside}, and precision is "
                f"{config.precision}; set precision: {beside}, or another compute_type"
            )
            return
        device, wanted = self._device(config), _compute_type(config)
        offered = library.get_supported_compute_types(device, section.device_index or 0)
        if wanted not in offered:
            asked = f"ctranslate2.compute_type: {wanted}" if section.compute_type else f"precision: {config.precision}"
            yield (
                f"{asked} is not what CTranslate2 computes on this {'GPU' if device == 'cuda' else 'CPU'}, which has "
                f"{', '.join(sorted(offered))}; set precision: auto"
            )

    def native_precision(self, config: ExperimentConfig) -> str:
        """What ``compute_type`` goes with; else bf16 where the device computes it, fp16 on a GPU that does, or fp32."""
        device, section = self._device(config), self.settings(config)
        if section.compute_type is not None:
            return _PRECISION_BESIDE[section.compute_type]
        offered = self._library().get_supported_compute_types(device, section.device_index or 0)
        return next((name for name in ("bf16", "fp16") if _COMPUTE_TYPES[name] in offered), "fp32")

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:
        """The one GPU of ``device_index``, or none on a CPU."""
        if self._device(config) == "cpu":
            return ()
        index = self.settings(config).device_index or 0
        return tuple(visible[index : index + 1])

    def environment(self) -> dict[str, str]:
        """Variables that change how CTranslate2 computes."""
        return {name: value for name, value in os.environ.items() if name == "OMP_NUM_THREADS" or name[:4] == "CT2_"}

    def convert(self, config: ExperimentConfig, folder: Path, files: Files, description: Any) -> Path:
        """As the weights are stored: CTranslate2 makes another format of them on loading."""
        how = self.made_by(config)
        return kept_conversion(config.model, folder, files, how, lambda target: _convert(folder, target, description))

    def made_by(self, config: ExperimentConfig) -> dict[str, str]:  # noqa: ARG002 - the base class's signature
        """The converter, and transformers, which reads the checkpoint for it."""
        version = str(self._library().__version__)
        return {"engine": self.name, "ctranslate2": version, **versions_of("transformers", "torch")}

    def open(self, origin: Origin) -> "CTranslate2Model":
        """The model on its device.

        Raises:
            BackendError: its vocabulary is not the model's.
        """
        return CTranslate2Model(origin, self._library(), self._device(origin.config))

    def _device(self, config: ExperimentConfig) -> str:
        chosen = self.settings(config).device
        return str(chosen or ("cuda" if self._library().get_cuda_device_count() else "cpu"))


class CTranslate2Model(ConvertedModel):
    """A ``ctranslate2.Generator``, which is given tokens by their names in its vocabulary."""

    def __init__(self, origin: Origin, library: Any, device: str) -> None:
        self._section = origin.config.ctranslate2 or CTranslate2Config()
        self._library, self._device = library, device
        self._names = _vocabulary(origin)
        self._samples = origin.config.decoder.do_sample
        self._drew = False
        self._generator = self._opened(origin)
        super().__init__(origin, on_cpu=device == "cpu")

    def _opened(self, origin: Origin) -> Any:
        section = self._section
        given = {
            "device_index": section.device_index,
            "inter_threads": section.inter_threads,
            "intra_threads": section.intra_threads,
            "flash_attention": section.flash_attention,
        }
        return self._library.Generator(
            str(origin.opened),
            device=self._device,
            compute_type=_compute_type(origin.config),
            **{name: value for name, value in given.items() if value is not None},
        )

    def generate(self, prompts: Sequence[Sequence[int]], limits: Sequence[int]) -> list[Answer]:
        """One ``generate_batch``; its callback says when each token was there, and ends a row at its limit."""
        ids: list[list[int]] = [[] for _ in prompts]
        times_s: list[list[float]] = [[] for _ in prompts]
        steps_s: dict[int, float] = {}
        # Parts of a batch have steps of the same numbers.
        whole = self._section.max_batch_size is None

        def seen(step: Any) -> bool:
            row = step.batch_id
            ids[row].append(step.token_id)
            # It is called for one row after the other; tokens of a step were there together.
            now_s = time.monotonic()
            times_s[row].append(steps_s.setdefault(step.step, now_s) if whole else now_s)
            return bool(len(ids[row]) >= limits[row])

        self._drew = self._samples
        names = [[self._names[token] for token in prompt] for prompt in prompts]
        self._generator.generate_batch(names, callback=seen, **self._options(max(limits)))
        return [Answer(token_ids=row, times_s=stamps) for row, stamps in zip(ids, times_s, strict=True)]

    def _options(self, n_tokens: int) -> dict[str, Any]:
        settings, decoder, section = self._origin.settings, self._origin.config.decoder, self._section
        sampling = {
            "sampling_topk": settings.top_k if settings.top_k else _ALL,
            "sampling_topp": settings.top_p,
            "sampling_temperature": settings.temperature,
        }
        given = {"max_batch_size": section.max_batch_size, "batch_type": section.batch_type}
        return {
            "max_length": n_tokens,
            "min_length": min(decoder.min_output_tokens or 0, n_tokens),
            # A list, empty where nothing ends an answer: None would be the model's own end token.
            "end_token": sorted(settings.end_token_ids),
            "include_prompt_in_result": False,
            "return_end_token": True,
            **(sampling if self._samples else {"sampling_topk": _GREEDY}),
            **{name: value for name, value in given.items() if value is not None},
        }

    def seed(self, random_seed: int) -> None:
        """Draw from this seed on.

        Each thread of CTranslate2 takes the seed when it draws for the first time and never again, so where tokens
        are drawn the model is loaded anew; a token is generated without drawing, so that the window finds it warm.
        """
        self._library.set_random_seed(random_seed % _UNSEEDED)
        if not self._drew:
            return
        self._generator = None
        self._generator = self._opened(self._origin)
        options = self._options(1) | {"sampling_topk": _GREEDY}
        self._generator.generate_batch([self._names[:1]], **options)
        self._drew = False

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float]:
        """By one pass of the model over all tokens."""
        import numpy

        scored = self._generator.forward_batch([list(token_ids)], return_log_probs=True)
        on_cpu = scored if self._device == "cpu" else scored.to_device(self._library.Device.cpu)
        rows = numpy.asarray(on_cpu.to(self._library.DataType.float32))[0]
        # Rounding can put a certain token above zero.
        return [min(float(row[token]), 0.0) for row, token in zip(rows, token_ids[1:], strict=False)]

    def number_format(self) -> NumberFormat | None:
        """By the type that the model is computed in; None for integers."""
        return _FORMATS.get(self._generator.compute_type)

    def release(self) -> None:
        """Let go of the weights; the model is of no use after this."""
        self._generator = None

    def describe(self) -> ModelDescription:
        """Version, device and settings as CTranslate2 arrived at them."""
        generator, section, settings = self._generator, self._section, self._origin.settings
        computed = str(generator.compute_type)
        on_gpu = generator.device == "cuda"
        gpus = visible_gpus().uuids if on_gpu else ()
        sampling = {"temperature": settings.temperature, "top_k": settings.top_k, "top_p": settings.top_p}
        return ModelDescription(
            engine="ctranslate2",
            engine_version=f"ctranslate2 {self._library.__version__}",
            devices=tuple(gpus[index] for index in generator.device_index) if on_gpu else (),
            n_parameters=self.n_parameters(),
            parameters={
                "compute_type": computed,
                "device": str(generator.device),
                "intra_threads": section.intra_threads,
                "inter_threads": section.inter_threads,
                "max_batch_size": section.max_batch_size,
                "batch_type": section.batch_type,
                "flash_attention": section.flash_attention,
                "do_sample": self._samples,
                **(sampling if self._samples else dict.fromkeys(sampling)),
                "max_new_tokens": self._origin.config.max_output_tokens,
            },
            batch_size=section.batch_size,
            dense_from=self.dense_from(),
            quantization=computed if computed.startswith("int") else None,
        )


def _compute_type(config: ExperimentConfig) -> str:
    section = config.ctranslate2 or CTranslate2Config()
    return section.compute_type or _COMPUTE_TYPES[config.precision]


def _vocabulary(origin: Origin) -> list[str]:
    """The names of all tokens by their ids.

    Raises:
        BackendError: they are not the model's, or one name is that of two tokens.
    """
    names = json.loads((origin.opened / _VOCABULARY).read_text("utf-8"))
    if not isinstance(names, list) or len(names) < origin.n_tokens_known:
        n_names = len(names) if isinstance(names, list) else 0
        raise BackendError(
            f"{origin.opened / _VOCABULARY} has {n_names} tokens, and model {origin.config.model!r} has "
            f"{origin.n_tokens_known}; name the model that the folder was made from"
        )
    if len(set(names)) < len(names):
        raise BackendError(
            f"{origin.opened / _VOCABULARY} has one name for several tokens; remove ctranslate2.model_path, and the "
            "model is converted here"
        )
    return [str(name) for name in names]


def _convert(folder: Path, target: Path, description: Any) -> None:
    """By CTranslate2's own converter, with a vocabulary that names each token by its id.

    A tokenizer's own names are those of some ids only where it has holes, or fewer than the model has embeddings.
    """
    from ctranslate2.converters import TransformersConverter

    n_tokens = int(description.get_text_config().vocab_size)

    class OfIds(TransformersConverter):  # type: ignore[misc, unused-ignore]
        def load_tokenizer(self, *given: Any, **named: Any) -> _Ids:  # noqa: ARG002 - the library's signature
            return _Ids(n_tokens)

    # Its bars speak of tensors; that it converts is logged already.
    with contextlib.redirect_stderr(io.StringIO()):
        OfIds(str(folder)).convert(str(target))


class _Ids:
    """As much of a tokenizer as the converter asks for; which tokens end an answer is said with each batch."""

    unk_token_id = 0
    unk_token = bos_token = eos_token = pad_token = "0"
    chat_template = None

    def __init__(self, n_tokens: int) -> None:
        self._n_tokens = n_tokens

    def get_vocab(self) -> dict[str, int]:
        """Each id by its name."""
        return {str(i): i for i in range(self._n_tokens)}
