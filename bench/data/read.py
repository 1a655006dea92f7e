"""The first read of 100 MB by another process on the node."""

from __future__ import annotations

from bench.contestant import Contestant, Round
from bench.data.used import NBYTES
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import spread
from bench.rivals.beside import rivals_beside

CLAIMS = (Claim("first read of 100 MB in another process of the node", 1, 0.2, "lower", "ms"),)


def measure(effort: Effort) -> list[Measurement]:
    """From having its name to having an array; until all of it was looked at, in the detail."""
    usable: list[float] = []
    read: list[float] = []
    with Contestant("bench.ours.storing") as side, rivals_beside() as rivals:
        order = Round("first_read", NBYTES)
        for _ in range(3):  # each of the workers once
            side.ask(order)
        rivals.ask(order)
        rivals.forget()
        for number in range(effort.of(30, 8)):
            figures = side.ask(order)
            usable += [seconds * 1e3 for seconds in figures["usable_s"]]
            read += [seconds * 1e3 for seconds in figures["read_s"]]
            if number % 3 == 0:
                rivals.ask(order)
    detail = f"until all of it was summed {amount(spread(read).median)} ms; beside it (summed): "
    return [CLAIMS[0].measured(spread(usable), detail + rivals.words("usable_s", "read_s"))]
