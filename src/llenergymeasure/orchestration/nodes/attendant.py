"""The process that measures a node beside another's run: ``llenergymeasure.orchestration.nodes.attendant FOLDER N``.

The folder is the one that the first node's process was handed; the raw result is left in it. ``lifeline`` starts it.
"""

import logging
import sys
from dataclasses import replace
from pathlib import Path

from llenergymeasure._host import this_host
from llenergymeasure._stderr import use_patient_stderr
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.core.gpu.machine import driver_held, visible_gpus
from llenergymeasure.core.instruments import build_instruments
from llenergymeasure.core.nodes.attending import attend
from llenergymeasure.core.nodes.command import filled_in, running
from llenergymeasure.core.nodes.peers import NodePeers
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ExperimentError, LLEMError, in_one_line
from llenergymeasure.orchestration.device_locks import devices_of, held
from llenergymeasure.orchestration.nodes.wanted import told_in
from llenergymeasure.orchestration.processes.handover import PEERS_DIR, hand_back, received_plan
from llenergymeasure.orchestration.processes.worker import report_failure, telling

_log = logging.getLogger("llenergymeasure.attendant")


def main(state_dir: Path, index: int) -> int:
    """Attend as the node of this number; the exit code of the process."""
    told = told_in(state_dir)
    if told is None:
        return 0
    plan = replace(received_plan(state_dir), process_index=index, shown=None)
    use_patient_stderr()
    telling(plan)
    try:
        _attend(plan, state_dir, told.first)
    except LLEMError as error:
        return report_failure(state_dir, index, error)
    except BaseException as error:  # noqa: BLE001 - the last line of this process: everything is reported
        unforeseen = ExperimentError(f"unforeseen {in_one_line(error)}")
        unforeseen.__cause__ = error
        return report_failure(state_dir, index, unforeseen)
    return 0


def _attend(plan: ExperimentPlan, state_dir: Path, first: str) -> None:
    used, n = in_use(plan.config), plan.layout.n_processes
    if used.nodes is None:
        raise ExperimentError("there is no node to attend: the experiment has no section nodes")
    peers = NodePeers(state_dir / PEERS_DIR, plan.process_index, n, come_s=used.nodes.wait_s)
    command = used.nodes.command and filled_in(used.nodes.command, first=first, node=plan.process_index, n_nodes=n)
    with peers.taking_part(this_host().name), driver_held():
        visible = visible_gpus()
        plan = replace(plan, devices=visible.uuids)
        with held(devices_of(plan), plan.config.display_name, plan.execution.wait_for_devices_s):
            instruments = replace(build_instruments(plan, visible=visible), peers=peers)
            with running(command) as beside:
                raw, _ = attend(plan, instruments, beside)
                hand_back(raw, plan, state_dir)
                # What runs here is part of the engine, which the first node still unloads.
                peers.until_over(lambda: told_in(state_dir) is None)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
