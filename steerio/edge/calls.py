"""Arguments on the wire: those of a call as one value, by the function's signature.

Each argument travels as ``edge.values`` has it.  What msgpack has no shape for, or would copy, is
pickled whole; and a call that the function could not take is refused where it is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any, Optional, TypedDict

from steerio.edge.annotations import hints_of, judge
from steerio.edge.boxing import (
    ANYTHING,
    EXT_HEADS,
    Reader,
    StandIn,
    apart,
    box,
    buffer_of,
    encode,
    is_long,
    pickled,
)
from steerio.edge.callables import kind_of
from steerio.edge.references import Resolve
from steerio.edge.values import (
    ANY_VALUE,
    NO_WORD,
    WRONG_TYPE,
    Packed,
    ValueCodec,
    finish,
    same,
    unsendable,
)
from steerio.errors import EncodingError

REST_ARGUMENTS = 32
"""A call with more arguments than this in its ``*args`` is pickled whole."""


def _signature_of(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have none to show
        any_arguments = [
            inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
            inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
        ]
        return inspect.Signature(any_arguments)


class CallCodec:
    """Carries the arguments of one function, by its signature and annotations."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.name = name
        self._signature = _signature_of(function)
        hints = hints_of(function)
        self._positional: list[str] = []
        self._types: list[Any] = []  # of the positional ones: what msgpack can carry
        self._keywords: dict[str, Any] = {}  # likewise, of those that can go by keyword
        self._classed: list[tuple[int, str]] = []
        self._rest = ""  # the name of *args
        self._open = False  # takes *args or **kwargs
        self._takes_bytes = False  # msgpack would copy them twice
        self._required = 0.0
        for parameter in self._signature.parameters.values():
            self._learn(parameter, hints.get(parameter.name))
        self._typed = any(self._types) or any(self._keywords.values())
        self._readers: dict[int, Reader] = {}
        self._codecs: dict[str, ValueCodec] = {}
        generator = kind_of(function) == "generator"
        self.result = ANY_VALUE if generator else ValueCodec(hints.get("return"))

    def _learn(self, parameter: inspect.Parameter, hint: Any) -> None:
        kind, name = parameter.kind, parameter.name
        if kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            self._open = True
            self._rest = name if kind is parameter.VAR_POSITIONAL else self._rest
            return
        if hint is not None and parameter.default is None:  # `x: int = None` is often written
            hint = Optional[hint]  # noqa: UP045 - `|` is not for every form of annotation
        native, classed = (False, False) if hint is None else judge(hint)
        if classed:
            self._classed.append((len(self._positional), name))
        self._takes_bytes = self._takes_bytes or hint is bytes
        if kind is not parameter.KEYWORD_ONLY:
            self._positional.append(name)
            self._types.append(hint if native else None)
        if kind is not parameter.POSITIONAL_ONLY:
            self._keywords[name] = hint if native else None
        if parameter.default is parameter.empty:  # one that must go by keyword: never skip bind
            self._required += inf if kind is parameter.KEYWORD_ONLY else 1

    def pack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Packed:
        """Encode the arguments of a call.

        Raises:
            TypeError: the function cannot be called with these arguments.
            EncodingError: an argument is not what its annotation says, or cannot be sent.
        """
        if kwargs or self._open or not self._required <= len(args) <= len(self._positional):
            self.check(args, kwargs)
        frames: list[Any] = []
        body = None
        if not ((self._open or self._takes_bytes) and self._goes_whole(args, kwargs)):
            body = self._encoded(args, kwargs, frames)
        return self._pack_whole(args, kwargs) if body is None else finish(body, frames)

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check that the function can be called like this.

        Raises:
            TypeError: it cannot.
        """
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"task type {self.name}: {error}") from None

    def unpack(
        self,
        body: bytes,
        frames: Sequence[Any],
        *,
        views: bool = False,
        resolve: Resolve | None = None,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Decode the arguments of a call; see ``Reader.read``.  Raises whatever that raises."""
        if not body:
            body, frames = buffer_of(frames[0]), frames[1:]
        reader = ANYTHING if body[0] in EXT_HEADS else self._reader(_array_length(body))
        if not frames and resolve is None:
            args, kwargs = reader.decode(body)
        else:
            args, kwargs = reader.read(body, frames, views, resolve)
        return args, kwargs

    def _goes_whole(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether msgpack has no shape for these arguments, or would copy them.

        It has types for named keywords or room for others, not both.
        """
        if self._takes_bytes and any(map(is_long, (*args, *kwargs.values()))):
            return True
        return self._open and (
            any(map(self._keywords.get, kwargs))
            or len(args) > len(self._positional) + REST_ARGUMENTS
        )

    def _encoded(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], frames: list[Any]
    ) -> bytes | None:
        """Return a call as msgpack, or ``None`` where it must be pickled whole."""
        types, typed = self._types, len(self._types)
        wire_args = [
            value if index < typed and types[index] else self._box(index, value, frames)
            for index, value in enumerate(args)
        ]
        by_keyword = self._keywords
        wire_kwargs = {
            name: value if by_keyword.get(name) else self._box(name, value, frames)
            for name, value in kwargs.items()
        }
        try:
            body = encode((wire_args, wire_kwargs))
            decoded = self._reader(len(args)).check(body) if self._typed else None
        except (StandIn, *NO_WORD):
            return None
        except WRONG_TYPE as error:
            self._check_each(args, kwargs)
            raise EncodingError(f"arguments of task type {self.name}: {error}") from error
        if self._classed and not self._came_out(decoded, args, kwargs):
            return None
        return body

    def _pack_whole(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Packed:
        """Encode a call as one pickle."""
        self._check_each(args, kwargs)
        frames: list[Any] = []
        long_apart = (
            tuple(map(apart, args)),
            {name: apart(value) for name, value in kwargs.items()},
        )
        try:
            body = encode(pickled(long_apart, frames))
        except Exception as error:
            for key, value in self._each(args, kwargs):
                self._box(key, value, [])
            what = f"the arguments of task type {self.name}"
            raise EncodingError(unsendable(what, args, error)) from error
        return finish(body, frames)

    def _box(self, key: int | str, value: Any, frames: list[Any]) -> Any:
        try:
            return box(value, frames)
        except Exception as error:
            raise EncodingError(unsendable(self._called(key), value, error)) from error

    def _came_out(self, decoded: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether the arguments that are of classes with fields came out as what they were."""
        for index, name in self._classed:
            if index < len(args) and self._positional[index] == name:
                if not same(decoded[0][index], args[index]):
                    return False
            elif name in kwargs and not same(decoded[1][name], kwargs[name]):
                return False
        return True

    def _check_each(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check argument by argument, so that the error names the one that is wrong."""
        for key, value in self._each(args, kwargs):
            if isinstance(key, int):
                hint = self._types[key] if key < len(self._types) else None
            else:
                hint = self._keywords.get(key)
            if hint is not None:
                called = self._called(key)
                codec = self._codecs.get(called)
                if codec is None:
                    codec = self._codecs[called] = ValueCodec(hint)
                codec.check(value, called)

    @staticmethod
    def _each(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[int | str, Any]]:
        yield from enumerate(args)
        yield from kwargs.items()

    def _called(self, key: int | str) -> str:
        """Name an argument, given by its position or keyword, as its author does."""
        if isinstance(key, int):
            beyond = key - len(self._positional)
            key = f"{self._rest}[{beyond}]" if beyond >= 0 else self._positional[key]
        return f"argument {key!r} of task type {self.name}"

    def _reader(self, count: int) -> Reader:
        """Return the decoder for calls with ``count`` positional arguments."""
        reader = self._readers.get(count)
        if reader is None:
            types = [*self._types[:count], *[None] * (count - len(self._types))]
            parts = tuple(Any if hint is None else hint for hint in types)
            keywords: Any = dict[str, Any]
            if not self._open:
                fields = {n: Any if hint is None else hint for n, hint in self._keywords.items()}
                make: Any = TypedDict  # from values, not from literals
                keywords = make("Keywords", fields, total=False)
            tuple_of: Any = tuple
            shape = tuple_of[tuple_of[parts], keywords]
            reader = self._readers[count] = Reader(shape)
        return reader


def _array_length(body: bytes) -> int:
    """Return the length of the array that is first in a two-element msgpack array."""
    head = body[1]
    if head & 0xF0 == 0x90:
        return head & 0x0F
    return int.from_bytes(body[2:4] if head == 0xDC else body[2:6], "big")
