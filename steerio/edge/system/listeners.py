"""Sockets that other code owns, of which a descriptor is known: closed, or made deaf, from outside.

ZeroMQ tells the descriptors of its sockets, and has no call to close one connection of many, nor to
accept none for a while. A descriptor may be closed and used again at any moment, so a *grip* first
takes a copy of it, looks whether it is a socket of the port in question, and acts on the copy.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import sys
from collections.abc import Callable

ATTACH, DETACH = 26, 27
"""Linux: the options of sockets for a filter of their packets (``SO_ATTACH_FILTER``)."""


class Instruction(ctypes.Structure):
    """An instruction of the kernel's packet filters (classic BPF)."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jump_if", ctypes.c_uint8),
        ("jump_if_not", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


# a packet that only asks for a connection is dropped, others pass, for a connection that was
# accepted inherits the filter
_FILTER = (Instruction * 5)(
    Instruction(0x30, 0, 0, 13),  # load the flags of the TCP header
    Instruction(0x54, 0, 0, 0x12),  # of them SYN and ACK
    Instruction(0x15, 0, 1, 0x02),  # just SYN?
    Instruction(0x06, 0, 0, 0),  # drop it
    Instruction(0x06, 0, 0, 0xFFFFFFFF),  # let it pass
)
_PROGRAM = struct.pack("HP", len(_FILTER), ctypes.addressof(_FILTER))


class Grip:
    """Acts on sockets of one port by their descriptors; needs no free descriptor for that.

    Args:
        port: the TCP port of this machine that they are of.

    Raises:
        OSError: there are no descriptors left for it.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._hand = os.dup(self._nothing)
        except OSError:
            os.close(self._nothing)
            raise

    def cut(self, descriptor: int) -> bool:
        """End a connection, as if the network had; return whether there was one."""
        return self._act(descriptor, lambda held: held.shutdown(socket.SHUT_RDWR))

    def deafen(self, descriptor: int) -> bool:
        """Have a listening socket hear of no new connection; return whether that worked.

        The peers' systems go on trying for a while.  Only Linux can do this.
        """
        return sys.platform == "linux" and self._act(
            descriptor, lambda held: held.setsockopt(socket.SOL_SOCKET, ATTACH, _PROGRAM)
        )

    def undeafen(self, descriptor: int) -> bool:
        """Have a listening socket hear of new connections again; return whether that worked."""
        return sys.platform == "linux" and self._act(
            descriptor, lambda held: held.setsockopt(socket.SOL_SOCKET, DETACH, 0)
        )

    def close(self) -> None:
        """Let go of its own descriptors."""
        for own in (self._nothing, self._hand):
            with contextlib.suppress(OSError):
                os.close(own)
        self._nothing = self._hand = -1

    def _act(self, descriptor: int, act: Callable[[socket.socket], None]) -> bool:
        held: socket.socket | None = None
        try:
            os.dup2(descriptor, self._hand, inheritable=False)
            held = socket.socket(fileno=self._hand)
            if held.family not in (socket.AF_INET, socket.AF_INET6):
                return False
            if held.getsockname()[1] != self.port:
                return False
            act(held)
        except OSError:  # it is closed by now, or no socket any more
            return False
        finally:
            if held is not None:
                held.detach()
            os.dup2(self._nothing, self._hand, inheritable=False)
        return True
