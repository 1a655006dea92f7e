"""Random numbers of a run: one seed, and for each worker and each task a number from it.

A fork goes on from the state of its parent's generators, so without this all workers of a zygote
would draw the same numbers, and those that replace them would repeat them.  (Python's own `random`
seeds itself anew in a fork, from the system, which cannot be repeated.)
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

from steerio.edge.system.late_loading import call_once_loaded
from steerio.errors import UsageError

SEED_BITS = 64
"""Most bits of a run's seed."""
DRAWN_BITS = 96
"""A seed of NumPy's with more bits was drawn from the system: people write shorter ones."""


def choose_seed(asked: object) -> int:
    """Return the seed of a run: the one asked for, else one that the system draws.

    Raises:
        UsageError: it is not a whole number from 0 up to, not including, 2**64.
    """
    if asked is None:
        return int.from_bytes(os.urandom(SEED_BITS // 8))
    if type(asked) is not int or not 0 <= asked < 2**SEED_BITS:
        raise UsageError(f"random_seed is a whole number from 0 to 2**64 - 1, not {asked!r}")
    return asked


def derive(seed: int | str, what: str, bits: int = 256) -> int:
    """Return the number that a thing has from a seed, of up to 256 bits.

    Raises:
        UsageError: there are no numbers of so many bits.
    """
    if not 1 <= bits <= 256:
        raise UsageError(f"a number of 1 to 256 bits can be had, not of {bits}")
    digest = hashlib.blake2b(f"{seed}/{what}".encode(), digest_size=32).digest()
    return int.from_bytes(digest) >> (256 - bits)


def of_task(seed: int | str, task_id: int, bits: int) -> int:
    """Return the number that a task has from a run's seed."""
    return derive(seed, f"task {task_id}", bits)


class RandomStreams:
    """The random generators of a process: those of libraries, and those that modules have made.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._worker = ""
        self._looked_at = 0
        """The number of modules that were looked at."""
        self._of_modules: list[tuple[str, Any]] = []
        """The generators of these modules, each once, with its place."""
        self._known: set[int] = set()
        self._loads: dict[str, int] = {}
        """The number of times that each function with generators of its own was loaded."""

    def look(self) -> None:
        """Find the generators of modules loaded since, once before many forks."""
        if "numpy.random" not in sys.modules or len(sys.modules) == self._looked_at:
            return  # so a worker does not touch, and thereby copy, the memory of all modules
        modules = list(sys.modules.items())
        for name, module in modules[self._looked_at :]:
            for where, bits in self._unseeded(name, _content(module)):
                self._known.add(id(bits))
                self._of_modules.append((where, bits))
        self._looked_at = len(modules)

    def begin(self, worker: str) -> None:
        """Seed the generators of this worker, and those of libraries that it loads later on."""
        self._worker = worker
        random.seed(self._derive("random"))
        self.look()
        for name in _SEEDING:
            if name in sys.modules:
                self._seed_library(name, sys.modules[name])
        late = [name for name in _SEEDING if name not in sys.modules]
        if late:
            call_once_loaded(late, self._seed_library)
        for where, bits in self._of_modules:
            self._reseed(where, bits)

    def loaded(self, name: str, function: object) -> None:
        """Take in that a function was loaded, perhaps with modules or generators."""
        if "numpy.random" not in sys.modules:
            return
        before = len(self._of_modules)
        self.look()
        for where, bits in self._of_modules[before:]:
            self._reseed(where, bits)
        brought = self._unseeded(name, _variables(function))
        if (
            brought
        ):  # shipped by value: with the state that they had at the sender, for every worker
            self._loads[name] = times = self._loads.get(name, 0) + 1
            for where, bits in brought:
                self._reseed(f"{where} {times}", bits)

    def of_task(self, task_id: int, bits: int) -> int:
        """Return the number that a task has from the run's seed."""
        return of_task(self._seed, task_id, bits)

    def _unseeded(self, place: str, variables: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Return the generators among these that were given no seed."""
        numpy_random: Any = sys.modules["numpy.random"]
        generator, legacy = numpy_random.Generator, numpy_random.RandomState
        global_one = numpy_random.mtrand._rand
        found: dict[int, tuple[str, Any]] = {}
        for name, value in list(variables.items()):
            if type(value) is generator:
                bits = value.bit_generator
            elif type(value) is legacy and value is not global_one:
                bits = value._bit_generator
            else:
                continue
            entropy = getattr(bits.seed_seq, "entropy", 0)
            drawn = isinstance(entropy, int) and entropy.bit_length() > DRAWN_BITS
            if drawn and id(bits) not in self._known:
                found[id(bits)] = (f"{place}.{name}", bits)
        return list(found.values())

    def _reseed(self, where: str, bits: Any) -> None:
        bits.state = type(bits)(self._derive(where)).state

    def _seed_library(self, name: str, module: Any) -> None:
        _SEEDING[name](module, self._derive(name))

    def _derive(self, what: str) -> int:
        return derive(self._seed, f"{self._worker}/{what}")


def _content(module: object) -> Mapping[str, Any]:
    """Return the variables of a module as it is: a lazy one would load if it were asked."""
    try:
        content: Mapping[str, Any] = object.__getattribute__(module, "__dict__")
    except AttributeError:  # anything may stand for a module
        return {}
    return content


def _variables(function: Any) -> Mapping[str, Any]:
    """Return the global variables that a function sees."""
    for inner in ("__func__", "func", "__wrapped__"):
        function = getattr(function, inner, function)
    return getattr(function, "__globals__", None) or {}


def _seed_numpy(numpy_random: Any, number: int) -> None:
    numpy_random.seed([number >> shift & 0xFFFFFFFF for shift in range(0, 256, 32)])


def _seed_torch(torch: Any, number: int) -> None:
    torch.manual_seed(number >> 192)  # the processor's and, once they are there, all devices'


_SEEDING: dict[str, Callable[[Any, int], None]] = {
    "numpy.random": _seed_numpy,
    "torch": _seed_torch,
}
"""The functions that seed the global generators of modules."""
