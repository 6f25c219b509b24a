"""One run of optimum-benchmark, in an environment of its own: ``python throughput_optimum.py MODEL BATCH IN OUT``.

Prints output tokens per second last: all new tokens of the batch over prefill and decode together.
"""

import sys
from typing import Any


def main(model: str, batch_size: int, n_input: int, n_output: int) -> float:
    """Output tokens per second."""
    import torch
    from optimum_benchmark import Benchmark, BenchmarkConfig, InferenceConfig, InlineConfig, PyTorchConfig

    config = BenchmarkConfig(
        name="throughput",
        launcher=InlineConfig(device_isolation=False),
        scenario=InferenceConfig(
            latency=True,
            memory=False,
            energy=False,
            warmup_runs=1,
            iterations=1,
            duration=0,
            input_shapes={"batch_size": batch_size, "sequence_length": n_input},
            generate_kwargs={"max_new_tokens": n_output, "min_new_tokens": n_output},
        ),
        backend=PyTorchConfig(
            model=model,
            task="text-generation",
            library="transformers",
            device="cuda" if torch.cuda.is_available() else "cpu",
            torch_dtype="bfloat16",
        ),
    )
    report: Any = Benchmark.launch(config)
    seconds = report.prefill.latency.mean + report.decode.latency.mean
    return batch_size * n_output / float(seconds)


if __name__ == "__main__":
    print(main(sys.argv[1], *map(int, sys.argv[2:])))
