"""Memory of a queued task: what the client and the broker grow by, together."""

from __future__ import annotations

from bench.contestant import Contestant, Round, marked_processes
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import spread
from bench.processes import total_pss_bytes

CLAIMS = (Claim("memory per queued small task, client and broker", 1.5, 0.7, "lower", "kB"),)
WARM_UP_TASKS = 1_000
FILL_TIMEOUT_S = 60.0


def measure(effort: Effort) -> list[Measurement]:
    """Everything the campaign started is counted; what does not grow cancels out."""
    tasks, rounds = effort.of(200_000, 50_000), effort.of(3, 1)
    kilobytes: list[float] = []
    for _ in range(rounds):
        with Contestant("bench.ours.campaign", close_s=0) as side:
            side.ask(Round("fill", WARM_UP_TASKS))
            before = total_pss_bytes(marked_processes(side.mark))
            side.ask(Round("fill", tasks), FILL_TIMEOUT_S)
            after = total_pss_bytes(marked_processes(side.mark))
        kilobytes.append((after - before) / tasks / 1e3)
    return [CLAIMS[0].measured(spread(kilobytes), f"growth of PSS over {tasks:,} tasks")]
