"""A stranger that presses into a TCP port, for as long as it lives: ``flood.py PORT HOW COUNT``.

``silent``: opens COUNT connections and says nothing. ``slow``: the same, and says a byte a second
of what a peer would say. ``churning``: opens ever more, and keeps the last COUNT of them.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
import time

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(47)
PAUSE_S = 1.0


def main(port: int, how: str, count: int) -> None:
    """Press in until killed; say when there are as many connections as there were to be."""
    kept: list[socket.socket] = []
    for number in itertools.count():
        stranger = socket.socket()
        stranger.setblocking(False)
        with contextlib.suppress(OSError):
            stranger.connect(("127.0.0.1", port))
        kept.append(stranger)
        if number == count:
            sys.stdout.write("all are there\n")
            sys.stdout.flush()
        if len(kept) > count:
            if how != "churning":
                break
            kept.pop(0).close()
    for byte in GREETING if how == "slow" else b"":
        for stranger in kept:
            with contextlib.suppress(OSError):
                stranger.send(bytes([byte]))
        time.sleep(PAUSE_S)
    while True:
        time.sleep(3_600)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
