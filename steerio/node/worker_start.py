"""The start of a worker in its process, freshly forked from the zygote, and its end."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from steerio.edge.encoding.refusing import refuse_pickles
from steerio.edge.store.opening_stores import open_store
from steerio.edge.system import descendants, inheritance
from steerio.edge.wire.blocking_link import StreamLink
from steerio.model.objects import StoreSetting
from steerio.node.end_signal import let_be_told
from steerio.node.preloading import Preloads
from steerio.node.settling import settle
from steerio.node.setup import NodeSetup
from steerio.worker import forks, work_folders
from steerio.worker.items_ahead import Ahead
from steerio.worker.output import Output
from steerio.worker.process import Worker
from steerio.worker.random_streams import RandomStreams
from steerio.worker.slots import Slots
from steerio.worker.task_objects import WorkerObjects


class Inherited(NamedTuple):
    """The parts of a zygote that its workers go on using."""

    setup: NodeSetup
    slots: Slots
    streams: RandomStreams
    preloads: Preloads


def become_worker(
    order: dict[str, Any], zygote: int, inherited: Inherited, let_go: Callable[[], None]
) -> NoReturn:
    """In the child, be the worker that was ordered, until its end.

    Args:
        order: of the node: the worker's name, slot, share of the machine, and modules.
        zygote: the process that forked it.
        inherited: the parts of the zygote that it goes on using.
        let_go: closes the zygote's sockets in this process.
    """
    name: str = order["worker"]
    status, itself, output = 1, os.getpid(), Output(name)
    setup, slots, streams, preloads = inherited
    try:
        os.setpgid(0, 0)
        descendants.die_with_parent(zygote)
        descendants.adopt_orphans()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        let_be_told()
        let_go()
        forks.forget_services()
        settle(order["cores"], order["environment"], order["memory_bytes"], order["threads"])
        faulthandler.enable(2, all_threads=False)
        output.take_over()
        preloads.load_unshared()
        streams.begin(name)
        work_folders.keep_in(setup.work)
        slot = slots.view(order["slot"])
        if setup.allow is not None:
            refuse_pickles()
        link = StreamLink(setup.worker_address, "worker")
        ahead, objects = _ahead(setup), _objects(setup, name)
        Worker(link, name, slot, ahead, objects, streams, output, setup.allow).serve()
        status = 0
    except SystemExit as exit_:
        code = 0 if exit_.code is None else exit_.code
        if isinstance(code, int):
            status = code
        else:
            sys.stderr.write(f"{code}\n")
    except BaseException:  # noqa: BLE001 - any exception is the worker's end
        if os.getpid() == itself:  # else it was forked by a task
            slots.leave_word(order["slot"], traceback.format_exc())
        traceback.print_exc()
    finally:
        output.end_lines()
        inheritance.flush_output()
        ctypes.CDLL(None).fflush(None)  # the output of C and Fortran code
        os._exit(status)


def _ahead(setup: NodeSetup) -> Ahead:
    """Return the bounds of generator tasks' lead, which may not fill the store."""
    settings, store = setup.settings, setup.store
    limit = None if store is None else store.limit_bytes
    return Ahead(settings.items, settings.items_bytes, None if limit is None else limit // 2)


def _objects(setup: NodeSetup, name: str) -> WorkerObjects:
    """Return a worker's access to the store."""
    setting = setup.store
    if setting is None:
        return WorkerObjects(None, StoreSetting(threshold_bytes=None))
    return WorkerObjects(partial(open_store, setting, Path(setup.objects), name), setting)
