"""The rivals that can be measured here, each a contestant, and why the others cannot."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Generator

from bench.contestant import Contestant, ContestantError, Round
from bench.measurement import amount
from bench.pairs import spread

RIVALS = {
    "ProxyStore File in /dev/shm": ("bench.rivals.proxystore", "file"),
    "ProxyStore Redis": ("bench.rivals.proxystore", "redis"),
    "Ray": ("bench.rivals.ray",),
}
START_S = 90.0


class Beside:
    """Rivals that are asked the same in each round; one that fails is left out from then on."""

    def __init__(self, sides: dict[str, Contestant], absent: dict[str, str]) -> None:
        self._sides = sides
        self._absent = absent
        self._seconds: dict[str, dict[str, list[float]]] = {name: {} for name in sides}

    def ask(self, order: Round) -> None:
        """Have each run one round."""
        for name, side in list(self._sides.items()):
            try:
                figures = side.ask(order, START_S)
            except ContestantError as error:
                self._absent[name] = f"failed ({(str(error).splitlines() or [''])[-1]})"
                del self._sides[name]
                continue
            for what, values in figures.items():
                self._seconds[name].setdefault(what, []).extend(values)

    def forget(self) -> None:
        """Begin to count; what was asked before was to warm up."""
        for figures in self._seconds.values():
            figures.clear()

    def words(self, what: str, then: str = "") -> str:
        """The medians of one figure in ms, and of a second one after it."""
        found: list[str] = []
        for name in RIVALS:
            if name in self._sides:
                figures = self._seconds[name]
                said = f"{name} {amount(spread(figures[what]).median * 1e3)}"
                said += f" ({amount(spread(figures[then]).median * 1e3)})" if then else ""
                found.append(said)
            else:
                found.append(f"{name} {self._absent[name]}")
        return ", ".join(found)


@contextlib.contextmanager
def rivals_beside() -> Generator[Beside, None, None]:
    """Start those that are there."""
    absent: dict[str, str] = {}
    if shutil.which("redis-server") is None or importlib.util.find_spec("redis") is None:
        absent["ProxyStore Redis"] = "not installed"
    if importlib.util.find_spec("ray") is None:
        absent["Ray"] = "not installed"
    if importlib.util.find_spec("proxystore") is None:
        absent |= {name: "not installed" for name in RIVALS if name.startswith("ProxyStore")}
    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(Contestant(*command))
            for name, command in RIVALS.items()
            if name not in absent
        }
        yield Beside(sides, absent)
