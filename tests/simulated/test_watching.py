"""Live views show tasks and sessions from the side, and change nothing of what happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import logging
import math
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, Session, TaskFailed, UsageError, on_success, task
from steerio.session import watching
from steerio.session.screens import TextScreen
from steerio.testing import Model, SimulatedCluster, run_virtual, simulate
from tests.simulated.virtual import on_cluster


@task(pool="simulate")
def energy(x: int) -> float:
    return -float(x)


MODEL = Model(2.0, value=lambda x: -float(x), fails=lambda _, x: x == 3)
on_two = on_cluster(2, model=MODEL)


@pytest.fixture(autouse=True)
def looking_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are measured by the wall's clock, which runs on a busy machine while ours stands."""
    monkeypatch.setattr(watching, "SHARE", math.inf)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def drawn(terminal: Terminal) -> list[str]:
    """Return the lines that a terminal showed one after the other, in one place."""
    return terminal.getvalue().removesuffix("\n").split("\r\x1b[K")[1:]


def test_gather_shows_how_far_its_tasks_are(terminal: Terminal) -> None:
    @on_two
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        values = await session.gather(*session.map(energy, [0, 1, 2]), progress=True)
        assert values == [0.0, -1.0, -2.0]

    with contextlib.redirect_stderr(terminal):
        scene()
    lines = drawn(terminal)
    assert lines[0].startswith("gather: 0 of 3 tasks; ")
    assert any(line.startswith("gather: 2 of 3 tasks; 2 done; ") for line in lines)
    assert lines[-1].startswith("gather: 3 of 3 tasks; 3 done; ")
    assert terminal.getvalue().endswith("\n")


def test_gather_shows_the_failure_that_ends_it(terminal: Terminal) -> None:
    @on_two
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        with pytest.raises(TaskFailed):
            await session.gather(*session.map(energy, [3, 1]), progress=True)

    with contextlib.redirect_stderr(terminal):
        scene()
    assert "1 failed; 0 s; the last to fail: task 1 energy " in drawn(terminal)[-1]


def test_as_completed_shows_how_far_its_tasks_are_also_if_it_is_left(terminal: Terminal) -> None:
    @on_two
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        async for _ in session.as_completed(session.map(energy, [0, 1]), progress=True):
            pass
        ending = session.as_completed(session.map(energy, [0, 1, 2]), progress=True)
        await anext(ending)
        await ending.aclose()  # type: ignore[attr-defined]

    with contextlib.redirect_stderr(terminal):
        scene()
    lines = drawn(terminal)
    assert any(line.startswith("as_completed: 2 of 2 tasks; 2 done; ") for line in lines)
    assert lines[-1].startswith("as_completed: 2 of 3 tasks; 2 done; ")


def test_a_stream_that_is_no_terminal_gets_the_last_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @on_two
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        await session.gather(*session.map(energy, [0, 1]), progress=True)

    scene()
    assert capsys.readouterr().err.startswith("gather: 2 of 2 tasks; 2 done; ")


def test_a_session_is_watched_until_it_is_closed(terminal: Terminal) -> None:
    async def scene() -> None:
        async with SimulatedCluster({"simulate": 2}, model=MODEL) as cluster:
            async with cluster.session("test") as session:
                watch = session.watch()
                watch.show()
                session.note(best=1.5)
                await session.gather(*session.map(energy, range(3)))
                assert "simulate" in watch._repr_html_()
                assert watch._mime_() == ("text/html", watch._repr_html_())
                assert len(drawn(terminal)) > 2
        assert repr(session.watches) == "<Watches: 0 shown>"
        assert "this session was closed" in session._repr_html_()

    with contextlib.redirect_stderr(terminal):
        run_virtual(scene())
    last = drawn(terminal)[-1]
    assert last.startswith("0 tasks to come; 3 done; simulate ")
    assert last.endswith("; best=1.5")


def test_a_view_of_tasks_ends_with_them(terminal: Terminal) -> None:
    @on_two
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        tasks = session.map(energy, [0, 1])
        watch = session.watch(tasks)
        assert repr(watch).startswith("<Watch: Tasks: 0 of 2 tasks; ")
        watch.show()
        assert repr(session.watches) == "<Watches: 1 shown>"
        await session.gather(*tasks)
        await asyncio.sleep(10)
        assert repr(session.watches) == "<Watches: 0 shown>"
        watch.close()
        assert repr(watch).startswith("<Watch: Tasks: 2 of 2 tasks; 2 done; ")

    with contextlib.redirect_stderr(terminal):
        scene()


def test_watching_a_task_is_not_awaiting_it(
    terminal: Terminal, caplog: pytest.LogCaptureFixture
) -> None:
    @on_two
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        watch = session.watch([session.submit(energy, 3)])
        async with watch:
            await asyncio.sleep(10)
        gc.collect()

    with caplog.at_level(logging.ERROR):
        with contextlib.redirect_stderr(terminal):
            scene()
    assert "a task did not succeed, and no code awaited it" in caplog.text


@on_two
async def test_wrong_arguments_are_refused(cluster: SimulatedCluster, session: Session) -> None:
    tasks = session.map(energy, [0])
    with pytest.raises(UsageError, match="progress of gather is True or False, not 1"):
        await session.gather(*tasks, progress=1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="watch takes tasks, as submit"):
        session.watch([1])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="progress of as_completed"):
        await anext(session.as_completed(tasks, progress="yes"))  # type: ignore[arg-type]


def test_a_stream_that_fails_is_not_noticed() -> None:
    class Failing(io.StringIO):
        def write(self, text: str) -> int:
            raise RuntimeError("not now")

    screen = TextScreen(Failing())
    screen.show("", "line")  # type: ignore[arg-type]
    screen.close()


class Broken:
    """A front end that shows one state, and fails from then on."""

    def __init__(self) -> None:
        self.shown = 0

    def show(self, page: str, line: str) -> None:
        self.shown += 1
        if self.shown > 1:
            raise RuntimeError("the front end is gone")

    def close(self) -> None:
        raise AssertionError("it is gone")


def test_a_front_end_that_fails_ends_the_view_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = Broken()
    monkeypatch.setattr(watching, "find_screen", lambda: broken)

    @on_two
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        watch = session.watch()
        watch.show()
        assert await session.gather(*session.map(energy, [0, 1])) == [0.0, -1.0]
        assert repr(session.watches) == "<Watches: 0 shown>"
        watch.close()

    scene()
    assert broken.shown == 2


def test_a_shell_that_is_no_notebook_is_shown_the_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @on_two
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        session.watch()._ipython_display_()  # as IPython calls it
        assert repr(session.watches) == "<Watches: 0 shown>"

    scene()
    assert capsys.readouterr().out.startswith("<Watch: 0 tasks to come; none has ended; simulate ")


class Search(Campaign):
    workers: ClassVar = {"simulate": 1}

    def __init__(self) -> None:
        self.todo = Board(energy, range(3))
        self.pages: list[str] = []
        self.texts: list[str] = []

    @on_success(energy)
    async def look(self, result: Any) -> None:
        self.note(best=result.value)
        self.pages.append(self._repr_html_())
        self.texts.append(repr(self))
        if result.args == (2,):
            self.stop(reason="<enough>")
            self.pages.append(self._repr_html_())


def test_a_campaign_shows_its_state_before_while_and_after_it_runs() -> None:
    campaign = Search()
    assert repr(campaign) == "<Search: not run yet>"
    assert "3 waiting, 0 running, 0 ended" in campaign._repr_html_()
    simulate(campaign, model=Model(1.0, value=lambda x: -float(x)))
    assert campaign.texts[1] == "<Search: running, 1 task to come; 2 done; best=-1>"
    for part in (">running<", "simulate", "board of energy", "best"):
        assert part in campaign.pages[1]
    assert ">stopping<" in campaign.pages[-1]
    assert "stopped: &lt;enough&gt;" in campaign.pages[-1]
    assert repr(campaign) == "<Search: ended, 0 tasks to come; 3 done; best=-2>"
    assert ">ended<" in campaign._repr_html_()


def test_a_campaign_may_show_itself_otherwise() -> None:
    class Shown(Search):
        def _repr_html_(self) -> str:
            return "<b>mine</b>"

    assert Shown()._repr_html_() == "<b>mine</b>"


@on_two
async def test_handles_and_pools_have_cards(cluster: SimulatedCluster, session: Session) -> None:
    waiting = session.submit(energy, 1)
    assert "Task 1 energy" in waiting._repr_html_()
    await waiting
    assert ">succeeded<" in waiting._repr_html_()
    assert "simulate" in session.pools._repr_html_()
    failed = session.submit(energy, 3)
    await failed.result()
    assert ">failed<" in failed._repr_html_()
    board = Board(energy, [1, 2])
    board.rescore({2: 5.0})
    page = board._repr_html_()
    shown: list[Any] = [waiting, session.pools, board, session, session.watch(), Search()]
    assert {type(each._repr_html_()) for each in shown} == {str}, "some front ends take no other"
    assert page.index(">2<") < page.index(">1<")
