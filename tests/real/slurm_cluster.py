"""A Slurm of several nodes on this machine: its own daemons, key and folder, without systemd.

Each node is a ``slurmd`` of its own on this host. There are no control groups, so nothing is kept
from the cores of others; jobs, steps, their variables, signals and limits are Slurm's own.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.real.programs import TookTooLong, family, wait_for_end

COMMANDS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scancel", "scontrol")
READY_S = 120.0
"""Longest wait for daemons to be up, and for jobs to be in a state."""
END_S = 30.0
"""Longest wait for jobs to end."""
LOOK_S = 0.1
"""Time between two questions to Slurm, which tells of nothing by itself."""
CONFIGURATION = """
ClusterName=steerio
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MinJobAge=600
SlurmctldTimeout=30
SlurmdTimeout=300
InactiveLimit=0
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """A running Slurm, and its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}
        """The variables by which Slurm's commands find it."""

    def command(self, *command: str, cwd: Path | None = None) -> str:
        """Run one of its commands to the end; returns its output."""
        env = {**os.environ, **self.env}
        done = subprocess.run(
            command, env=env, cwd=cwd, capture_output=True, text=True, timeout=READY_S, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def job(self, number: str) -> Mapping[str, str]:
        """Return the words of Slurm on a job, by their names; values with spaces are cut."""
        shown = self.command("scontrol", "show", "job", "--oneliner", number)
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def wait_for_state(self, number: str, *states: str, within_s: float = READY_S) -> str:
        """Wait until a job is in one of these states; returns it."""
        until = time.monotonic() + within_s
        while (state := self.job(number)["JobState"]) not in states:
            if time.monotonic() > until:
                raise TookTooLong(f"job {number} is {state}, and not {states}\n{self.logs()}")
            time.sleep(LOOK_S)
        return state

    def logs(self) -> str:
        """Return the last words of its daemons."""
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"-- {f.name}\n{f.read_text(errors='replace')[-1500:]}" for f in files)


def why_not() -> str:
    """Return why no Slurm can be started here; ``""`` if one can."""
    if os.geteuid() != 0:
        return "slurmd runs jobs only if root has started it"
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    if missing:
        return f"{', '.join(missing)}: on Debian and Ubuntu, apt-get install slurm-wlm munge"
    return ""


needs_slurm = pytest.mark.skipif(bool(why_not()), reason=why_not())


@contextlib.contextmanager
def slurm_of(nodes: int, cpus: int = 4) -> Iterator[Slurm]:
    """Start a Slurm with so many nodes, and end it with all of its jobs."""
    folder = Path(tempfile.mkdtemp(prefix="steerio-slurm-"))  # short, for its sockets
    folder.chmod(0o755)
    daemons: list[subprocess.Popen[bytes]] = []
    slurm = Slurm(folder)
    try:
        _configure(folder, nodes, cpus)
        _start(daemons, slurm, "munge", _munged(folder))
        _await((folder / "munge.socket").exists, slurm)
        conf = str(folder / "slurm.conf")
        _start(daemons, slurm, "slurmctld", ["slurmctld", "-D", "-f", conf])
        for number in range(1, nodes + 1):
            name = f"node{number}"
            _start(daemons, slurm, name, ["slurmd", "-D", "-N", name, "-f", conf])
        _await(lambda: _idle(slurm) == nodes, slurm)
        yield slurm
    finally:
        _cancel_all(slurm)
        _end(daemons)
        shutil.rmtree(folder)


def _configure(folder: Path, nodes: int, cpus: int) -> None:
    with contextlib.ExitStack() as sockets:  # all at once, so that no two are the same
        ports = [_free_port(sockets) for _ in range(nodes + 1)]
    host = socket.gethostname()
    lines = [CONFIGURATION.format(host=host, port=ports[0], user=getpass.getuser(), folder=folder)]
    for number, port in enumerate(ports[1:], 1):
        address = f"NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
        lines.append(f"NodeName=node{number} {address} CPUs={cpus} RealMemory=1000 State=UNKNOWN\n")
    (folder / "slurm.conf").write_text("".join(lines))
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)


def _free_port(sockets: contextlib.ExitStack) -> int:
    free = sockets.enter_context(socket.socket())
    free.bind(("127.0.0.1", 0))
    port: int = free.getsockname()[1]
    return port


def _munged(folder: Path) -> list[str]:
    files = {
        "key-file": "key",
        "socket": "socket",
        "pid-file": "pid",
        "seed-file": "seed",
        "log-file": "log",
    }
    options = [f"--{option}={folder}/munge.{end}" for option, end in files.items()]
    return ["munged", "--foreground", "--force", "--num-threads=2", *options]


def _start(
    daemons: list[subprocess.Popen[bytes]], slurm: Slurm, name: str, command: Sequence[str]
) -> None:
    with (slurm.folder / f"{name}.out.log").open("wb") as log:
        daemons.append(
            subprocess.Popen(
                command,
                env={**os.environ, **slurm.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )


def _idle(slurm: Slurm) -> int:
    done = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"],
        env={**os.environ, **slurm.env},
        capture_output=True,
        text=True,
        timeout=READY_S,
        check=False,
    )
    return len(done.stdout.split())


def _await(holds: Callable[[], bool], slurm: Slurm) -> None:
    until = time.monotonic() + READY_S
    while not holds():
        if time.monotonic() > until:
            raise TookTooLong(f"Slurm is not up within {READY_S:g} s\n{slurm.logs()}")
        time.sleep(LOOK_S)


def _cancel_all(slurm: Slurm) -> None:
    """End the jobs, which would outlive their daemons."""
    env = {**os.environ, **slurm.env}
    until = time.monotonic() + END_S
    while time.monotonic() < until:
        asked = ["squeue", "--noheader", "--format=%i"]
        jobs = subprocess.run(asked, env=env, capture_output=True, check=False, timeout=END_S)
        if not jobs.stdout.split():
            return
        numbers = jobs.stdout.decode().split()
        subprocess.run(["scancel", *numbers], env=env, check=False, timeout=END_S)
        time.sleep(LOOK_S)


def _end(daemons: Sequence[subprocess.Popen[bytes]]) -> None:
    """End the daemons, the last first, with all that they have started."""
    below = [pid for daemon in daemons for pid in family(daemon.pid)[1:]]
    for daemon in reversed(daemons):
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    for pid in below:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for_end(below, 10)
