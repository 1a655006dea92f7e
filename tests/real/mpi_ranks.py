"""A small MPI program: each rank adds its number, says what it found, and may stay.

It calls the real library through ``ctypes``, so neither compiler nor headers are needed. Called as
``python mpi_ranks.py LIBRARY [FOLDER]``; with a folder it leaves a file there with its process id,
and stays until it is ended.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

LIBRARIES = {"openmpi": "libmpi.so.40", "mpich": "libmpich.so.12"}
FAIL = "fail"
"""In the place of a folder: rank 1 ends badly, and the others would go on."""
MPICH_WORLD, MPICH_INT, MPICH_SUM = 0x44000000, 0x4C000405, 0x58000003
"""Handles of MPICH's interface; those of Open MPI are addresses of its objects."""


def handles(name: str, mpi: ctypes.CDLL) -> list[Any]:
    """Return the communicator of all ranks, the type of an int, and the sum."""
    if name == "mpich":
        return [ctypes.c_int(each) for each in (MPICH_WORLD, MPICH_INT, MPICH_SUM)]
    names = ("ompi_mpi_comm_world", "ompi_mpi_int", "ompi_mpi_op_sum")
    return [ctypes.byref(ctypes.c_char.in_dll(mpi, each)) for each in names]


def main(name: str, folder: str = "") -> None:
    mpi = ctypes.CDLL(LIBRARIES[name], mode=ctypes.RTLD_GLOBAL)
    world, number, add = handles(name, mpi)
    mpi.MPI_Init(None, None)
    rank, size, total = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    mpi.MPI_Comm_rank(world, ctypes.byref(rank))
    mpi.MPI_Comm_size(world, ctypes.byref(size))
    mine = ctypes.c_int(rank.value + 1)
    mpi.MPI_Allreduce(ctypes.byref(mine), ctypes.byref(total), 1, number, add, world)
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    said = f"rank {rank.value} of {size.value}, sum {total.value}, cores {cores}\n"
    sys.stdout.write(said)
    sys.stdout.flush()
    if folder == FAIL and rank.value == 1:
        sys.stderr.write("no good\n")
        sys.stderr.flush()
        os._exit(3)
    if folder == FAIL:
        time.sleep(600)
    if folder:
        (Path(folder) / f"rank-{rank.value}.new").write_text(str(os.getpid()))
        (Path(folder) / f"rank-{rank.value}.new").rename(Path(folder) / f"rank-{rank.value}")
        while True:
            time.sleep(60)
    mpi.MPI_Finalize()


if __name__ == "__main__":
    main(*sys.argv[1:])
