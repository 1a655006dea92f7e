"""ProxyStore's proxies go through unresolved, wherever they stand."""

from __future__ import annotations

import dataclasses
import traceback
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pytest
from proxystore.connectors.file import FileConnector
from proxystore.proxy import Proxy, is_resolved
from proxystore.store import Store, get_store, unregister_store

import steerio
from steerio.campaign.found_boards import boards_of
from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.references import BareReference, gather
from steerio.edge.encoding.values import ANY_VALUE, ValueCodec
from steerio.edge.record.record_files import shown
from steerio.errors import EncodingError
from steerio.model.objects import StoredObject
from steerio.model.results import Failed, Sizes, TaskError, Timings
from steerio.session.reading_results import explain
from steerio.session.task_type import as_arguments, is_task_type
from tests.contract.payloads import as_bytes
from tests.core.test_showing import Model, Point, Run, Tuned

RESOLVED: list[Any] = []
"""What factories were asked for, in this process."""


class Factory:
    """Counts how often it is asked."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __call__(self) -> Any:
        RESOLVED.append(self.target)
        return self.target


class Options(TypedDict, total=False):
    weights: list[float]


def untyped(x, *rest, **more): ...  # type: ignore[no-untyped-def]
def typed(x: list[float], *, y: list[float] | None = None): ...  # type: ignore[no-untyped-def]
def nested(x: list[list[float]], y: dict[str, tuple[list[float], int]] = {}): ...  # type: ignore[no-untyped-def]  # noqa: B006
def structs(x: Model, y: dict[str, Run] = {}, z: Point | None = None): ...  # type: ignore[no-untyped-def]  # noqa: B006
def options(x: Options, y: set[int] = set()): ...  # type: ignore[no-untyped-def]  # noqa: B006


def proxy(target: Any = None) -> Any:
    return Proxy(Factory([1.0, 2.0] if target is None else target))


CALLS: dict[str, tuple[Any, Any]] = {
    "argument": (untyped, lambda p: ((p,), {})),
    "rest": (untyped, lambda p: ((1, 2, p), {"z": p})),
    "list": (untyped, lambda p: (([[p], p],), {})),
    "dict": (untyped, lambda p: (({"a": {"b": p}},), {"z": (p,)})),
    "struct": (untyped, lambda p: ((Model(p), [Run(Model(p))]), {})),
    "beside what is pickled by value": (untyped, lambda p: (([p, Unnamed()],), {})),
    "annotated": (typed, lambda p: ((p,), {})),
    "annotated keyword": (typed, lambda p: (([1.0],), {"y": p})),
    "annotated list": (typed, lambda p: (([1.0, p],), {"y": [p]})),
    "annotated lists": (nested, lambda p: (([p, [1.0]], {"a": (p, 1)}), {})),
    "annotated struct": (structs, lambda p: ((p,), {})),
    "field of a struct": (structs, lambda p: ((Model(p),), {})),
    "field of a subclass": (structs, lambda p: ((Tuned([1.0], rate=p),), {})),
    "field of a dataclass": (structs, lambda p: ((Model([]), {"a": Run(p)}), {})),
    "deep in a dataclass": (structs, lambda p: ((Model([]), {"b": Run(Model(p))}), {})),
    "item of a named tuple": (structs, lambda p: ((Model([]),), {"z": Point(1.0, p)})),
    "value of a typed dictionary": (options, lambda p: (({"weights": p},), {})),
    "item of a typed dictionary": (options, lambda p: (({"weights": [p]}, {2**70}), {})),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_proxy_passes_through_unresolved(name: str) -> None:
    function, place = CALLS[name]
    RESOLVED.clear()
    sent = proxy()
    args, kwargs = place(sent)

    body, frames = CallCodec(function, "m:f").pack(args, kwargs)
    arrived = CallCodec(function, "m:f").unpack(body, as_bytes(frames), views=True)

    assert RESOLVED == []
    proxies = inside(arrived)
    assert len(proxies) == len(inside((args, kwargs)))
    assert not any(map(is_resolved, [sent, *proxies]))
    assert [list(one) for one in proxies] == [[1.0, 2.0]] * len(proxies)
    assert shown(body) is not None
    assert len(RESOLVED) <= len(proxies)  # one proxy sent twice in a pickle stays one


@pytest.mark.parametrize(
    ("annotation", "make"),
    [
        (None, lambda p: p),
        (None, lambda p: {"a": [p]}),
        (list[float], lambda p: p),
        (list[float], lambda p: [1.0, p]),
        (Model, lambda p: p),
        (Model, lambda p: Model(p, "n")),
        (Run, lambda p: Run(Model(p))),
        (dict[str, list[float]], lambda p: {"a": p}),
        (int, lambda p: p),
    ],
)
def test_a_proxy_that_is_returned_passes_through_unresolved(annotation: Any, make: Any) -> None:
    RESOLVED.clear()
    sent = proxy()
    codec = ValueCodec(annotation)

    body, frames = codec.pack(make(sent))
    (arrived,) = inside(codec.unpack(body, as_bytes(frames)))

    assert RESOLVED == []
    assert type(arrived) is Proxy
    assert not is_resolved(arrived)
    assert list(arrived) == [1.0, 2.0]


def test_a_wrong_type_beside_a_proxy_is_refused_without_a_look_at_it() -> None:
    RESOLVED.clear()
    codec = CallCodec(structs, "m:f")

    for args, name in (
        ((Model(proxy()), {"a": 3}), "y"),
        ((Model("no numbers"), {"a": Run(proxy())}), "x"),  # type: ignore[arg-type]
    ):
        with pytest.raises(EncodingError, match=f"argument '{name}' of task type m:f does not fit"):
            codec.pack(args, {})
    with pytest.raises(EncodingError, match="generator"):
        CallCodec(untyped, "m:f").pack(([proxy(), (n for n in ())],), {})
    assert RESOLVED == []


def test_proxies_and_references_stand_beside_each_other() -> None:
    RESOLVED.clear()
    reference = BareReference(StoredObject(b"weights", 80))
    value: Any = ([reference, proxy()], {"a": (proxy(), 1)})

    with gather() as used:
        body, frames = CallCodec(nested, "m:f").pack(value, {})
    args, _ = CallCodec(nested, "m:f").unpack(body, frames, resolve=lambda _: [7.0])

    assert used.objects == [reference.stored]
    assert RESOLVED == []
    assert args[0][0] == [7.0]
    assert len(inside(args)) == 2


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Any:
    with Store("steerio-proxies", FileConnector(str(tmp_path)), register=True) as store:
        yield store


def test_a_proxy_brings_the_configuration_of_its_store(store: Any) -> None:
    made = store.proxy([1.0], populate_target=False)
    body, frames = CallCodec(structs, "m:f").pack((Model(made),), {})
    unregister_store("steerio-proxies")

    (arrived,), _ = CallCodec(structs, "m:f").unpack(body, as_bytes(frames))

    assert not is_resolved(made)
    assert not is_resolved(arrived.weights)
    assert get_store("steerio-proxies") is None
    assert arrived.weights == [1.0]
    assert get_store("steerio-proxies") is not None


def test_the_text_of_a_failure_resolves_no_proxy() -> None:
    RESOLVED.clear()
    one = proxy()
    error = TaskError("ValueError", "negative", "")
    failed = Failed(
        task_id=1, task_type="m:f", args=(one, [one], {"a": one}, Model(one), Run(Model(one))),
        kwargs={"y": {one.__proxy_factory__: one}}, attempt=1, worker="w", tags={}, cause="",
        versions={},
        timings=Timings(0.0, 0.0, None, None, 0.0, 0.0), sizes=Sizes(0, 0), error=error,
    )  # fmt: skip

    text = explain(failed)

    assert RESOLVED == []
    assert "<proxy>, [<proxy>], {'a': <proxy>}, Model(weights=<proxy>, name='m'), Run(" in text


def test_the_trace_of_a_refusal_resolves_no_proxy() -> None:
    RESOLVED.clear()
    with pytest.raises(EncodingError) as raised:
        ANY_VALUE.pack([proxy(), (n for n in ())], "the value of f")

    traceback.format_exception(raised.value)
    assert RESOLVED == []


def test_a_campaign_resolves_no_proxy_that_it_holds_or_hands_out() -> None:
    RESOLVED.clear()
    one = proxy(["a board would be looked for in this"])

    class Holding(steerio.Campaign):
        def __init__(self) -> None:
            self.model = one
            self.models = [one, {"a": one}]

    campaign = Holding()
    boards = boards_of(campaign)
    (arguments,) = as_arguments(one)

    assert boards == []
    assert arguments is one
    assert is_task_type(one) is False
    assert RESOLVED == []


def inside(value: Any) -> list[Any]:
    """Return the proxies in a value."""
    if issubclass(type(value), Proxy):
        return [value]
    if isinstance(value, msgspec.Struct):
        value = [getattr(value, name) for name in value.__struct_fields__]
    elif dataclasses.is_dataclass(value):
        value = list(vars(value).values())
    elif isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [found for item in value for found in inside(item)]
    return []


def Unnamed() -> Any:  # noqa: N802 - a class, once called
    class Unnamed:
        """Is pickled by value, so that everything beside it is, too."""

    return Unnamed()
