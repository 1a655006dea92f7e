"""The gang that runs a task: how its workers find one another, as the task sees it.

The first worker chooses a free port, just before it begins, and the broker tells it to the others,
which wait for it. So none of them begins before the first does.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from typing import NamedTuple

from steerio.errors import TaskStopped
from steerio.model import messages as ms
from steerio.model.tasks import GangPlace
from steerio.worker.slots import Slot
from steerio.worker.stop_signal import StopSignal

LOOK_S = 0.05
"""Time between two looks whether an attempt that waits for the port is to stop."""
TOKEN_BYTES = 32
VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
"""The environment variables by which libraries find the others, `torch.distributed` for one."""


class Gang(NamedTuple):
    """The workers that run this task together, as one of them sees it.

    Attributes:
        rank: of this worker, from 0.
        size: how many they are.
        address: where the others reach the first one: a name or number of its host.
        port: a port of that host which was free when the first one began.
    """

    rank: int
    size: int
    address: str
    port: int

    @property
    def init_method(self) -> str:
        """The place to meet as a URL, as `torch.distributed.init_process_group` takes it."""
        return f"tcp://{self.address}:{self.port}"


ALONE = Gang(0, 1, "127.0.0.1", 0)
"""The gang of a task that one worker runs."""


class Meeting:
    """Brings a worker together with the others of its gang, before each attempt.

    Args:
        say: sends a message to the broker.
        take_in: takes in the messages that have arrived, waiting up to so many seconds for one.
        stop: tells whether the attempt is to stop.
        slot: tells that as well.
    """

    def __init__(
        self,
        say: Callable[[ms.ToBroker], None],
        take_in: Callable[[float], None],
        stop: StopSignal,
        slot: Slot,
    ) -> None:
        self._say = say
        self._take_in = take_in
        self._stop = stop
        self._slot = slot
        self._told: dict[int, ms.MeetAt] = {}
        """The words of gangs that this worker has not begun with, by its run."""
        self.token = b""
        """The secret by which those of the present gang know each other."""
        self._before: dict[str, str | None] = {}

    def __repr__(self) -> str:
        return f"<Meeting: {len(self._told)} ports>"

    def told(self, message: ms.MeetAt) -> None:
        """Take in where a gang meets."""
        self._told[message.run] = message

    def begin(self, run: int, place: GangPlace, ending: Callable[[], bool]) -> Gang:
        """Wait until the gang can begin, and set the variables that tell of it.

        Args:
            run: this attempt.
            place: of this worker.
            ending: returns whether this worker is to end.

        Raises:
            TaskStopped: the attempt is to stop.
        """
        if place.rank == 0:
            port, self.token = free_port(), secrets.token_bytes(TOKEN_BYTES)
            self._say(ms.ReportPort(run, port, self.token))
        else:
            while run not in self._told:
                if self._stop.stopped or self._slot.asked_to_stop or ending():
                    raise TaskStopped
                self._take_in(LOOK_S)
            port, self.token = self._told[run].port, self._told[run].token
            self._told = {later: at for later, at in self._told.items() if later > run}
        gang = Gang(place.rank, place.size, place.address, port)
        values = (gang.address, str(port), str(gang.rank), str(gang.size))
        self._before = {name: os.environ.get(name) for name in VARIABLES}
        os.environ.update(zip(VARIABLES, values, strict=True))
        return gang

    def end(self) -> None:
        """Set the variables back."""
        before, self._before = self._before, {}
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def free_port() -> int:
    """Return a port that no program of this host listens at now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
    return port
