"""What vLLM's settings are in the installed release; ``python -m tests.integration.vllm.recorded`` keeps it.

Needed where the audit says that a release has other names: keep the new shape, and give each new name a field of
``VLLMConfig`` or a reason in ``vllm_left_out``.
"""

from tests.fakes.recorded_api import Shape, record, shape_of

FILE = "vllm-0.32.0.json"


def release() -> str:
    """The installed one's."""
    import vllm

    return vllm.__version__.partition("+")[0]


def shapes() -> dict[str, Shape]:
    """The settings of an engine, of a request, and those that are nested in them and have fields here."""
    from vllm import EngineArgs, SamplingParams
    from vllm.config import AttentionConfig, CompilationConfig, EPLBConfig, SpeculativeConfig
    from vllm.config.compilation import PassConfig
    from vllm.config.quantization import QuantizationConfigArgs

    nested = (CompilationConfig, PassConfig, AttentionConfig, EPLBConfig, QuantizationConfigArgs, SpeculativeConfig)
    return {settings.__name__: shape_of(settings) for settings in (EngineArgs, SamplingParams, *nested)}


if __name__ == "__main__":
    record(FILE, release(), shapes())
