"""What a reader of the number has to know about the way it was taken. Warnings inform, they never block."""

SHORT_MEASUREMENT_SEC = 10.0
FEW_SAMPLES = 10


def collect_measurement_warnings(
    duration_sec: float,
    gpu_persistence_mode: bool | None,
    temp_start_c: float | None,
    temp_end_c: float | None,
    nvml_sample_count: int | None,
    thermal_drift_threshold_c: float = 10.0,
) -> list[str]:
    """Warnings about one measured window; an argument that is None does not apply.

    Each starts with its flag and a colon, and says what to do.
    """
    found = []
    if duration_sec < SHORT_MEASUREMENT_SEC:
        found.append(
            f"short_measurement_duration: the window was {duration_sec:.1f} s, under {SHORT_MEASUREMENT_SEC:.0f} s; "
            "raise n or max_output_tokens"
        )
    if gpu_persistence_mode is False:
        found.append(
            "gpu_persistence_mode_off: the driver may change its state between runs; "
            "switch it on with 'sudo nvidia-smi -pm 1'"
        )
    if temp_start_c is not None and temp_end_c is not None:
        drift = temp_end_c - temp_start_c
        if abs(drift) > thermal_drift_threshold_c:
            found.append(
                f"thermal_drift_detected: the GPU went from {temp_start_c:.0f} to {temp_end_c:.0f} C in the window; "
                "warm up longer"
            )
    if nvml_sample_count is not None and nvml_sample_count < FEW_SAMPLES:
        found.append(
            f"nvml_low_sample_count: {nvml_sample_count} power samples, under {FEW_SAMPLES}; measure for longer"
        )
    return found
