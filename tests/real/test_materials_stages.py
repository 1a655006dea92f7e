"""The stages of examples/materials with the real packages; and the campaign while workers die."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.real.striking import run_beside

STAGES = """
import pytest
from adsorption import adsorb
from dynamics import relax
from frameworks import assemble, pores
from linkers import FIRST, generate, linker

framework = assemble.function(linker(["c1ccc(cc1)"]))  # MOF-5
assert len(framework.symbols) == 53 and framework.symbols.count("Zn") == 4
assert framework.cell.diagonal() == pytest.approx([13.0] * 3, abs=0.2)
found = pores.function(framework)
assert 7.5 < found.free_diameter < 8.5 and 0.3 < found.void_fraction < 0.6

moved, again = (relax.function(framework, 1.0, 1) for _ in range(2))
assert 0.0 < moved.strain < 0.1
assert again.strain == moved.strain
assert (again.framework.positions == moved.framework.positions).all()

first, same, other = (adsorb.function(moved.framework, 400, seed) for seed in (1, 1, 2))
assert first == same != other and first.uptake > 0

for wrong in ("* X *", linker(["c1cc(F)c(cc1)", "c1ccc(o1)", "c1cc(N)c(cc1)"])):
    with pytest.raises(ValueError):
        assemble.function(wrong)
assert len(set(generate.function(FIRST, 50, 1))) > 20
"""
STRUCK = """
import asyncio, os, random, signal
import steerio
from search import Materials
from steerio import agent

KILLED = []
SMALL = {"budget": 5, "picoseconds": 1.0, "cycles": (300, 600), "batch": 5, "stack": 5}


class Struck(Materials):
    @agent
    async def strike(self) -> None:
        chance = random.Random(1)
        while self.ends < self.budget:
            await asyncio.sleep(4.0)
            done = len(self.linkers.ended) + self.ends  # on a busy machine less is done in 4 s
            await self.until(lambda: len(self.linkers.ended) + self.ends > done, timeout_s=60)
            pids = [each.pid for each in (await self.session.status()).workers if each.pid]
            if pids:
                KILLED.append(chance.choice(pids))
                os.kill(KILLED[-1], signal.SIGKILL)


whole, struck = (
    steerio.run(
        kind(**SMALL, retrain=1000),
        progress="off",
        run_dir=kind.__name__,
        settings=steerio.Settings(kills=1000),
    )
    for kind in (Materials, Struck)
)
print(f"{len(KILLED)} workers were killed")
assert len(KILLED) > 1
assert struck.ends >= 5
linkers = whole.candidates.keys() & struck.candidates.keys()
both = [(whole.candidates[each], struck.candidates[each]) for each in linkers]
assert all(one.strain == other.strain for one, other in both)
# a run ends with no work waiting: the last to be in shape may come too late to be measured
measured = [(one.short[0], other.short[0]) for one, other in both if one.short and other.short]
assert len(measured) >= 2, both
assert all(one == other for one, other in measured)
print("same:", len(measured))
"""


def run_script(text: str, folder: Path) -> None:
    """Run a script beside the example's modules, in a process of its own."""
    for package in ("rdkit", "pormake", "pyzeo", "openmm"):
        if find_spec(package) is None:  # not importorskip: pormake would begin a file
            pytest.skip(f"{package} is not installed: pip install '.[example-materials]'")
    run_beside("materials", text, folder, 800.0)


@pytest.mark.timeout(300)
def test_a_linker_goes_through_all_stages_the_same_way_each_time(tmp_path: Path) -> None:
    run_script(STAGES, tmp_path)


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_outcomes_are_the_same_if_a_worker_is_killed_every_four_seconds(tmp_path: Path) -> None:
    run_script(STRUCK, tmp_path)
