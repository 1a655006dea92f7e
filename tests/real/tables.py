"""Tables of a record, as its readers have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def read_table(file: Path) -> pd.DataFrame:
    """Return the lines of a file of a record."""
    # here, for it takes seconds: workers that load a test's file are spared it
    import pandas as pd

    return pd.read_json(file, lines=True)
