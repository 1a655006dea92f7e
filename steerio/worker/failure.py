"""How an exception travels: what it is called and says, where it came from, and itself."""

from __future__ import annotations

import pickle
import traceback

from steerio.edge.pickling import dump
from steerio.model.messages import RemoteError


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
        message = str(raised)
    except Exception as error:  # noqa: BLE001 - as above
        message = f"(its __str__ raises {type(error).__name__})"
    return RemoteError(name, message, text, _pickle(raised.with_traceback(None)))


def _pickle(raised: BaseException) -> bytes:
    """Pickle an exception, or return nothing where it cannot be made again from that.

    A class of ``__main__``, or made in a function, came here by value, and goes back as the
    class that it was made from.
    """
    try:
        pickled, buffers = dump(raised)
        if buffers:  # it carries long arrays: all in one piece, then
            pickled = pickle.dumps(raised)
        made_again = pickle.loads(pickled)
    except Exception:  # noqa: BLE001 - it may raise whatever it likes, and then it cannot travel
        return b""
    return pickled if isinstance(made_again, BaseException) else b""
