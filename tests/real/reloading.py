"""A program that reloads modules while its session is open; run in a folder of its own.

With an argument it connects to a broker and says what the module's function returns there.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import Failed, Session, Succeeded
from steerio.errors import UsageError

HELPERS = """
LIST = [{number}]

class Point:
    def __init__(self, x):
        self.x = x
    def value(self):
        return self.x * {number}

def factor():
    return {number}
"""
SCALE = """
import helpers, threading
{more}
def scale(x):
    return x * {number} * 1000 + helpers.factor()

def value_of(point):
    return point.value()
"""


here: Any = None
"""A module, once it is loaded."""


def write(name: str, text: str, number: int, more: str = "") -> None:
    """Write a state of a module, of which Python has nothing compiled."""
    file = Path(f"{name}.py").absolute()
    file.write_text(text.format(number=number, more=more))
    Path(cache_from_source(str(file))).unlink(missing_ok=True)


@steerio.task
def by_task(x: int) -> Any:
    """Use a module of this script's."""
    return here.factor() * x


async def checks(session: Session) -> None:
    global here  # noqa: PLW0603 - as a script does
    import helpers  # type: ignore[import-not-found]
    import scale  # type: ignore[import-not-found]

    here = helpers
    run = session.run
    assert await run(by_task, 1) == 1
    assert await run(scale.scale, 1) == 1001
    assert await run(scale.value_of, helpers.Point(2)) == 2
    queued = session.map(scale.scale, [1, 2, 3])

    write("helpers", HELPERS, 2)
    importlib.reload(helpers)  # used by the function's module, which is not reloaded
    assert await run(scale.scale, 1) == 1002
    assert await run(by_task, 1) == 2
    assert await session.gather(*queued) == [1001, 2001, 3001], "as they were submitted"
    assert await run(scale.value_of, helpers.Point(2)) == 4
    assert await run(helpers.Point(3).value) == 6
    back = await run(lambda: helpers.Point(5))
    assert type(back) is helpers.Point

    write("scale", SCALE, 7)
    before = scale.scale
    importlib.reload(scale)
    assert await run(scale.scale, 1) == 7002
    assert await run(before, 1) == 1002, "what was kept is what it was"
    write("scale", SCALE, 8)
    del sys.modules["scale"]
    again = importlib.import_module("scale")
    assert await run(again.scale, 1) == 8002

    write("scale", SCALE, 9, more="LOCK = threading.Lock()\ndef locked(): return LOCK\n")
    again = importlib.reload(again)
    with pytest.raises(UsageError, match=r"was reloaded here.*global 'LOCK' of locked"):
        session.submit(again.locked)


async def main(run_dir: str = "") -> None:
    if not run_dir:
        write("helpers", HELPERS, 1)
        write("scale", SCALE, 1)
        async with steerio.open_session(workers={"default": 1}) as session:
            await checks(session)
        return
    import scale  # pyright: ignore[reportMissingImports]

    async with steerio.connect(run_dir) as session:
        if sys.argv[2:]:  # the file is another than was loaded here when the worker looks
            write("scale", SCALE, int(sys.argv[2]))
        result = await session.submit(scale.scale, 1).result()
    told = result.value if isinstance(result, Succeeded) else result
    sys.stdout.write(f"told: {told.error if isinstance(told, Failed) else told}\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    asyncio.run(main(*sys.argv[1:2]))
