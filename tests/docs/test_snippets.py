"""Every block of code in the README and the documentation runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.execution import carry_out
from tests.docs.pages import plan

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TIMEOUT_S = 120.0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES])
def test_the_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    carry_out(plan((ROOT / page).read_text(), page), tmp_path, page=Path(page), timeout_s=TIMEOUT_S)
