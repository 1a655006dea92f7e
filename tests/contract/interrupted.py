"""A program that interrupts the opening and closing of sockets, and the end of contexts, anywhere.

It prints at how many lines it did.  In a process of its own: what was interrupted inside pyzmq
may leave a context to the process's end, with its threads.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import zmq

from steerio.edge.wire import contexts, zeromq, zeromq_sockets
from steerio.edge.wire.contexts import Context
from steerio.edge.wire.gatekeeper import Gatekeeper
from steerio.edge.wire.keyring import Keyring
from steerio.edge.wire.keys import make_keys
from steerio.edge.wire.zeromq import ZmqRouter
from steerio.edge.wire.zeromq_link import ZmqLink
from steerio.model import messages as ms

END_S = 10.0
"""A context that has not ended by now waits for ever."""
OURS = (contexts.__file__, zeromq.__file__, zeromq_sockets.__file__, __file__)
TRACED = (f"{os.sep}zmq{os.sep}", *OURS)
"""Whose lines are interrupted: of others all that matters is that they may raise."""


def ends(context: Context) -> bool:
    """Whether a context ends; one that waits does so in a thread, and is given up."""
    ending = threading.Thread(target=context.end, daemon=True)
    ending.start()
    ending.join(END_S)
    return not ending.is_alive()


def open_and_close(context: Context, folder: str) -> None:
    """Open all that a process may open with a context, and close it again."""
    keeper = Gatekeeper(context, Keyring(make_keys()))
    router = ZmqRouter(context, f"ipc://{folder}/broker")
    link = ZmqLink(context, router.address, b"peer")
    link.send(ms.JoinClient(ms.PROTOCOL, "peer"))
    link.flush()
    link.close()
    router.close()
    keeper.close()


def open_and_end(context: Context, folder: str) -> None:
    """Open sockets, and end their context."""
    del folder
    for _ in range(3):
        context.socket(zmq.DEALER)
    context.end()


def interrupting(line: int) -> Callable[[FrameType, str, Any], Any]:
    """Return what raises at the so-many-th line that is run, as a signal's handler may."""
    left = line

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        del argument
        if not any(part in frame.f_code.co_filename for part in TRACED):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    return trace


def interrupt_everywhere(what: Callable[[Context, str], None]) -> int:
    """Do something again and again, each time interrupted a line later; returns how many."""
    with tempfile.TemporaryDirectory() as folder:
        line, interrupted = 0, True
        while interrupted:
            line += 1
            context = Context()
            try:
                sys.settrace(interrupting(line))
                what(context, folder)
                interrupted = False
            except KeyboardInterrupt:  # while its traceback keeps what was being opened
                sys.settrace(None)
                if not ends(context):
                    sys.exit(f"a context waits for ever: {what.__name__}, interrupted at {line}")
            finally:
                sys.settrace(None)
                context.end()
    return line


if __name__ == "__main__":
    lines = interrupt_everywhere(open_and_close) + interrupt_everywhere(open_and_end)
    sys.stdout.write(f"{lines}\n")
