"""Arguments as they were submitted, for handles and results.

Theory. A program that submits a list and changes it afterwards must not find the change in
``result.args``. An argument that cannot be changed is kept as it is, and so is one that is equal to
nothing but itself: no copy would be that object. A call with other arguments is kept as it was
packed for its way to the worker, which costs nothing, and unpacked again only if they are read.

Values up to 1 MB in all are kept so. Beyond that every result would hold on to memory of its own
that few programs ever look at, so a `NotKept` stands for each.
"""

from __future__ import annotations

import copy
import datetime as dt
import enum
import sys
import uuid
from collections.abc import Sequence
from decimal import Decimal
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any, NoReturn

from steerio.edge.encoding.boxing import NOT_HERE, AbsentFrame
from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.pickling import is_proxy
from steerio.edge.encoding.references import BareLatest, BareReference, in_words
from steerio.edge.encoding.snapshots import snapshot, unchanging
from steerio.edge.encoding.values import total_bytes
from steerio.model.results import LateArguments
from steerio.session.reference import Latest, StandsIn

Given = tuple[tuple[Any, ...] | LateArguments, dict[str, Any] | LateArguments]
"""The arguments of a task as they were submitted, for its handle and its result."""

KEPT_BYTES = 1 << 20
"""Most bytes of one packed call that are kept for its result."""

LOOKED_INTO = 1_000
"""Entries of a tuple that are looked at; a longer one is kept as it was packed."""

FIXED: frozenset[type] = frozenset({
    bool, bytes, complex, float, int, str, range, NoneType,
    dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone, Decimal, uuid.UUID,
    BuiltinFunctionType, FunctionType, type,
})  # fmt: skip
"""Types whose values cannot be changed (or, as functions, are equal only to themselves)."""

_CHANGEABLE: frozenset[type] = frozenset({list, dict, set, bytearray})


class NotKept(StandsIn):
    """A stand-in in `Result.args` for an argument that was too long to be kept.

    It has been sent as it was; the object itself may have been changed since.
    """

    __slots__ = ("_kind", "_nbytes")

    _what = (
        "a task's arguments of more than 1 MB are not kept, for the objects may have been "
        "changed since. Keep them yourself; or make an array read-only "
        "(x.flags.writeable = False) before you submit it; or pass a reference (session.put)"
    )

    def __init__(self, kind: str, nbytes: int) -> None:
        self._kind = kind
        self._nbytes = nbytes

    def __repr__(self) -> str:
        return f"<NotKept: {self._kind}, in a call of {in_words(self._nbytes)}>"

    def __array__(self, *_: object, **__: object) -> NoReturn:
        """Refuse, or NumPy would make an array of one object."""
        raise TypeError(self._what)


class AsSubmitted:
    """The arguments of one call, unpacked late if they may have been changed since."""

    __slots__ = ("_body", "_codec", "_frames", "_given", "_kinds", "_nbytes", "_read", "_used")

    def __init__(
        self,
        codec: CallCodec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        body: bytes,
        frames: Sequence[Any],
        used: dict[bytes, BareReference],
    ) -> None:
        self._codec = codec
        self._body = body
        self._frames: tuple[Any, ...] = ()
        self._nbytes = 0
        if frames:
            self._frames, self._nbytes = _some_of(frames), total_bytes(frames)
        self._used = used
        self._read: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._kinds: list[Any] = [type(value) for value in (*args, *kwargs.values())]
        self._given = (
            [value if _fixed(value) else _ASK for value in args],
            {name: value if _fixed(value) else _ASK for name, value in kwargs.items()},
        )

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional ones."""
        return self._all()[0]

    @property
    def kwargs(self) -> dict[str, Any]:
        """Those by keyword."""
        return self._all()[1]

    def _all(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._read is None:
            self._read = self._unpacked()
            self._body, self._frames, self._used = b"", (), {}
        return self._read

    def _unpacked(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given, by_name = self._given
        try:
            args, kwargs = self._codec.unpack(self._body, self._frames, resolve=self._resolve)
        except Exception:  # noqa: BLE001 - unpickling may raise anything; or it was all one pickle
            args, kwargs = (NOT_HERE,) * len(given), {}
        kinds = iter(self._kinds)

        def chosen(own: Any, read: Any) -> Any:
            kind = next(kinds)
            if own is not _ASK:
                return own
            return NotKept(kind.__qualname__, self._nbytes) if read is NOT_HERE else read

        return (
            tuple(map(chosen, given, args)),
            {name: chosen(own, kwargs.get(name, NOT_HERE)) for name, own in by_name.items()},
        )

    def _resolve(self, what: Any) -> Any:
        """Return a reference that was among the arguments, not its value."""
        return Latest(what) if isinstance(what, str) else self._used[what.name]


def as_submitted(
    codec: CallCodec,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    body: bytes,
    frames: Sequence[Any],
    used: dict[bytes, BareReference],
) -> tuple[tuple[Any, ...] | AsSubmitted, dict[str, Any] | AsSubmitted]:
    """Return the arguments of a call in a form that keeps their present state, for `Result`.

    The codec has packed them into ``body`` and ``frames``; ``used`` are the references among them.
    """
    if all(map(_fixed, args)) and all(map(_fixed, kwargs.values())):
        return args, kwargs
    kept = AsSubmitted(codec, args, kwargs, body, frames, used)
    return kept, kept


def as_it_is(value: Any) -> Any:
    """Return a value that stays as it is now, even if the given one is changed.

    It is the same object if that cannot be changed, or is equal to nothing but itself.
    """
    if _fixed(value):
        return value
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - a user's value may raise anything; nor can it be sent then
        return value


_ASK: Any = object()
"""A mark for an argument that must be unpacked."""


def _fixed(value: Any) -> bool:
    """Say whether a value cannot be changed, or is equal to nothing but itself."""
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind in FIXED:
        return True
    if kind in _CHANGEABLE:
        return False
    if kind is tuple or kind is frozenset:
        return len(value) <= LOOKED_INTO and all(map(_fixed, value))
    if kind.__eq__ is object.__eq__ or issubclass(
        kind, (enum.Enum, PurePath, BareReference, BareLatest)
    ):
        return True
    if kind.__module__ == "numpy":
        numpy: Any = sys.modules["numpy"]
        if kind is numpy.ndarray:
            return not value.dtype.hasobject and unchanging(value)
        return issubclass(kind, numpy.generic) and kind is not numpy.void
    return is_proxy(value)


def _some_of(frames: Sequence[Any]) -> tuple[Any, ...]:
    """Return frames as they are now, up to so many bytes in all; others cannot be read."""
    kept: list[Any] = []
    left = KEPT_BYTES
    for frame in frames:
        nbytes = total_bytes((frame,))
        kept.extend(snapshot((frame,)) if nbytes <= left else (AbsentFrame(),))
        left -= min(nbytes, left)
    return tuple(kept)
