"""Which molecule to compute next: a Gaussian process over fingerprints.

Each molecule becomes 1,024 bits that say which atoms it has, with what neighbours and how
often. Two molecules are as similar as the share of bits they have in common (Tanimoto), and a
Gaussian process with that similarity as its covariance learns ionization energies from a few
dozen examples. It is asked for more than a guess: its standard deviation says how little it
knows of a molecule, and the score, guess plus deviation (the upper confidence bound), takes a
chance on what is promising and unknown.

Sources:
    Fingerprints: D. Rogers, M. Hahn, J. Chem. Inf. Model. 2010, 50, 742.
    The kernel, and that it is one: L. Ralaivola et al., Neural Networks 2005, 18, 1093.
    Gaussian processes: C. E. Rasmussen, C. K. I. Williams, MIT Press 2006, algorithm 2.1.
    The bound: N. Srinivas et al., ICML 2010, 1015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rdkit import Chem
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Bits = NDArray[np.float32]

FINGERPRINT_BITS = 1024
FINGERPRINT_RADIUS = 1  # in bonds; with 2 the error on unseen molecules is a tenth larger
MAX_FINGERPRINTS = 50_000  # kept by one process: 50 MB
MAX_TRAINED = 1_500  # a fit takes time in n³, a prediction in n²

# Where the marginal likelihood of 1,000 random molecules of this space is highest; in units of
# the variance of the known energies.
VARIANCE = 0.5
NOISE = 0.003

DEVIATIONS = 1.0  # that the score lies above the mean
_CHUNK = 2_000  # molecules predicted at once, which bounds the memory


class Tanimoto(Kernel):  # type: ignore[misc]  # scikit-learn has no types
    """The covariance of two fingerprints: `variance` times bits in common over bits in either."""

    def __init__(self, variance: float = 1.0) -> None:
        self.variance = variance

    # scikit-learn names the arguments.
    def __call__(
        self,
        X: Bits,  # noqa: N803
        Y: Bits | None = None,  # noqa: N803
        eval_gradient: bool = False,
    ) -> Any:
        """Return the matrix of covariances; the gradient is empty, for nothing is fitted."""
        other = X if Y is None else Y
        common = X @ other.T
        either = X.sum(axis=1)[:, None] + other.sum(axis=1)[None, :] - common
        # Two molecules without any bit are the same as far as one can tell.
        np.divide(common, either, out=common, where=either > 0)
        common[either == 0] = 1.0
        common *= self.variance
        if eval_gradient:
            return common, np.empty((len(X), len(other), 0))
        return common

    def diag(self, X: Bits) -> Any:  # noqa: N803
        """Return the covariance of each fingerprint with itself."""
        return np.full(len(X), self.variance)

    def is_stationary(self) -> Any:
        """Say that it depends on more than a difference of its arguments."""
        return False


class Fingerprints:
    """The fingerprints of the molecules this process has met; forgotten all at once when full."""

    def __init__(self, limit: int = MAX_FINGERPRINTS) -> None:
        self._limit = limit
        self._rows: dict[str, NDArray[np.uint8]] = {}
        self._generator = GetMorganGenerator(
            radius=FINGERPRINT_RADIUS, fpSize=FINGERPRINT_BITS, countSimulation=True
        )

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, molecules: Sequence[str]) -> Bits:
        """Return one row of zeros and ones for each molecule.

        Raises:
            ValueError: a molecule cannot be read.
        """
        bits = np.empty((len(molecules), FINGERPRINT_BITS), dtype=np.float32)
        for place, smiles in enumerate(molecules):
            row = self._rows.get(smiles)
            if row is None:
                row = self._compute(smiles)
            bits[place] = row
        return bits

    def _compute(self, smiles: str) -> NDArray[np.uint8]:
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            raise ValueError(f"cannot read {smiles!r} as SMILES")
        if len(self._rows) >= self._limit:
            self._rows.clear()
        row: NDArray[np.uint8] = self._generator.GetFingerprintAsNumPy(mol)
        self._rows[smiles] = row
        return row


_fingerprints = Fingerprints()


def rank(known: Mapping[str, float], waiting: Sequence[str]) -> dict[str, float]:
    """Return for each waiting molecule how much it promises, in eV; higher is better.

    With nothing known all are equal: 0. At most `MAX_TRAINED` of the known are learned from,
    the best half of them and a fair sample of the others.

    Raises:
        ValueError: a molecule cannot be read.
    """
    if not known or not waiting:
        _fingerprints.of(waiting)  # so that the first real call finds them
        return dict.fromkeys(waiting, 0.0)
    with threadpool_limits(limits=1):  # a worker has one core
        examples = _examples(known)
        # Nothing is fitted but the weights: the two numbers of the kernel hold for the space.
        settings: Any = {"alpha": NOISE, "optimizer": None, "normalize_y": True}
        model: Any = GaussianProcessRegressor(Tanimoto(VARIANCE), **settings)
        model.fit(_fingerprints.of(examples), np.array([known[smiles] for smiles in examples]))
        found: dict[str, float] = {}
        for start in range(0, len(waiting), _CHUNK):
            chunk = waiting[start : start + _CHUNK]
            mean, deviation = model.predict(_fingerprints.of(chunk), return_std=True)
            found.update(zip(chunk, (mean + DEVIATIONS * deviation).tolist(), strict=True))
    return found


def _examples(known: Mapping[str, float]) -> list[str]:
    """Choose what to learn from: everything, or the best and every so many-th of the others."""
    if len(known) <= MAX_TRAINED:
        return list(known)
    ordered = sorted(known, key=known.__getitem__, reverse=True)
    best, others = ordered[: MAX_TRAINED // 2], ordered[MAX_TRAINED // 2 :]
    picks = np.linspace(0, len(others) - 1, MAX_TRAINED - len(best)).astype(int)
    return best + [others[pick] for pick in picks]
