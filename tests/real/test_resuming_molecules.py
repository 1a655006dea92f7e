"""The search among molecules, killed at ten random moments and resumed after each of them."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from steerio.edge.encoding.digests import digest_call
from steerio.edge.record.disk import Folder
from steerio.edge.record.entries import EntryKind, key_of
from steerio.edge.record.journal_segments import JournalReader
from tests.real.programs import REPOSITORY, Program, TookTooLong, running, steerio_command
from tests.real.resumable import kill_every_process, to_be_killed
from tests.real.test_mpi import launch

SEARCH = str(REPOSITORY / "examples" / "molecules" / "search.py")
BEGIN: tuple[str, ...] = ("run", SEARCH, "--quick", "--resume", "record")
ENERGY = "search:ionization_energy"
MOLECULES, KILLS, WORKERS = 300, 10, 3
EARLY = 3
"""Kills that may come before the first energy."""
LISTED = re.compile(r"^ +\d+ +(-?\d+\.\d+) +(\d+)   (\S+)$", re.MULTILINE)
"""A row of the best molecules: energy, number of the task, molecule."""
FOUND = re.compile(r"^(steered|batches of 8|random \(mean\)) +(.*)$", re.MULTILINE)
"""A row of the comparison."""
END_S = 150.0


class Searched:
    """The record of a search, with all that it says of energies."""

    def __init__(self, folder: Path) -> None:
        self.record = folder / "record"

    @property
    def computed(self) -> list[tuple[int, str]]:
        """The incarnation and the molecule of each energy that a worker computed, in order."""
        file = self.record / "tasks.jsonl"
        text = file.read_text() if file.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [
            (line["incarnation"], line["args"][0][0])
            for line in lines
            if line["task_type"] == ENERGY and line["ended_as"] == "succeeded"
        ]

    @property
    def journalled(self) -> Counter[bytes]:
        """How many results the journal has of each call."""
        folder = self.record / "journal"
        frames = JournalReader(Folder(folder)).frames() if folder.exists() else ()
        return Counter(key_of(frame.body) for frame in frames if frame.kind == EntryKind.RESULT)

    @property
    def energies(self) -> dict[str, str]:
        """The final energy of each molecule, in the file that the search writes."""
        with (self.record / "molecules.csv").open(newline="") as file:
            return {row["smiles"]: row["ionization_energy_ev"] for row in csv.DictReader(file)}


def key(molecule: str) -> bytes:
    """Return the digest of the call that computes the energy of a molecule."""
    return digest_call(ENERGY, "", b"", (molecule,), {})


def go_on_until(program: Program, searched: Searched, energies: int, later_s: float) -> None:
    """Wait until so many energies are on record, and as long again; it must not have ended."""
    until = time.monotonic() + END_S
    while len(searched.computed) < energies:
        if time.monotonic() > until:
            raise TookTooLong(f"{energies} energies did not come from {program}")
        lives_for(program, 0.02)
    lives_for(program, later_s)


def lives_for(program: Program, seconds: float) -> None:
    """Read the output for some time; the program must not end in it."""
    with contextlib.suppress(TookTooLong):
        pytest.fail(f"it ended with {program.status(within_s=seconds)}: {program}")


def searched_in(folder: Path, *command: str) -> str:
    """Run a search to its end; return its output."""
    with running(*command, cwd=folder) as program:
        assert program.status(END_S) == 0, program
    assert "Traceback" not in program.output, program
    return program.output


def columns(output: str) -> dict[str, list[str]]:
    """Return the rows of the comparison, without the times."""
    return {name: row.split()[:4] for name, row in FOUND.findall(output)}


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """The output of a search that nobody cut off, and its energies."""
    folder = tmp_path_factory.mktemp("uncut")
    output = searched_in(folder, *steerio_command(*BEGIN))
    return output, Searched(folder).energies


def command_of(name: str, random: Random, searched: Searched) -> Sequence[str]:
    """Return the command that begins the search, or goes on with it, perhaps otherwise."""
    begin_or_go_on = BEGIN
    if searched.computed and random.random() < 0.5:
        begin_or_go_on = "resume", "record"
    if name != "alone":
        return launch(name, random.choice([2, 3, 4]), *steerio_command(*begin_or_go_on))
    workers = random.choice([(), ("--workers", f"simulate={random.randint(1, WORKERS)},learn=1")])
    return steerio_command(*begin_or_go_on, *workers)


@pytest.mark.stress
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", ["alone", "openmpi", "mpich"])
def test_a_search_that_is_killed_ten_times_computes_each_energy_once(
    tmp_path: Path, name: str, uncut: tuple[str, dict[str, str]]
) -> None:
    random = Random(f"{os.environ['STRESS_SEED']} {name}")
    searched = Searched(tmp_path)
    known = Counter[bytes]()
    lost = 0
    early = random.sample(range(KILLS), EARLY)
    for number in range(KILLS):
        before = searched.computed
        more, later_s = random.randint(1, MOLECULES // KILLS - 2), random.uniform(0, 0.3)
        if number in early:
            more, later_s = 0, random.uniform(0, 4.0)
        with to_be_killed(*command_of(name, random, searched), cwd=tmp_path) as program:
            go_on_until(program, searched, len(before) + more, later_s)
            kill_every_process(program)
        again = [molecule for _, molecule in searched.computed[len(before) :]]
        assert not [molecule for molecule in again if key(molecule) in known]
        found = searched.journalled
        assert max(found.values(), default=0) <= 1, "each result is written once"
        known |= found
        lost += sum(key(molecule) not in found for molecule in again)
    before = searched.computed
    output = searched_in(tmp_path, *command_of(name, random, searched))
    again = [molecule for _, molecule in searched.computed[len(before) :]]
    assert not [molecule for molecule in again if key(molecule) in known]

    energies = Counter(molecule for _, molecule in searched.computed)
    assert energies.keys() == uncut[1].keys()
    assert searched.energies == uncut[1], "the same energies"
    assert energies.total() - MOLECULES == lost, "those alone whose result had not arrived"
    table, expected = columns(output), columns(uncut[0])
    assert table["batches of 8"] == expected["batches of 8"]
    assert table["random (mean)"] == expected["random (mean)"]
    top = sorted(map(float, uncut[1].values()), reverse=True)[: MOLECULES // 20]
    rows = LISTED.findall(output)
    assert [f"{float(uncut[1][molecule]):.2f}" for _, _, molecule in rows] == [
        e for e, _, _ in rows
    ]
    assert float(table["steered"][0]) == float(rows[0][0])
    line = f"the top 5%: 15 from {top[-1]:.2f} eV on (known, all were computed)"
    assert line in output
    assert line in uncut[0]
    by_incarnation = Counter(incarnation for incarnation, _ in searched.computed)
    sys.stdout.write(
        f"{name}: {KILLS} kills; {MOLECULES} energies, {lost} of them computed again; "
        f"computed by incarnation {dict(by_incarnation)}; "
        f"steered {table['steered']}, uncut {expected['steered']}\n"
    )
    searched_in(tmp_path, *steerio_command("clean"))
