"""Published events as plain data, the same in each repetition of a run."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from steerio.model.showing import in_words
from steerio.session.done import Done


def _as_data(value: object) -> object:
    """Return a value that MessagePack has no word for as plain data."""
    return bool(value) if type(value) is Done else in_words(value)


_in_order = msgspec.msgpack.Encoder(enc_hook=_as_data, order="deterministic").encode


def published(event: object) -> bytes:
    """Return a user's event as plain data; values that MessagePack has no word for as texts."""
    try:
        return _in_order(event)
    except TypeError:  # a set of values that cannot be compared
        return msgspec.msgpack.encode(_sorted_by_words(event), enc_hook=_as_data)


def _sorted_by_words(value: Any) -> Any:
    """Return a value with the sets in it as lists, in the order of their entries' reprs."""
    match value:
        case set() | frozenset():
            return sorted(cast("set[Any]", value), key=in_words)
        case dict():
            items = cast("Any", value).items()
            return {key: _sorted_by_words(item) for key, item in items}
        case list() | tuple():
            return [_sorted_by_words(item) for item in cast("list[Any]", value)]
        case _:
            return value
