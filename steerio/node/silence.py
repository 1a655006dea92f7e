"""The silence of a broker, as one of its nodes counts it."""

from __future__ import annotations


class Silence:
    """The beats of a node in a row without a word of the broker.

    It counts beats and not seconds, as the process of the node may have been stopped itself.
    """

    def __init__(self) -> None:
        self.beats = 0
        """How many they are by now."""
        self.heard = True
        """Whether the broker has said something since the last beat."""
        self._packets = 0

    def __repr__(self) -> str:
        return f"<Silence of {self.beats} beats>"

    def beat(self, packets: int) -> None:
        """Count a beat; ``packets`` is how many of a message, whole or not, have come by now."""
        if packets != self._packets:
            self._packets, self.heard = packets, True
        self.beats, self.heard = 0 if self.heard else self.beats + 1, False


def why_given_up(silent_s: float, *, was_in: bool) -> str:
    """Say why a node gives a broker up; ``was_in``: it had been let in by it."""
    if was_in:
        return f"the broker has been silent for {silent_s:.0f} s"
    return (
        f"no broker answered within {silent_s:.0f} s: it has ended without cleaning up, its "
        "machine cannot be reached, or it does not accept our key"
    )
