"""Models of the tasks of the materials campaign, for simulations on hundreds of nodes.

Each function draws the course of one attempt: its duration, end, value and items belong together.

Known of the largest public campaign of this kind, on 450 nodes: 43 % of the attempts at molecular
dynamics fail, a quarter of these within the first percent of their time. All other numbers here are
assumptions, and are listed in the README: the durations of stages beside each other are of the
order that such codes take on a GPU or a core, and that of molecular dynamics is chosen so that the
allocation runs about as many tasks in three hours as the campaign did.
"""

from __future__ import annotations

import random
from typing import Any

from adsorption import Uptake, adsorb
from dynamics import Dynamics, relax
from frameworks import Framework, Pores, assemble, check_packages, pores
from linkers import FIRST, LinkerModel, generate, train
from search import PROBE, STRAIN

from steerio.testing import Course, Model

FAILING, EARLY = 0.43, 0.25
"""Shares: of the attempts at molecular dynamics, and of these those that fail at once."""
AT_ONCE = 0.01
"""The share of its time within which an attempt fails at once."""
LOAD_S, LINKER_S = 1.0, 1.0
"""Seconds to load a generator's model, and for a linker."""
ASSEMBLE_S, PORES_S, DYNAMICS_S, TRAIN_S = 0.5, 2.0, 820.0, 90.0
CYCLE_S = 0.6
"""Seconds for a cycle of adsorption, on one core."""
MISFITS, NARROW, STEADY = 0.1, 0.25, 0.75
"""Shares: of linkers that fit nowhere, frameworks that let no CO2 in, and that stay in shape."""
NOISE = 0.3
"""Of a short run of adsorption: one standard deviation, as a share of the uptake."""


def draw_linkers(rng: random.Random, model: LinkerModel, count: int, seed: int) -> Course:
    """Draw a batch of linkers, which come one by one."""
    speed = rng.lognormvariate(0.0, 0.2)
    times = [LOAD_S + LINKER_S * speed * (number + 1) for number in range(count)]
    items = [(at_s, f"linker {seed}.{number}") for number, at_s in enumerate(times)]
    return Course(times[-1], items=items)


def draw_framework(rng: random.Random, linker: str) -> Course:
    """Draw an assembly, some of which fail."""
    took_s = ASSEMBLE_S * rng.lognormvariate(0.0, 0.4)
    if rng.random() < MISFITS:
        return Course(took_s, fails="no metal node fits")
    return Course(took_s, value=framework_of(linker))


def draw_pores(rng: random.Random, framework: Framework) -> Course:
    """Draw the pores of a framework, some of which are narrow."""
    width = PROBE * (0.5 if rng.random() < NARROW else 1.5)
    return Course(PORES_S * rng.lognormvariate(0.0, 0.4), value=pores_of(width))


def draw_dynamics(
    rng: random.Random, framework: Framework, picoseconds: float, seed: int
) -> Course:
    """Draw molecular dynamics: those that fail do so at any time, a quarter of them at once."""
    whole_s = DYNAMICS_S * rng.lognormvariate(0.0, 0.3)
    if rng.random() < FAILING:
        at_once = rng.random() < EARLY
        share = rng.uniform(0.0, AT_ONCE) if at_once else rng.uniform(AT_ONCE, 1.0)
        return Course(whole_s * share, fails="its bonds broke")
    strain = STRAIN / 2 if rng.random() < STEADY else 10 * STRAIN
    return Course(whole_s, value=dynamics_of(framework, strain))


def draw_uptake(
    rng: random.Random, framework: Framework, cycles: int, seed: int, _: bool
) -> Course:
    """Draw a run of adsorption: the longer, the less noisy."""
    true = random.Random(framework.linker).lognormvariate(0.5, 0.5)
    noise = NOISE * (SHORT / cycles) ** 0.5
    took_s = CYCLE_S * cycles * rng.lognormvariate(0.0, 0.3)
    return Course(took_s, value=Uptake(true * max(0.0, rng.gauss(1.0, noise)), true * noise))


def draw_training(rng: random.Random, worth: dict[str, float]) -> Course:
    """Draw a training."""
    return Course(TRAIN_S * rng.lognormvariate(0.0, 0.1), value=FIRST)


SHORT, LONG = 4_000, 8_000
"""Cycles of a short run of adsorption, and of a long one."""
NONE: Any = None
"""Stands for arrays of atoms, which no model computes with."""
MODELS: dict[Any, Any] = {
    check_packages: Model(0.0),
    generate: draw_linkers,
    assemble: draw_framework,
    pores: draw_pores,
    relax: draw_dynamics,
    adsorb: draw_uptake,
    train: draw_training,
}


def framework_of(linker: str) -> Framework:
    """Return a framework without atoms, for none are computed with."""
    return Framework(linker, positions=NONE, cell=NONE, bonds=NONE, orders=NONE)


def pores_of(width: float) -> Pores:
    """Return pores of a width, in angstrom."""
    return Pores(width, 0.5)


def dynamics_of(framework: Framework, strain: float) -> Dynamics:
    """Return an end of molecular dynamics."""
    return Dynamics(framework, strain)
