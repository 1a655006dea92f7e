"""What an agent forks is an ordinary process: a signal to it is not one to the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.programs import python, running

pytestmark = pytest.mark.borders

PROGRAM = """
import asyncio, multiprocessing, os, signal, time
import steerio

HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ORDINARY = [signal.SIG_DFL, signal.default_int_handler, signal.SIG_DFL]
forking = multiprocessing.get_context("fork")


@steerio.task
def double(x):
    return 2 * x


def blocked():
    return signal.pthread_sigmask(signal.SIG_BLOCK, [])


def show(said):
    said.send(([signal.getsignal(number) for number in HEEDED] == ORDINARY, blocked() == set()))


def forked():
    heard, said = forking.Pipe()
    process = forking.Process(target=show, args=(said,))
    process.start()
    process.join()
    return *heard.recv(), blocked() == set()


def be_there(said):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # it may say why it ends
    said.send("here")
    for _ in range(6000):  # not one long sleep: Python heeds no SIGINT that comes just before one
        time.sleep(0.01)


class Forks(steerio.Campaign):
    @steerio.agent
    async def fork(self):
        print("main", *forked(), flush=True)
        print("thread", *await asyncio.to_thread(forked), flush=True)
        for number in HEEDED:
            heard, said = forking.Pipe()
            process = forking.Process(target=be_there, args=(said,))
            process.start()
            heard.recv()
            os.kill(process.pid, number)
            process.join(30)
            print(number.name, process.exitcode, flush=True)
            process.kill()
            process.join()
        with forking.Pool(2) as pool:
            print(pool.map(abs, [-1, -2]), flush=True)
        print("doubled", await self.run(double, 4), flush=True)


steerio.run(Forks(), workers=1, run_dir="record", progress="off")
"""


def test_signals_to_what_an_agent_forked_leave_the_run_alone(tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(PROGRAM)
    with running(*python(str(script)), cwd=tmp_path) as program:
        assert program.status() == 0, program
    # only a handler that a child has from its start cannot come too late for a call that blocks
    for line in ("main True True True", "thread True True True"):
        assert f"{line}\n" in program.output, program
    for line in ("SIGTERM -15", "SIGINT 1", "SIGHUP -1", "[1, 2]", "doubled 8"):
        assert f"{line}\n" in program.output, program
    assert "ending in good order" not in program.output
