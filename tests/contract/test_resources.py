"""Resources in one process: set up once, kept within bounds, released in order."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import cloudpickle
import pytest

import steerio
from steerio.node import preloading
from steerio.node.preloading import Preloads
from steerio.worker import holding

LOG: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_held() -> Generator[None]:
    LOG.clear()
    yield
    holding.release_all()
    gc.unfreeze()


@steerio.resource
def model(name: str, *, scale: float = 1.0) -> Iterator[str]:
    """Be set up and released with a word."""
    LOG.append(f"+{name}")
    yield f"{name} x{scale:g}"
    LOG.append(f"-{name}")


@steerio.resource(keep=2)
def data(path: str = "here") -> list[str]:
    """Have nothing to release."""
    LOG.append(f"+{path}")
    return [path]


@pytest.mark.smoke
def test_a_resource_is_set_up_once_for_the_same_arguments_however_they_are_given() -> None:
    assert model("a") == model(name="a") == model("a", scale=1.0) == "a x1"
    assert model("a", scale=2.0) == "a x2"
    assert data() is data("here") is data(path="here")
    assert LOG == ["+a", "+a", "+here"]
    assert (model.held, data.held) == (2, 1)
    assert "test_resources:model: 2 held, keeps 1" in repr(model)


def test_release_releases_and_the_next_call_sets_up_again() -> None:
    model("a")
    model("b")
    model.release()
    assert LOG == ["+a", "+b", "-b", "-a"]
    assert model.held == 0
    model("a")
    assert LOG[4:] == ["+a"]


def test_what_fails_to_be_set_up_raises_and_is_tried_again() -> None:
    attempts: list[int] = []

    @steerio.resource
    def shy() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("no licence is free")
        return len(attempts)

    for _ in range(2):
        with pytest.raises(OSError, match="no licence is free"):
            shy()
    assert shy() == shy() == 3


def test_a_class_that_can_be_entered_is_entered_and_left() -> None:
    @steerio.resource
    class Licence:
        def __enter__(self) -> str:
            LOG.append("in")
            return "token"

        def __exit__(self, *_: object) -> None:
            LOG.append("out")

    assert Licence() == "token"
    Licence.release()
    assert LOG == ["in", "out"]


def test_what_is_one_too_many_goes_between_tasks_and_the_one_unused_for_longest_first() -> None:
    model("a")
    model("b")
    model("a")
    assert "-b" not in LOG, "it may be in use"
    holding.end_task()
    assert LOG == ["+a", "+b", "-b"]
    for path in ("1", "2", "1", "3"):
        data(path)
    holding.end_task()
    assert data.held == 2
    data("1")
    data("3")
    assert LOG[3:] == ["+1", "+2", "+3"]


def test_a_resource_that_others_were_set_up_from_outlasts_them() -> None:
    @steerio.resource(keep=2)
    def session(name: str) -> Iterator[str]:
        opened = model(name)
        LOG.append(f"+session {name}")
        yield opened
        LOG.append(f"-session {name}")

    session("a")
    model("b")
    holding.end_task()
    assert LOG == ["+a", "+session a", "+b"], "model b was used last, a is needed"
    model("a")
    holding.end_task()
    assert LOG[3:] == ["-b"]
    model.release()
    assert LOG[4:] == ["-session a", "-a"]
    session("a")
    model("a")
    holding.release_all()
    assert LOG[6:] == ["+a", "+session a", "-session a", "-a"]


def test_a_set_up_that_a_signal_struck_is_forgotten_with_its_task() -> None:
    key = (model.token, (("a",), (("scale", 1.0),)))
    held = holding.here()
    held.entries[key] = holding.HeldValue("model('a')", 1)
    held.being_set_up.append(held.entries[key])
    holding.end_task()
    assert model("a") == "a x1"


def test_a_release_that_raises_is_told_and_keeps_no_other_from_its_release(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @steerio.resource
    def broken() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError("no way back")

    @steerio.resource
    def twice() -> Iterator[int]:
        yield 1
        yield 2

    model("a")
    broken()
    twice()
    model("b")
    holding.release_all()
    assert LOG == ["+a", "+b", "-b", "-a"]
    told = capsys.readouterr().err
    assert "broken() failed" in told
    assert "ZeroDivisionError: no way back" in told
    assert "yielded twice" in told


def test_what_cannot_be_a_resource_is_refused_with_what_to_do() -> None:
    with pytest.raises(steerio.UsageError, match=r"must be hashable.*pass a name or a path"):
        model([1])  # type: ignore[arg-type]

    @steerio.resource
    def empty() -> Iterator[int]:
        yield from ()

    with pytest.raises(steerio.UsageError, match="yield the value once"):
        empty()

    async def waits() -> None: ...

    with pytest.raises(steerio.UsageError, match=r"asyncio\.run"):
        steerio.resource(waits)
    with pytest.raises(steerio.UsageError, match="keep=0"):
        steerio.resource(keep=0)
    with pytest.raises(TypeError, match="missing a required argument"):
        model()  # type: ignore[call-arg]


def test_a_resource_that_needs_itself_is_told_how() -> None:
    @steerio.resource
    def hen() -> int:
        return egg()

    @steerio.resource
    def egg() -> int:
        return hen()

    with pytest.raises(steerio.UsageError, match=r"hen\(\) needs .*hen\(\) itself: .*egg\(\) > "):
        hen()
    assert (hen.held, egg.held) == (0, 0)


def test_threads_of_one_task_share_a_resource() -> None:
    barrier = threading.Barrier(4)

    def use(_: int) -> list[str]:
        barrier.wait(10)
        return data("shared")

    with ThreadPoolExecutor(4) as threads:
        values = list(threads.map(use, range(4)))
    assert all(value is values[0] for value in values)
    assert LOG == ["+shared"]


def test_a_resource_travels_by_path_or_as_the_one_that_it_was() -> None:
    assert pickle.loads(pickle.dumps(model)) is model

    @steerio.resource
    def local() -> object:
        return object()

    pickled = cloudpickle.dumps(local)
    one, two = pickle.loads(pickled), pickle.loads(pickled)
    assert one is two
    assert one() is two() is local(), "one value, though three task types may refer to it"


# -- what may be forked ---------------------------------------------------------------------------


def test_a_module_that_opens_an_accelerator_cannot_be_preloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(preloading, "DEVICES", (str(tmp_path / "nvidia"),))
    device = tmp_path / "nvidia0"
    device.touch()
    (tmp_path / "takes_device.py").write_text(f"device = open({str(device)!r})\n")
    preloads = Preloads([], {"p": ["takes_device"]})
    assert preloads.next_planned() == "takes_device"
    assert preloads.load("takes_device") == f"opens {device}"
    sys.modules.pop("takes_device").device.close()
    torch = ModuleType("torch")
    torch.cuda = type("cuda", (), {"is_initialized": staticmethod(lambda: True)})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert preloads.load("torch") == "initialises CUDA"


def test_threads_that_end_by_themselves_are_waited_for_and_those_that_stay_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    start = "import threading\nend = threading.Event()\n"
    (tmp_path / "short_lived.py").write_text(
        f"{start}threading.Thread(target=end.wait, args=(0.02,)).start()\n"
    )
    (tmp_path / "long_lived.py").write_text(
        f"{start}thread = threading.Thread(target=end.wait, name='watcher')\nthread.start()\n"
    )
    preloads = Preloads([], {})
    assert preloads.load("short_lived") == ""
    spoilt = preloads.load("long_lived")
    module = sys.modules.pop("long_lived")
    module.end.set()
    module.thread.join()
    assert spoilt == "starts 1 thread ('watcher')"
    preloads.refuse("long_lived", spoilt)
    assert "Take 'long_lived' out of preload" in preloads.failures(["long_lived"])
    assert preloads.failures(["short_lived"]) == ""


def test_a_module_that_raised_is_tried_again_in_a_while_and_one_that_was_refused_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    preloads = Preloads([], {"p": ["comes_late", "refused"]})
    assert preloads.load("comes_late") == ""
    preloads.refuse("refused", "starts 1 thread")
    assert "No module named 'comes_late'" in preloads.failures(["comes_late"])
    (tmp_path / "comes_late.py").touch()
    preloads.try_again(["comes_late", "refused"], after_s=1_000.0)
    assert preloads.missing(["comes_late", "refused"]) == []
    preloads.try_again(["comes_late", "refused"], after_s=0.0)
    assert preloads.missing(["comes_late", "refused"]) == ["comes_late"]
    assert preloads.load("comes_late") == ""
    del sys.modules["comes_late"]
    assert preloads.failures(["comes_late"]) == ""
    assert "refused" in preloads.failures(["refused"])
