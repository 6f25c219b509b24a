"""A tracker that stands in for CodeCarbon's own."""

from types import SimpleNamespace


class FakeTracker:
    """Every task takes ``cpu_kwh`` and ``ram_kwh``; raises at the call that ``fail_at`` names."""

    def __init__(self, cpu_kwh: float = 2e-6, ram_kwh: float = 1e-6, fail_at: str = "") -> None:
        self.cpu_kwh = cpu_kwh
        self.ram_kwh = ram_kwh
        self.fail_at = fail_at
        self.answers = True
        self.n_created = 0
        self.tasks: list[str] = []
        # As CodeCarbon's own: its hardware, and the user's settings that it has read.
        self._hardware: list[object] = []
        self._external_conf: dict[str, str] = {}

    def __call__(self) -> "FakeTracker":
        self.n_created += 1
        self._do("create")
        return self

    def start_task(self, name: str) -> None:
        self._do("start")
        self.tasks.append(name)

    def stop_task(self, name: str) -> SimpleNamespace | None:
        self._do("stop")
        assert name == self.tasks[-1]
        return SimpleNamespace(cpu_energy=self.cpu_kwh, ram_energy=self.ram_kwh) if self.answers else None

    def _do(self, call: str) -> None:
        if call == self.fail_at:
            raise OSError("lscpu was not found")
