"""The PyTorch engine: any causal language model that transformers loads."""

import contextlib
import gc
import importlib.util
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch_model import PyTorchModel
from llenergymeasure.core.memory import estimate_memory
from llenergymeasure.core.models import ModelSource, describe_source, model_problem, resolve_model
from llenergymeasure.core.session import measure
from llenergymeasure.domain.experiment import ExperimentResult
from llenergymeasure.domain.metrics import MemoryEstimate
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_PACKAGES = ("torch", "transformers", "accelerate")
_INSTALL = "pip install 'llenergymeasure[pytorch]'"


class PyTorchBackend:
    """Runs models through ``transformers`` on the first visible CUDA device, else on the CPU."""

    name = "pytorch"

    def installation_problem(self) -> str | None:
        """The packages that are missing, and how to get them."""
        missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
        return f"the pytorch engine needs {', '.join(missing)}; install with {_INSTALL}" if missing else None

    def problems(self, config: ExperimentConfig) -> list[str]:
        """What is missing on this machine: packages, the model, the adapter."""
        not_installed = self.installation_problem()
        if not_installed is not None:
            return [not_installed]
        found = []
        problem = model_problem(config.model)
        if problem is not None:
            found.append(problem)
        if config.model.endswith(".gguf") and importlib.util.find_spec("gguf") is None:
            found.append(f"reading a GGUF file needs gguf; install with {_INSTALL}")
        if config.lora is not None and importlib.util.find_spec("peft") is None:
            found.append("lora needs peft; install with pip install 'llenergymeasure[lora]'")
        return found

    def estimate_memory(self, config: ExperimentConfig) -> MemoryEstimate | None:
        """Weights and KV cache of the architecture; None when its description cannot be read."""
        import transformers

        try:
            source = describe_source(config.model)
            # Reading a GGUF file draws a bar.
            with contextlib.redirect_stderr(io.StringIO()):
                description = transformers.AutoConfig.from_pretrained(
                    source.location, trust_remote_code=_section(config).trust_remote_code, **_source_args(source)
                )
        except Exception:  # noqa: BLE001 - an estimate that cannot be had is no error
            return None
        n_tokens = config.max_input_tokens + config.max_output_tokens
        return estimate_memory(description, config.precision, n_tokens, _section(config).batch_size)

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:
        """None without CUDA in torch or with device_map 'cpu'; the first GPU without a device map; else all."""
        import torch

        device_map = _section(config).device_map
        if not torch.backends.cuda.is_built() or device_map == "cpu":
            return ()
        return tuple(visible[:1]) if device_map is None else tuple(visible)

    @contextmanager
    def load(self, plan: ExperimentPlan) -> Iterator[PyTorchModel]:
        """Load model and tokenizer; on leaving, the device's memory is given back.

        Raises:
            BackendError: the model, its tokenizer or the adapter cannot be loaded.
        """
        config = plan.config
        source = resolve_model(config.model)
        try:
            tokenizer = _load_tokenizer(config, source)
            model = _load_model(config, source)
            if config.lora is not None:
                model = _with_adapter(model, config)
        except Exception as error:
            raise BackendError(f"model {config.model!r} could not be loaded: {error}") from error
        loaded = PyTorchModel(model, tokenizer, config, _section(config).batch_size)
        del model  # the last reference, so that release() really frees it
        try:
            yield loaded
        finally:
            loaded.release()
            _free()

    def run(self, config: ExperimentConfig) -> ExperimentResult:
        """Measure ``config`` in this process, writing nothing."""
        return ExperimentResult.from_processes([measure(ExperimentPlan.of(config), self)])


def _section(config: ExperimentConfig) -> PyTorchConfig:
    return config.pytorch or PyTorchConfig()


def _source_args(source: ModelSource) -> dict[str, Any]:
    return {} if source.gguf_file is None else {"gguf_file": source.gguf_file}


def _load_tokenizer(config: ExperimentConfig, source: ModelSource) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        source.location, trust_remote_code=_section(config).trust_remote_code, **_source_args(source)
    )
    if tokenizer.pad_token_id is None:
        # Padding is masked out and never counted, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def _load_model(config: ExperimentConfig, source: ModelSource) -> Any:
    import torch
    import transformers

    section = _section(config)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[config.precision]
    arguments: dict[str, Any] = {
        "dtype": dtype,
        "trust_remote_code": section.trust_remote_code,
        **_source_args(source),
    }
    if section.attn_implementation is not None:
        arguments["attn_implementation"] = section.attn_implementation
    if section.device_map is not None:
        arguments["device_map"] = section.device_map
    if source.gguf_file is not None:
        arguments["quantization_config"] = transformers.GgufConfig(dequantize=True)
    transformers.utils.logging.disable_progress_bar()
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(source.location, **arguments)
    if section.device_map is None and torch.cuda.is_available():
        model.to(torch.device("cuda:0"))
    model.eval()
    return model


def _with_adapter(model: "PreTrainedModel", config: ExperimentConfig) -> Any:
    from peft import PeftModel

    assert config.lora is not None
    adapted = PeftModel.from_pretrained(model, config.lora.path)
    return adapted.merge_and_unload() if config.lora.merge else adapted


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
