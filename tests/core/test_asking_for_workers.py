"""Workers as users ask for them: numbers, `Workers`, and words on a command line."""

from __future__ import annotations

import pytest

from steerio import UsageError, Workers
from steerio.launch.needs import parse_bytes
from steerio.launch.workers import (
    check_workers,
    merged_workers,
    named_workers,
    needs_of,
    parse_workers,
)
from steerio.model.places import WorkerNeeds

GIB = 2**30


@pytest.mark.smoke
def test_a_number_may_be_workers_with_needs() -> None:
    asked = {"simulate": 8, "learn": Workers(2, gpus=0.5, cpus=4, memory="8G", tags=["bigmem"])}
    assert check_workers(asked) == {"simulate": 8, "learn": 2}
    assert needs_of(asked) == {"learn": WorkerNeeds(4, 0.5, 8 * GIB, ("bigmem",))}


def test_the_command_line_says_the_same_behind_colons() -> None:
    text = "simulate=2, learn=1:gpus=1:cpus=4:memory=8G:tags=bigmem+fast"
    learn = Workers(1, cpus=4, gpus=1, memory="8G", tags=("bigmem", "fast"))
    assert parse_workers(text) == {"simulate": 2, "learn": learn}
    assert parse_workers("4") == {"default": 4}
    assert parse_workers("learn=0") == {"learn": 0}  # beside those of a class
    assert parse_workers("2:gpus=0.5") == {"default": Workers(2, gpus=0.5)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:2", "'a:2' in --workers is not POOL=NUMBER, like simulate=2,learn=1:gpus=1"),
        ("a=x", "'a=x' in --workers is not POOL=NUMBER"),
        ("a=1:gpu=1", "'gpu=1' in --workers is none of cpus=N, gpus=N"),
        ("a=1:gpus", "'gpus' in --workers is none of"),
        ("a=1:gpus=", "'gpus=' in --workers is none of"),
        ("a=1:cpus=2:cpus=3", "--workers says cpus twice"),
        ("a=1:cpus=two", "a number in --workers cannot be read"),
        ("a=1:cpus=0", "cpus must be a whole number above 0"),
        ("a=1:gpus=1.5", "gpus must be a whole number, or the share"),
        ("a=1:memory=lots", "'lots' is no size of memory"),
        ("a=1:memory=8", "memory of 8 bytes is less than"),
        ("a=1:tags=a+!", "'!' is no name for a tag"),
        ("a=1,a=2:cpus=2", "--workers names the pool 'a' twice"),
        ("a!=2", "'a!' is no name for a pool"),
        (f"{'a' * 251}=2", "is no name for a pool: 1 to 250 letters"),
    ],
)
def test_what_cannot_be_read_is_shown(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_workers(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("count", [-1, True, 1.5, None, Workers(-1), Workers(True)])
def test_a_number_of_workers_is_a_whole_number(count: int) -> None:
    with pytest.raises(UsageError, match="pool 'a' needs a number of workers, 0 or more"):
        check_workers({"a": count})


@pytest.mark.parametrize(
    ("text", "size"),
    [("8G", 8 * GIB), ("512 MiB", 2**29), ("1.5t", 3 * 2**39), ("64kB", 2**16), ("12", 12)],
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert parse_bytes(text) == size


def test_workers_are_values() -> None:
    assert Workers(2, gpus=1) == Workers(2, gpus=1) != Workers(2)
    assert Workers(2) != 2
    assert len({Workers(2, gpus=1), Workers(2, gpus=1)}) == 1
    assert repr(Workers(2, gpus=1, tags="big")) == "Workers(2, gpus=1, tags=('big',))"


def test_a_pool_may_begin_without_workers_if_another_has_some() -> None:
    assert check_workers({"simulate": 2, "learn": 0}) == {"simulate": 2, "learn": 0}
    with pytest.raises(UsageError, match="all pools are without workers"):
        check_workers({"simulate": 0, "learn": 0})


USUAL = {"simulate": 4, "learn": Workers(1, gpus=1)}


@pytest.mark.borders
def test_a_number_alone_is_for_the_only_pool_there_is_or_for_default() -> None:
    assert named_workers(2, ["simulate"]) == {"simulate": 2}
    assert named_workers(Workers(2, gpus=1), ["learn"]) == {"learn": Workers(2, gpus=1)}
    assert named_workers(2, []) == {"default": 2}
    assert named_workers(2, ["default", "learn"]) == {"default": 2}
    assert named_workers(USUAL, []) is USUAL
    with pytest.raises(UsageError, match=r"there are learn, simulate; say workers=.'learn': 2"):
        named_workers(2, USUAL)
    for odd in ("2", True, -1, 2.5, [2], None):
        with pytest.raises(UsageError, match="workers says how many each pool has"):
            named_workers(odd, ["simulate"])
    with pytest.raises(UsageError, match="pool 'w' needs a number of workers, 0 or more, not '2'"):
        check_workers({"w": "2"})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="workers says how many each pool has"):
        check_workers(["simulate"])  # type: ignore[arg-type]


@pytest.mark.borders
def test_what_is_asked_for_one_pool_leaves_the_others_as_they_are() -> None:
    assert merged_workers({"simulate": 2}, USUAL) == {**USUAL, "simulate": 2}
    assert merged_workers({"learn": 3}, USUAL) == {"simulate": 4, "learn": Workers(3, gpus=1)}
    assert merged_workers({"learn": Workers(3)}, USUAL)["learn"] == Workers(3)
    assert merged_workers({"other": 1}, USUAL) == {**USUAL, "other": 1}
    assert merged_workers({"learn": 0}, USUAL)["learn"] == Workers(0, gpus=1)
    assert {"simulate": 4, "learn": Workers(1, gpus=1)} == USUAL
