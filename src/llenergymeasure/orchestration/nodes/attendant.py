"""The process that measures a node beside another's run: ``llenergymeasure.orchestration.nodes.attendant FOLDER N``.

The folder is the one that the first node's process was handed; the raw result is left in it. ``lifeline`` starts it.
"""

import contextlib
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
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.orchestration.attempt import devices_had
from llenergymeasure.orchestration.nodes.wanted import told_in
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.processes.handover import PEERS_DIR, hand_back, received_plan
from llenergymeasure.orchestration.processes.worker import code_of, telling

_log = logging.getLogger("llenergymeasure.attendant")


def main(state_dir: Path, index: int) -> int:
    """Attend as the node of this number; the exit code of the process."""
    with contextlib.suppress(OSError):
        if told_in(state_dir) is None:
            return 0
    plan = replace(received_plan(state_dir), process_index=index, shown=None)
    use_patient_stderr()
    telling(plan)
    return code_of(lambda: _attend(plan, state_dir), state_dir, index)


def _is_over(state_dir: Path) -> bool:
    try:
        return told_in(state_dir) is None
    except OSError:
        # It is asked again in a moment.
        return False


def _attend(plan: ExperimentPlan, state_dir: Path) -> None:
    told = told_in(state_dir)
    if told is None:
        return
    used, n = in_use(plan.config), plan.layout.n_processes
    if used.nodes is None:
        raise ExperimentError("there is no node to attend: the experiment has no section nodes")
    peers = NodePeers(state_dir / PEERS_DIR, plan.process_index, n, come_s=used.nodes.wait_s)
    command = used.nodes.command and filled_in(used.nodes.command, first=told.first, node=plan.process_index, n_nodes=n)
    with driver_held():
        visible = visible_gpus()
        plan = replace(plan, devices=visible.uuids)
        # Signs of life are given once nothing else is waited for: others are waited for no longer than nodes.wait_s.
        with devices_had(plan, RunOptions()), peers.taking_part(this_host().name):
            instruments = replace(build_instruments(plan, visible=visible), peers=peers)
            with contextlib.ExitStack() as started:
                raw = attend(plan, instruments, lambda: started.enter_context(running(command)))
                hand_back(raw, plan, state_dir)
                # What runs here is part of the engine, which the first node still unloads.
                peers.until_over(lambda: _is_over(state_dir))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
