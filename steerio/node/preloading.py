"""Loading what workers need into the process that forks them; and what must not be forked.

A fork has only the thread that forked.  What other threads held locked stays locked in
there, and what waits for them waits for ever; a context of CUDA or its kind is broken in
a fork.  A module that starts such things at import can therefore not be preloaded: it is
*refused*, with the reason.  As it cannot be unloaded, the process that tried is spoilt,
and whoever calls this sees to it that this one forks no more.
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
from steerio.worker.loading import load_file

SETTLE_S = 0.2
"""How long threads that loading a module has started may take to end by themselves."""
LOOK_S = 0.002
AGAIN_S = 0.5
"""How long a module that raised is not tried again: all workers ordered together get one answer."""
DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri/", "/dev/accel")
"""What a process has open that has initialised an accelerator."""


class EndZygote(BaseException):
    """SIGTERM: end, whatever this process is in, with all workers."""


class Preloads:
    """What is loaded into this process, and what cannot be.

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
        """When those of them that raised did so; the others are refused for good."""
        self._unshared: set[str] = set()
        """Files that were refused: each worker loads them for itself."""

    def missing(self, modules: Iterable[str]) -> list[str]:
        """Return what workers that need these modules need, and nobody has tried to load yet.

        What the process that we were forked from had loaded is not missing: it was alone, too.
        """
        wanted = dict.fromkeys([*self._files, *modules])
        tried = (self._loaded, self._failed, sys.modules)
        return [name for name in wanted if not any(name in names for names in tried)]

    def try_again(self, modules: Iterable[str], after_s: float = AGAIN_S) -> None:
        """Forget which of these raised a while ago: what kept them from loading may have passed."""
        until = time.monotonic() - after_s
        for name in [*self._files, *modules]:
            if self._raised.get(name, inf) <= until:
                del self._raised[name], self._failed[name]
                importlib.invalidate_caches()

    def next_planned(self) -> str | None:
        """Return something that workers of any pool may come to need, not tried yet."""
        return next(iter(self.missing(self._planned)), None)

    def failures(self, modules: Iterable[str]) -> str:
        """Say why workers that need these modules cannot be forked, or nothing."""
        wanted = dict.fromkeys([*self._files, *modules])
        return "\n".join(self._failed[name] for name in wanted if name in self._failed)

    def load(self, name: str) -> str:
        """Load one of them; returns what has spoilt this process, or nothing.

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
        except BaseException:  # noqa: BLE001 - a module may raise whatever it likes
            told = traceback.format_exc()
            self._failed[name] = f"loading {name} failed on the worker's side:\n{told}"
            self._raised[name] = time.monotonic()
        spoilt = _spoilt(threads, devices)
        gc.collect()
        gc.freeze()  # what is here now is not walked by the workers' collections, so stays shared
        return spoilt

    def refuse(self, name: str, spoilt: str) -> None:
        """Never load this here: it spoilt a process like this one."""
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
                "(what waits for it in a worker would wait for ever). "
                f"Take {name!r} out of preload=[...] and import it inside the task, or in a "
                "@steerio.resource; or keep it from doing so (many libraries heed a variable like "
                "OMP_NUM_THREADS=1)"
            )

    def load_unshared(self) -> None:
        """In a worker: load what could not be forked.

        Raises:
            Exception: whatever the files raise.
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
    """Say what has come since that cannot be forked, or nothing."""
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
