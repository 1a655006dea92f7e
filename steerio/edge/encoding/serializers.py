"""Serializers, which take values apart whose own pickles would copy their buffers.

pickle asks a class to take a value apart, into a function and the arguments that make the value
again. This module has other answers, for this codec's pickles only, with long buffers among the
arguments, which pickle hands over out of band. The answers of NumPy, pandas and pyarrow have them
anyway, but for arrays that export no buffer (dates, arrays that lie scattered in memory). Those of
torch and Polars do not.

A library's answers are learned once it has been imported; nothing is imported to learn them.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from steerio.errors import UsageError

T = TypeVar("T")
Parts = tuple[Callable[..., Any], tuple[Any, ...]]

BUFFER_BYTES = 4096
"""Shorter buffers stay inside the pickle; a frame costs more than copying them."""

_LIBRARIES = ("numpy", "pandas")
"""Their values may hold arrays that export no buffer."""
_NEVER_ASKED = frozenset({
    bool, bytearray, bytes, complex, dict, float, frozenset, int, list, set, str, tuple, type,
    type(None),
})  # fmt: skip
"""pickle takes these apart by itself."""


def register_serializer(kind: type[T], to_parts: Callable[[T], Parts]) -> None:
    """Have values of a class taken apart by ``to_parts`` whenever steerio pickles them.

    Arrays and `pickle.PickleBuffer` objects among the parts travel as frames of their own, are not
    copied into the pickle, and, if the value goes by reference, arrive as read-only views of shared
    memory. Register in the process that *sends* the values: in the campaign for arguments, in a
    module of the tasks for their values. The receiver needs only to be able to import ``rebuild``.

    Args:
        kind: the class, without its subclasses.
        to_parts: called with a value, returns ``(rebuild, args)``; ``rebuild(*args)`` makes the
            value again. As a function registered with `copyreg.pickle`.

    Raises:
        UsageError: ``kind`` is no class, or one that pickle does not ask for; or ``to_parts``
            cannot be called.
    """
    global _registered  # noqa: PLW0603 - serializers are a matter of the whole process
    if not issubclass(type(kind), type):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"a serializer is registered for a class, not for {kind!r}")
    if kind in _NEVER_ASKED:
        raise UsageError(
            f"{kind.__qualname__} cannot have a serializer: pickle takes it apart by itself; "
            "register one for a class of yours that holds it"
        )
    if not callable(to_parts):
        raise UsageError(
            f"the serializer of {kind.__qualname__} has to be a function that returns "
            f"(rebuild, args), not {to_parts!r}"
        )
    _table[kind] = to_parts
    _registered = True


def learn() -> dict[Any, Callable[[Any], Any]]:
    """Return the table of the serializers that are known now, by class."""
    for library, learner in list(_learners.items()):
        learned = learner(sys.modules[library]) if library in sys.modules else None
        if learned is not None:  # it may be on its way in, in another thread
            for kind, to_parts in learned.items():
                _table.setdefault(kind, to_parts)
            _learners.pop(library, None)
    return _table


def wanted(kind: Any) -> bool:
    """Say whether a value of this class should be pickled with the table from the start.

    That takes some microseconds more. Without the table, arrays in the value may end up in the
    pickle; `has_arrays` tells.
    """
    loaded = sys.modules
    return (
        _registered
        or "torch" in loaded
        or "polars" in loaded
        or (
            kind not in _NEVER_ASKED
            and (kind is memoryview or kind.__module__.startswith(_LIBRARIES))
        )
    )


def has_arrays(data: bytes) -> bool:
    """Say whether a pickle that was made without the table has arrays, copied into it."""
    return b"\x8c\x0c_reconstruct" in data


class OutOfBand:
    """A long ``bytes`` or ``bytearray``, as something whose buffer pickle hands over as it is."""

    def __init__(self, value: bytes | bytearray) -> None:
        self._value = value

    def __reduce__(self) -> Any:
        make = bytes if type(self._value) is bytes else _make_bytearray
        return make, (pickle.PickleBuffer(self._value),)


def _make_bytearray(raw: Any) -> bytearray:
    return raw if type(raw) is bytearray else bytearray(raw)


def _changeable(raw: Any) -> Any:
    """Return a buffer itself, if it may be changed; else a copy."""
    return bytearray(raw) if memoryview(raw).readonly else raw


# -- memoryview ---------------------------------------------------------------------------


def _take_memoryview(view: memoryview) -> Parts:
    try:
        memoryview(b"").cast(view.format)  # type: ignore[call-overload]
    except (ValueError, TypeError):
        raise TypeError(
            f"a memoryview of items of format {view.format!r} cannot be made again elsewhere; "
            "send the object that it is a view of"
        ) from None
    raw = view if view.c_contiguous else memoryview(view.tobytes())
    return _make_memoryview, (pickle.PickleBuffer(raw), view.format, view.shape)


def _make_memoryview(raw: Any, form: Any, shape: Any) -> Any:
    flat: Any = memoryview(raw).cast("B")
    if 0 in shape:  # cannot be cast to
        return flat.cast(form)
    return flat.cast(form, shape)


# -- NumPy --------------------------------------------------------------------------------


def contiguous(array: Any) -> Any:
    """Return an array, or a copy of it that lies in one piece, its rows or columns together."""
    if array.flags.c_contiguous or array.flags.f_contiguous:
        return array
    steps = [abs(step) for step in array.strides]
    return array.copy(order="F" if steps == sorted(steps) else "C")


def _take_array(array: Any) -> Any:
    """Take an array apart that NumPy would copy into the pickle: one without a single buffer."""
    if array.nbytes < BUFFER_BYTES or array.dtype.hasobject or array.dtype.kind == "T":
        return array.__reduce_ex__(5)
    whole = contiguous(array)
    try:
        memoryview(whole)
    except (ValueError, BufferError):
        raw = pickle.PickleBuffer(whole.ravel(order="K").view("u1"))
        order = "C" if whole.flags.c_contiguous else "F"
        return _make_array, (raw, whole.dtype, whole.shape, order)
    return whole.__reduce_ex__(5)


def _make_array(raw: Any, dtype: Any, shape: Any, order: Any) -> Any:
    import numpy as np  # only for arrays: not every program has it

    return np.frombuffer(raw, dtype=dtype).reshape(shape, order=order)


def _learn_numpy(numpy: Any) -> dict[Any, Any] | None:
    kind = getattr(numpy, "ndarray", None)
    return None if kind is None else {kind: _take_array}


# -- torch --------------------------------------------------------------------------------


def _take_tensor(tensor: Any) -> Any:
    """Take a tensor apart into the bytes of its elements, moved to the host if need be.

    Parameters are made by torch from their tensor, so these are all.
    """
    torch: Any = import_module("torch")

    if (
        tensor.layout is not torch.strided
        or tensor.device.type == "meta"
        or tensor.is_quantized
        or tensor.is_nested
        or vars(tensor)
        or tensor._backward_hooks
    ):
        return tensor.__reduce_ex__(5)
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    try:
        raw = plain.reshape(-1).view(torch.uint8).numpy()
    except RuntimeError:  # a torch without NumPy
        return tensor.__reduce_ex__(5)
    dtype = str(plain.dtype).removeprefix("torch.")
    return _make_tensor, (
        pickle.PickleBuffer(raw), dtype, tuple(plain.shape), tensor.requires_grad,
    )  # fmt: skip


def _make_tensor(raw: Any, dtype: str, shape: tuple[int, ...], requires_grad: bool) -> Any:
    """Make a tensor, in memory of its own.

    torch has no tensors that cannot be changed: writing into read-only memory through one ends the
    process. So a view that arrives is copied.
    """
    torch: Any = import_module("torch")

    kind = getattr(torch, dtype)
    if len(raw) == 0:
        tensor = torch.empty(shape, dtype=kind)
    else:
        tensor = torch.frombuffer(_changeable(raw), dtype=kind).reshape(shape)
    return tensor.requires_grad_() if requires_grad else tensor


def _learn_torch(torch: Any) -> dict[Any, Any] | None:
    kind = getattr(torch, "Tensor", None)
    return None if kind is None else {kind: _take_tensor}


# -- Polars -------------------------------------------------------------------------------


def _take_frame(frame: Any) -> Any:
    """Take a frame apart into an Arrow table or, without pyarrow, the bytes of one."""
    pl: Any = import_module("polars")

    if frame.width == 0 or frame.estimated_size() < BUFFER_BYTES:
        return frame.__reduce_ex__(5)
    newest = pl.CompatLevel.newest()  # strings as Polars has them itself, not converted
    try:
        table = frame.to_arrow(compat_level=newest)
        if pl.from_arrow(table.slice(0, 0)).schema == frame.schema:
            return pl.from_arrow, (table,)
    except Exception:  # noqa: BLE001 - no pyarrow, or a column that it has no type for
        pass
    try:
        file = frame.write_ipc(None, compat_level=newest)
    except Exception:  # noqa: BLE001 - a column of objects; Polars' own pickle may know more
        return frame.__reduce_ex__(5)
    return _make_frame, (pickle.PickleBuffer(file.getbuffer()),)


def _make_frame(raw: Any) -> Any:
    pl: Any = import_module("polars")

    return pl.read_ipc(io.BytesIO(raw))


def _take_series(series: Any) -> Any:
    return _make_series, (series.to_frame(),)


def _make_series(frame: Any) -> Any:
    return frame.to_series()


def _learn_polars(polars: Any) -> dict[Any, Any] | None:
    frame, series = getattr(polars, "DataFrame", None), getattr(polars, "Series", None)
    return None if frame is None or series is None else {frame: _take_frame, series: _take_series}


_table: dict[Any, Callable[[Any], Any]] = {memoryview: _take_memoryview}
_learners = {"numpy": _learn_numpy, "torch": _learn_torch, "polars": _learn_polars}
_registered = False
