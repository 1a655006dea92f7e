"""The steps by which a forked worker takes its place: cores, variables, memory, threads."""

from __future__ import annotations

import importlib
import importlib.util
import os
import resource
import sys
from collections.abc import Mapping, Sequence


def settle(
    cores: Sequence[int], environment: Mapping[str, str], memory_bytes: int, threads: int
) -> None:
    """Take a place, in a process with one thread; see `Place` for the arguments."""
    if cores and hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, cores)
        except OSError as refusal:  # the control group's cores have changed
            _warn(f"the worker is not pinned to cores {list(cores)}: {refusal}")
    os.environ.update(environment)
    if memory_bytes:
        _limit_memory(memory_bytes)
    if threads > 1:  # the zygote has loaded everything with one
        _use_threads(threads)


def prepare(threads: int) -> None:
    """In the zygote, import once the module that workers need to settle; it starts no threads."""
    if threads < 2 or "numpy" not in sys.modules or "threadpoolctl" in sys.modules:
        return
    if importlib.util.find_spec("threadpoolctl") is not None:
        importlib.import_module("threadpoolctl")


def _limit_memory(limit_bytes: int) -> None:
    """Bound the memory that this process may write to: beyond it, allocating raises `MemoryError`.

    By RLIMIT_DATA, which on Linux counts private writable mappings, the heap among them.
    RLIMIT_AS would count addresses too, of which CUDA and others reserve far more than
    there is memory; RLIMIT_RSS is not heeded at all. Modules that the zygote has loaded count,
    though all workers share them; each process that a task starts has the same limit anew.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit_bytes = min(limit_bytes, hard)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    except (OSError, ValueError) as refusal:
        _warn(f"the worker's memory is not limited: {refusal}")


def _use_threads(threads: int) -> None:
    """Set the threads of libraries that were loaded before the fork, and read no variables again.

    Their pools were of one thread then, so the fork has lost none.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
    control = sys.modules.get("threadpoolctl")
    if control is not None:
        control.threadpool_limits(threads)


def _warn(what: str) -> None:
    sys.stderr.write(f"steerio: warning: {what}\n")
