"""The words for moves of workers and for nodes that are drained, as messages have them."""

from __future__ import annotations

from typing import Literal

How = Literal["drain", "preempt"]
"""The ways for busy workers to get free: their tasks end, or are stopped and queued again."""

MoveProgress = Literal["waiting", "granted", "returning", "ended", "deadlocked", "refused"]
"""The states of a move by the broker's word.

The first four are its life; it is ``deadlocked`` just before it ends by a deadlock, and
``refused`` if it can never be.
"""

DrainEnd = Literal["drained", "left", "undrained", "refused"]
"""The ends of a request to drain or undrain a node; ``left``: the node is gone."""

NodeState = Literal["up", "draining", "drained"]
"""The states of a node that is there."""
