"""A thread that draws the newest of some frames, so that the terminal holds up nothing but itself.

A terminal whose output is stopped (Ctrl-S), a slow connection and a full pipe take no text for a
while. The loop hands a frame over and goes on; frames that come meanwhile replace each other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger("steerio.campaign")

F = TypeVar("F")

LAST_S = 1.0
"""Longest wait for the last frame to be drawn; after that the thread is left to itself."""


class Painter(Generic[F]):
    """Draws frames in a thread.

    Args:
        draw: draws a frame; may take any time, and raise anything, which ends the drawing.
        clear: called after the last frame, also if drawing has failed.
    """

    def __init__(self, draw: Callable[[F], None], clear: Callable[[], None]) -> None:
        self._draw, self._clear = draw, clear
        self._frame: F | None = None
        self._wanted = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._paint, name="steerio-progress", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Painter: {'at work' if self._thread.is_alive() else 'ended'}>"

    def show(self, frame: F) -> None:
        """Have a frame drawn as soon as the one before is, unless another comes first."""
        self._frame = frame
        self._wanted.set()

    def close(self) -> None:
        """Draw no more; wait a moment for the frame that is being drawn."""
        self._closing = True
        self._wanted.set()
        self._thread.join(LAST_S)

    def _paint(self) -> None:
        try:
            while not self._closing:
                self._wanted.wait()
                self._wanted.clear()
                frame, self._frame = self._frame, None
                if frame is not None and not self._closing:
                    self._draw(frame)
        except Exception:  # a stream may raise anything
            log.debug("progress cannot be shown any more", exc_info=True)
        finally:
            try:
                self._clear()
            except Exception:  # as above
                log.debug("the progress could not be cleared", exc_info=True)
