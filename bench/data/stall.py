"""How long the event loop stands still while 100 MB are put, awaited, passed and returned."""

from __future__ import annotations

from bench.contestant import Contestant, Round
from bench.data.used import NBYTES
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import Spread, spread
from bench.rivals.beside import rivals_beside

CLAIMS = (Claim("longest stall of the loop while 100 MB are put or awaited", 10, 2, "lower", "ms"),)
WAYS = {
    "put": "session.put",
    "await": "awaiting a reference",
    "argument": "as an argument that is read-only",
    "value": "as a value",
    "free": "while they are freed",
}


def measure(effort: Effort) -> list[Measurement]:
    """The worst of the ways counts; the same ticker while nothing happens is quoted."""
    stalls: dict[str, list[float]] = {}
    with Contestant("bench.ours.storing") as side, rivals_beside() as rivals:
        order = Round("stalls", NBYTES)
        side.ask(order)
        rivals.ask(order)
        rivals.forget()
        for _ in range(effort.of(15, 4)):
            for name, seconds in side.ask(order).items():
                stalls.setdefault(name, []).extend(second * 1e3 for second in seconds)
            rivals.ask(order)
    medians: dict[str, Spread] = {name: spread(values) for name, values in stalls.items()}
    worst = max((medians[name] for name in WAYS), key=lambda stall: stall.median)
    others = max(medians[f"{name} with others"].median for name in WAYS)
    ways = ", ".join(f"{said} {amount(medians[name].median)}" for name, said in WAYS.items())
    detail = (
        f"{ways}; while submit copies an argument that may be changed "
        f"{amount(medians['changeable'].median)}; "
        f"nothing going on {amount(medians['nothing'].median)}, "
        f"beside a memcpy in a thread {amount(medians['floor'].median)} ms "
        f"(with the time that others had the core, up to {amount(others)}); "
        f"a proxy resolved in a coroutine (Ray: ray.get): {rivals.words('get')}"
    )
    return [CLAIMS[0].measured(worst, detail)]
