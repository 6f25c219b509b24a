"""A SLURM of virtual nodes on this machine: own configuration, ports, keys and sockets; ended by the pids it has."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.fakes.ports import free_port

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "squeue", "scontrol")
# SLURM waits long for what is rare on a cluster: here a node is dead, and its job may run again, after seconds.
# SlurmdTimeout 5: a node that does not answer is down (default 300). KillWait 10: from SIGTERM to SIGKILL (30).
# cred_expire 5: a job that is queued again waits for its old credential to expire (120). MessageTimeout 5 (10).
CONFIGURATION = """\
ClusterName=llem
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SlurmdTimeout=5
MessageTimeout=5
KillWait=10
UnkillableStepTimeout=20
BatchStartTimeout=10
MinJobAge=10
InactiveLimit=0
JobRequeue=1
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=spare Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=15
"""


def why_not() -> str | None:
    """Why no cluster can be started here; None where it can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "a SLURM of virtual nodes takes root: its nodes' GPUs are device files, and jobs change users"
    missing = [name for name in DAEMONS if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"no {', '.join(missing)}; on Debian: apt-get install slurmctld slurmd slurm-client munge"
    return None


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass
class Slurm:
    """A cluster that is up; ``environ`` are the variables by which its commands find it."""

    root: Path
    n_nodes: int = 2
    log: list[str] = field(default_factory=list)
    _started: list[psutil.Process] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """Of commands that are to ask this cluster."""
        return {"SLURM_CONF": str(self.root / "slurm.conf"), "PATH": _PATH}

    @property
    def nodes(self) -> list[str]:
        """Names of its nodes."""
        return [f"n{number + 1}" for number in range(self.n_nodes)]

    def run(self, *command: str, check: bool = True) -> str:
        """What a command of SLURM prints."""
        ran = subprocess.run(
            command, env={**os.environ, **self.environ}, capture_output=True, text=True, timeout=60, check=False
        )
        assert not check or ran.returncode == 0, (command, ran.stdout, ran.stderr, self.tail())
        return ran.stdout

    def tail(self) -> str:
        """The end of what its daemons wrote."""
        return "\n".join(file.read_text(errors="replace")[-600:] for file in sorted(self.root.glob("*.log")))

    def up(self) -> None:
        """Start it, and wait until all nodes are idle."""
        self._configure()
        munged = ["munged", "--foreground", "--force", f"--socket={self.root}/munge.socket",
                  f"--key-file={self.root}/munge.key", f"--log-file={self.root}/munged.log",
                  f"--pid-file={self.root}/munged.pid", f"--seed-file={self.root}/munge.seed"]  # fmt: skip
        self._start("munged", munged)
        _until((self.root / "munge.socket").exists, 30, self.tail)
        self._start("slurmctld", ["slurmctld", "-D", "-f", f"{self.root}/slurm.conf"])
        for node in self.nodes:
            self.start_node(node)
        _until(lambda: self.idle() == self.nodes, 60, self.tail)

    def start_node(self, node: str) -> None:
        """Start the daemon of a node, as a machine that comes up does."""
        command = ["slurmd", "-D", "-N", node, "-f", f"{self.root}/slurm.conf"]
        self._start(f"slurmd.{node}", command, self.root / f"spool.{node}")

    def jobs(self) -> list[str]:
        """A line for each job that has not ended: its number and how it stands."""
        return self.run("squeue", "--noheader", "--array", "--format", "%i %T").splitlines()

    def restarts(self) -> int:
        """How often jobs were queued again, of those that are known still."""
        told = self.run("scontrol", "show", "job", check=False)
        return sum(int(found) for found in re.findall(r"Restarts=(\d+)", told))

    def quiet(self) -> None:
        """End all jobs, and bring back all nodes."""
        self.run("scancel", "--user=root", check=False)
        _until(lambda: not self.jobs(), 60, self.tail)
        for node in self.nodes:
            if not any(node in line for line in self.run("sinfo", "-h", "-N", "-r", "-o", "%N").splitlines()):
                self.start_node(node)
        _until(lambda: self.idle() == self.nodes, 60, self.tail)

    def idle(self) -> list[str]:
        """Nodes that have nothing to do; each is told once for each partition."""
        lines = self.run("sinfo", "-h", "-N", "-o", "%N %T", check=False).splitlines()
        return sorted({line.split()[0] for line in lines if line.split()[1:] == ["idle"]})

    def kill_node(self, node: str) -> None:
        """End a node as a power cut does: its daemons, before they can say so, and all that runs on it."""
        daemons, of_jobs = [], []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() in ("slurmd", "slurmstepd"):
                    # Those that it starts write over their arguments and variables, and stay where it was started.
                    if process.cwd() == str(self.root / f"spool.{node}"):
                        daemons.append(process)
                    continue
                environ = process.environ()
                if (environ.get("SLURMD_NODENAME"), environ.get("SLURM_CONF")) == (node, str(self.conf)):
                    of_jobs.append(process)
        for process in (*daemons, *of_jobs):
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs([*daemons, *of_jobs], timeout=10)

    @property
    def conf(self) -> Path:
        """Its configuration."""
        return self.root / "slurm.conf"

    def down(self) -> None:
        """End all jobs and daemons; what does not end is killed."""
        with contextlib.suppress(AssertionError, subprocess.SubprocessError):
            self.quiet()
        for process in reversed(self._started):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(self._started, timeout=15)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=5)
        for node in self.nodes:
            self.kill_node(node)

    def _start(self, name: str, command: Sequence[str], cwd: Path | None = None) -> None:
        with (self.root / f"{name}.out.log").open("ab") as out:
            process = subprocess.Popen(
                [shutil.which(command[0], path=_PATH) or command[0], *command[1:]],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **self.environ},
                start_new_session=True, cwd=cwd or self.root,
            )  # fmt: skip
        self._started.append(psutil.Process(process.pid))
        _children.append(process)

    def _configure(self) -> None:
        for name in ("state", "dev", *(f"spool.{node}" for node in self.nodes)):
            (self.root / name).mkdir()
        key = self.root / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        host = os.uname().nodename.partition(".")[0]
        port, *ports = (free_port() for _ in range(1 + self.n_nodes))
        text, gres = CONFIGURATION.format(host=host, root=self.root, port=port), ""
        for node, own in zip(self.nodes, ports, strict=True):
            # The device behind it is /dev/null: jobs are told of a GPU, and there is none.
            device = self.root / "dev" / f"gpu-{node}"
            os.mknod(device, 0o600 | 0o020000, os.makedev(1, 3))
            gres += f"NodeName={node} Name=gpu File={device}\n"
            text += (
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={own} CPUs={os.cpu_count()} "
                "RealMemory=1000 Gres=gpu:1 State=UNKNOWN\n"
            )
        self.conf.write_text(text, encoding="utf-8")
        (self.root / "gres.conf").write_text(gres, encoding="utf-8")


# Kept, so that Popen does not say that they run still.
_children: list[subprocess.Popen[bytes]] = []


def _until(holds: Callable[[], bool], seconds: float, told: Callable[[], str]) -> None:
    end_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end_s, told()
        time.sleep(0.2)


@contextlib.contextmanager
def cluster(root: Path, n_nodes: int = 2) -> Iterator[Slurm]:
    """A cluster, up while the body runs."""
    found = Slurm(root, n_nodes)
    try:
        found.up()
        yield found
    finally:
        found.down()
