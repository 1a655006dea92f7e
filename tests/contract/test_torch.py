"""Tensors arrive as they were, and their elements are not pickled.

Skipped where torch is not installed: it is too large for every machine that runs the tests.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from steerio.edge.encoding.values import ANY_VALUE
from tests.contract.payloads import WIRES

torch: Any = pytest.importorskip("torch")

TYPES = [
    "bfloat16", "float16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "complex64",
    "bool", "uint8", "uint16", "uint64", "int8", "int64",
]  # fmt: skip


def arrivals(value: Any) -> list[Any]:
    """Send a value over every wire, as memory of its own and as views."""
    body, frames = ANY_VALUE.pack(value)
    return [
        ANY_VALUE.unpack(body, wire(frames), views=views)
        for wire in WIRES
        for views in (False, True)
    ]


def in_band(value: Any) -> int:
    """Return how many bytes travel inside the pickle or body, rather than as buffers."""
    body, frames = ANY_VALUE.pack(value)
    return len(body) + sum(len(frame) for frame in frames if type(frame) is bytes)


def same(one: Any, other: Any) -> bool:
    """Whether two tensors are of one kind and of the same bits."""
    return (
        type(one) is type(other)
        and (one.dtype, one.shape) == (other.dtype, other.shape)
        and one.requires_grad == other.requires_grad
        and bits(one) == bits(other)
    )


def bits(tensor: Any) -> bytes:
    plain = tensor.detach().contiguous().resolve_conj().resolve_neg()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 5), (100, 100), (70_000,)], ids=str)
def test_tensors_of_every_type_arrive(name: str, shape: tuple[int, ...]) -> None:
    tensor = torch.from_numpy(np.asarray(np.random.default_rng(1).random(shape) * 100))
    tensor = tensor.to(getattr(torch, name))

    for value in (tensor, {"a": [tensor]}):
        assert in_band(value) < 300 or tensor.nbytes < 4096
        for arrived in arrivals(value):
            assert same(arrived if value is tensor else arrived["a"][0], tensor)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.T,
        lambda x: x[:, ::3],
        lambda x: x.flip(0),
        lambda x: x.expand(2, 300, 400),
        lambda x: x.to(torch.complex64).conj(),
        lambda x: x.to(torch.complex64).conj().imag,
        lambda x: x.reshape(1, 3, 100, 400).to(memory_format=torch.channels_last),
        lambda x: x.clone().requires_grad_(),
        torch.nn.Parameter,
        lambda x: torch.nn.Parameter(x, requires_grad=False),
    ],
)
def test_tensors_that_lie_otherwise_arrive(make: Any) -> None:
    tensor = make(torch.rand(300, 400))

    assert in_band([tensor]) < 400
    assert all(same(arrived[0], tensor) for arrived in arrivals([tensor]))


def test_a_tensor_can_be_changed_where_it_arrives_whatever_it_came_as() -> None:
    tensor = torch.zeros(100_000)

    for arrived in arrivals([tensor]):
        arrived[0] += 1
        assert arrived[0].all()
        assert not tensor.any()


def test_a_part_takes_its_part_along_only() -> None:
    _, frames = ANY_VALUE.pack(torch.zeros(1_000_000)[:2000])

    assert sum(memoryview(frame).nbytes for frame in frames) == 8000


def test_tensors_of_one_storage_are_equal_and_part() -> None:
    tensor = torch.zeros(10_000)

    whole, part = ANY_VALUE.unpack(*ANY_VALUE.pack([tensor, tensor[:5000]]))
    whole += 1

    assert not part.any()
    one, other = ANY_VALUE.unpack(*ANY_VALUE.pack([tensor, tensor]))
    assert one is other


def test_models_arrive_with_their_weights_out_of_band() -> None:
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(300, 400), torch.nn.BatchNorm1d(400), torch.nn.Linear(400, 10)
    )
    model[0].bias.requires_grad_(False)
    inputs = torch.rand(5, 300)
    expected = model.eval()(inputs)

    assert in_band(model) < 12_000  # the small ones stay in the pickle
    for arrived in arrivals(model):
        assert torch.equal(arrived(inputs), expected)
        assert not arrived[0].bias.requires_grad
        arrived.train()(inputs).sum().backward()
        torch.optim.SGD(arrived.parameters(), lr=0.1).step()
    assert torch.equal(model(inputs), expected)


def test_the_state_of_models_and_optimizers_arrives() -> None:
    model = torch.nn.Linear(300, 400)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(5, 300)).sum().backward()
    optimizer.step()

    for arrived in arrivals({"model": model.state_dict(), "optimizer": optimizer.state_dict()}):
        model.load_state_dict(arrived["model"])
        optimizer.load_state_dict(arrived["optimizer"])
        assert same(arrived["model"]["weight"], model.state_dict()["weight"])
        kept = arrived["optimizer"]["state"][0]["exp_avg"]
        assert same(kept, optimizer.state_dict()["state"][0]["exp_avg"])
    assert in_band(model.state_dict()) < 12_000


def test_what_is_between_inputs_and_result_arrives_as_a_leaf() -> None:
    middle = torch.rand(3, requires_grad=True) * 2

    (arrived,) = ANY_VALUE.unpack(*ANY_VALUE.pack([middle]))

    assert arrived.requires_grad
    assert arrived.is_leaf
    assert torch.equal(arrived, middle)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")  # torch's own, since 2.11
def test_what_is_no_plain_tensor_goes_as_torch_pickles_it() -> None:
    sparse = torch.rand(30, 30).to_sparse()
    marked = torch.rand(30)
    marked.mark = "kept"

    arrived, there, with_mark = ANY_VALUE.unpack(
        *ANY_VALUE.pack((sparse, torch.zeros(3, device="meta"), marked))
    )

    assert torch.equal(arrived.to_dense(), sparse.to_dense())
    assert there.device.type == "meta"
    assert with_mark.mark == "kept"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no device here")
def test_a_tensor_on_a_device_arrives_on_the_host() -> None:
    """In a process of its own: whoever has opened a device keeps descriptors to its end."""
    subprocess.run([sys.executable, "-c", ON_DEVICE], check=True, timeout=100)


ON_DEVICE = """
from tests.contract.test_torch import send_from_device
send_from_device()
"""


def send_from_device() -> None:
    tensor = torch.rand(300, 400)
    model = torch.nn.Linear(30, 40).cuda()

    body, frames = ANY_VALUE.pack({"a": tensor.cuda(), "model": model})
    arrived = ANY_VALUE.unpack(body, frames)

    assert same(arrived["a"], tensor)
    assert {p.device.type for p in arrived["model"].parameters()} == {"cpu"}
    assert same(arrived["model"].weight.data, model.weight.data.cpu())
