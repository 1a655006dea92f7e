"""RASPA2 computes uptakes for `examples/materials`, if it is installed."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "materials" / "raspa.py"
MISSING = [name for name in ("RASPA2", "pormake") if find_spec(name) is None]


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_an_uptake_is_that_of_the_seed_and_near_the_stand_in(tmp_path: Path) -> None:
    """Two runs of one seed agree to the last digit, and both codes to within a factor of two."""
    ran = subprocess.run(
        [sys.executable, SCRIPT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    lines = [line.split() for line in ran.stdout.splitlines()]
    first, again, other, ours = ([float(word) for word in line[-2:]] for line in lines[-4:])
    assert first == again != other, ran.stderr
    assert 0.5 < first[0] / ours[0] < 2.0
