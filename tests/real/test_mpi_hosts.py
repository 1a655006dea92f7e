"""Ranks of one MPI task on two hosts: nodes of one machine under two names, and a stand-in of ssh.

A name that is an address on the loopback is reached without a change to the machine's hosts, and
Hydra takes it for another host, which it starts a proxy on.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

import steerio
from steerio import Commands, mpi_task
from tests.real import programs
from tests.real.programs import running, steerio_command
from tests.real.test_mpi_tasks import GONE_S, PROGRAM, begun
from tests.real.test_standing_broker import broker_in

FAR = "127.0.0.2"
SSH = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
exec unshare --uts sh -c "hostname $host; exec sh -c \\"\\$0\\"" "$*"
"""


def can_rename() -> bool:
    try:
        command = ["unshare", "--uts", "hostname", FAR]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@mpi_task(pool="solve", gang=2, ranks_per_worker=2, launcher="mpich", retries={"lost": 0})
def add_up(folder: str) -> Commands[tuple[list[str], list[str]]]:
    names = yield ["sh", "-c", "echo $(uname -n) $(taskset -cp $$ | sed 's/.*: //')"]
    done = yield [*PROGRAM, "mpich", *([folder] if folder else [])]
    return names.stdout.splitlines(), sorted(done.stdout.splitlines())


@pytest.mark.skipif(not can_rename(), reason="only root may give a process another host name")
async def test_ranks_run_on_both_hosts_at_their_workers_places_and_all_end(tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    there = ("unshare", "--uts", "sh", "-c", f'hostname {FAR}; exec "$@"', "sh")
    work = steerio_command("worker", "--join", "broker", "--workers", "solve=1", "--name")
    variables = {"HYDRA_LAUNCHER_EXEC": str(ssh)}
    with ExitStack() as stack:
        stack.enter_context(broker_in(tmp_path, "--host", "127.0.0.1"))
        commands = ((*work, "near"), (*there, *work, "far"))
        nodes = [stack.enter_context(running(*c, cwd=tmp_path, env=variables)) for c in commands]
        for node in nodes:
            node.wait_for("has joined")
        async with steerio.connect(tmp_path / "broker") as session:
            names, found = await session.run(add_up, "")
            assert {name.split()[0] for name in names} == {FAR, socket.gethostname()}
            assert len(names) == 4
            assert [line.partition(", cores")[0] for line in found] == [
                f"rank {rank} of 4, sum 10" for rank in range(4)
            ]
            cores = {line.split()[1] for line in names}
            assert len(cores) == min(2, len(os.sched_getaffinity(0)))  # as the workers have them
            handle = session.submit(add_up, str(tmp_path))
            ranks = await begun(tmp_path)
            handle.cancel()
            await handle.result()
            programs.wait_for_end(ranks, within_s=GONE_S)
        for node in nodes:  # in good order, so that they take their stores along
            node.signal(signal.SIGTERM)
            node.status()
