"""The modules that workers need, loaded into the process that forks them, if they may be.

A fork has only the thread that forked. Locks that other threads held stay locked in it, and code
that waits for those threads waits for ever; a context of CUDA or its kind is broken in a fork. A
module that starts threads or opens devices at import can therefore not be preloaded: it is
*refused*, with the reason. As it cannot be unloaded, the process that tried is spoilt, and the
zygote sees to it that this one forks no more.
"""

from __future__ import annotations

import functools
import gc
import importlib
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from math import inf
from pathlib import Path
from typing import Any

from steerio.edge.system import descendants
from steerio.node.end_signal import EndZygote
from steerio.worker.loading import load_file

SETTLE_S = 0.2
"""Time for threads that loading a module has started to end by themselves."""
LOOK_S = 0.002
AGAIN_S = 0.5
"""Time before a module that raised is tried again: workers ordered together get one answer."""
DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri/", "/dev/accel")
"""Beginnings of the paths that a process has open which has initialised an accelerator."""


class Preloads:
    """The modules that are loaded into this process, and those that cannot be.

    Args:
        files: Python files that every worker needs, as module name and path.
        modules: for each pool, those that its workers need.
    """

    def __init__(
        self, files: Iterable[tuple[str, str]], modules: Mapping[str, Iterable[str]]
    ) -> None:
        self._files = dict(files)
        self._planned = list(dict.fromkeys(name for names in modules.values() for name in names))
        self._loaded: set[str] = set()
        self._failed: dict[str, str] = {}
        self._raised: dict[str, float] = {}
        """The time at which each of those raised; the others are refused for good."""
        self._unshared: set[str] = set()
        """Files that were refused: each worker loads them for itself."""

    def missing(self, modules: Iterable[str]) -> list[str]:
        """Return the modules and files for workers with these needs that were not tried yet.

        Modules of the process that we were forked from are not missing: it had one thread, too.
        """
        wanted = dict.fromkeys([*self._files, *modules])
        tried = (self._loaded, self._failed, sys.modules)
        return [name for name in wanted if not any(name in names for names in tried)]

    def try_again(self, modules: Iterable[str], after_s: float = AGAIN_S) -> None:
        """Forget those of these that raised a while ago: the cause may have passed."""
        until = time.monotonic() - after_s
        for name in [*self._files, *modules]:
            if self._raised.get(name, inf) <= until:
                del self._raised[name], self._failed[name]
                importlib.invalidate_caches()

    def next_planned(self) -> str | None:
        """Return a module that workers of any pool may come to need and that was not tried yet."""
        return next(iter(self.missing(self._planned)), None)

    def failures(self, modules: Iterable[str]) -> str:
        """Return why workers that need these modules cannot be forked; ``""`` if they can."""
        wanted = dict.fromkeys([*self._files, *modules])
        return "\n".join(self._failed[name] for name in wanted if name in self._failed)

    def load(self, name: str) -> str:
        """Load one of them; return the reason why this process is spoilt, or ``""``.

        A module that raises is noted as failed, and spoils nothing.
        """
        path = self._files.get(name)
        load: Callable[[], object] = (
            functools.partial(load_file, name, path)
            if path is not None
            else functools.partial(importlib.import_module, name)
        )
        threads, devices = descendants.thread_ids(), open_devices()
        try:
            load()
            self._loaded.add(name)
        except EndZygote:
            raise
        except BaseException:  # noqa: BLE001 - a module may raise anything
            told = traceback.format_exc()
            self._failed[name] = f"loading {name} failed on the worker's side:\n{told}"
            self._raised[name] = time.monotonic()
        spoilt = _spoilt(threads, devices)
        gc.collect()
        gc.freeze()  # so that workers' collections do not touch these objects, and they stay shared
        return spoilt

    def refuse(self, name: str, spoilt: str) -> None:
        """Never load this module here: it spoilt a process like this one."""
        self._raised.pop(name, None)
        if name in self._files:
            sys.stderr.write(
                f"steerio: warning: loading {self._files[name]} {spoilt}, which cannot be forked; "
                "so each worker loads it for itself, which takes longer\n"
            )
            self._loaded.add(name)
            self._unshared.add(name)
        else:
            self._failed[name] = (
                f"preloading {name} is refused: importing it {spoilt}, which cannot be forked "
                "(code that waits for it in a worker would wait for ever). "
                f"Take {name!r} out of preload=[...] and import it inside the task, or in a "
                "@steerio.resource; or keep it from doing so (many libraries heed a variable like "
                "OMP_NUM_THREADS=1)"
            )

    def load_unshared(self) -> None:
        """In a worker, load the files that could not be forked.

        Raises:
            Exception: any that the files raise.
        """
        for name in self._unshared:
            load_file(name, self._files[name])


def open_devices() -> set[str]:
    """Return the accelerators' devices that this process has open (Linux)."""
    found: set[str] = set()
    for file in Path("/proc/self/fd").glob("*"):
        try:
            link = str(file.readlink())
        except OSError:  # the one that the listing was read from
            continue
        if link.startswith(DEVICES):
            found.add(link)
    return found


def _spoilt(threads: set[int], devices: set[str]) -> str:
    """Return the reasons why this process cannot be forked any more; ``""`` if it can."""
    until = time.monotonic() + SETTLE_S
    while (new := descendants.thread_ids() - threads) and time.monotonic() < until:
        time.sleep(LOOK_S)
    found: list[str] = []
    if new:
        found.append(f"starts {len(new)} thread{'s'[: len(new) > 1]} ({_names(new)})")
    opened = sorted(open_devices() - devices)
    if opened:
        found.append(f"opens {', '.join(opened)}")
    cuda: Any = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        found.append("initialises CUDA")
    return " and ".join(found)


def _names(threads: set[int]) -> str:
    """Name threads as Python knows them, else as the system does."""
    known = {thread.native_id: thread.name for thread in threading.enumerate()}
    names: list[str] = []
    for number in sorted(threads):
        name = known.get(number)
        if name is None:
            try:
                name = Path(f"/proc/self/task/{number}/comm").read_text().strip()
            except OSError:
                name = "?"
        names.append(repr(name))
    return ", ".join(dict.fromkeys(names))
