"""The machine a number comes from."""

from dataclasses import dataclass, field

from llenergymeasure.domain.energy.calibration import Calibration
from llenergymeasure.domain.machine.place import Job, NodeShare, part_of_host


@dataclass(frozen=True, kw_only=True)
class GpuInfo:
    """One NVIDIA GPU as the driver describes it; ``index`` is the driver's own.

    ``power_limit_w`` is in force, ``power_limit_default_w`` what the card comes with. ``architecture`` is
    NVML's constant. ``running_pids`` were on the GPU at that time, as the driver counts them, and ``memory_used_mb``
    was taken, by whomever. ``calibration`` is what was found of this card's sensors with the driver that is there.
    """

    index: int
    uuid: str
    name: str
    memory_total_mb: float | None = None
    memory_used_mb: float | None = None
    persistence_mode: bool | None = None
    power_limit_w: float | None = None
    power_limit_default_w: float | None = None
    mig_mode: bool | None = None
    architecture: int | None = None
    compute_capability: tuple[int, int] | None = None
    running_pids: tuple[int, ...] | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True, kw_only=True)
class EnvironmentSnapshot:
    """Hardware and software at the time of the measurement; None is unknown.

    ``engine`` is what the engine says of this machine and of how it was built. ``host`` is its name, ``boot_id`` the
    number of this boot, by which one machine is known under two names; ``job`` is None where no scheduler runs it.
    """

    python_version: str
    platform: str
    cpu_model: str | None
    n_cpus: int | None
    memory_total_mb: float | None
    cuda_version: str | None
    driver_version: str | None
    gpus: tuple[GpuInfo, ...] = ()
    packages: dict[str, str] = field(default_factory=dict)
    tool_version: str = ""
    engine: dict[str, str] = field(default_factory=dict)
    host: str | None = None
    boot_id: str | None = None
    job: Job | None = None
    share: NodeShare | None = None

    @property
    def part_of_host(self) -> str | None:
        """In words, what of the host's processors the work was given; None where that is all."""
        return part_of_host(self.n_cpus, self.job, self.share)
