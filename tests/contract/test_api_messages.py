"""Bodies of orders are decoded strictly, and answers do not grow with the number of workers."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.dashboard.api_messages import MOST_DEEP, ORDERS, order_request, pool_now
from steerio.model.places import WorkerNeeds
from steerio.model.status import PoolLoad

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(PLAIN, lambda of: st.lists(of) | st.dictionaries(st.text(max_size=8), of))
KINDS = st.sampled_from([kind.__name__ for kind in ORDERS])
FIELDS = st.sampled_from(sorted({name for kind in ORDERS for name in kind.__struct_fields__}))


@pytest.mark.parametrize("kind", ORDERS)
def test_each_order_has_its_fields_and_no_other(kind: type[msgspec.Struct]) -> None:
    order = kind(**{field.name: example(field.type) for field in msgspec.structs.fields(kind)})
    body: dict[str, Any] = {"order": msgspec.to_builtins(order), "reason": "why"}
    request = order_request(msgspec.json.encode(body))
    assert (request.order, request.reason) == (order, "why")
    body["order"]["more"] = 1
    with pytest.raises(ValueError, match=f"{kind.__name__} has no field 'more'"):
        order_request(msgspec.json.encode(body))
    del body["order"]["more"]
    with pytest.raises(ValueError, match="unknown field `role`"):
        order_request(msgspec.json.encode({**body, "role": "code"}))


def example(kind: Any) -> Any:
    """Return a value of a type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return (example(inner[0]),)
    if origin is dict:
        return {"a": 1}
    if inner:
        return example(inner[-1])
    return {str: "x", int: 1, float: 1.5, bool: True, type(None): None}.get(kind, 1)


@given(st.binary(max_size=64) | JSON.map(msgspec.json.encode))
def test_whatever_comes_is_an_order_or_an_error_in_words(body: bytes) -> None:
    assert tried(body)


@given(
    KINDS, st.dictionaries(FIELDS, JSON, max_size=4), st.dictionaries(st.text(), JSON, max_size=2)
)
def test_what_is_like_an_order_is_one_or_an_error_in_words(
    kind: str, fields: dict[str, Any], more: dict[str, Any]
) -> None:
    assert tried(msgspec.json.encode({**more, "order": {**fields, "type": kind}}))


def tried(body: bytes) -> str:
    """Return the type of the order in a body, or why it is none."""
    try:
        return type(order_request(body).order).__name__
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("levels", [MOST_DEEP + 1, 30_000])
def test_an_order_is_no_deeper_than_those_who_read_it_can_go(levels: int) -> None:
    task = '{"order": {"type": "SubmitTask", "task_type": "f", "args": %s}}'
    with pytest.raises(ValueError, match=r"levels of lists|nested too deeply"):
        order_request((task % ("[" * levels + "]" * levels)).encode())
    assert order_request((task % ("[" * 50 + "]" * 50)).encode())


def test_a_pool_is_shown_in_as_many_bytes_for_many_workers_as_for_few() -> None:
    lengths = []
    for nodes in (1, 2_000):
        makes = [(WorkerNeeds(cpus=number + 1), 1) for number in range(min(nodes, 60))]
        names = {f"node-{number}": 5 for number in range(nodes)}
        load = PoolLoad(5 * nodes, 5, 3, 5, nodes=names, makes=makes)
        lengths.append(len(msgspec.json.encode(pool_now(load))))
    assert lengths[1] <= lengths[0] + 20
