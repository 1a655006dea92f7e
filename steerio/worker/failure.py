"""Exceptions on their way: type, message and traceback as text, and the exception itself.

Texts too long to be read are cut, with a note of how much.
"""

from __future__ import annotations

import pickle
import traceback

from steerio.edge.encoding.pickling import dump
from steerio.edge.encoding.refusing import refuses_pickles
from steerio.model.bounds import NAME_CHARACTERS, cut
from steerio.model.messages import RemoteError
from steerio.model.showing import steady

MESSAGE_CHARACTERS = 20_000
"""Longest message."""
TRACEBACK_CHARACTERS = 200_000
"""Longest traceback as text, which says the message again."""
PICKLED_BYTES = 1 << 20
"""Longest exception that travels itself; a longer one is told of in words."""


def describe(raised: BaseException, own_frames: int) -> RemoteError:
    """Describe an exception; the first ``own_frames`` of its traceback are the worker's."""
    trace = raised.__traceback__
    for _ in range(own_frames):
        trace = trace.tb_next if trace is not None and trace.tb_next is not None else trace
    kind = type(raised)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    try:
        text = "".join(traceback.format_exception(kind, raised, trace))
    except Exception as error:  # noqa: BLE001 - it is the user's __str__ that is called there
        text = "".join(traceback.format_tb(trace)) + f"{name} ({type(error).__name__} in its text)"
    try:
        message = steady(str(raised))  # it is recorded, and equal runs have equal records
    except Exception as error:  # noqa: BLE001 - as above
        message = f"(its __str__ raises {type(error).__name__})"
    name, text = cut(name, NAME_CHARACTERS), cut(text, TRACEBACK_CHARACTERS)
    message = cut(message, MESSAGE_CHARACTERS)
    pickled = b"" if refuses_pickles() else _pickle(raised.with_traceback(None))
    if len(pickled) > PICKLED_BYTES:
        nbytes, pickled = len(pickled), b""
        message += f" [it does not travel itself: {nbytes} bytes, of at most {PICKLED_BYTES}]"
    return RemoteError(name, message, text, pickled)


def _pickle(raised: BaseException) -> bytes:
    """Pickle an exception, or return ``b""`` if it cannot be made again from that.

    A class of ``__main__``, or made in a function, came here by value, and goes back as the
    class that it was made from.
    """
    try:
        pickled, _ = dump(raised, whole=True)  # it may carry long arrays
        made_again = pickle.loads(pickled)
    except Exception:  # noqa: BLE001 - it may raise anything, and then cannot travel
        return b""
    return pickled if isinstance(made_again, BaseException) else b""
