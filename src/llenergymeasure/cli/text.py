"""A machine in a line."""

from llenergymeasure.domain.environment import EnvironmentSnapshot


def environment_line(environment: EnvironmentSnapshot) -> str:
    """The machine in one line."""
    memory = "" if environment.memory_total_mb is None else f", {environment.memory_total_mb / 1000:.0f} GB"
    gpus = ", ".join(gpu.name for gpu in environment.gpus) or "no GPU"
    driver = f", driver {environment.driver_version}" if environment.driver_version else ""
    return (
        f"{environment.cpu_model or 'unknown CPU'}, {environment.n_cpus} CPUs{memory}, {gpus}{driver}, "
        f"Python {environment.python_version}"
    )
