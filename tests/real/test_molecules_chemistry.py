"""The science of examples/molecules: its space, its energies, its ranking, its report."""

from __future__ import annotations

import importlib.util
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rdkit import Chem

EXAMPLE = Path(__file__).parents[2] / "examples" / "molecules"


def load(name: str) -> ModuleType:
    """Load a module of the example, which is a folder of scripts and no package."""
    spec = importlib.util.spec_from_file_location(f"molecules_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with pytest.MonkeyPatch.context() as before:
        before.setenv("OMP_NUM_THREADS", "1")  # as it would set for good, for other tests too
        spec.loader.exec_module(module)
    return module


space = load("enumerate")
energy = load("energy")
surrogate = load("surrogate")
report = load("report")

SOME = space.molecules(1000)


# -- the space ------------------------------------------------------------------------------------


def test_the_space_is_the_same_every_time() -> None:
    assert space.molecules(300) == space.molecules(300)


def test_a_smaller_space_is_the_beginning_of_a_larger_one() -> None:
    assert space.molecules(200) == SOME[:200]


def test_another_seed_gives_another_sample() -> None:
    assert set(space.molecules(100, seed=1)) != set(SOME[:100])


def test_ten_thousand_different_molecules_can_be_had() -> None:
    molecules = space.molecules(10_000)
    assert len(molecules) == len(set(molecules)) == 10_000


def test_every_molecule_is_written_in_its_canonical_form() -> None:
    assert [Chem.MolToSmiles(Chem.MolFromSmiles(smiles)) for smiles in SOME] == SOME


def test_every_molecule_has_five_to_sixteen_heavy_atoms() -> None:
    sizes = {Chem.MolFromSmiles(smiles).GetNumHeavyAtoms() for smiles in SOME}
    assert min(sizes) == 5
    assert max(sizes) == 16


def test_every_molecule_is_one_neutral_piece_without_unpaired_electrons() -> None:
    for smiles in SOME:
        mol = Chem.MolFromSmiles(smiles)
        assert Chem.GetFormalCharge(mol) == 0
        assert len(Chem.GetMolFrags(mol)) == 1
        assert not any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())


def test_no_enol_and_no_free_hydroxyl_beside_another_heteroatom_is_made() -> None:
    kinds = [Chem.MolFromSmarts(s) for s in ("[CX4]([OH])[O,N,S,F,Cl]", "[CX3;!$(C=O)]=[CX3][OH]")]
    for smiles in SOME:
        assert not any(Chem.MolFromSmiles(smiles).HasSubstructMatch(kind) for kind in kinds)


def test_asking_for_more_than_there_is_says_how_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(space, "SCAFFOLDS", ("CCCC",))
    monkeypatch.setattr(space, "SUBSTITUENTS", ("C",))
    with pytest.raises(space.SpaceExhaustedError, match=r"found \d+ molecules, 50 were asked for"):
        space.molecules(50)


# -- energies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("smiles", "measured_ev"),
    [
        ("O", 12.62),
        ("C=O", 10.88),
        ("CO", 10.84),
        ("COC", 10.03),
        ("CC(C)=O", 9.70),
        ("C=C", 10.51),
        ("c1ccccc1", 9.24),
        ("c1ccsc1", 8.86),
        ("c1ccc2ccccc2c1", 8.14),
        ("Nc1ccccc1", 8.05),
    ],
)
def test_an_energy_is_within_one_electronvolt_of_the_measured_one(
    smiles: str, measured_ev: float
) -> None:
    assert energy.ionization_energy_ev(smiles) == pytest.approx(measured_ev, abs=1.0)


@pytest.mark.parametrize(
    ("smiles", "computed_ev"), [("c1ccccc1", 9.326), ("O", 13.439), ("CCO", 10.027)]
)
def test_an_energy_is_that_of_gfn2_xtb(smiles: str, computed_ev: float) -> None:
    assert energy.ionization_energy_ev(smiles) == pytest.approx(computed_ev, abs=0.05)


def test_acceptors_make_a_molecule_harder_to_ionize_and_donors_easier() -> None:
    acceptor, plain, donor = (
        energy.ionization_energy_ev(smiles)
        for smiles in ("FC(F)(F)c1ccccc1", "c1ccccc1", "CN(C)c1ccccc1")
    )
    assert acceptor > plain > donor


def test_the_same_molecule_has_the_same_energy_each_time() -> None:
    assert energy.ionization_energy_ev(SOME[0]) == energy.ionization_energy_ev(SOME[0])


def test_relaxing_the_geometry_changes_an_energy_a_little() -> None:
    rigid = energy.ionization_energy_ev("CC(C)=O")
    relaxed = energy.ionization_energy_ev("CC(C)=O", relax=True)
    assert 0.001 < abs(relaxed - rigid) < 0.3


def test_every_molecule_of_a_sample_can_be_computed() -> None:
    for smiles in SOME[:20]:
        assert 5.0 < energy.ionization_energy_ev(smiles) < 14.0


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C1CC", "cannot read"),
        ("", "cannot read"),
        ("C.O", "not one neutral molecule"),
        ("[NH4+]", "not one neutral molecule"),
        ("[CH3]", "unpaired electrons"),
    ],
)
def test_what_is_no_molecule_is_refused_with_the_reason(smiles: str, reason: str) -> None:
    with pytest.raises(energy.InvalidMoleculeError, match=reason):
        energy.ionization_energy_ev(smiles)


def test_a_molecule_without_a_geometry_is_named() -> None:
    cyclopropyne = "C1#CC1"
    with pytest.raises(energy.EmbeddingError, match=r"no three-dimensional geometry .* 'C1#CC1'"):
        energy.ionization_energy_ev(cyclopropyne)


def test_a_relaxation_that_runs_out_of_steps_is_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "RELAXATION_STEPS", 1)
    with pytest.raises(energy.ConvergenceError, match="not relaxed after 1 steps"):
        energy.ionization_energy_ev("CC(C)=O", relax=True)


def test_atoms_on_top_of_each_other_are_no_energy() -> None:
    numbers, positions = np.array([6, 8]), np.zeros((2, 3))
    with pytest.raises(energy.ConvergenceError, match="'CO'"):
        energy._total_energy_ev("CO", numbers, positions, charge=0)


def test_an_energy_takes_one_thread() -> None:
    code = (
        "import numpy, energy, threadpoolctl\n"
        "energy.ionization_energy_ev('CCO')\n"
        "print({pool['num_threads'] for pool in threadpoolctl.threadpool_info()})\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONPATH": str(EXAMPLE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "{1}"


# -- the ranking ----------------------------------------------------------------------------------

DONORS = ["CN(C)c1ccccc1", "CNc1ccccc1", "Nc1ccc(N)cc1", "COc1ccc(N)cc1", "CN(C)C=CC"]
ACCEPTORS = ["FC(F)(F)CC#N", "FC(F)(F)C(F)F", "N#CCC(F)F", "FC(F)CC#N", "FC(F)(F)CCC(F)F"]


def test_what_resembles_the_best_known_is_ranked_first() -> None:
    known = dict.fromkeys(DONORS[:4], 7.0) | dict.fromkeys(ACCEPTORS[:4], 12.0)
    scores = surrogate.rank(known, [DONORS[4], ACCEPTORS[4]])
    assert scores[ACCEPTORS[4]] > scores[DONORS[4]] + 1.0


def test_of_two_equal_guesses_the_less_certain_one_is_ranked_first() -> None:
    known = dict.fromkeys([*DONORS[:4], *ACCEPTORS], 9.0)
    known[DONORS[3]] = 9.2  # some variance
    scores = surrogate.rank(known, [ACCEPTORS[0], "c1ccsc1"])
    assert scores["c1ccsc1"] > scores[ACCEPTORS[0]]


def test_from_sixty_energies_unseen_molecules_are_ordered_well() -> None:
    energies = {smiles: energy.ionization_energy_ev(smiles) for smiles in SOME[:90]}
    known = {smiles: energies[smiles] for smiles in SOME[:60]}
    scores = surrogate.rank(known, SOME[60:90])
    guessed = [scores[smiles] for smiles in SOME[60:90]]
    real = [energies[smiles] for smiles in SOME[60:90]]
    assert np.corrcoef(guessed, real)[0, 1] > 0.5


def test_with_nothing_known_all_are_equal() -> None:
    assert surrogate.rank({}, SOME[:3]) == dict.fromkeys(SOME[:3], 0.0)


def test_with_one_energy_known_the_scores_are_numbers() -> None:
    scores = surrogate.rank({"CCO": 10.0}, SOME[:20])
    assert list(scores) == SOME[:20]
    assert all(math.isfinite(score) for score in scores.values())


def test_with_nothing_waiting_there_is_nothing_to_rank() -> None:
    assert surrogate.rank({"CCO": 10.0}, []) == {}


def test_a_long_list_is_scored_as_its_parts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {smiles: float(place % 7) for place, smiles in enumerate(SOME[:40])}
    at_once = surrogate.rank(known, SOME[40:140])
    monkeypatch.setattr(surrogate, "_CHUNK", 7)
    assert surrogate.rank(known, SOME[40:140]) == pytest.approx(at_once, abs=1e-3)


def test_what_is_learned_from_is_bounded_and_keeps_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(surrogate, "MAX_TRAINED", 10)
    known = {smiles: float(place) for place, smiles in enumerate(SOME[:100])}
    examples = surrogate._examples(known)
    assert len(examples) == len(set(examples)) == 10
    assert set(SOME[95:100]) <= set(examples)
    assert len(surrogate.rank(known, SOME[100:110])) == 10


def test_the_kernel_is_symmetric_and_positive_semidefinite() -> None:
    covariance = surrogate.Tanimoto(0.5)(surrogate.Fingerprints().of(SOME[:200]))
    assert np.allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance.astype(np.float64)).min() > -1e-5


def test_the_kernel_is_the_share_of_bits_in_common() -> None:
    bits = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]], dtype=np.float32)
    kernel = surrogate.Tanimoto(2.0)
    assert kernel(bits).tolist() == pytest.approx(
        np.array([[2, 2 / 3, 0], [2 / 3, 2, 0], [0, 0, 2]])
    )
    assert kernel.diag(bits).tolist() == [2.0, 2.0, 2.0]


def test_fingerprints_are_remembered_up_to_a_limit() -> None:
    fingerprints = surrogate.Fingerprints(limit=10)
    few = fingerprints.of(SOME[:25])
    assert 0 < len(fingerprints) <= 10
    assert np.array_equal(few, surrogate.Fingerprints().of(SOME[:25]))


def test_a_fingerprint_of_no_molecule_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot read 'C1CC'"):
        surrogate.Fingerprints().of(["C1CC"])


# -- the report -----------------------------------------------------------------------------------

NAMES = [f"m{number}" for number in range(1000)]
ENERGIES = {name: float(number) for number, name in enumerate(NAMES)}


def mixed(seed: int) -> list[str]:
    """Return all names in a random order."""
    return random.Random(seed).sample(NAMES, len(NAMES))


def compare(
    energies: dict[str, float], steered: list[str], batches: list[str], sample: list[str]
) -> Any:
    """Compare choices out of 1,000 molecules, one of which is computed each second."""
    paces = [report.Pace(np.arange(1.0, len(chosen) + 1), 0.5) for chosen in (steered, batches)]
    return report.Comparison(1000, energies, steered, batches, sample, *paces)


def test_where_all_were_computed_the_top_is_exact() -> None:
    comparison = compare(ENERGIES, mixed(1)[:100], mixed(2)[:100], NAMES)
    assert comparison.exact
    assert comparison.top_count == 50
    assert comparison.top_begins_ev == 950.0


def test_where_some_were_computed_the_top_is_estimated_well() -> None:
    steered = NAMES[960:] + mixed(1)[:60]  # a search that found most of the top
    chosen = list(dict.fromkeys(steered))
    comparison = compare(ENERGIES, chosen, chosen[:50], mixed(3)[:300])
    assert not comparison.exact
    assert comparison.top_begins_ev == pytest.approx(950.0, abs=5.0)


def test_the_share_found_counts_every_task_and_the_failed_ones_find_nothing() -> None:
    energies = {name: value for name, value in ENERGIES.items() if name != "m998"}
    steered = ["m999", "m998", "m0", "m997"]
    comparison = compare(energies, steered, steered, NAMES)
    assert comparison.share(steered).tolist() == pytest.approx([1 / 50, 1 / 50, 1 / 50, 2 / 50])
    assert comparison.best_ev(steered).tolist() == [999.0, 999.0, 999.0, 999.0]


def test_random_choice_finds_of_the_top_what_it_computes_of_the_space() -> None:
    comparison = compare(ENERGIES, mixed(1)[:100], mixed(2)[:100], NAMES)
    shares = [comparison.share(chosen)[-1] for chosen in comparison.shuffled_sample()]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.01)


def test_the_tables_name_what_was_found_and_how_it_compares() -> None:
    steered = NAMES[-50:][::-1] + NAMES[:50]
    comparison = compare(ENERGIES, steered, NAMES[-100:], NAMES)
    assert "999.00       1   m999" in report.found(comparison)
    rows = {line.split()[0]: line.split() for line in report.compared(comparison, 8).splitlines()}
    assert rows["steered"][1:4] == ["999.00", "50", "100%"]
    assert float(rows["steered"][4]) == pytest.approx(10.0, rel=0.1)


def test_workers_are_busy_for_the_share_of_time_that_tasks_take() -> None:
    assert report.busy_share([(1.0, 3.0), (1.0, 2.0)], workers=2) == pytest.approx(0.75)
    assert report.busy_share([(0.0, 0.0)], workers=2) == 0.0


def test_a_picture_of_the_comparison_is_written(tmp_path: Path) -> None:
    # In a process of its own: matplotlib keeps the files of its fonts open.
    code = (
        "import numpy, pathlib, report\n"
        "energies = {'C': 12.0, 'CC': 11.0, 'CCC': 10.0, 'CCCC': 9.5}\n"
        "names = list(energies)\n"
        "pace = report.Pace(numpy.arange(1.0, 4.0), 0.5)\n"
        "chosen = names[:3], names[1:]\n"
        "comparison = report.Comparison(4, energies, *chosen, names, pace, pace)\n"
        "report.draw(comparison, 8, pathlib.Path('search.png'))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(EXAMPLE), "MPLCONFIGDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")


def test_all_energies_are_written_best_first(tmp_path: Path) -> None:
    report.write_energies(tmp_path / "molecules.csv", {"C": 12.0, "CC": 12.5}, {"CC": 0.1})
    assert (tmp_path / "molecules.csv").read_text().splitlines() == [
        "smiles,ionization_energy_ev,seconds",
        "CC,12.500000,0.1000",
        "C,12.000000,",
    ]
