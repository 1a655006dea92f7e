"""What is defined in a script reaches another process, and comes back as what it was.

The script runs in a process of its own, whose ``__main__`` it is; this one is the worker.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.classes import goes_by_value
from tests.contract.payloads import as_bytes

POSTPONED = "from __future__ import annotations\n"
SCRIPT = """
import dataclasses, enum, pickle, sys
from typing import ClassVar, NamedTuple, Optional, Set, TypedDict
import msgspec
from steerio.edge.encoding.pickling import ship
from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.classes import goes_by_value

LIMIT = 10

class Kind(enum.Enum):
    RADICAL = "radical"

class Access(enum.IntFlag):
    READ = 1
    WRITE = 2

class Atom(msgspec.Struct, frozen=True, kw_only=True, rename={"element": "symbol"}):
    element: str
    charge: int = 0

class Molecule(msgspec.Struct, tag=True, weakref=True):
    name: str
    atoms: list[Atom] = []
    parent: "Optional[Molecule]" = None
    unit: ClassVar[str] = "angstrom"

    def __post_init__(self):
        if len(self.atoms) > LIMIT:
            raise ValueError("too large")

    @property
    def charge(self):
        return sum(atom.charge for atom in self.atoms)

    def grown(self):
        return type(self)(self.name + "+", [*self.atoms, Atom(element="H")], self)

class Ion(Molecule, tag=True):
    solvent: str = "water"

    def __post_init__(self):
        super().__post_init__()
        if not self.solvent:
            raise ValueError("no solvent")

@dataclasses.dataclass
class Run:
    steps: int
    access: Access
    notes: "Optional[dict[str, float]]" = None

    def doubled(self):
        return dataclasses.replace(self, steps=2 * self.steps)

class Point(NamedTuple):
    x: float
    y: float

class Options(TypedDict, total=False):
    method: str

class Failed(Exception):
    def __init__(self, step):
        super().__init__(step)
        self.step = step

class Plain:
    def __init__(self, number):
        self.number = number

def work(molecule: Molecule, run: Run, kind: Kind, at: Point, options: Options, plain, error,
         seen: Set[int], pair: tuple[int, int], *, access: Access = Access.READ) -> Molecule:
    assert (type(seen), type(pair), type(at).__name__) == (set, tuple, "Point"), (seen, pair, at)
    assert (kind.value, kind.name, options["method"]) == ("radical", "RADICAL", "pm6")
    assert access == Access.READ | Access.WRITE, access
    assert run.doubled().steps == 6 and run.notes == {"a": 0.5}
    assert plain.number == 7 and error.step == 3
    assert molecule.unit == "angstrom" and molecule.charge == 1
    try:
        Ion("x", solvent="")
    except ValueError:
        pass
    else:
        raise AssertionError("__post_init__ was lost")
    try:
        Ion("x", [Atom(element="H")] * 11)
    except ValueError:
        return molecule.grown()
    raise AssertionError("the inherited __post_init__ was lost")

def main():
    codec = CallCodec(work, "__main__:work")
    ion = Ion("ammonium", [Atom(element="N", charge=1)], solvent="ethanol")
    args = (ion, Run(3, Access.READ, {"a": 0.5}), Kind.RADICAL, Point(1.0, 2.0),
            {"method": "pm6"}, Plain(7), Failed(3), {1, 2}, (1, 2))
    for _ in range(2):  # the second time, both sides know the classes already
        body, frames = codec.pack(args, {"access": Access.READ | Access.WRITE})
        call = ship(work), body, [bytes(frame) for frame in frames]
        pickle.dump(call, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        grown = codec.result.unpack(*pickle.load(sys.stdin.buffer))
        assert type(grown) is Ion, type(grown)
        assert grown.atoms == [*ion.atoms, Atom(element="H")]
        assert grown.parent == ion and type(grown.atoms[0]) is Atom

main()
"""


@pytest.mark.parametrize("start", ["", POSTPONED], ids=["evaluated", "postponed"])
def test_classes_of_a_script_travel_by_value_there_and_back(tmp_path: Path, start: str) -> None:
    script = tmp_path / "search.py"
    script.write_text(start + SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arrived: list[Any] = []

    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            code, body, frames = pickle.load(process.stdout)
            work = pickle.loads(code)
            codec = CallCodec(work, "__main__:work")
            args, kwargs = codec.unpack(body, frames)
            arrived.append(args)
            value_body, value_frames = codec.result.pack(work(*args, **kwargs))
            pickle.dump((value_body, as_bytes(value_frames)), process.stdin)
            process.stdin.flush()

    assert process.returncode == 0
    assert arrived[0][:4] == arrived[1][:4]
    assert type(arrived[0][0]) is type(arrived[1][0])


def test_classes_in_a_package_by_value_go_by_value_too() -> None:
    import cloudpickle  # type: ignore[import-untyped]

    import tests.contract
    from steerio.edge.encoding.pickling import ship
    from tests.contract import test_exact_values as other

    CallCodec(other.numbered, "m:numbered").pack((other.Run(3),), {})  # msgspec notes its fields
    assert not goes_by_value(other.Run)
    cloudpickle.register_pickle_by_value(tests.contract)
    try:
        assert goes_by_value(other.Run)
        assert b"steps" in ship(other.Run)
    finally:
        cloudpickle.unregister_pickle_by_value(tests.contract)
