"""Arguments on the wire: the arguments of a call as one value, by the function's signature.

Each argument travels as ``edge.encoding.values`` has it. A call for which msgpack has no shape is
pickled whole; a call that the function could not take is refused at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator, Sequence
from math import inf
from operator import contains
from typing import Any, Optional, TypedDict, get_args, get_origin

from steerio.edge.encoding.annotations import hints_of
from steerio.edge.encoding.boxing import (
    ANYTHING,
    ATOMS,
    EXT_HEADS,
    NO_PICKLE,
    TypedDecoder,
    apart,
    box,
    buffer_of,
    encode,
    pickled,
)
from steerio.edge.encoding.callables import is_dispatched_method, kind_of
from steerio.edge.encoding.form import NO_TYPES, Form
from steerio.edge.encoding.forms import form_of, is_exact
from steerio.edge.encoding.references import Resolve
from steerio.edge.encoding.refusing import is_plain, refuses_pickles
from steerio.edge.encoding.values import (
    ANY_VALUE,
    INLINE_BYTES,
    NO_WORD,
    Packed,
    ValueCodec,
    finish,
    unsendable,
)
from steerio.errors import PickleRefused
from steerio.model.tasks import TaskOptions

NO_KWARGS: dict[str, Any] = {}
OPTIONS = frozenset((*TaskOptions.__struct_fields__, "tags", "key"))
"""Names of the options of tasks."""

INEXACT = (
    "it fits its annotation and is not exactly of the types that this names (it has an int for a "
    "float, say), so it would travel as a pickle, and no pickle is read there"
)
"""Why an argument beside others of types that only annotations tell cannot be sent."""

REST_ARGUMENTS = 32
"""A call with more arguments than this in its ``*args`` is pickled whole."""


def _signature_of(function: Callable[..., Any]) -> inspect.Signature:
    try:
        signature = inspect.signature(function)
        if is_dispatched_method(function):  # it shows that of the unbound one
            return signature.replace(parameters=list(signature.parameters.values())[1:])
        return signature
    except (TypeError, ValueError):  # some built-in functions have none to show
        any_arguments = [
            inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
            inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
        ]
        return inspect.Signature(any_arguments)


class CallCodec:
    """Carries the arguments of one function, by its signature and annotations.

    Args:
        function: the function.
        name: of its task type, for errors.
        checked: whether arguments and value have to fit its annotations; if not, it has none here.
    """

    def __init__(self, function: Callable[..., Any], name: str, *, checked: bool = True) -> None:
        self.name = name
        self._signature = _signature_of(function)
        hints = hints_of(function) if checked else {}
        self._codecs: dict[str, ValueCodec] = {}
        self._positional: list[str] = []
        self._forms: list[Form | None] = []  # of the positional ones
        self._atoms: list[frozenset[type]] = []  # likewise, types that are sent as they are
        self._keywords: dict[str, Form | None] = {}  # likewise, of those that can go by keyword
        self._rest = ""  # the name of *args
        self._open = False  # takes *args or **kwargs
        self._required = 0.0
        for parameter in self._signature.parameters.values():
            self._learn(parameter, hints.get(parameter.name))
        self._readers: dict[int, TypedDecoder] = {}
        generator = kind_of(function) == "generator"
        self.result = ANY_VALUE if generator else ValueCodec(_returned(hints.get("return")))

    def _learn(self, parameter: inspect.Parameter, hint: Any) -> None:
        kind, name = parameter.kind, parameter.name
        if kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            self._open = True
            self._rest = name if kind is parameter.VAR_POSITIONAL else self._rest
            return
        if hint is not None and parameter.default is None:  # `x: int = None` is often written
            hint = Optional[hint]  # noqa: UP045 - `|` is not for every form of annotation
        form = form_of(hint)
        if form is not None:
            self._codecs[name] = ValueCodec(hint)
        if kind is not parameter.KEYWORD_ONLY:
            self._positional.append(name)
            self._forms.append(form)
            self._atoms.append(ATOMS & form.atoms if form is not None else NO_TYPES)
        if kind is not parameter.POSITIONAL_ONLY:
            self._keywords[name] = form
        if parameter.default is parameter.empty:  # one that must go by keyword: never skip bind
            self._required += inf if kind is parameter.KEYWORD_ONLY else 1

    def pack_atoms(self, args: tuple[Any, ...]) -> bytes | None:
        """Encode a call of nothing but short atoms, the most usual one; ``None`` for any other.

        Such arguments cannot be changed, and have no references.
        """
        if self._open or not self._required <= len(args) <= len(self._atoms):
            return None
        if not all(map(contains, self._atoms, map(type, args))):
            return None
        try:
            body = encode((args, NO_KWARGS))
        except NO_WORD:
            return None
        return body if len(body) <= INLINE_BYTES else None

    def pack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Packed:
        """Encode the arguments of a call.

        Raises:
            TypeError: the function cannot be called with these arguments.
            EncodingError: an argument does not fit its annotation, or cannot be sent.
        """
        if kwargs or self._open or not self._required <= len(args) <= len(self._positional):
            self.check(args, kwargs)
        frames: list[Any] = []
        body = None
        if not (self._open and self._goes_whole(args, kwargs)):
            body = self._encoded(args, kwargs, frames)
        return self._pack_whole(args, kwargs) if body is None else finish(body, frames)

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check that the function can be called like this.

        Raises:
            TypeError: it cannot.
        """
        self.by_position(args, kwargs)

    def by_position(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the same call with as few keywords as the function allows.

        Raises:
            TypeError: the function cannot be called like this.
        """
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"task type {self.name}: {error}{self._way_out(kwargs)}") from None
        return bound.args, bound.kwargs

    def _way_out(self, kwargs: dict[str, Any]) -> str:
        """Return advice if options of a task were given as arguments of its function."""
        unknown = kwargs.keys() - self._signature.parameters.keys()
        if "pool" in unknown:
            return (
                "; the pool of a task is that of its type, @steerio.task(pool=...), or that of an "
                "executor, session.executor(pool)"
            )
        for name in sorted(unknown & OPTIONS):
            return f"; options of tasks are given as in session.options({name}=...).submit(...)"
        return ""

    def unpack(
        self,
        body: bytes,
        frames: Sequence[Any],
        *,
        views: bool = False,
        resolve: Resolve | None = None,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Decode the arguments of a call; see ``Reader.read``, also for the errors raised."""
        if not body:
            body, frames = buffer_of(frames[0]), frames[1:]
        reader = ANYTHING if body[0] in EXT_HEADS else self._reader(_array_length(body))
        if not frames and resolve is None:
            args, kwargs = reader.decode(body)
        else:
            args, kwargs = reader.read(body, frames, views, resolve)
        given: Any = args  # a list, if the whole call was one plain value
        return tuple(given), kwargs

    def _goes_whole(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Say whether msgpack has no shape for these arguments.

        It has types for named keywords or room for others, not both.
        """
        return len(args) > len(self._positional) + REST_ARGUMENTS or any(
            form is not None and not form.plain for form in map(self._keywords.get, kwargs)
        )

    def _encoded(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], frames: list[Any]
    ) -> bytes | None:
        """Return a call as msgpack, or ``None`` if it must be pickled whole."""
        forms, known = self._forms, len(self._forms)
        try:
            padded = forms if known >= len(args) else [*forms, *[None] * (len(args) - known)]
            wire_args = [  # atoms are most usual, and to call for them would take longer
                value
                if form is not None and type(value) in form.atoms
                else self._wired(index, value, form, frames)
                for index, (value, form) in enumerate(zip(args, padded, strict=False))
            ]
            by_keyword = self._keywords
            wire_kwargs = {
                name: self._wired(name, value, by_keyword.get(name), frames)
                for name, value in kwargs.items()
            }
            several = len(wire_args) + len(wire_kwargs) > 1 and not refuses_pickles()
            if several and _repeated((*args, *kwargs.values())):  # one goes twice without pickles
                return None
            return encode((wire_args, wire_kwargs))
        except (_OtherThanTyped, *NO_WORD):
            return None

    def _wired(self, key: int | str, value: Any, form: Form | None, frames: list[Any]) -> Any:
        """Return an argument as it goes into the body.

        Raises:
            EncodingError: it does not fit its annotation, or cannot be sent.
            _OtherThanTyped: msgpack expects something else in its place.
        """
        if form is None:
            return self._box(key, value, frames)
        if type(value) in form.atoms or is_exact(form, value):
            return value
        self._check(key, value)
        if not form.plain:
            raise _OtherThanTyped
        return self._box(key, value, frames)

    def _pack_whole(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Packed:
        """Encode a call as one pickle or, if none may be made, as one plain value."""
        for key, value in self._each(args, kwargs):
            self._check(key, value)
        if refuses_pickles():
            return self._pack_plain(args, kwargs)
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
            raise unsendable(what, args, error) from error
        return finish(body, frames)

    def _pack_plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Packed:
        others = [(key, value) for key, value in self._each(args, kwargs) if not is_plain(value)]
        if others:  # so it goes in parts, or not at all: one of them is not as it is annotated
            for key, value in self._each(args, kwargs):
                form = self._form_of(key)
                if form is not None and not form.plain and not is_exact(form, value):
                    raise unsendable(self._called(key), value, PickleRefused(INEXACT))
            raise unsendable(self._called(others[0][0]), others[0][1], PickleRefused(NO_PICKLE))
        return finish(encode(pickled([list(args), kwargs], [])), [])

    def _form_of(self, key: int | str) -> Form | None:
        if isinstance(key, str):
            return self._keywords.get(key)
        return self._forms[key] if key < len(self._forms) else None

    def _box(self, key: int | str, value: Any, frames: list[Any]) -> Any:
        try:
            return box(value, frames)
        except Exception as error:
            raise unsendable(self._called(key), value, error) from error

    def _check(self, key: int | str, value: Any) -> None:
        """Check an argument against its annotation, if it has one that says anything."""
        if isinstance(key, str):
            name = key if key in self._keywords else ""
        else:
            name = self._positional[key] if key < len(self._positional) else ""
        codec = self._codecs.get(name)
        if codec is not None:
            codec.check(value, self._called(key))

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

    def _reader(self, count: int) -> TypedDecoder:
        """Return the decoder for calls with ``count`` positional arguments."""
        reader = self._readers.get(count)
        if reader is None:
            parts = tuple(map(_wire, self._forms[:count])) + (Any,) * (count - len(self._forms))
            keywords: Any = dict[str, Any]
            if not self._open:
                fields = {name: _wire(form) for name, form in self._keywords.items()}
                make: Any = TypedDict  # from values, not from literals
                keywords = make("Keywords", fields, total=False)
            tuple_of: Any = tuple
            shape = tuple_of[tuple_of[parts], keywords]
            reader = self._readers[count] = TypedDecoder(shape)
        return reader


class _OtherThanTyped(Exception):
    """Raised if msgpack expects a tuple, say, and the value is not exactly one."""


def _returned(hint: Any) -> Any:
    """Return the annotation of a value; for a generator, which is stepped through, of its end."""
    return get_args(hint)[2] if get_origin(hint) is Generator else hint


def _wire(form: Form | None) -> Any:
    return Any if form is None else form.wire


def _repeated(values: tuple[Any, ...]) -> bool:
    """Say whether one object that can be changed is among the arguments more than once."""
    changeable = [id(value) for value in values if type(value) not in ATOMS]
    return len(changeable) > 1 and len(set(changeable)) < len(changeable)


def _array_length(body: bytes) -> int:
    """Return the length of the array that is first in a two-element msgpack array."""
    head = body[1]
    if head & 0xF0 == 0x90:
        return head & 0x0F
    return int.from_bytes(body[2:4] if head == 0xDC else body[2:6], "big")
