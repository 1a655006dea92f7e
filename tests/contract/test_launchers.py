"""The command lines of MPI launchers, how the launcher of a machine is found, and ranks' places."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from socket import create_connection

import pytest

from steerio.errors import TaskStopped, UsageError
from steerio.worker import members, rank_places
from steerio.worker.found_launcher import Launcher, find_launcher
from steerio.worker.launchers import COMMANDS, DIALECTS, HostRanks, Launch, dialect_of
from steerio.worker.meeting import Gang, free_port
from steerio.worker.members import borrowed, lend
from steerio.worker.rank_places import MemberPlace, by_host, host_ranks, script_of

HERE = Launch([HostRanks("a", 4)])
EVEN = Launch([HostRanks("a", 2), HostRanks("b", 2)], ["CASE", "PATH"], as_root=True)
UNEVEN = Launch([HostRanks("a", 2), HostRanks("b", 1)])
WRONG = Launch([HostRanks("a", 1), HostRanks("b", 2)])

OF_STEP = "--cpu-bind=none --kill-on-bad-exit=1 --export=ALL"
IN_BLOCKS = f"--distribution=block {OF_STEP}"
LINES = {
    "openmpi": (
        "run -n 4 --host localhost:4 --map-by slot --bind-to none",
        "run --allow-run-as-root -n 4 --host a:2,b:2 --map-by slot --bind-to none -x CASE -x PATH",
        "run -n 3 --host a:2,b:1 --map-by slot --bind-to none",
    ),
    "mpich": (
        "run -n 4 -hosts localhost -ppn 4 -bind-to none",
        "run -n 4 -hosts a,b -ppn 2 -bind-to none",
        "run -n 3 -hosts a:2,b:1 -bind-to none",
    ),
    "srun": (
        f"run --overlap --ntasks=4 --nodes=1 --nodelist=a --ntasks-per-node=4 {IN_BLOCKS}",
        f"run --overlap --ntasks=4 --nodes=2 --nodelist=a,b --ntasks-per-node=2 {IN_BLOCKS}",
        f"run --overlap --ntasks=3 --nodes=2 --nodelist=a,a,b --distribution=arbitrary {OF_STEP}",
    ),
    "pals": (
        "run -n 4 --ppn 4 --hosts a --cpu-bind none",
        "run -n 4 --ppn 2 --hosts a,b --cpu-bind none",
        "run -n 3 --ppn 2 --hosts a,b --cpu-bind none",
    ),
    "aprun": (
        "run -n 4 -N 4 -L a -cc none",
        "run -n 4 -N 2 -L a,b -cc none",
        "run -n 3 -N 2 -L a,b -cc none",
    ),
    "jsrun": (
        "run --np 4 --rs_per_host 4 --bind none",
        "run --np 4 --rs_per_host 2 --bind none",
        "run --np 3 --rs_per_host 2 --bind none",
    ),
    "flux": (
        "run run --nodes=1 --tasks-per-node=4 --requires=host:a -o cpu-affinity=off",
        "run run --nodes=2 --tasks-per-node=2 --requires=host:a,b -o cpu-affinity=off",
        None,
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_each_dialect_says_ranks_and_hosts(name: str) -> None:
    for launch, line in zip((HERE, EVEN, UNEVEN), LINES[name], strict=True):
        if line is None:
            with pytest.raises(UsageError, match="2 on a, 1 on b"):
                DIALECTS[name]("run", launch)
        else:
            assert " ".join(DIALECTS[name]("run", launch)) == line


@pytest.mark.parametrize("name", ["pals", "aprun", "jsrun", "flux"])
def test_a_launcher_that_fills_host_after_host_refuses_what_it_would_place_otherwise(
    name: str,
) -> None:
    with pytest.raises(UsageError, match="1 on a, 2 on b"):
        DIALECTS[name]("run", WRONG)


def test_every_dialect_has_commands_and_its_own_words() -> None:
    assert set(DIALECTS) == set(COMMANDS) == set(LINES)
    assert dialect_of("mpirun (Open MPI) 5.0.3") == "openmpi"
    assert dialect_of("prterun (PRRTE) 3.0.2") == "openmpi"
    assert dialect_of("Intel(R) MPI Library for Linux* OS, Version 2021.9") == "mpich"
    assert dialect_of("slurm 23.11.4") == "srun"
    assert dialect_of("mpiexec of nobody, 1.0") is None


@pytest.mark.parametrize("name", ["openmpi", "mpich"])
def test_a_launcher_is_found_by_its_kind_its_command_and_its_path(name: str) -> None:
    command = shutil.which(f"mpiexec.{name}")
    assert command is not None, "apt-get install openmpi-bin mpich"
    expected = Launcher(name, command)
    assert find_launcher(name, os.environ) == expected
    assert find_launcher(f"mpiexec.{name}", os.environ) == expected
    assert find_launcher(command, {}) == expected


@pytest.mark.parametrize("name", ["openmpi", "mpich"])
def test_a_plain_mpiexec_is_asked_whose_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "mpiexec").symlink_to(str(shutil.which(f"mpiexec.{name}")))
    found = Launcher(name, str(tmp_path / "mpiexec"))
    here = {"PATH": str(tmp_path)}
    assert find_launcher("", here) == find_launcher(name, here) == found


def test_the_launcher_of_the_job_goes_first_and_one_that_is_missing_is_named(
    tmp_path: Path,
) -> None:
    here = {"PATH": str(tmp_path), "SLURM_JOB_ID": "7"}
    with pytest.raises(UsageError, match=rf"no MPI launcher was found.*{tmp_path}.*launcher="):
        find_launcher("", here)
    for name in ("mpiexec", "srun", "aprun"):
        (tmp_path / name).write_text("#!/bin/sh\necho a launcher of ours, 1.0\n")
        (tmp_path / name).chmod(0o755)
    assert find_launcher("", here) == Launcher("srun", str(tmp_path / "srun"))
    assert find_launcher("", {"PATH": str(tmp_path)}).dialect == "aprun"
    assert find_launcher("pals", here) == Launcher("pals", str(tmp_path / "mpiexec"))
    with pytest.raises(UsageError, match="does not say whose launcher"):
        find_launcher("mpiexec", here)
    with pytest.raises(UsageError, match=r"'mpjch'.*did you mean 'mpich'"):
        find_launcher("mpjch", here)
    with pytest.raises(UsageError, match=r"needs jsrun"):
        find_launcher("jsrun", here)


MEMBERS = [
    MemberPlace(2, "far", [6, 7], {"CUDA_VISIBLE_DEVICES": "GPU-2"}),
    MemberPlace(0, "near", [0, 1, 2, 3], {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "GPU-0"}),
    MemberPlace(1, "far", [4, 5], {"CUDA_VISIBLE_DEVICES": "GPU-1"}),
]


def test_ranks_are_counted_by_host_in_the_order_of_the_workers() -> None:
    assert host_ranks(MEMBERS, 2) == [HostRanks("near", 2), HostRanks("far", 4)]
    assert [member.rank for member in by_host(MEMBERS)["far"]] == [1, 2]
    assert rank_places.cores_of(MEMBERS, "far") == {4, 5, 6, 7}


@pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is part of util-linux")
def test_each_rank_takes_its_share_of_the_place_of_its_worker(tmp_path: Path) -> None:
    def placed(
        members: list[MemberPlace], ranks: int, fixed: Mapping[str, object] | None = None
    ) -> list[str]:
        script = tmp_path / str(len(members))
        script.write_text(script_of(members, ranks, fixed))
        return ["/bin/sh", str(script), "/bin/sh", "-c", say, "sh", "an $argument"]

    host = os.uname().nodename
    cores = sorted(os.sched_getaffinity(0))[:2]
    mine = MemberPlace(0, host, cores, {"OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "A 'b'"})
    other = MemberPlace(1, host, cores[:1], {"CUDA_VISIBLE_DEVICES": "C"})
    say = "echo $OMP_NUM_THREADS, $CUDA_VISIBLE_DEVICES, $(taskset -cp $$ | sed 's/.*: //'), $1"
    argv = placed([other, mine], 2)
    told = [spoken_by(argv, {"MPI_LOCALRANKID": str(rank)}) for rank in range(4)]
    shares = [str(core) for core in cores] if len(cores) == 2 else [str(cores[0])] * 2
    assert told[:2] == [f"1, A 'b', {share}, an $argument" for share in shares]
    assert told[2:] == [f", C, {cores[0]}, an $argument"] * 2
    own = placed([mine], 2, {"OMP_NUM_THREADS": "9"})
    assert spoken_by(own, {"SLURM_LOCALID": "0", "OMP_NUM_THREADS": "9"}).startswith("9, A 'b'")
    assert spoken_by(argv, {}).startswith(", , ")


def spoken_by(argv: list[str], variables: dict[str, str]) -> str:
    """Return what a program prints in this environment."""
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout[
        :-1
    ]


def test_the_workers_of_a_gang_lend_their_places_and_strangers_are_not_listened_to() -> None:
    gangs = [Gang(rank, 3, "127.0.0.1", free_port()) for rank in range(1)] * 3
    gangs = [gangs[0]._replace(rank=rank) for rank in range(3)]
    ended: list[int] = []

    def lending(rank: int) -> None:
        lend(gangs[rank], b"theirs", lambda: False)
        ended.append(rank)

    others = [threading.Thread(target=lending, args=[rank]) for rank in (1, 2)]
    stranger = threading.Thread(target=intrude, args=[gangs[0]])
    for each in [stranger, *others]:
        each.start()
    with borrowed(gangs[0], b"theirs", lambda: False) as places:
        assert sorted(place.rank for place in places) == [0, 1, 2]
        assert {place.host for place in places} == {os.uname().nodename}
        assert ended == []
    for each in [stranger, *others]:
        each.join()
    assert sorted(ended) == [1, 2]


def intrude(gang: Gang) -> None:
    """Say wrong things at the port of a gang, until it is closed."""
    heard = False
    while True:
        try:
            with create_connection((gang.address, gang.port)) as link:
                heard = True
                link.sendall(b'{"token":"bm8=","place":{"rank":1,"host":"mine"}}\n')
                if link.recv(1) == b"":
                    return
        except ConnectionRefusedError:
            if heard:
                return
        except OSError:
            return


def test_a_gang_that_is_stopped_waits_for_no_one() -> None:
    gang = Gang(0, 2, "127.0.0.1", free_port())
    with pytest.raises(TaskStopped), borrowed(gang, b"", lambda: True):
        pass
    with pytest.raises(TaskStopped):
        lend(gang._replace(rank=1), b"", lambda: True)


def test_workers_that_do_not_meet_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MEET_S", 0.0)
    gang = Gang(0, 3, "127.0.0.1", free_port())
    with pytest.raises(TimeoutError, match=r"workers 1, 2 of this gang of 3 have not come"):
        with borrowed(gang, b"", lambda: False):
            pass
    with pytest.raises(TimeoutError, match=r"does not reach the first worker of this gang"):
        lend(gang._replace(rank=1), b"", lambda: False)


def test_a_host_that_is_not_known_is_named() -> None:
    gang = Gang(1, 2, "no-such-host.invalid", 7)
    with pytest.raises(UsageError, match=r"'no-such-host.invalid'.*know each other by name"):
        lend(gang, b"", lambda: False)
