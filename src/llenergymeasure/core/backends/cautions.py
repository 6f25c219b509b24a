"""What will run and not as one would think, whatever the engine."""

from collections.abc import Iterator

from llenergymeasure.domain.warnings import MeasurementWarning


def emulated_on_the_cpu(precision: str, native: frozenset[str] | None) -> Iterator[MeasurementWarning]:
    """That bf16 is emulated.

    Args:
        precision: of the experiment.
        native: formats that the CPU does not emulate; None is not known.
    """
    if precision == "bf16" and native is not None and "bf16" not in native:
        yield MeasurementWarning(
            "slow_precision",
            "precision: bf16 is emulated on this CPU, which has no instructions for it (avx512_bf16, amx_bf16, or "
            "bf16 of ARM)",
            "set precision: auto or fp32, which is faster there",
        )
