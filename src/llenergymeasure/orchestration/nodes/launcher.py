"""Leads an experiment over several nodes: its engine runs here, and word that others are wanted lies in its folder."""

from pathlib import Path

from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import ConfigError, ExperimentError
from llenergymeasure.orchestration.nodes.wanted import wanted
from llenergymeasure.orchestration.processes.launchers import SubprocessLauncher


class NodesLauncher(SubprocessLauncher):
    """Measures in a fresh process, in step with one on each of the other nodes."""

    def launch(self, plan: ExperimentPlan) -> list[RawProcessResult]:
        """As any launcher; what the nodes measured is laid over the window of the first.

        Raises:
            LLEMError: what the process reported, such as that a node never came; or that it died.
        """
        if plan.output_dir is None or plan.run_key is None:
            raise ConfigError(
                f"nodes.n: {plan.layout.n_processes} nodes find each other in the folder of a study: give it "
                "cycles, or write it as a study, keep it in a folder that all see, and start llem worker on each node"
            )
        return super().launch(plan)

    def _ended_badly(self, plan: ExperimentPlan, state_dir: Path) -> ExperimentError | None:
        with wanted(plan, state_dir):
            return super()._ended_badly(plan, state_dir)
