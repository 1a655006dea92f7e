"""The socket at which prompts attach to a campaign, and its connections.

All calls are made on the event loop, and none waits.  A connection has bounds on both ways: a
prompt that sends too much, or does not read, is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from steerio.edge.system.peer_user import peer_user
from steerio.edge.wire.prompt_frames import framed, frames_from_prompt
from steerio.edge.wire.prompt_place import place_of
from steerio.edge.wire.socket_folders import make_folder
from steerio.model.attached import FromPrompt, ToPrompt, TurnedAway

MOST_PROMPTS = 4
"""Most prompts that are attached at a time."""
UNREAD_BYTES = 2 << 20
"""Most bytes that wait for a prompt to read them."""
READ_BYTES = 1 << 16
PAUSE_S = 1.0
"""How long no prompt is let in once descriptors have run out."""

log = logging.getLogger("steerio.edge")


class PromptConnection:
    """A connection to one attached prompt.

    Args:
        connected: its socket, which does not block.
        gone: called once, when it is closed by either side.
    """

    def __init__(self, connected: socket.socket, gone: Callable[[PromptConnection], None]) -> None:
        self.hears: Callable[[FromPrompt], None] = lambda _: None
        self.left: Callable[[], None] = lambda: None
        """Called when it is closed."""
        self._socket = connected
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._reader = frames_from_prompt()
        self._unsent = bytearray()
        self._loop.add_reader(connected, self._readable)

    def __repr__(self) -> str:
        return f"<PromptConnection: {len(self._unsent)} bytes unsent>"

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._socket.fileno() < 0

    def send(self, message: ToPrompt) -> None:
        """Send a message; cut the prompt off if it leaves too much unread."""
        if self.closed:
            return
        waits = bool(self._unsent)
        self._unsent += framed(message)
        if not waits:
            self._write()
        if len(self._unsent) > UNREAD_BYTES:
            log.warning("an attached prompt does not read, and was cut off")
            self.close()
        elif self._unsent and not waits:
            self._loop.add_writer(self._socket, self._writable)

    def close(self) -> None:
        """Close it; bytes that the prompt has not taken yet are dropped."""
        if self.closed:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        with contextlib.suppress(OSError):  # for a process that an agent forked has it, too
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._unsent.clear()
        self._gone(self)
        self.left()

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
            messages = self._reader.feed(data)
        except BlockingIOError:
            return
        except msgspec.DecodeError as error:
            log.warning("an attached prompt was cut off: %s", error)
            data, messages = b"", []
        except OSError:
            data, messages = b"", []
        for message in messages:
            if not self.closed:
                self.hears(message)
        if not data:
            self.close()

    def _write(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _writable(self) -> None:
        self._write()
        if not self._unsent and not self.closed:
            self._loop.remove_writer(self._socket)


class PromptSocket:
    """A listening socket, of mode 0600 in a folder of its own that is closed to others.

    Args:
        run_dir: the run directory, which tells of it.
        comes: called with the connection of each prompt that may attach.
        user_of: returns the user at the other end of a connection.

    Raises:
        UsageError: no folder for it can be made.
        OSError: it cannot listen there, or the run directory cannot be written to.
    """

    def __init__(
        self,
        run_dir: Path,
        comes: Callable[[PromptConnection], None],
        user_of: Callable[[socket.socket], int | None] = peer_user,
    ) -> None:
        self._run_dir = run_dir
        self._comes = comes
        self._user_of = user_of
        self._loop = asyncio.get_running_loop()
        self._connections: set[PromptConnection] = set()
        self._again: asyncio.TimerHandle | None = None
        self._folder = make_folder()
        self.path = self._folder / "attach"
        self._place = place_of(str(self.path))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(str(self.path))
            self.path.chmod(0o600)  # before it listens
            self._socket.listen(MOST_PROMPTS)
            self._socket.setblocking(False)
            self._listen()
            self._place.write(run_dir)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<PromptSocket at {self.path}: {len(self._connections)} attached>"

    def close(self) -> None:
        """Close it with all its connections, and remove its files."""
        if self._again is not None:
            self._again.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        for each in list(self._connections):
            each.close()
        self.remove_files()

    def remove_files(self) -> None:
        """Remove its files, from any thread."""
        self._place.remove(self._run_dir)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        try:
            connected, _ = self._socket.accept()
        except (BlockingIOError, ConnectionError):  # it has gone already
            return
        except OSError as error:  # descriptors run out: trying at once would keep the loop busy
            log.warning("no prompt can attach: %s", error.strerror)
            self._loop.remove_reader(self._socket)
            self._again = self._loop.call_later(PAUSE_S, self._listen)
            return
        connected.setblocking(False)
        user = self._user_of(connected)
        if user != os.geteuid():
            log.warning("a process of user %s wanted to attach, and was turned away", user)
            connected.close()
            return
        if len(self._connections) >= MOST_PROMPTS:
            reason = f"{MOST_PROMPTS} prompts are attached to this campaign already"
            with contextlib.suppress(OSError), connected:
                connected.send(framed(TurnedAway(reason)))
            return
        connection = PromptConnection(connected, self._connections.discard)
        self._connections.add(connection)
        self._comes(connection)
