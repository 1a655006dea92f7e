"""Digests of calls, by which a campaign that resumes knows a call whose result it has.

Calls with equal digests are given one result, so a digest says all that the task could see of its
arguments. Two calls that are equal may still have different digests, which costs a recomputation.

A value is taken apart as pickle would do it, since a task is given the parts that pickle keeps, and
no more. Each part becomes msgpack if it is an atom, else the byte 0xC1, which msgpack never uses,
and a digest of its kind and its own parts. So every part tells its own end. Unlike in a pickle,
entries of dicts and sets are sorted, and one object that stands in two places is as good as two
equal ones. Classes and functions count by their path; those without one, such as lambdas, are
pickled by value. Such a pickle of a class is another one in each process.
"""

from __future__ import annotations

import copyreg
import enum
import pickle
import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from types import FunctionType
from typing import Any

from steerio.edge.encoding import serializers
from steerio.edge.encoding.boxing import ATOMS, encode
from steerio.edge.encoding.pickling import dump, is_proxy, proxies_exist
from steerio.edge.encoding.references import BareLatest, is_reference
from steerio.errors import EncodingError

DIGEST_BYTES = 16
MOST_LEVELS = 100
"""Values that are nested deeper are pickled whole, as those that hold themselves."""
MOST_VALUES = 1_000_000
"""A call with more lists, dicts and other objects than this has no digest."""

_NO_WORD = (OverflowError, TypeError, ValueError)
"""Raised for atoms that msgpack has no word for, and for names that are no plain text."""
_FIVE, _NONE_NAMED = encode((0,) * 5)[:1], encode(())
"""The beginning of five values in msgpack, and the end if there are no keyword arguments."""
_OTHER = b"\xc1"
"""The first byte of a part that is no msgpack."""
_PLAIN = "biufcSUmM"
"""Kinds of NumPy types that their short name describes in full."""


def digest_call(
    name: str, version: str, code: bytes, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bytes:
    """Return the digest of a call, equal in all processes.

    No reference or proxy is resolved. Of a reference to a stored value its own digest counts, of
    the latest version of a name the name only.

    Args:
        name: the name of the function.
        version: a word of its author on which version of it this is.
        code: the function by value; empty if it is imported by its name.
        args: positional arguments.
        kwargs: keyword arguments, in any order.

    Raises:
        EncodingError: an argument cannot be told apart from others.
    """
    if _all_atoms(args) and (not kwargs or _all_atoms(kwargs.values())):
        try:
            named = sorted(kwargs.items()) if kwargs else ()
            body = encode((name, version, code, args, named))
            # begins with the byte of a msgpack array, and all other contents with a letter
            return blake2b(body, digest_size=DIGEST_BYTES).digest()
        except _NO_WORD:
            pass
    try:
        try:
            return _hash(b"C", _Parts().part((name, version, code, args, dict(kwargs))))
        except (_TangledError, RecursionError):
            return _hash(b"W", _pickled((name, version, code, args, sorted(kwargs.items()))))
    except EncodingError as error:
        raise EncodingError(f"a call of {name} cannot be told apart from others: {error}") from None
    except Exception as error:
        raise EncodingError(
            f"a call of {name} cannot be told apart from others, as its arguments cannot be taken "
            f"apart: {type(error).__name__}: {error}"
        ) from error


def begin_digests(name: str, version: str, code: bytes) -> Any:
    """Return the hash of the part that all calls of a function have in common.

    For a call of nothing but atoms `end_digest` makes the same of it as `digest_call`, in half of
    the time.

    Raises:
        EncodingError: a part is no plain text.
    """
    try:
        common = _FIVE + encode(name) + encode(version) + encode(code)
    except _NO_WORD as error:
        raise EncodingError(f"{name!r} is no plain text: {error}") from None
    return blake2b(common, digest_size=DIGEST_BYTES)


def end_digest(begun: Any, packed: bytes) -> bytes:
    """Return the digest of a call of nothing but atoms.

    Args:
        begun: a copy of the common part, from `begin_digests`.
        packed: the positional arguments, in msgpack.
    """
    begun.update(packed + _NONE_NAMED)
    digest: bytes = begun.digest()
    return digest


def _all_atoms(values: Iterable[Any]) -> bool:
    for value in values:  # noqa: SIM110 - this takes a fifth of the time for few values
        if type(value) not in ATOMS:
            return False
    return True


class _TangledError(Exception):
    """Raised if a value holds itself, or is nested too deep."""


def _hash(*contents: Any) -> bytes:
    """Return the digest of a tag of one letter and of the bytes that follow it."""
    made = blake2b(digest_size=DIGEST_BYTES)
    for content in contents:
        made.update(content)
    return made.digest()


class _Parts:
    """The values of one call, each taken apart once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, bytes]] = {}
        """The values met so far, which have to live on as they are known by their address, with
        their parts: empty for one that is being taken apart."""
        self._level = 0

    def part(self, value: Any) -> bytes:
        """Return a value as a part of another."""
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]
        if kind in ATOMS:
            try:
                return encode(value)
            except _NO_WORD:
                return _OTHER + _wordless(value)
        at, known = id(value), self._known
        if at in known:
            found = known[at][1]
            if not found:
                raise _TangledError
            return found
        if self._level == MOST_LEVELS:
            raise _TangledError
        if len(known) >= MOST_VALUES:
            raise EncodingError(f"it has more than {MOST_VALUES} values")
        known[at] = (value, b"")
        self._level += 1
        found = _OTHER + self._digest(kind, value)
        self._level -= 1
        known[at] = (value, found)
        return found

    def _digest(self, kind: Any, value: Any) -> bytes:
        of_kind = _BY_TYPE.get(kind)
        if of_kind is not None:
            return of_kind(self, value)
        if is_reference(kind):
            return _of_reference(value)
        if is_proxy(value):
            raise EncodingError("a proxy is among its arguments, which would have to be fetched")
        if issubclass(kind, (type, FunctionType)):
            return _of_global(value, value.__qualname__)
        if issubclass(kind, enum.Enum):
            member = value._name_, value._value_
            return _hash(b"E", self.part(kind), *map(self.part, member))
        numpy: Any = sys.modules.get("numpy")
        if numpy is not None and kind.__module__ == "numpy":
            if kind is numpy.ndarray:
                return self._array(value)
            if issubclass(kind, numpy.generic) and value.dtype.kind in _PLAIN:
                return _hash(b"N", encode(value.dtype.str), value.tobytes())
        return self._object(kind, value)

    def sequence(self, tag: bytes, values: Any) -> bytes:
        """Return the digest of a list or tuple."""
        if ATOMS.issuperset(map(type, values)):
            try:
                return _hash(tag, encode(values))
            except _NO_WORD:
                pass
        return _hash(tag, _OTHER, *map(self.part, values))

    def mapping(self, values: dict[Any, Any]) -> bytes:
        """Return the digest of a dict, whatever the order of its entries."""
        entries = [self.part(key) + self.part(value) for key, value in values.items()]
        return _hash(b"D", *sorted(entries))

    def members(self, tag: bytes, values: Any) -> bytes:
        """Return the digest of a set."""
        return _hash(tag, *sorted(map(self.part, values)))

    def _array(self, array: Any) -> bytes:
        dtype = array.dtype
        # a type with fields, say, has more to it than its name, and is taken apart
        head = self.part(dtype.str if dtype.kind in _PLAIN else dtype), encode(array.shape)
        if dtype.hasobject or dtype.kind == "T":
            return _hash(b"O", *head, self.part(array.ravel().tolist()))
        if array.nbytes and array.flags.c_contiguous:
            return _hash(b"A", *head, array.reshape(-1).view("u1").data)
        return _hash(b"A", *head, array.tobytes())

    def _object(self, kind: Any, value: Any) -> bytes:
        """Return the digest of an object, by the parts that pickle would make it from again."""
        to_parts: Any = serializers.learn().get(kind) or copyreg.dispatch_table.get(kind)
        try:
            reduced: Any = to_parts(value) if to_parts else value.__reduce_ex__(5)
        except Exception:  # noqa: BLE001 - it is the user's code; the pickle may know another way
            return _pickled(value)
        if isinstance(reduced, str):
            return _of_global(value, reduced)
        parts: list[Any] = [*reduced]
        for at in (3, 4):  # the items of a list and the entries of a dict
            if len(parts) > at and parts[at] is not None:
                parts[at] = list(parts[at])
        return _hash(b"R", *map(self.part, parts))


_BY_TYPE: dict[Any, Callable[[_Parts, Any], bytes]] = {
    list: lambda parts, value: parts.sequence(b"L", value),
    tuple: lambda parts, value: parts.sequence(b"T", value),
    dict: _Parts.mapping,
    set: lambda parts, value: parts.members(b"S", value),
    frozenset: lambda parts, value: parts.members(b"F", value),
    bytearray: lambda parts, value: _hash(b"a", value),
    pickle.PickleBuffer: lambda parts, value: _hash(b"B", value.raw()),
    complex: lambda parts, value: _hash(b"c", struct.pack("<dd", value.real, value.imag)),
    type(...): lambda parts, value: _hash(b"."),
}


def _wordless(atom: Any) -> bytes:
    """Return the digest of an atom that msgpack has no word for."""
    if type(atom) is int:
        content = atom.to_bytes(atom.bit_length() // 8 + 1, "little", signed=True)
        return _hash(b"i", content)
    if type(atom) is str:  # no text, such as the name of a file
        return _hash(b"s", atom.encode("utf-8", "surrogatepass"))
    return _hash(b"b", atom)  # bytes that are too long


def _of_reference(value: Any) -> bytes:
    if issubclass(type(value), BareLatest):
        return _hash(b"l", value.name.encode("utf-8", "surrogatepass"))
    digest: Any = getattr(value, "digest", b"")
    if type(digest) is not bytes or not digest:
        raise EncodingError(f"{value!r}, among its arguments, has no digest of its value")
    return _hash(b"r", digest)


def _of_global(value: Any, path: str) -> bytes:
    """Return the digest of a class, function or other constant of a module, by its import path."""
    module: Any = getattr(value, "__module__", None)
    if type(module) is str and "<" not in path:  # as of lambdas, and of all in functions
        found: Any = sys.modules.get(module)
        for part in path.split("."):
            found = getattr(found, part, None)
        if found is value:
            return _hash(b"G", encode((module, path)))
    return _pickled(value)


def digest_parts(parts: Sequence[Any]) -> bytes:
    """Return the digest of a packed value: its body and frames."""
    lengths = encode([memoryview(part).nbytes for part in parts])
    return _hash(b"V", lengths, *parts)


def _pickled(value: Any) -> bytes:
    """Return the digest of the pickle that would travel.

    Raises:
        Exception: any that pickling raises, such as for a reference.
        EncodingError: a proxy is in it.
    """
    data, buffers = dump(value)
    if proxies_exist() and b"proxystore" in data:
        raise EncodingError("a proxy is in one of its arguments, which would have to be fetched")
    lengths = encode((len(data), [buffer.nbytes for buffer in buffers]))
    return _hash(b"P", lengths, data, *buffers)
